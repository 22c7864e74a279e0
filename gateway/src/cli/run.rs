//! `wardgate run`: the gateway in the foreground.

use super::{ConfigArgs, EXIT_CONFIG, EXIT_GOOD};
use crate::supervisor::{self, RunError};

/// Runs the gateway until it is told to stop.
pub(crate) fn run(args: &ConfigArgs) -> anyhow::Result<u8> {
    match supervisor::run(args.file()) {
        Ok(()) => Ok(EXIT_GOOD),
        Err(RunError::Refused(problems)) => {
            for problem in problems {
                eprintln!("{problem}");
            }
            Ok(EXIT_CONFIG)
        }
        Err(RunError::Broken(sentence)) => Err(anyhow::anyhow!(sentence)),
    }
}
