//! The command line: one tree of commands, and the only source of the help text.

mod admin;
mod against;
mod bundle;
mod check;
mod doctor;
pub mod import;
mod limits;
mod names;
mod output;
mod pair;
mod pki;
mod run;
mod setup;
mod sheet;
mod socket;
mod status;
mod systemd;
mod tune;
mod unpaired;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::supervisor;

/// The command succeeded.
pub const EXIT_GOOD: u8 = 0;
/// The command failed.
pub const EXIT_FAILED: u8 = 1;
/// The command line is not valid (clap's own code).
pub const EXIT_USAGE: u8 = 2;
/// The configuration or the environment does not allow a start (sysexits.h `EX_CONFIG`).
pub const EXIT_CONFIG: u8 = 78;

/// A certificate of the other site that expires within this many days is reported.
const DAYS_WARNED: i64 = 14;

/// Mutual-TLS gateway for healthcare imaging.
///
/// Plaintext DICOM and HL7 enter on one LAN, cross the network in mutual TLS with AES-256-GCM, and leave as
/// plaintext on the other LAN.
#[derive(Debug, Parser)]
#[command(name = "wardgate", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Run the gateway in the foreground until SIGTERM
    #[command(after_help = RUN_HELP)]
    Run(run::RunArgs),
    /// Set this site up: ask three questions, write the configuration and the certificate, start the service
    #[command(after_help = setup::HELP)]
    Setup(Box<setup::SetupArgs>),
    /// Report every problem of a configuration, with its line and what to do; exit code 0 or 78
    #[command(after_help = CHECK_HELP)]
    Check(check::CheckArgs),
    /// Turn a configuration of stunnel or HAProxy into routes, and report what became of each line
    #[command(after_help = IMPORT_HELP)]
    Import(import::ImportArgs),
    /// Print what the teams for firewalls, archives and modalities of both sites need, as text or HTML
    #[command(after_help = sheet::HELP)]
    Sheet(sheet::SheetArgs),
    /// Make a running gateway use its changed configuration and files
    #[command(after_help = RELOAD_HELP)]
    Reload(admin::AdminArgs),
    /// Show the state of a running gateway: health, routes, connections, certificates, cores
    #[command(after_help = STATUS_HELP)]
    Status(status::StatusArgs),
    /// Examine a route, or all routes, end to end: name the side at fault and what to do
    #[command(after_help = DOCTOR_HELP)]
    Doctor(doctor::DoctorArgs),
    /// Stop accepting on a route, or on all routes, and let open connections end
    #[command(after_help = DRAIN_HELP)]
    Drain(admin::DrainArgs),
    /// Reset one open connection
    End(admin::EndArgs),
    /// Send no new connections to a target, or use it again
    Maintenance(admin::MaintenanceArgs),
    /// Start the installed program in place of the running one, which hands its listeners over
    #[command(after_help = UPGRADE_HELP)]
    Upgrade(admin::AdminArgs),
    /// Make, show and revoke the certificates of a site
    #[command(subcommand)]
    Pki(pki::PkiCommand),
    /// Pair this site with another one: exchange certificates, protected by a code of four words
    #[command(after_help = PAIR_HELP)]
    Pair(Box<pair::PairArgs>),
    /// Compare the settings of this host with those of a busy gateway, change them, or undo the change
    #[command(subcommand)]
    Tune(tune::TuneCommand),
    /// Write one file for a support case: versions, configuration, status, metrics, log, settings of the host
    #[command(after_help = BUNDLE_HELP)]
    SupportBundle(bundle::BundleArgs),
}

impl CliCommand {
    /// What the command does besides printing; `None` for the gateway itself.
    fn kind(&self) -> Option<output::CommandKind> {
        use output::CommandKind::{Reports, Works};
        match self {
            Self::Run(_) => None,
            Self::Pki(command) if !command.is_report() => Some(Works),
            Self::Pair(_) | Self::Setup(_) => Some(Works),
            Self::Tune(command) if !command.is_report() => Some(Works),
            _ => Some(Reports),
        }
    }
}

/// Which configuration file a command reads.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    /// The configuration file
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/wardgate/wardgate.toml"
    )]
    config: PathBuf,
    /// The configuration file, without the option's name
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
}

impl ConfigArgs {
    /// The configuration file, given either way.
    pub(crate) fn file(&self) -> &Path {
        self.file.as_deref().unwrap_or(&self.config)
    }
}

const RUN_HELP: &str = "\
Signals:
  SIGTERM, SIGINT  stop accepting connections; open connections have the `drain`
                   time of their route to end, then the gateway resets them. A
                   second signal resets them at once
  SIGHUP           read the configuration and its files again, as `wardgate
                   reload` does; the log has the outcome
  SIGUSR1, SIGUSR2, SIGALRM, SIGIO, SIGPROF, SIGPWR, SIGSTKFLT, SIGVTALRM and
  real-time signals
                   ignored, with at most one log line per minute

Exit codes:
  0   stopped by a signal, all connections ended
  1   a failure while running; the last line of the log names it
  2   the command line is not valid
  78  the configuration, its files, or the machine (io_uring, ports, file
      descriptors) do not allow a start; standard error names each problem";

const RELOAD_HELP: &str = "\
Reads the configuration and every file that it names. If anything is wrong, nothing
changes, and each problem is printed. Open connections continue: a changed route uses
its new configuration for new connections, and a removed route drains. Connections
whose peer is no longer accepted are reset. The keys of [gateway] take effect at the
next start. A replaced certificate, key, CA or revocation list needs no reload: the
gateway notices it.

Exit codes:
  0  the configuration is in use
  1  nothing was changed, or no gateway was reached; standard error names the reason
  2  the command line is not valid";

const STATUS_HELP: &str = "\
Without an option, prints tables of 80 columns. --json prints all that is known, for
programs; the reference \"Admin protocol\" describes it. --watch shows the state as it
changes: tables of routes, connections, certificates, cores and refusals, which keys
sort and filter; it can also end a connection and drain a route. NO_COLOR turns
colours off.

Exit codes:
  0  the state was printed; with --check: OK
  1  no gateway was reached; with --check: WARNING
  2  the command line is not valid; with --check: CRITICAL, also if no gateway
     was reached
  3  with --check: UNKNOWN, the route does not exist";

const DRAIN_HELP: &str = "\
New clients are refused at once. An association ends at its A-RELEASE, an MLLP
connection after its last acknowledgement. Connections that are open after the
`drain` time of the route are reset. `wardgate status` shows the progress. The
process does not end, and `--undo` makes the route accept again.";

const UPGRADE_HELP: &str = "\
No client is refused: the listeners stay open. Open connections stay with
the earlier process, which ends after the last one, or after the `drain` time of each
route. If the new process does not start, the running one continues, and the log has
the reason. The new process reads the configuration and its files: run `wardgate
check` before. An upgrade is refused while a route is drained, or while earlier
contents of a bad file are in use: the new process would not know of them.

Exit codes:
  0  the new process serves
  1  it does not, and the running process continues; standard error names the reason
  2  the command line is not valid";

const CHECK_HELP: &str = "\
For a good configuration, `check` also prints remarks, for example about a name
that does not resolve now. A remark begins with FILE: remark: and is no error.

Exit codes:
  0   no mistake in the configuration and its files
  2   the command line is not valid
  78  a mistake; standard error names each problem with its line

With --start, exit code 0 means that `wardgate run` would start with the routes
whose files are good, and 78 that it would not, because of the configuration or
of this machine (io_uring, addresses, file descriptors). A port that is in use
counts as good: the gateway that runs now may have it.

With --against, FILE is compared with the configuration of the other site: which
routes reach each other, whether both ends accept each other's certificate, and
settings that contradict each other. Each line names the file to change. Exit code
78 means that a pair of routes would not work. Copy the certificates, CAs and
revocation lists of the other site beside its configuration: an absolute path in it
names a file of the other machine, so the file with this name beside OTHER is read.
What is not there is not compared, and a remark says so. Never copy a key.

With --against and --twin, OTHER is the second machine of this site. The same on
both: names and all keys of routes and peers, [timeouts], the ports, the CAs, and the
names in the certificates. A remark if different: the address of a listener, the age
of revocation lists, the issuer of the certificate; or if both have the same key. Not
compared: [gateway] except its limits, interfaces, and paths of files.";

const IMPORT_HELP: &str = "\
The new configuration goes to standard output or to NEW, the report to standard error.
Each line of FILE is reported with a class:
  carried      the new configuration does the same, or the service does it
  stricter     wardgate allows less, and the sentence gives the reason
  not carried  wardgate does not do it, and the sentence says what to do instead

A value that begins with FILL-IN is not in FILE, for example the name of the peer.
`wardgate check` refuses it until it is replaced. Secrets of FILE are not shown. No
file that FILE names is opened, except files of a folder beside it that it includes.

Exit codes:
  0   every line is carried over or stricter
  1   some lines are not carried over, and the rest is written; or NEW cannot be
      written
  2   the command line is not valid, or it names a route that does not exist
  78  FILE cannot be read, or is too large";

const DOCTOR_HELP: &str = "\
Results of a step:
  ok       good
  warning  connections pass, and something needs attention or could not be
           examined
  failed   connections do not pass; the line below names the side at fault and
           the remedy
  skipped  not examined, because of an earlier step or because it does not apply

The gateway may run or not. Steps that need rights of another user say so. No
patient data is sent. A C-ECHO or an HL7 probe message is sent only on routes whose
`health` has the probe \"c-echo\" or \"mllp\".

Exit codes:
  0   every step is ok, a warning or skipped
  1   a step failed
  2   the command line is not valid, or there is no such route
  78  the text of the configuration is not valid";

const PAIR_HELP: &str = "\
One site runs `wardgate pair --listen ADDRESS:PORT` and shows a code of four words. The
other runs `wardgate pair --connect HOST:PORT`, and a person types the code, which is
read out over the telephone. Both sites then check each other's certificates, show
their fingerprints as words, and write a [[peer]] table into their configuration and
the CA certificate of the other site into --trust-dir. Up to the last step nothing is
written. The command can be run again: it then replaces what it wrote, and first shows
the difference. The code is valid for ten minutes, for three tries and for one use.

The port is usually that of the terminate route, because the firewalls let it pass. If
a gateway runs on it already, use another port that the firewalls let pass, or stop the
gateway while you pair.

Exit codes:
  0   both sites have written everything
  1   not so; standard error says why, and what was written
  2   the command line is not valid
  78  the configuration is not valid";

const BUNDLE_HELP: &str = "\
The file is a .tar.gz that only you can read. It holds no key and no patient data:
the gateway logs none, and private keys, passwords and tokens in the configuration
are replaced. It does name hosts, addresses, AE titles and partners. `about.txt` lists
the parts, and why a part is missing. Run it as root, so that the log and the
configuration can be read. It works with the gateway running or stopped.

Exit codes:
  0  the file is written, even if some parts are missing
  1  it cannot be written
  2  the command line is not valid";

/// The tree of commands with its help, from which man pages and completions are made.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses a command line that begins with the program's name, runs its command and returns the exit code
/// of the process.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<_> = arguments.into_iter().collect();
    if let Some((first, rest)) = arguments.get(1..).and_then(<[_]>::split_first)
        && first == supervisor::LAUNCHER
    {
        let outcome = supervisor::run_launcher(rest);
        return ExitCode::from(if outcome.is_ok() {
            EXIT_GOOD
        } else {
            EXIT_FAILED
        });
    }
    let command = Cli::parse_from(arguments).command;
    if let Some(kind) = command.kind() {
        output::end_when_not_writable(kind);
    }
    let outcome = match command {
        CliCommand::Run(args) => run::run(&args),
        CliCommand::Setup(args) => setup::run(&args),
        CliCommand::Sheet(args) => sheet::run(&args),
        CliCommand::Check(args) => check::run(&args),
        CliCommand::Import(args) => import::run(&args),
        CliCommand::Reload(args) => admin::reload(&args),
        CliCommand::Status(args) => status::status(&args),
        CliCommand::Doctor(args) => doctor::run(&args),
        CliCommand::Drain(args) => admin::drain(args),
        CliCommand::End(args) => admin::end(args),
        CliCommand::Maintenance(args) => admin::maintenance(args),
        CliCommand::Upgrade(args) => admin::upgrade(&args),
        CliCommand::Pki(command) => pki::run(command),
        CliCommand::Pair(args) => pair::run(&args),
        CliCommand::Tune(command) => tune::run(command),
        CliCommand::SupportBundle(args) => bundle::run(&args),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("wardgate: {error:#}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}
