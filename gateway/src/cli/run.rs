//! `wardgate run`: the gateway in the foreground.

use super::ConfigArgs;

/// Runs the gateway until it is told to stop.
pub(crate) fn run(args: &ConfigArgs) -> anyhow::Result<u8> {
    anyhow::bail!(
        "cannot run {}: the supervisor is not there yet",
        args.config.display()
    )
}
