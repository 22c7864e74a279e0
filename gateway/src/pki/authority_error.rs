//! Why a command of a site's own CA failed.

use std::io;
use std::path::{Path, PathBuf};

/// Why the CA refused an operation or failed.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file exists that must not be overwritten.
    #[error("{} exists already and is not overwritten; {remedy}", quoted(path))]
    Exists {
        /// The file.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
    },
    /// A file of the authority, or a certificate given to it, is not as required.
    #[error("{} {problem}", quoted(path))]
    File {
        /// The file.
        path: PathBuf,
        /// The predicate: what is wrong with it, and what to do.
        problem: String,
    },
    /// The operating system refused to read or write.
    #[error("{} cannot be written: {cause}", quoted(path))]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        cause: io::Error,
    },
    /// A name that a certificate cannot contain.
    #[error("name {name:?} {problem}")]
    Name {
        /// The name as given.
        name: String,
        /// What is wrong with it, and what to do.
        problem: &'static str,
    },
    /// A name for which the CA may not issue certificates.
    #[error(
        "the CA in {} may not issue certificates for name {name:?} (permitted: {permitted}); issue it from another CA",
        quoted(dir)
    )]
    NotPermitted {
        /// The name as given, `dns:...` or `uri:...`.
        name: String,
        /// The CA's folder.
        dir: PathBuf,
        /// The names for which the CA may issue certificates.
        permitted: String,
    },
    /// The CA has expired.
    #[error(
        "the CA in {} expired {date}; make a new one with `wardgate pki init`",
        quoted(dir)
    )]
    Expired {
        /// The CA's folder.
        dir: PathBuf,
        /// The day it ended.
        date: String,
    },
    /// A serial number that is not in the CA's index.
    #[error(
        "serial {serial:?} is not in {}; give the certificate itself with --certificate",
        quoted(index)
    )]
    UnknownSerial {
        /// The serial number as given.
        serial: String,
        /// The index file.
        index: PathBuf,
    },
    /// Key generation, randomness or encoding failed.
    #[error("the certificate cannot be made: {0}")]
    Crypto(String),
}

impl From<rcgen::Error> for AuthorityError {
    fn from(error: rcgen::Error) -> Self {
        Self::Crypto(error.to_string())
    }
}

pub(super) fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}
