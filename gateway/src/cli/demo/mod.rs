//! `wardgate demo`: two sites on this machine and a study between them.

/// How large, with whose files, and whether to keep what was made.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the demonstration.
pub(crate) fn run(_args: &Args) -> anyhow::Result<u8> {
    anyhow::bail!("not there yet")
}
