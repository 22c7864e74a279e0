//! Reading the configuration file, once it is known to be one that only its owner writes.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::syntax::Lines;
use super::{Config, Problem, parse};
use crate::limits::CONFIG_BYTES_MAX;

/// Reads the configuration from `path`.
///
/// # Errors
///
/// Every problem found, in the order of the file.
pub fn load(path: &Path) -> Result<Config, Vec<Problem>> {
    let text = read(path).map_err(|problem| vec![problem])?;
    parse(&text, path)
}

fn read(path: &Path) -> Result<String, Problem> {
    let file = open(path).map_err(|error| whole(unreadable(&error)))?;
    let metadata = file.metadata().map_err(|error| whole(unreadable(&error)))?;
    check(&metadata).map_err(whole)?;
    let mut bytes = Vec::new();
    let mut bounded = file.take(CONFIG_BYTES_MAX.saturating_add(1));
    bounded
        .read_to_end(&mut bytes)
        .map_err(|error| whole(unreadable(&error)))?;
    check_size(bytes.len() as u64).map_err(whole)?;
    String::from_utf8(bytes).map_err(|error| {
        let start = error.utf8_error().valid_up_to();
        let valid =
            String::from_utf8_lossy(error.as_bytes().get(..start).unwrap_or_default()).into_owned();
        Problem {
            line: Some(Lines::of(&valid).at(valid.len())),
            text: "the file is not UTF-8 here; save it as UTF-8".to_owned(),
        }
    })
}

fn open(path: &Path) -> io::Result<File> {
    // A named pipe must not hold up the start; what it is shows in its metadata.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn check(metadata: &Metadata) -> Result<(), String> {
    if !metadata.is_file() {
        return Err("this is not a regular file; name the configuration file itself".to_owned());
    }
    // Whoever writes it decides where patient data goes.
    if metadata.mode() & 0o002 != 0 {
        return Err(
            "every user of this machine may write the file and so redirect traffic; chmod o-w it"
                .to_owned(),
        );
    }
    check_size(metadata.len())
}

fn check_size(bytes: u64) -> Result<(), String> {
    // LIMIT: `CONFIG_BYTES_MAX`.
    if bytes > CONFIG_BYTES_MAX {
        return Err(format!(
            "the file has more than {CONFIG_BYTES_MAX} bytes, which no configuration has; is it the right one?"
        ));
    }
    Ok(())
}

fn unreadable(error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "name the file with --config, or write it",
        io::ErrorKind::PermissionDenied => "let the user that wardgate runs as read it",
        _ => "see whether the path is right",
    };
    format!("the file cannot be read: {error}; {remedy}")
}

fn whole(text: String) -> Problem {
    Problem { line: None, text }
}
