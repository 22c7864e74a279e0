//! `wardgate doctor`: each injected fault is reported at the right step and side, with its remedy.
//!
//! Faults of one machine and of TLS run on loopback, opposite one real gateway and a few programs of the test. Faults
//! of the path run between the namespaces of the lab.

mod here;
mod path;
mod servers;
mod there;

use std::collections::BTreeMap;
use std::fs;
use std::panic::catch_unwind;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tempfile::TempDir;
use wardgate_tests::tier::{self, Need, workspace};
use wardgate_tests::{Outcome, Program, Site, wardgate};

use self::there::World;

/// One injected fault, and what the report must say.
struct Fault {
    /// The fault, as an operator would describe it.
    fault: &'static str,
    /// The first step that is not good.
    step: &'static str,
    /// The side at fault.
    side: &'static str,
    /// A part of the sentence or of the remedy.
    words: &'static str,
    /// Injects the fault, and returns the report.
    run: fn(&World) -> Value,
}

impl Fault {
    const fn new(
        fault: &'static str,
        step: &'static str,
        side: &'static str,
        words: &'static str,
        run: fn(&World) -> Value,
    ) -> Self {
        Self {
            fault,
            step,
            side,
            words,
            run,
        }
    }
}

/// A site whose gateway does not run, in a folder of its own.
struct Stopped {
    folder: TempDir,
}

impl Stopped {
    fn new(site: &Site) -> Self {
        let stopped = Self {
            folder: TempDir::new().expect("the machine has a folder for temporary files"),
        };
        let site = site.clone().gateway("admin", "\"admin.sock\"");
        site.write(&stopped.file());
        stopped
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("wardgate.toml")
    }

    /// The arguments of `wardgate` for a report about this site.
    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let file = self.file().display().to_string();
        let first = ["doctor", "--json", "--config", &file].map(str::to_owned);
        let more = more.iter().map(|argument| (*argument).to_owned());
        first.into_iter().chain(more).collect()
    }
}

/// The report about a site whose gateway does not run.
fn examine(site: &Site, more: &[&str]) -> Value {
    let stopped = Stopped::new(site);
    let program = Program::new(wardgate());
    report(&program.args(stopped.arguments(more)).run())
}

/// The report in the output of the program.
fn report(outcome: &Outcome) -> Value {
    let text = String::from_utf8_lossy(&outcome.stdout);
    let report: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {outcome}"));
    let code = outcome.status.and_then(|status| status.code());
    let is_invalid =
        report["steps"][0]["step"] == "configuration" && report["steps"][0]["result"] == "failed";
    let expected = match report["result"].as_str() {
        Some("failed") if is_invalid => 78,
        Some("failed") => 1,
        _ => 0,
    };
    assert_eq!(code, Some(expected), "{outcome}");
    report
}

/// All steps of a report, in its order.
fn steps(report: &Value) -> Vec<&Value> {
    let of = |value: &'_ Value| value["steps"].as_array().map_or(0, Vec::len);
    let own = (0..of(report)).map(|index| &report["steps"][index]);
    let routes = report["routes"].as_array().into_iter().flatten();
    let of_routes = routes.flat_map(|route| route["steps"].as_array().into_iter().flatten());
    own.chain(of_routes).collect()
}

/// What differs between a report and what is expected of it; `None` if nothing does.
fn difference(fault: &Fault, report: &Value) -> Option<String> {
    let steps = steps(report);
    let failed = steps.iter().find(|step| step["result"] == "failed");
    // A gateway that does not run is no failure: an operator examines a route before the first start too.
    let warned = steps
        .iter()
        .find(|step| step["result"] == "warning" && step["step"] == "gateway");
    let warned = warned.filter(|_| fault.step == "gateway");
    let Some(found) = failed.or(warned) else {
        return Some(format!("no fault is reported: {report:#}"));
    };
    let shown = format!("{} {}", found["text"], found["remedy"]);
    let is_right =
        found["step"] == fault.step && found["side"] == fault.side && shown.contains(fault.words);
    let expected = format!("{} at {} with {:?}", fault.step, fault.side, fault.words);
    (!is_right).then(|| format!("expected {expected}, found {found:#}"))
}

/// Cases that run at the same time. Most of them wait.
const AT_A_TIME: usize = 6;

fn run_all(faults: &[Fault], world: &World) -> BTreeMap<&'static str, String> {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let run = std::panic::AssertUnwindSafe(|| (fault.run)(world));
                    let difference = match catch_unwind(run) {
                        Ok(report) => difference(fault, &report),
                        Err(why) => Some(
                            why.downcast_ref::<String>()
                                .map_or_else(|| "it panicked".to_owned(), Clone::clone),
                        ),
                    };
                    if let Some(difference) = difference {
                        let mut wrong = wrong.lock().expect("no holder panics");
                        wrong.insert(fault.fault, difference);
                    }
                }
            });
        }
    });
    wrong.into_inner().expect("no holder panics")
}

#[test]
fn doctor_reports_each_injected_fault_at_the_right_side_with_its_remedy() {
    let programs = ["setpriv", "storescp"].map(Need::Program);
    if !tier::ready("network", &[&[Need::Namespaces][..], &programs].concat()) {
        return;
    }
    let world = World::new();
    // The slowest first.
    let faults: Vec<_> = [path::faults(), there::faults(), here::faults()]
        .into_iter()
        .flatten()
        .collect();
    assert!(faults.len() >= 35, "{} faults", faults.len());
    let reference = fs::read_to_string(workspace().join("docs/src/reference/doctor.md"));
    let reference = reference.expect("the reference is there");
    for fault in &faults {
        for word in [fault.step, fault.side] {
            assert!(
                reference.contains(&format!("`{word}`")),
                "{word} is not described"
            );
        }
    }
    let wrong = run_all(&faults, &world);
    let list: Vec<_> = wrong
        .iter()
        .map(|(fault, difference)| format!("{fault}: {difference}"))
        .collect();
    assert!(list.is_empty(), "{}", list.join("\n\n"));
    world.examine_good_routes();
    world.examine_good_route_as_another_user();
}

/// A second program of the harness, beside this one.
fn deny(what: &str, stopped: &Stopped) -> Value {
    let program = Program::new(wardgate_tests::built("deny"))
        .arg(what)
        .arg(wardgate());
    report(&program.args(stopped.arguments(&[])).run())
}

/// Changes a file of a site.
fn overwrite(file: &std::path::Path, text: &str) {
    fs::write(file, text).expect("the folder is ours");
}
