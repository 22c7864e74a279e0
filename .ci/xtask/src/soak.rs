//! `cargo xtask soak`: starts the endurance run of the tests' crate, with low priority.

use std::process::Command;

use crate::{Workspace, steps};

/// Two gateways under a mixed load for hours, with changes and faults; ends at the first thing that is wrong
#[derive(Debug, clap::Args)]
pub(crate) struct Soak {
    /// Hours
    #[arg(
        long,
        value_name = "N",
        default_value_t = 3.0,
        conflicts_with = "minutes"
    )]
    hours: f64,
    /// Minutes, for a quick check: 2 make one cycle of all changes and faults
    #[arg(long, value_name = "N")]
    minutes: Option<f64>,
    /// Bytes of the load, in megabytes (10^6) per second
    #[arg(long, value_name = "MB", default_value_t = 4.0)]
    rate: f64,
    /// Build the gateway as it is packaged, instead of with debug assertions and overflow checks
    #[arg(long)]
    release: bool,
}

impl Soak {
    /// Builds the programs and runs `soak`. Its report is in `target/soak`.
    pub(crate) fn run(&self, workspace: &Workspace) -> anyhow::Result<()> {
        anyhow::ensure!(self.rate > 0.0, "--rate must be more than 0");
        let minutes = self.minutes.unwrap_or(60.0 * self.hours);
        anyhow::ensure!(minutes > 0.0, "the time must be more than 0");
        // All programs, so that nothing is built with other features than for the tests.
        steps::must(&mut workspace.cargo(&["build", "--workspace", "--bins", "--locked"]))?;
        if self.release {
            let build = ["build", "--release", "--locked", "-p", "wardgate"];
            steps::must(&mut workspace.cargo(&build))?;
        }
        let profile = if self.release { "release" } else { "debug" };
        // Copies, so that builds during the hours do not replace the programs of later starts.
        let programs = workspace.product("soak-programs");
        std::fs::create_dir_all(&programs)?;
        for (folder, name) in [("debug", "soak"), (profile, "wardgate")] {
            let from = workspace.product(&format!("{folder}/{name}"));
            std::fs::copy(from, programs.join(name))?;
        }
        // The run must not keep others from their work.
        let mut run = Command::new("nice");
        run.args(["-n", "10"])
            .arg(programs.join("soak"))
            .arg(format!("{:.0}", 60.0 * minutes))
            .arg(workspace.product("soak"))
            .arg(self.rate.to_string())
            .env("WARDGATE_PROGRAM", programs.join("wardgate"))
            .current_dir(workspace.source(""));
        steps::must(&mut run)
    }
}
