//! `wardgate check`: every problem of a configuration at once.

use std::time::SystemTime;

use super::{ConfigArgs, EXIT_CONFIG, EXIT_GOOD, names};
use crate::supervisor::{prepare, remarks};

/// Reports the problems of a configuration and of the files that it names.
pub(crate) fn run(args: &ConfigArgs) -> anyhow::Result<u8> {
    let file = args.file();
    let now = SystemTime::now();
    match prepare(file, now, None) {
        Ok(prepared) if !prepared.problems.is_empty() => {
            for problem in prepared.problems {
                eprintln!("{problem}");
            }
            Ok(EXIT_CONFIG)
        }
        Ok(mut prepared) => {
            let routes = prepared.config.routes.len();
            println!("{}: good; {routes} routes", file.display());
            let expiring = prepared.expiries.look(now);
            let expiring = expiring.into_iter().map(|(_, sentence)| sentence);
            for remark in remarks(&prepared)
                .into_iter()
                .chain(expiring)
                .chain(names::remarks(&prepared.config))
            {
                println!("{}: {remark}", file.display());
            }
            Ok(EXIT_GOOD)
        }
        Err(problems) => {
            for problem in problems {
                eprintln!("{problem}");
            }
            Ok(EXIT_CONFIG)
        }
    }
}
