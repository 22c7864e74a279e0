//! Tests that need something of the machine check for it, and report clearly when it is missing.
//!
//! A test that cannot run prints `SKIPPED tier test: reason` to standard error and appends
//! `tier<TAB>test<TAB>reason` to the file that `WARDGATE_SKIPS` names. If `WARDGATE_REQUIRE` (a list with
//! commas) holds the tier or `all`, the test fails instead, because the environment promised that it can run.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::Program;
use crate::program::find;

/// A requirement of a test.
#[derive(Debug, Clone, Copy)]
pub enum Need {
    /// A program by its name.
    Program(&'static str),
    /// A Python with pydicom and pynetdicom (see [`python`]).
    Python,
    /// The user root, who may read the memory of other processes and change owners of files.
    Root,
    /// The right to make network namespaces and capture in them.
    Namespaces,
}

/// Whether the calling test can run. If the result is `false`, the test returns at once.
///
/// The name of the test is the name of its thread, so call this from the test's own thread.
pub fn ready(tier: &str, needs: &[Need]) -> bool {
    let Some(reason) = needs.iter().find_map(|need| need.missing()) else {
        return true;
    };
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("unnamed");
    assert!(
        !required(tier),
        "WARDGATE_REQUIRE promises that tier {tier} can run: {reason}"
    );
    skip(tier, test, &reason);
    false
}

/// The Python with pydicom and pynetdicom: `WARDGATE_PYTHON`, or `target/python/bin/python`.
pub fn python() -> PathBuf {
    std::env::var_os("WARDGATE_PYTHON").map_or_else(
        || workspace().join("target/python/bin/python"),
        PathBuf::from,
    )
}

/// The root of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests is a folder of the workspace")
}

impl Need {
    /// Why the requirement is missing, and what to do; `None` if it is met.
    fn missing(self) -> Option<String> {
        match self {
            Self::Program(name) => find(name)
                .is_none()
                .then(|| format!("{name} is not installed; `cargo xtask test` installs it")),
            Self::Python => (!python().is_file()).then(|| {
                let python = python();
                format!(
                    "{} is not there; `cargo xtask test` makes it",
                    python.display()
                )
            }),
            Self::Root => (!rustix::process::geteuid().is_root())
                .then(|| "the user is not root; run the tests as root".to_owned()),
            Self::Namespaces => namespaces_missing(),
        }
    }
}

fn namespaces_missing() -> Option<String> {
    for tool in ["ip", "tcpdump"] {
        if let Some(reason) = Need::Program(tool).missing() {
            return Some(reason);
        }
    }
    let name = format!("wgprobe{}", std::process::id());
    let script = format!(
        "ip netns add {name} && ip -n {name} link add near type veth peer name far; \
         code=$?; ip netns del {name}; exit $code"
    );
    // Threads of one process share the name of the probe, so they take turns.
    static PROBE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _turn = PROBE.lock().expect("no holder of this lock panics");
    let outcome = Program::new("sh").args(["-c", &script]).run();
    (!outcome.succeeded()).then(|| {
        let text = outcome.text();
        format!("network namespaces cannot be made here: {}", text.trim())
    })
}

fn required(tier: &str) -> bool {
    std::env::var("WARDGATE_REQUIRE")
        .is_ok_and(|list| list.split(',').any(|item| item == tier || item == "all"))
}

fn skip(tier: &str, test: &str, reason: &str) {
    // The test runner keeps what `eprintln!` writes of a test that passes; a skip must be seen.
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "SKIPPED {tier} {test}: {reason}");
    let Some(file) = std::env::var_os("WARDGATE_SKIPS") else {
        return;
    };
    let line = format!("{tier}\t{test}\t{}\n", reason.replace(['\n', '\t'], " "));
    let file = OpenOptions::new().create(true).append(true).open(file);
    file.and_then(|mut file| file.write_all(line.as_bytes()))
        .expect("the file that WARDGATE_SKIPS names can be written");
}
