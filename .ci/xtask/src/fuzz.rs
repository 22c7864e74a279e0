//! Fuzzes for longer than the tests do: the same targets, a new seed, more time; or libFuzzer, which coverage
//! guides.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use clap::Args;

use crate::Workspace;
use crate::steps::must;

/// Which targets to fuzz, and for how long.
#[derive(Debug, Args)]
pub(crate) struct Fuzz {
    /// A target's name or a part of it; without it, all targets
    target: Option<String>,
    /// Seconds per target
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The seed of the mutations; without it, the current time
    #[arg(long)]
    seed: Option<u64>,
    /// Adds inputs that reach new behaviour to the corpus
    #[arg(long)]
    keep: bool,
    /// Lets libFuzzer search for new code paths (`cargo install cargo-fuzz --locked` first)
    #[arg(long)]
    coverage: bool,
}

/// The folder of the targets and their corpus.
const FOLDER: &str = "tests/fuzz";
/// The bytes of an input at most, as in the fuzzer of the tests.
const INPUT_MAX: usize = 600;
/// Seconds after which an input counts as endless.
const INPUT_SECONDS: u64 = 20;

impl Fuzz {
    /// Runs the targets. A failing input is an error and is added to the corpus.
    pub(crate) fn run(&self, workspace: &Workspace) -> anyhow::Result<bool> {
        let seed = self.seed.map_or_else(clock, Ok)?;
        if self.coverage {
            return self.by_coverage(workspace, seed);
        }
        let targets = format!(
            "targets::tests::{}",
            self.target.as_deref().unwrap_or_default()
        );
        let mut cargo = workspace.cargo(&["test", "--locked", "-p", "wardgate-tests"]);
        cargo.args(["--test", "fuzz", "--", "--nocapture", &targets]);
        cargo.env("WARDGATE_FUZZ_SECONDS", self.seconds.to_string());
        cargo.env("WARDGATE_FUZZ_SEED", seed.to_string());
        if self.keep {
            cargo.env("WARDGATE_FUZZ_KEEP", "1");
        }
        must(&mut cargo)?;
        Ok(true)
    }

    /// Runs each target under libFuzzer from the kept corpus. What it finds on the way stays in the target
    /// folder; `--keep` merges into the corpus what covers new code.
    fn by_coverage(&self, workspace: &Workspace, seed: u64) -> anyhow::Result<bool> {
        let programs = fs::read_dir(workspace.source(FOLDER).join("fuzz_targets"))?;
        let mut names = Vec::new();
        for program in programs {
            let path = program?.path();
            let name = path.file_stem().context("a program has a name")?;
            names.push(name.to_string_lossy().into_owned());
        }
        names.sort();
        let part = self.target.as_deref().unwrap_or_default();
        names.retain(|name| name.contains(part));
        anyhow::ensure!(!names.is_empty(), "no target's name contains {part:?}");
        for name in names {
            let kept = workspace.source(FOLDER).join("corpus").join(&name);
            let found = workspace.product("fuzz-corpus").join(&name);
            fs::create_dir_all(&found)?;
            let mut cargo = libfuzzer(workspace, &name);
            cargo.arg(&found).arg(&kept).arg("--");
            cargo.arg(format!("-max_total_time={}", self.seconds));
            // libFuzzer takes 32 bits.
            cargo.arg(format!("-seed={}", seed & 0xffff_ffff));
            cargo.arg(format!("-max_len={INPUT_MAX}"));
            cargo.arg(format!("-timeout={INPUT_SECONDS}"));
            cargo.arg(format!("-artifact_prefix={}/find-", kept.display()));
            must(&mut cargo)?;
            if self.keep {
                let mut cargo = libfuzzer(workspace, &name);
                cargo.arg(&kept).arg(&found).arg("--");
                // The fewest files that cover the most code, however often an input reaches it.
                cargo.args(["-set_cover_merge=1", "-use_counters=0"]);
                must(&mut cargo)?;
            }
        }
        Ok(true)
    }
}

/// `cargo fuzz run`. Coverage needs no nightly compiler where no sanitizer is asked for.
fn libfuzzer(workspace: &Workspace, target: &str) -> std::process::Command {
    let mut cargo = workspace.cargo(&["fuzz", "run", "--fuzz-dir", FOLDER, target]);
    cargo.args(["--sanitizer", "none", "--features", "libfuzzer"]);
    // A release with the usual optimisation across crates would take several minutes to build.
    cargo.env("CARGO_PROFILE_RELEASE_LTO", "off");
    cargo.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    cargo
}

fn clock() -> anyhow::Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(now.context("the clock is set before 1970")?.as_secs())
}
