//! The project's checks and chores: `cargo xtask check`, `test`, `gate`, `fuzz` and `endurance`.
//!
//! `check` is what passes before every commit. `test` is everything: it brings the programs that the
//! tests talk to, runs every tier and ends with a count. `fuzz` looks for more than `test` has time for.
//! Nothing here is part of the gateway.

mod dependencies;
mod fuzz;
mod gate;
mod libtest;
mod packages;
mod python;
mod report;
mod steps;
mod tiers;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use clap::Parser;

use steps::Steps;

/// The project's checks and chores.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// What passes before every commit: format, lints, tidy, unit tests, documentation
    Check,
    /// Everything: lints, all tests, documentation; as root installs the Debian packages that tests need
    Test {
        /// Install no Debian package; tests skip where a program is missing
        #[arg(long)]
        no_install: bool,
    },
    /// Fuzzes one target of tests/fuzz, or all of them, from the kept corpus and a new seed
    Fuzz(fuzz::Fuzz),
    /// Counts the instructions of the byte path's pieces against bench/micro-baseline.toml
    Gate {
        /// Write the baseline as it is now
        #[arg(long)]
        renew: bool,
    },
    /// Hundreds of gigabytes through one connection of a release build, all compared: minutes
    Endurance {
        /// How many (10^9 bytes); 275 and more pass the default limit of records per key
        #[arg(long, value_name = "N", default_value_t = 300)]
        gigabytes: u32,
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

/// Runs the task's steps, all of them, and says whether each was good.
fn run(task: &Task, workspace: &Workspace) -> anyhow::Result<bool> {
    let mut steps = Steps::default();
    match task {
        Task::Gate { renew } => {
            steps.run("gate", || gate::run(workspace, *renew));
            return Ok(report::print(&[], &steps));
        }
        Task::Endurance { gigabytes } => {
            steps.run("endurance", || endurance(workspace, *gigabytes));
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
    let tiers = tiers::run_all(workspace, &mut steps, &names, built)?;
    if whole {
        steps.run("gate", || count_instructions(workspace));
        steps.run("ratio", || compare_with_haproxy(workspace, may_install));
    }

    steps.run("documentation", || documentation(workspace));
    Ok(report::print(&tiers, &steps))
}

const CLIPPY: [&str; 7] = [
    "clippy",
    "--workspace",
    "--all-targets",
    "--locked",
    "--",
    "-D",
    "warnings",
];

// The tests start the programs from the target folder, so these must be of today.
const BUILD: [&str; 4] = ["build", "--workspace", "--bins", "--locked"];

// The program is one of the Python packages: `cargo xtask test` installs it.
fn spelling(workspace: &Workspace) -> anyhow::Result<()> {
    let typos = workspace.product("python/bin/typos");
    if !typos.exists() && !tiers::requires("spelling") {
        println!("SKIPPED spelling: typos is not installed; `cargo xtask test` installs it");
        return Ok(());
    }
    steps::must(Command::new(typos).arg(workspace.source(".")))
}

fn count_instructions(workspace: &Workspace) -> anyhow::Result<()> {
    if !gate::can_run() && !tiers::requires("gate") {
        println!("SKIPPED gate: valgrind is not installed");
        return Ok(());
    }
    gate::run(workspace, false)
}

fn compare_with_haproxy(workspace: &Workspace, may_install: bool) -> anyhow::Result<()> {
    let reason = if !wardgate_packages::is_root()? {
        Some("only root can make a network namespace and install HAProxy")
    } else if !may_install && !Path::new("/usr/sbin/haproxy").exists() {
        Some("HAProxy is not installed, and --no-install leaves it so")
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

fn documentation(workspace: &Workspace) -> anyhow::Result<()> {
    let mut cargo = workspace.cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
    steps::must(cargo.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Where the sources are and where what is built goes.
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Finds the workspace from what `cargo run` tells about this package.
    fn find() -> anyhow::Result<Self> {
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .context("CARGO_MANIFEST_DIR is not set; run this as `cargo xtask`")?;
        let root = Path::new(&manifest)
            .ancestors()
            .nth(2)
            .context("this package does not lie in .ci/xtask")?
            .to_owned();
        // A relative CARGO_TARGET_DIR counts from where cargo runs, which is the root here.
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => root.join(folder),
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// A file of the sources, by its path from the root.
    pub(crate) fn source(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// A file that a build or a test makes, by its path in the target folder.
    pub(crate) fn product(&self, path: &str) -> PathBuf {
        self.target.join(path)
    }

    /// The cargo that runs us, in the root, with nothing to read from.
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

/// Whether `cargo run` set a variable to describe this package to us.
///
/// Build scripts (ring's) watch some of them: left in place, they would make each change between
/// `cargo test` and `cargo xtask` a rebuild of everything above ring.
fn is_of_this_package(name: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}
