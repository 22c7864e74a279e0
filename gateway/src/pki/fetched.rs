//! Takes a revocation list that was fetched from a network into the file of the configuration.
//!
//! The list comes from a network without protection, so nothing of it reaches the file before it has passed the
//! checks of `store` for the trust of its peer, and only DER that was verified is written. A list that is older
//! than the one in the file is refused: an attacker could otherwise bring back a list in which a certificate is
//! not revoked yet.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Crl;
use super::crl::CrlHead;
use super::expiry::{date, moment};
use super::facts::hex;
use super::file::{self, FileRole};
use super::store::Store;
use super::{pem, write};
use crate::config::{Located, TrustFiles};

/// A fetched list that passed all checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Whether the file was replaced; false if it holds the same list already.
    pub is_new: bool,
    /// The last day of the list that expires first: `2027-03-01`.
    pub ends: String,
}

/// Why a fetched list did not replace the file, which is then as before.
#[derive(Debug, thiserror::Error)]
pub enum FetchedError {
    /// It is not a list that this peer's trust accepts; sentences.
    #[error("{}", .0.join("; "))]
    NotAccepted(Vec<String>),
    /// The present file cannot be read, so it is unknown whether the fetched list is newer.
    #[error("the present file {:?} {problem}", path.display().to_string())]
    Present {
        /// The file.
        path: PathBuf,
        /// The predicate: what is wrong with it, and what to do.
        problem: String,
    },
    /// The present file holds a newer list of the same CA.
    #[error(
        "it is older than the list of {issuer:?} in {:?}: {fetched}, and the file has {present}; if the CA counts \
         from the beginning again, remove the file and fetch again",
        path.display().to_string()
    )]
    Older {
        /// The CA.
        issuer: String,
        /// The file.
        path: PathBuf,
        /// Number and date of the fetched list.
        fetched: String,
        /// Number and date of the present list.
        present: String,
    },
    /// The present file holds the list of another CA as well, which would be lost.
    #[error(
        "it has no list of {issuer:?}, and {:?} has one; name a file of its own for each address in crl_url",
        path.display().to_string()
    )]
    Lacks {
        /// The CA.
        issuer: String,
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused to write.
    #[error("{:?} cannot be written: {cause}", path.display().to_string())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        cause: std::io::Error,
    },
}

/// Replaces the file `at` by the list in `bytes`, PEM or DER, if the list is valid for `trust` and not older.
/// `store` knows the chains of this site, whose CAs may have signed the list. `scope` is put in front of
/// problems.
///
/// # Errors
///
/// Why the file is as before.
pub fn take(
    store: &Store,
    scope: &str,
    trust: &TrustFiles,
    at: &Located<PathBuf>,
    bytes: &[u8],
) -> Result<Taken, FetchedError> {
    let path = at.value.as_path();
    let (fetched, problems) = store.lists(scope, &trust.trust, at, bytes);
    if !problems.is_empty() {
        let texts = problems.into_iter().map(|problem| problem.text);
        return Err(FetchedError::NotAccepted(texts.collect()));
    }
    let is_new = match present(path)? {
        None => true,
        Some(old) => {
            // Its problems do not matter: it is about to be replaced, and may have expired.
            let (present, _) = store.lists(scope, &trust.trust, at, &old);
            compare(&present, &fetched, path, store.now())?;
            !present
                .iter()
                .map(|list| list.sha256())
                .eq(fetched.iter().map(|list| list.sha256()))
        }
    };
    if is_new {
        let text = contents(&fetched, file::is_der(bytes));
        write::replace(path, &text, write::MODE_PUBLIC).map_err(|cause| FetchedError::Write {
            path: path.to_owned(),
            cause,
        })?;
    }
    let ends = fetched
        .iter()
        .filter_map(|list| list.head().next_update)
        .min();
    Ok(Taken {
        is_new,
        ends: date(ends.unwrap_or_default()),
    })
}

/// The bytes of the present file; `None` if there is none.
fn present(path: &Path) -> Result<Option<Vec<u8>>, FetchedError> {
    if path
        .symlink_metadata()
        .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    {
        return Ok(None);
    }
    match file::read(path, FileRole::Crl) {
        Ok(raw) => Ok(Some(raw.bytes.to_vec())),
        Err(problem) => Err(FetchedError::Present {
            path: path.to_owned(),
            problem,
        }),
    }
}

/// Refuses lists of which `present`, the signed ones of the file, has a newer one or another.
fn compare(
    present: &[Arc<Crl>],
    fetched: &[Arc<Crl>],
    path: &Path,
    now: i64,
) -> Result<(), FetchedError> {
    for old in present {
        let issuer = || old.head().issuer.clone();
        let Some(new) = fetched.iter().find(|new| new.covers_the_same(old)) else {
            return Err(FetchedError::Lacks {
                issuer: issuer(),
                path: path.to_owned(),
            });
        };
        if is_older(new.head(), old.head(), now) {
            return Err(FetchedError::Older {
                issuer: issuer(),
                path: path.to_owned(),
                fetched: version(new.head()),
                present: version(old.head()),
            });
        }
    }
    Ok(())
}

/// Numbers only rise, and so do the dates (RFC 5280 section 5.2.3). A list without a number has its date alone. The date
/// of a present list that is from the future does not count, because no list would be newer until then.
fn is_older(new: &CrlHead, old: &CrlHead, now: i64) -> bool {
    let has_earlier_date = new.this_update < old.this_update && !old.is_from_future(now);
    new.number_order() < old.number_order() || has_earlier_date
}

fn version(head: &CrlHead) -> String {
    let of = moment(head.this_update);
    match &head.number {
        Some(number) => format!("number 0x{} of {of}", hex(number)),
        None => format!("a list without a number of {of}"),
    }
}

/// What is written: the verified lists and nothing else, in the form in which they came.
fn contents(lists: &[Arc<Crl>], is_der: bool) -> Vec<u8> {
    match (is_der, lists) {
        (true, [list]) => list.der().to_vec(),
        _ => {
            let texts = lists.iter().map(|list| pem::of_crl(list.der()));
            texts.collect::<String>().into_bytes()
        }
    }
}

#[cfg(test)]
mod tests;
