//! The command line: one tree of commands, the one source of help.

mod check;
mod demo;
mod pki;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The command did what it was asked.
pub const EXIT_GOOD: u8 = 0;
/// The command failed.
pub const EXIT_FAILED: u8 = 1;
/// The command line was not understood (clap's own code).
pub const EXIT_USAGE: u8 = 2;
/// The configuration or the environment does not allow it (sysexits.h `EX_CONFIG`).
pub const EXIT_CONFIG: u8 = 78;

/// Mutual-TLS gateway for healthcare imaging.
///
/// Plaintext DICOM and HL7 enter on one LAN, cross in mutual TLS with AES-256-GCM, and leave as
/// plaintext on the other.
#[derive(Debug, Parser)]
#[command(name = "wardgate", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway in the foreground until SIGTERM
    Run(ConfigArgs),
    /// Report every problem of a configuration with its line and remedy; exit 0 or 78
    Check(ConfigArgs),
    /// Make, show and revoke the certificates of a site
    #[command(subcommand)]
    Pki(pki::Command),
    /// Bring up two sites on this machine, send a study through them, and prove what happened
    Demo(demo::Args),
}

/// Where the configuration is.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    /// The configuration file
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/wardgate/wardgate.toml"
    )]
    pub(crate) config: PathBuf,
}

/// Parses the command line, runs the command and gives the process's exit code.
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Pki(command) => pki::run(command),
        Command::Demo(args) => demo::run(&args),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("wardgate: {error:#}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}
