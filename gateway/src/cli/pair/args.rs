//! The options of `wardgate pair`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::super::admin::CONFIG;

/// The folder of a site's CA where none is named.
const CA_DIR: &str = "/etc/wardgate/ca";
/// The folder in which the CA certificates of partners are written.
const TRUST_DIR: &str = "/etc/wardgate/pki/peers";

/// `wardgate pair`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct PairArgs {
    #[command(subcommand)]
    pub(super) command: Option<PairCommand>,
    #[command(flatten)]
    pub(super) options: PairOptions,
}

/// The subcommands of `wardgate pair`.
#[derive(Debug, Subcommand)]
pub(crate) enum PairCommand {
    /// Renew what expires soon, and exchange new CA certificates with paired sites; run daily by a timer
    Renew(RenewArgs),
}

/// How two sites are paired.
#[derive(Debug, Args)]
pub(crate) struct PairOptions {
    #[command(flatten)]
    pub(super) files: PairFiles,
    /// Wait for the other site on this address, and show the code [default: the listen address of the terminate
    /// route, if there is only one]
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "connect")]
    pub(super) listen: Option<std::net::SocketAddr>,
    /// Connect to the other site at this address, and ask for the code [default: the target of the originate route,
    /// if there is only one]
    #[arg(long, value_name = "HOST:PORT")]
    pub(super) connect: Option<String>,
    /// Read the code from the first line of this file instead of asking for it; - is standard input. The code is no
    /// option of its own, because every user of the machine can see the options of a process
    #[arg(long, value_name = "FILE", conflicts_with = "listen")]
    pub(super) code_file: Option<PathBuf>,
    /// The name of the [[peer]] table for the other site [default: the table that has its identity; else the name
    /// that routes list and no table has; else the name that the other site gives]
    #[arg(long, value_name = "NAME")]
    pub(super) peer: Option<String>,
    /// The name that this site gives to the other site [default: a part of the DNS name in its certificate,
    /// `region` of gw.region.example; else the name of this machine]
    #[arg(long, value_name = "NAME")]
    pub(super) site: Option<String>,
    /// Make the site's CA and its certificate for this DNS name if there is no certificate yet
    #[arg(long, value_name = "NAME")]
    pub(super) dns: Option<String>,
    /// CA certificates for the other site to trust, for a site whose certificate is issued by another CA than the
    /// one in --dir
    #[arg(long, value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,
    /// Also list the other site in `peers` of this route; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(super) route: Vec<String>,
    /// Do not let the other site's CA certificate be renewed over the link
    #[arg(long)]
    pub(super) no_renew: bool,
    /// Replace what the configuration has for the other site without asking. If its CA has another key, or it has
    /// another identity, this counts only together with --peer
    #[arg(long)]
    pub(super) yes: bool,
}

/// The files that `wardgate pair` reads and writes.
#[derive(Debug, Args)]
pub(crate) struct PairFiles {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    pub(super) config: PathBuf,
    /// The folder of the site's CA
    #[arg(long, value_name = "DIR", default_value = CA_DIR)]
    pub(super) dir: PathBuf,
    /// The folder for the CA certificates of other sites
    #[arg(long, value_name = "DIR", default_value = TRUST_DIR)]
    pub(super) trust_dir: PathBuf,
}

/// `wardgate pair renew`.
#[derive(Debug, Args)]
pub(crate) struct RenewArgs {
    #[command(flatten)]
    pub(super) files: PairFiles,
    /// Renew the certificate and the CA of this site now, before a third of their time is left
    #[arg(long)]
    pub(super) early: bool,
}
