//! The service of the package, for commands that change its configuration.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use super::{admin, apply};

/// The service of the package.
const SERVICE: &str = "wardgate.service";
/// The timer of the package that runs `wardgate pair renew` every day.
pub(super) const RENEWAL_TIMER: &str = "wardgate-pair-renew.timer";

/// Whether systemd runs and has the service.
pub(super) fn has_service() -> bool {
    // As sd_booted(3) does.
    Path::new("/run/systemd/system").is_dir() && succeeds(&["cat", SERVICE])
}

/// Whether the service starts when the machine starts.
pub(super) fn is_enabled() -> bool {
    succeeds(&["--quiet", "is-enabled", SERVICE])
}

/// Whether the service runs.
pub(super) fn is_active() -> bool {
    succeeds(&["--quiet", "is-active", SERVICE])
}

/// Enables the service without starting it.
///
/// # Errors
/// What systemctl reports.
pub(super) fn enable() -> anyhow::Result<()> {
    run(&["--quiet", "enable", SERVICE])
}

/// Enables the timer of renewals, and starts it.
///
/// # Errors
/// What systemctl reports.
pub(super) fn enable_renewal() -> anyhow::Result<()> {
    run(&["--quiet", "enable", "--now", RENEWAL_TIMER])
}

/// Enables the service, and starts it. If it runs, it uses its changed configuration.
///
/// # Errors
/// What systemctl reports, or why the running gateway does not use the configuration.
pub(super) fn start_or_reload() -> anyhow::Result<()> {
    enable()?;
    if is_active() {
        let reply = apply::use_configuration(&admin::of_packaged_service())?;
        ensure!(
            reply.ok,
            "the running gateway does not use the new configuration: {}",
            reply.lines.join("; ")
        );
        return Ok(());
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
        "`systemctl {}` failed; `systemctl status {}` shows the reason",
        arguments.join(" "),
        arguments.last().copied().unwrap_or(SERVICE)
    );
    Ok(())
}
