//! `wardgate check`: reports all problems of a configuration at once.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{ConfigArgs, EXIT_CONFIG, EXIT_GOOD, against, names};
use crate::supervisor::{Remark, prepare, remarks, trial};

/// The options of `wardgate check`.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Report only whether `wardgate run` would start with these files on this machine now, as a script needs to
    /// know before it restarts the service. Routes that a bad file closes do not prevent the start
    #[arg(long)]
    start: bool,
    /// Compare both ends of each route: OTHER is the configuration of the other site, with its certificates, CAs and
    /// revocation lists beside it
    #[arg(long, value_name = "OTHER", conflicts_with = "start")]
    against: Option<PathBuf>,
    /// With --against: OTHER is the configuration of the second machine of this site, which takes over from this one. Both
    /// must have the same routes, peers, rules and deadlines
    #[arg(long, requires = "against")]
    twin: bool,
}

/// Reports the problems of a configuration and of the files that it names.
pub(crate) fn run(args: &CheckArgs) -> anyhow::Result<u8> {
    if let Some(other) = &args.against {
        Ok(match args.twin {
            true => against::run_twin(args.config.file(), other),
            false => against::run(args.config.file(), other),
        })
    } else if args.start {
        Ok(start(args.config.file()))
    } else {
        Ok(all(args.config.file()))
    }
}

/// Reports whether the gateway would start, and what it would not run.
fn start(file: &Path) -> u8 {
    match trial(file) {
        Ok(found) => {
            let plural = if found.open == 1 { "" } else { "s" };
            println!(
                "{}: `wardgate run` would start; {} open route{plural}",
                file.display(),
                found.open
            );
            for text in found.closed {
                println!("{}: remark: {text}", file.display());
            }
            EXIT_GOOD
        }
        Err(problems) => {
            for problem in problems {
                eprintln!("{problem}");
            }
            EXIT_CONFIG
        }
    }
}

fn all(file: &Path) -> u8 {
    let now = SystemTime::now();
    match prepare(file, now) {
        Ok(prepared) if !prepared.problems.is_empty() => {
            for problem in prepared.problems {
                eprintln!("{problem}");
            }
            EXIT_CONFIG
        }
        Ok(mut prepared) => {
            let routes = prepared.config.routes.len();
            let expiring = prepared.expiries.look(now);
            let expiring = expiring.into_iter().map(|(_, sentence)| sentence);
            let (lacking, others): (Vec<_>, Vec<_>) = remarks(&prepared)
                .into_iter()
                .partition(|remark| remark.prevents_start);
            let others = others.into_iter().map(|remark| remark.text);
            let verdict = match lacking.as_slice() {
                [] => "good",
                _ => "no mistake in the configuration and its files",
            };
            let plural = if routes == 1 { "" } else { "s" };
            println!("{}: {verdict}; {routes} route{plural}", file.display());
            for remark in others
                .chain(expiring)
                .chain(names::remarks(&prepared.config))
            {
                println!("{}: remark: {remark}", file.display());
            }
            // The file may be for another machine than this one, and an address may be added later (VRRP).
            // The exit code is therefore that of a good file, and the last line names what would stop `run`
            // here.
            for Remark { text, .. } in lacking {
                println!(
                    "{}: `wardgate run` would not start on this machine (exit code {EXIT_CONFIG}): {text}; if the file is \
                     for another machine, check it there",
                    file.display()
                );
            }
            EXIT_GOOD
        }
        Err(problems) => {
            for problem in problems {
                eprintln!("{problem}");
            }
            EXIT_CONFIG
        }
    }
}
