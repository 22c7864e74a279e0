//! Fuzzes for longer than the tests do: the same targets, a new seed, more time.

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
}

impl Fuzz {
    /// Runs the targets. A failing input is an error and is added to the corpus.
    pub(crate) fn run(&self, workspace: &Workspace) -> anyhow::Result<bool> {
        let targets = format!("targets::{}", self.target.as_deref().unwrap_or_default());
        let mut cargo = workspace.cargo(&["test", "--locked", "-p", "wardgate-tests"]);
        cargo.args(["--test", "fuzz", "--", "--nocapture", &targets]);
        cargo.env("WARDGATE_FUZZ_SECONDS", self.seconds.to_string());
        let seed = self.seed.map_or_else(clock, Ok)?;
        cargo.env("WARDGATE_FUZZ_SEED", seed.to_string());
        if self.keep {
            cargo.env("WARDGATE_FUZZ_KEEP", "1");
        }
        must(&mut cargo)?;
        Ok(true)
    }
}

fn clock() -> anyhow::Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(now.context("the clock is set before 1970")?.as_secs())
}
