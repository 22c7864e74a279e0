//! `wardgate check`: every problem of a configuration at once.

use super::ConfigArgs;

/// Reports the problems of a configuration.
pub(crate) fn run(args: &ConfigArgs) -> anyhow::Result<u8> {
    anyhow::bail!(
        "cannot check {}: the loader is not there yet",
        args.config.display()
    )
}
