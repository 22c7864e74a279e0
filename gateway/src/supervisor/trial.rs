//! Whether the gateway would start on this machine now, found out without starting it.

use std::path::Path as FilePath;
use std::time::SystemTime;

use super::{bind, environment, prepare};

/// What a start would open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// The number of routes that would be open: at least one.
    pub open: usize,
    /// What would not run because of bad files, as messages.
    pub closed: Vec<String>,
}

/// Does what a start does before it opens listeners, and looks whether they could be opened.
///
/// Two things differ from a start: a port that is in use is no problem, because the gateway that runs now may have it,
/// and a certificate that is not valid yet is not waited for.
///
/// # Errors
/// All reasons why the gateway would not start.
pub fn trial(file: &FilePath) -> Result<Trial, Vec<String>> {
    let machine = environment::probe().err();
    let mut problems: Vec<_> = machine.iter().map(ToString::to_string).collect();
    let prepared = match prepare(file, SystemTime::now()) {
        Ok(prepared) => prepared,
        Err(of_the_files) => {
            problems.extend(of_the_files);
            return Err(problems);
        }
    };
    problems.extend(environment::raise_descriptors(&prepared.config).err());
    problems.extend(environment::missing_log(&prepared.config));
    problems.extend(environment::check_transparent(&prepared.config).err());
    let routes = &prepared.table.routes;
    problems.extend(bind::obstacles(&prepared.config, routes));
    if problems.is_empty() {
        Ok(Trial {
            open: routes.len(),
            closed: prepared.closed,
        })
    } else {
        Err(problems)
    }
}
