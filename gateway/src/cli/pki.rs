//! `wardgate pki`: the certificates of a site.

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make a site's own certificate authority
    Init,
}

/// Runs one of the commands.
pub(crate) fn run(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Init => anyhow::bail!("not there yet"),
    }
}
