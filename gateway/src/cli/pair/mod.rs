//! `wardgate pair`: two sites without a PKI exchange their certificates.

mod args;

pub(crate) use args::PairArgs;

/// Runs the command.
pub(crate) fn run(_args: &PairArgs) -> anyhow::Result<u8> {
    anyhow::bail!("this build cannot pair yet")
}
