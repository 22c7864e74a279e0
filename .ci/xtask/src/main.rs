//! The project's developer tasks: `cargo xtask check`, `test`, `gate`, `fuzz`, `endurance`, `failover`, `soak`,
//! `wan`, `docs` and `package`.
//!
//! `check` must pass before every commit. `test` runs everything: it installs the programs that the tests
//! need, runs every tier, and prints the number of tests. `fuzz` searches for longer than `test` does.
//! Nothing here is part of the gateway.

mod bounds;
mod dependencies;
mod docs;
mod fuzz;
mod gate;
mod libtest;
mod messages;
mod package;
mod packages;
mod python;
mod report;
mod soak;
mod steps;
mod tiers;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use clap::Parser;

use steps::{Beside, Steps};

/// The project's developer tasks.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Checks required before every commit: format, lints, tidy, unit tests, documentation
    Check,
    /// Everything: lints, all tests, documentation; as root it installs the Debian packages that tests need
    Test {
        /// Install no Debian package; tests that need a missing program are skipped
        #[arg(long)]
        no_install: bool,
    },
    /// Fuzzes one target of tests/fuzz, or all of them, with the kept corpus and a new seed
    Fuzz(fuzz::Fuzz),
    /// Counts instructions of parts of the byte path and compares them with bench/micro-baseline.toml
    Gate {
        /// Write the baseline with the current counts
        #[arg(long)]
        renew: bool,
    },
    /// Builds the .deb and .rpm files in target/package, with `dpkg-deb` and `rpmbuild`
    Package(package::Package),
    /// Writes the generated pages of docs, and builds the book where mdBook is installed
    Docs,
    /// Sends hundreds of gigabytes through one connection of a release build and compares every byte, or with
    /// `--reload` changes two gateways under load and fails if a transfer does; takes minutes
    Endurance {
        /// Gigabytes (10^9 bytes) to send; 275 and more exceed the default limit of records per key
        #[arg(long, value_name = "N", default_value_t = 300)]
        gigabytes: u32,
        /// Instead: 100 reloads, 50 rotations and 5 upgrades of each of two gateways under load, in this time
        #[arg(
            long,
            value_name = "SECONDS",
            num_args = 0..=1,
            default_missing_value = "300",
            conflicts_with = "gigabytes"
        )]
        reload: Option<u32>,
    },
    /// Measures how long two machines take to take over from each other, with keepalived and behind a router with bird, in
    /// network namespaces, and prints two tables; needs root and takes about a minute for each run
    Failover {
        /// How often each fault is repeated
        #[arg(long, value_name = "N", default_value_t = 20)]
        runs: u32,
    },
    /// Two gateways under a mixed load for hours, with changes and faults; ends at the first thing that is wrong
    Soak(soak::Soak),
    /// Two gateways over a slow, lossy or broken line: the tests of the tier `wan`, in a user-mode Linux kernel with
    /// netem; needs root
    Wan {
        /// More objects, bytes and repetitions: takes some minutes
        #[arg(long)]
        full: bool,
    },
}

fn main() -> ExitCode {
    let task = Task::parse();
    match Workspace::find().and_then(|workspace| run(&task, &workspace)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs all steps of the task and returns whether each succeeded.
fn run(task: &Task, workspace: &Workspace) -> anyhow::Result<bool> {
    let mut steps = Steps::default();
    match task {
        Task::Gate { renew } => {
            steps.run("gate", || gate::run(workspace, *renew));
            return Ok(report::print(&[], &steps));
        }
        Task::Endurance { gigabytes, reload } => {
            steps.run("endurance", || match reload {
                Some(seconds) => endure_changes(workspace, *seconds),
                None => endurance(workspace, *gigabytes),
            });
            return Ok(report::print(&[], &steps));
        }
        Task::Failover { runs } => {
            steps.run("failover", || failover(workspace, *runs));
            return Ok(report::print(&[], &steps));
        }
        Task::Soak(soak) => {
            steps.run("soak", || soak.run(workspace));
            return Ok(report::print(&[], &steps));
        }
        Task::Wan { full } => {
            steps.run("wan", || wan(workspace, *full));
            return Ok(report::print(&[], &steps));
        }
        Task::Docs => {
            steps.run("book", || docs::run(workspace));
            return Ok(report::print(&[], &steps));
        }
        Task::Package(package) => {
            steps.run("package", || package.run(workspace));
            return Ok(report::print(&[], &steps));
        }
        Task::Fuzz(fuzz) => return fuzz.run(workspace),
        Task::Check | Task::Test { .. } => {}
    }
    let (whole, may_install) = match task {
        Task::Test { no_install } => (true, !no_install),
        _ => (false, false),
    };
    if whole {
        steps.run("debian packages", || {
            packages::prepare(workspace, may_install)
        });
        steps.run("python packages", || python::prepare(workspace));
    }
    steps.cargo(workspace, "format", &["fmt", "--all", "--check"]);
    steps.cargo(workspace, "clippy", &CLIPPY);
    steps.run("dependencies", || dependencies::check(workspace));
    steps.run("spelling", || spelling(workspace));

    let (mut names, mut built) = (vec!["tidy".to_owned(), "unit".to_owned()], true);
    if whole {
        built = steps.cargo(workspace, "build", &BUILD);
        names = tiers::names(workspace)?;
    }
    // Counts of instructions do not depend on what else runs, and the tests often wait.
    let gate = whole.then(|| count_instructions(workspace));
    let tiers = tiers::run_all(workspace, &mut steps, &names, built)?;
    if let Some(gate) = gate {
        steps.run("gate", || gate?.map_or(Ok(()), Beside::finish));
    }
    if whole {
        steps.run("ratio", || compare_with_haproxy(workspace, may_install));
    }

    steps.run("book", || docs::build(workspace));
    steps.run("documentation", || documentation(workspace));
    Ok(report::print(&tiers, &steps))
}

// With the programs for libFuzzer, which nothing builds otherwise.
const CLIPPY: [&str; 9] = [
    "clippy",
    "--workspace",
    "--all-targets",
    "--features",
    "wardgate-fuzz/programs",
    "--locked",
    "--",
    "-D",
    "warnings",
];

// The tests start the programs from the target folder, so they must be up to date.
const BUILD: [&str; 4] = ["build", "--workspace", "--bins", "--locked"];

// The program is one of the Python packages that `cargo xtask test` installs.
fn spelling(workspace: &Workspace) -> anyhow::Result<()> {
    let typos = workspace.product("python/bin/typos");
    if !typos.exists() && !tiers::requires("spelling") {
        println!("SKIPPED spelling: typos is not installed; `cargo xtask test` installs it");
        return Ok(());
    }
    // From the root: _typos.toml names folders from there.
    steps::must(
        Command::new(typos)
            .arg(".")
            .current_dir(workspace.source("")),
    )
}

fn count_instructions(workspace: &Workspace) -> anyhow::Result<Option<Beside>> {
    if !gate::can_run() && !tiers::requires("gate") {
        println!("SKIPPED gate: valgrind is not installed");
        return Ok(None);
    }
    // The build may have replaced this program since it was started.
    let program = std::env::current_exe()?.display().to_string();
    let program = program.strip_suffix(" (deleted)").unwrap_or(&program);
    let mut program = Command::new(program);
    fs::create_dir_all(workspace.product("."))?;
    let gate = Beside::start(program.arg("gate"), workspace.product("gate.txt"))?;
    Ok(Some(gate))
}

fn compare_with_haproxy(workspace: &Workspace, may_install: bool) -> anyhow::Result<()> {
    let reason = if !wardgate_packages::is_root()? {
        Some("only root can make a network namespace and install HAProxy")
    } else if !may_install && !Path::new("/usr/sbin/haproxy").exists() {
        Some("HAProxy is not installed, and --no-install prevents its installation")
    } else {
        None
    };
    match reason.filter(|_| !tiers::requires("ratio")) {
        Some(reason) => {
            println!("SKIPPED ratio: {reason}");
            Ok(())
        }
        None => gate::ratio(workspace, may_install),
    }
}

fn endurance(workspace: &Workspace, gigabytes: u32) -> anyhow::Result<()> {
    let build = ["build", "--release", "--locked", "-p", "wardgate"];
    steps::must(&mut workspace.cargo(&build))?;
    let run = ["run", "--locked", "-p", "wardgate-tests"];
    let mut program = workspace.cargo(&run);
    program.args(["--bin", "endurance", "--"]);
    program.arg(gigabytes.to_string());
    steps::must(program.env("WARDGATE_PROGRAM", workspace.product("release/wardgate")))
}

/// The test of the tier `interop` that changes two gateways under load, with larger numbers. The program is
/// built as for all tests, with debug assertions.
fn endure_changes(workspace: &Workspace, seconds: u32) -> anyhow::Result<()> {
    let build = ["build", "--locked", "-p", "wardgate"];
    steps::must(&mut workspace.cargo(&build))?;
    let mut test = workspace.cargo(&["test", "--locked", "-p", "wardgate-tests"]);
    test.args(["--test", "interop", "--", "--nocapture", "--exact"]);
    test.arg("endurance::reloads_rotations_upgrades_and_a_drain_under_load_fail_no_transfer");
    test.env("WARDGATE_ENDURANCE", format!("100,50,5,{seconds}"));
    // A run without the foreign programs would show nothing.
    test.env("WARDGATE_REQUIRE", "interop");
    steps::must(&mut test)
}

/// The tests of the tier `network` that take one machine of a site away, with more repetitions: behind VRRP, and behind a
/// router. Each prints a table.
fn failover(workspace: &Workspace, runs: u32) -> anyhow::Result<()> {
    steps::must(&mut workspace.cargo(&["build", "--locked", "-p", "wardgate"]))?;
    let mut test = workspace.cargo(&["test", "--locked", "-p", "wardgate-tests"]);
    test.args(["--test", "network", "--", "--nocapture", "--exact"]);
    // One after the other, because they measure times.
    test.arg("--test-threads=1");
    test.args([
        "failover::a_second_machine_takes_over_and_every_application_gets_an_error",
        "failover::bird::a_router_moves_connections_away_from_a_machine_and_every_application_gets_an_error",
    ]);
    test.env("WARDGATE_FAILOVER", runs.to_string());
    // A run without keepalived or bird would show nothing.
    test.env("WARDGATE_REQUIRE", "network");
    steps::must(&mut test)
}

/// The tests of the tier `wan`, whose tables are printed.
fn wan(workspace: &Workspace, is_full: bool) -> anyhow::Result<()> {
    steps::must(&mut workspace.cargo(&BUILD))?;
    let mut test = workspace.cargo(&["test", "--locked", "-p", "wardgate-tests"]);
    test.args(["--test", "wan", "--", "--nocapture", "--test-threads=10"]);
    test.env("WARDGATE_WAN", if is_full { "full" } else { "short" });
    // A run without the kernel would show nothing.
    test.env("WARDGATE_REQUIRE", "wan");
    steps::must(&mut test)
}

fn documentation(workspace: &Workspace) -> anyhow::Result<()> {
    let mut cargo = workspace.cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
    steps::must(cargo.env("RUSTDOCFLAGS", "-D warnings"))
}

/// The source folder and the target folder.
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Finds the workspace from the variables that `cargo run` sets.
    fn find() -> anyhow::Result<Self> {
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .context("CARGO_MANIFEST_DIR is not set; run this as `cargo xtask`")?;
        let root = Path::new(&manifest)
            .ancestors()
            .nth(2)
            .context("this package is not in .ci/xtask")?
            .to_owned();
        // A relative CARGO_TARGET_DIR is relative to cargo's working folder, which is the root here.
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => root.join(folder),
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// The path of a source file, relative to the root.
    pub(crate) fn source(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The path of a file in the target folder.
    pub(crate) fn product(&self, path: &str) -> PathBuf {
        self.target.join(path)
    }

    /// The same cargo that runs this program, in the root folder, with an empty standard input.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut cargo = Command::new(program);
        cargo
            .args(arguments)
            .current_dir(&self.root)
            .stdin(std::process::Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(is_of_this_package) {
                cargo.env_remove(name);
            }
        }
        cargo
    }
}

/// Whether `cargo run` sets this variable to describe this package.
///
/// Some build scripts (of ring, for example) watch these variables. If they were kept, each change between
/// `cargo test` and `cargo xtask` would rebuild ring and everything that depends on it.
fn is_of_this_package(name: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}
