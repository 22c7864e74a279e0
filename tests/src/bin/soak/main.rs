//! Endurance: `cargo xtask soak`. Two gateways between two network namespaces carry a mixed load for hours, while
//! an operator changes them and faults are made.
//!
//! ```text
//! clients -> A ===== link that fails ===== B -> servers
//!                    (and a relay that makes faults)
//! ```
//!
//! A cycle has three phases, and the gateways are at rest between them:
//!
//! - *calm*: reloads, certificate rotations and steps of the clock. No transfer may be broken, and the counters of
//!   both gateways must equal, byte by byte, what the clients wrote and read;
//! - *upgrade*: another process takes over. No transfer may be broken;
//! - *faults*: the link is cut, stalled, swallowed, slowed and reset, bytes are changed, gateways are killed. A
//!   transfer may be broken, but then both applications must get an error; a clean end before the last byte, other
//!   bytes, or silence for [`stream::SILENCE`] is wrong.
//!
//! At rest, every transfer that its sender calls complete must have reached the receiver once and with the same
//! SHA-256; no connection may be open, and memory and descriptors must be those of the first rest. The run ends at
//! the first thing that is wrong, with its time.
//!
//! Processes are killed and upgraded in the first half of a run only, so that memory is observed over hours in the
//! second half.

mod clock;
mod dicom;
mod faults;
mod gateway;
mod ledger;
mod load;
mod mllp;
mod net;
mod report;
mod shared;
mod stream;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use wardgate_tests::{Pki, tier};

use clock::Clock;
use faults::{DAYS, Fault, FaultRelay, Parts};
use gateway::{Links, Machine, Resources, sum, wait_for};
use net::{Net, Place};
use report::{Baselines, HEADING, Report, Row};
use shared::{Counts, Shared};

/// Clients' bytes per second by default: a few percent of a core.
const RATE: f64 = 4e6;

/// The arguments: `soak SECONDS FOLDER [MEGABYTES-PER-SECOND]`.
struct Arguments {
    time: Duration,
    folder: PathBuf,
    rate: f64,
}

fn arguments() -> Option<Arguments> {
    let mut words = std::env::args().skip(1);
    let seconds = words.next()?.parse().ok()?;
    let folder = words.next()?.into();
    let rate = match words.next() {
        Some(word) => word.parse::<f64>().ok()? * 1e6,
        None => RATE,
    };
    Some(Arguments {
        time: Duration::from_secs(seconds),
        folder,
        rate,
    })
}

fn main() -> ExitCode {
    let Some(arguments) = arguments() else {
        eprintln!("soak SECONDS FOLDER [MEGABYTES-PER-SECOND]");
        return ExitCode::FAILURE;
    };
    if !tier::ready(
        "soak",
        &[
            tier::Need::Namespaces,
            tier::Need::Program("nft"),
            tier::Need::Program("cc"),
        ],
    ) {
        return ExitCode::FAILURE;
    }
    let folder = &arguments.folder;
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).expect("the folder can be made");
    let mut run = Run::start(&arguments);
    let report = run.cycles(arguments.time, folder);
    println!("\n{}", report.text());
    println!(
        "{} holds report.txt, report.json and the logs",
        folder.display()
    );
    match report.wrong {
        None => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    }
}

/// A run with everything in it.
struct Run {
    parts: Parts,
    links: Links,
    shared: Arc<Shared>,
    baselines: Baselines,
    report: Report,
    pki: Pki,
    quick: bool,
    changes: u32,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.parts.net.remove();
    }
}

impl Run {
    fn start(arguments: &Arguments) -> Self {
        let (net, links, pki) = (Arc::new(Net::new()), Links::new(), Pki::new());
        let clock = Clock::new(&arguments.folder);
        let shared = Arc::new(Shared::new(arguments.rate));
        load::start(&net, &links, &shared);
        let relayed = &links.relayed;
        let relay = FaultRelay::start(
            &net,
            Place::B.wan(relayed.dialled),
            Place::B.wan(relayed.wan),
        );
        let machines = [Place::A, Place::B].map(|place| {
            Machine::start(place, &net, &arguments.folder, &pki, &links, &clock)
                .unwrap_or_else(|why| panic!("{why}"))
        });
        let parts = Parts {
            machines,
            relay,
            clock,
            net,
        };
        Self {
            parts,
            links,
            shared,
            baselines: Baselines::default(),
            report: Report::default(),
            pki,
            quick: arguments.time < Duration::from_secs(20 * 60),
            changes: 0,
        }
    }

    /// Cycles until the time is over or something is wrong.
    ///
    /// The report in `folder` is written after each cycle: a run that is ended from outside leaves it.
    fn cycles(&mut self, time: Duration, folder: &Path) -> &Report {
        println!("{HEADING}");
        for cycle in 1.. {
            self.report(folder);
            if cycle > 1 && self.shared.ledger.elapsed() >= time {
                break;
            }
            let may_end_processes = self.shared.ledger.elapsed() < time / 2;
            if let Err(why) = self.cycle(cycle, may_end_processes) {
                self.shared.ledger.wrong(&why);
            }
            if self.shared.ledger.first_wrong().is_some() {
                break;
            }
        }
        for machine in &mut self.parts.machines {
            if self.shared.ledger.first_wrong().is_none()
                && let Err(why) = machine.stop()
            {
                self.shared.ledger.wrong(&why);
            }
        }
        self.report(folder)
    }

    fn report(&mut self, folder: &Path) -> &Report {
        self.report.starts = [0, 1].map(|at| self.parts.machines[at].starts);
        self.report.took = self.shared.ledger.elapsed();
        self.report.totals = self.shared.ledger.totals();
        self.report.repeated = self.shared.repeats();
        self.report.wrong = self.shared.ledger.first_wrong();
        self.report.write(folder).expect("our folder");
        &self.report
    }

    fn cycle(&mut self, cycle: u32, may_end_processes: bool) -> Result<(), String> {
        self.calm(cycle)?;
        let mut resources = self.rest()?;
        let place = Place::ALL[cycle as usize % 2];
        if may_end_processes {
            self.upgrade(place)?;
            resources = self.rest()?;
        }
        for (place, resources) in Place::ALL.into_iter().zip(resources) {
            let process = self.parts.machine(place).process.id();
            self.baselines.check(place, process, resources)?;
        }
        self.faults(cycle, may_end_processes)?;
        let totals = self.shared.ledger.totals();
        let row = Row {
            at: self.shared.ledger.elapsed(),
            cycle,
            complete: totals.values().map(|it| it.complete).sum(),
            broken: totals.values().map(|it| it.broken).sum(),
            bytes: totals.values().map(|it| it.bytes).sum(),
            resources,
        };
        println!("{}", row.line());
        self.report.rows.push(row);
        Ok(())
    }

    /// Nothing may be broken, and every byte is counted.
    fn calm(&mut self, cycle: u32) -> Result<(), String> {
        let before = (self.shared.counts(), self.counters()?);
        let complete = self.shared.ledger.totals();
        self.shared.open();
        let step = Duration::from_secs(if self.quick { 1 } else { 8 });
        for place in Place::ALL {
            self.changes += 1;
            let variant = self.changes;
            self.pause(step)?;
            let machine = &self.parts.machines[place as usize];
            machine.reload(&self.links, variant)?;
            machine.reload_wrong(&self.links, variant)?;
            machine.rotate(&self.parts.net, &self.pki, variant)?;
            self.made("reload");
            self.made("reload, invalid");
            self.made("certificate and revocation list rotated");
        }
        // Within the time of the certificates and lists.
        for seconds in [3600, -3600, DAYS, 0, -DAYS / 2, 0] {
            self.parts.clock.set(seconds);
            self.made("clock step");
            self.pause(step)?;
        }
        self.quiesce()?;
        self.compare_counters(&before)?;
        for (kind, now) in self.shared.ledger.totals() {
            let earlier = complete.get(kind).map_or(0, |it| it.complete);
            if now.complete == earlier {
                return Err(format!(
                    "no {kind} was completed in the calm of cycle {cycle}"
                ));
            }
        }
        Ok(())
    }

    fn upgrade(&mut self, place: Place) -> Result<(), String> {
        self.shared.open();
        let step = Duration::from_secs(if self.quick { 2 } else { 8 });
        self.pause(step)?;
        self.parts.machine(place).upgrade()?;
        self.made("upgrade");
        self.pause(step)?;
        self.quiesce()
    }

    fn faults(&mut self, cycle: u32, may_end_processes: bool) -> Result<(), String> {
        let place = Place::ALL[cycle as usize / 2 % 2];
        let mut faults = vec![
            Fault::Truncate,
            Fault::Freeze(place.other()),
            Fault::Flip,
            Fault::Loss,
            Fault::Reset,
            Fault::ShortCut,
            Fault::Resets,
            Fault::LongCut,
            Fault::Stall,
            Fault::Slow,
            Fault::BlackHole,
            Fault::Expiry,
        ];
        if may_end_processes {
            faults.extend([Fault::Kill(place), Fault::Kill(place.other())]);
        }
        self.shared.ledger.begin_faults();
        self.shared.open();
        for fault in faults {
            self.pause(Duration::from_secs(if self.quick { 1 } else { 6 }))?;
            fault.make(&mut self.parts)?;
            self.made(fault.name());
        }
        self.pause(Duration::from_secs(2))?;
        self.quiesce()?;
        self.shared.ledger.end_faults();
        self.rest()?;
        // A target that failed is tried again after its time of back-off.
        thread::sleep(Duration::from_secs(1));
        Ok(())
    }

    /// Lets the load run for some time, unless something is wrong.
    fn pause(&mut self, time: Duration) -> Result<(), String> {
        for machine in &mut self.parts.machines {
            machine.check_alive()?;
        }
        let step = Duration::from_millis(250);
        for _ in 0..time.as_millis() / step.as_millis() {
            thread::sleep(step);
            if self.shared.ledger.first_wrong().is_some() {
                return Err("ended early".into());
            }
        }
        Ok(())
    }

    /// Stops the load, waits until all applications have finished, and compares both ends of every transfer.
    fn quiesce(&mut self) -> Result<(), String> {
        self.shared.close();
        let longest = stream::SILENCE + Duration::from_secs(60);
        let start = self.shared.ledger.elapsed();
        while self.shared.busy() != [0, 0] {
            if self.shared.ledger.elapsed() - start > longest {
                let [clients, servers] = self.shared.busy();
                return Err(format!(
                    "{clients} clients and {servers} servers do not finish within {} s",
                    longest.as_secs()
                ));
            }
            thread::sleep(Duration::from_millis(50));
        }
        self.shared.ledger.compare();
        Ok(())
    }

    fn rest(&mut self) -> Result<[Resources; 2], String> {
        let [a, b] = &mut self.parts.machines;
        Ok([a.wait_for_rest()?, b.wait_for_rest()?])
    }

    fn counters(&self) -> Result<[String; 2], String> {
        let [a, b] = &self.parts.machines;
        Ok([a.metrics(&self.parts.net)?, b.metrics(&self.parts.net)?])
    }

    /// The bytes that the clients wrote and read are those that both gateways sealed and opened.
    fn compare_counters(&mut self, before: &(Counts, [String; 2])) -> Result<(), String> {
        let after = self.shared.counts();
        wait_for("connections stay open", || {
            let metrics = self.counters().ok()?;
            let open = |text| sum(text, "wardgate_connections_open");
            (open(&metrics[0]) + open(&metrics[1]) == 0).then_some(())
        })?;
        let metrics = self.counters()?;
        for (kind, links) in self.links.of_kinds() {
            let of = |counts: &Counts| counts.get(kind).copied().unwrap_or_default();
            let (then, now) = (of(&before.0), of(&after));
            let moved = [now[0] - then[0], now[1] - then[1]];
            let counted = |place: Place, metric: &str| -> u64 {
                let at = place as usize;
                let of = |link: &&gateway::Link| {
                    let place_of_client = link.from() == place;
                    let name = match (metric, place_of_client) {
                        ("up", true) | ("down", false) => "wardgate_sealed_bytes_total",
                        _ => "wardgate_opened_bytes_total",
                    };
                    let series = format!("{name}{{route=\"{}\"", link.name());
                    sum(&metrics[at], &series) - sum(&before.1[at], &series)
                };
                links.iter().map(of).sum()
            };
            for place in Place::ALL {
                let by_gateway = ["up", "down"].map(|metric| counted(place, metric));
                if by_gateway != moved {
                    return Err(format!(
                        "{kind}: the clients wrote and read {moved:?} bytes, the gateway of {place:?} counted \
                         {by_gateway:?}"
                    ));
                }
                self.report.compared += 1;
                self.report.compared_bytes += moved[0] + moved[1];
            }
        }
        Ok(())
    }

    fn made(&mut self, name: &'static str) {
        *self.report.made.entry(name).or_default() += 1;
    }
}
