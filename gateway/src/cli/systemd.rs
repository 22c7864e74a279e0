//! The service of the package, for commands that change its configuration.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

/// The service of the package.
const SERVICE: &str = "wardgate.service";

/// Whether systemd runs and has the service.
pub(super) fn has_service() -> bool {
    // As sd_booted(3) does.
    Path::new("/run/systemd/system").is_dir() && succeeds(&["cat", SERVICE])
}

/// Whether the service starts when the machine starts.
pub(super) fn is_enabled() -> bool {
    succeeds(&["--quiet", "is-enabled", SERVICE])
}

/// Enables the service without starting it.
///
/// # Errors
/// What systemctl reports.
pub(super) fn enable() -> anyhow::Result<()> {
    run(&["--quiet", "enable", SERVICE])
}

/// Enables the service, and starts it. If it runs, it reads its configuration again.
///
/// # Errors
/// What systemctl reports.
pub(super) fn start_or_reload() -> anyhow::Result<()> {
    enable()?;
    if succeeds(&["--quiet", "is-active", SERVICE]) {
        return run(&["reload", SERVICE]);
    }
    // A service that has failed too often is not started otherwise.
    let _ = succeeds(&["reset-failed", SERVICE]);
    run(&["start", SERVICE])
}

fn succeeds(arguments: &[&str]) -> bool {
    let mut command = Command::new("systemctl");
    let command = command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn run(arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("systemctl");
    let status = command.args(arguments).stdin(Stdio::null()).status();
    let status = status.context("systemctl cannot be started")?;
    ensure!(
        status.success(),
        "`systemctl {}` failed; `systemctl status wardgate` shows the reason",
        arguments.join(" ")
    );
    Ok(())
}
