//! `wardgate run`: the gateway in the foreground.

use std::path::PathBuf;

use super::{ConfigArgs, EXIT_CONFIG, EXIT_GOOD};
use crate::supervisor::{self, RunError};

/// `wardgate run`.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Take the place of the running gateway with this admin socket: it hands its listeners over and ends
    /// after its connections
    #[arg(long, value_name = "SOCKET")]
    take_over: Option<PathBuf>,
}

/// Runs the gateway until a signal stops it.
pub(crate) fn run(args: &RunArgs) -> anyhow::Result<u8> {
    match supervisor::run(args.config.file(), args.take_over.as_deref()) {
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
