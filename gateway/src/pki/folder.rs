//! The folder of a CA and the files that its commands write: opening, locking, reading, writing.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rcgen::KeyPair;
use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::authority_error::AuthorityError;
use super::facts::Facts;
use super::file::{self, FileRole};
use super::limits::{LOCK_TRIED_EVERY, LOCKED_WITHIN};
use super::{pem, store, write};

/// The file that is locked in a folder of CA certificates of partners.
const TRUST_LOCK: &str = ".lock";

pub(super) fn file_error(path: &Path, problem: String) -> AuthorityError {
    let path = path.to_owned();
    AuthorityError::File { path, problem }
}

pub(super) fn write_error(path: &Path, cause: io::Error) -> AuthorityError {
    let path = path.to_owned();
    AuthorityError::Write { path, cause }
}

/// Creates the folder of a CA for its owner only: a user who can open the folder could also lock it.
pub(super) fn create_folder(dir: &Path) -> Result<(), AuthorityError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|cause| write_error(dir, cause))
}

/// Waits until no other command has locked the folder of a CA, and locks it until the result is dropped.
///
/// # Errors
///
/// `File` if the folder cannot be opened, or if another command has it locked for `LOCKED_WITHIN`.
pub(crate) fn lock(dir: &Path) -> Result<File, AuthorityError> {
    let missing = |cause: io::Error| match cause.kind() {
        io::ErrorKind::NotFound => file_error(
            dir,
            "does not exist; make a CA with `wardgate pki init`".to_owned(),
        ),
        _ => file_error(dir, format!("cannot be opened: {cause}")),
    };
    locked(File::open(dir).map_err(missing)?, dir, LOCKED_WITHIN)
}

/// The same for a folder with CA certificates of partners. Other users may open the folder and could lock it, so a file in it is
/// locked, which only its owner can open.
///
/// # Errors
///
/// As for `lock`, and `Write` if the file cannot be made.
pub(crate) fn lock_trust(dir: &Path) -> Result<File, AuthorityError> {
    let path = dir.join(TRUST_LOCK);
    let make = |_| {
        let mut options = File::options();
        options.write(true).create(true).truncate(false).mode(0o600);
        options.open(&path)
    };
    let file = File::open(&path).or_else(make);
    let file = file.map_err(|cause| write_error(&path, cause))?;
    locked(file, &path, LOCKED_WITHIN)
}

fn locked(file: File, path: &Path, within: Duration) -> Result<File, AuthorityError> {
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            // LIMIT: LOCKED_WITHIN.
            Err(TryLockError::WouldBlock) if begun.elapsed() >= within => break,
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_TRIED_EVERY),
            Err(TryLockError::Error(cause)) => {
                return Err(file_error(path, format!("cannot be locked: {cause}")));
            }
        }
    }
    let holder = holder(&file)
        .unwrap_or_else(|| "another command, such as `wardgate pki` or `wardgate pair`".to_owned());
    Err(file_error(
        path,
        format!(
            "is locked by {holder}, which did not end within {} s; nothing was changed: run the command again later",
            within.as_secs()
        ),
    ))
}

/// The process that has locked the file. A sandbox may hide it.
fn holder(file: &File) -> Option<String> {
    let inode = format!(":{}", file.metadata().ok()?.ino());
    // Such as `1: FLOCK  ADVISORY  WRITE 712 fe:01:5246 0 EOF`.
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let mut lines = locks.lines().map(|line| line.split_whitespace());
    let process = lines.find_map(|mut fields| {
        let process = fields.nth(4)?;
        fields.next()?.ends_with(&inode).then(|| process.to_owned())
    })?;
    let command = std::fs::read_to_string(format!("/proc/{process}/cmdline")).ok()?;
    let command = command.replace('\0', " ");
    Some(format!("process {process} (`{}`)", command.trim()))
}

pub(super) fn refuse_existing(path: &Path, remedy: &'static str) -> Result<(), AuthorityError> {
    // A dangling symbolic link exists as well.
    if path.symlink_metadata().is_ok() {
        let path = path.to_owned();
        return Err(AuthorityError::Exists { path, remedy });
    }
    Ok(())
}

/// The first certificate of a file.
pub(super) fn read_certificate(
    path: &Path,
    role: FileRole,
) -> Result<CertificateDer<'static>, AuthorityError> {
    let contents = file::read(path, role).and_then(|raw| file::parse_pem(path, &raw.bytes));
    let mut contents = contents.map_err(|problem| file_error(path, problem))?;
    if contents.certificates.is_empty() {
        return Err(file_error(path, "holds no certificate".to_owned()));
    }
    Ok(contents.certificates.swap_remove(0))
}

/// The CA's key, which other users must not be able to read and which must belong to `certificate`.
pub(super) fn read_key(
    path: &Path,
    certificate: &Facts,
) -> Result<Zeroizing<KeyPair>, AuthorityError> {
    let raw = file::read(path, FileRole::Authority).map_err(|problem| file_error(path, problem))?;
    if let Some(problem) = raw.key_mode_problem(path, FileRole::Authority) {
        return Err(file_error(path, problem));
    }
    let contents =
        file::parse_pem(path, &raw.bytes).map_err(|problem| file_error(path, problem))?;
    let [key] = contents.keys.as_slice() else {
        return Err(file_error(path, "does not hold one private key".to_owned()));
    };
    if store::public_key(key).as_ref() != Some(&certificate.spki) {
        return Err(file_error(
            path,
            "does not belong to ca.pem beside it".to_owned(),
        ));
    }
    Ok(Zeroizing::new(KeyPair::try_from(key)?))
}

/// Whether the file may exist already.
#[derive(Debug, Clone, Copy)]
pub(crate) enum WriteMode {
    New,
    Replace,
}

pub(super) fn write_key(path: &Path, key: &KeyPair, how: WriteMode) -> Result<(), AuthorityError> {
    // `KeyPair::serialize_pem` would leave copies of the key in memory.
    let pem = pem::of_key(key.serialized_der());
    write_file(path, pem.as_bytes(), write::MODE_KEY, how)
}

/// Replaces a key and its certificate. Both are complete on disk before the first is renamed, and the key is
/// renamed first. A reader between the two renames, or after a crash there, finds a new key beside the old
/// certificate; they do not belong together, so a gateway keeps what it has loaded. Such a pair is completed by
/// renewing again, which needs the certificate only.
pub(super) fn replace_pair(
    key: (&Path, &KeyPair),
    certificate: (&Path, &str),
) -> Result<(), AuthorityError> {
    let pem = pem::of_key(key.1.serialized_der());
    let files = [
        (key.0, pem.as_bytes(), write::MODE_KEY),
        (certificate.0, certificate.1.as_bytes(), write::MODE_PUBLIC),
    ];
    write::replace_all(&files).map_err(|cause| write_error(key.0, cause))
}

/// Writes the new key of a site, which the group of its folder may read: see `write::create_key`.
pub(super) fn write_site_key(path: &Path, key: &KeyPair) -> Result<(), AuthorityError> {
    let pem = pem::of_key(key.serialized_der());
    written(path, write::create_key(path, pem.as_bytes()))
}

pub(super) fn write_public(path: &Path, pem: &str, how: WriteMode) -> Result<(), AuthorityError> {
    write_file(path, pem.as_bytes(), write::MODE_PUBLIC, how)
}

fn write_file(path: &Path, bytes: &[u8], mode: u32, how: WriteMode) -> Result<(), AuthorityError> {
    let outcome = match how {
        WriteMode::New => write::create(path, bytes, mode),
        WriteMode::Replace => write::replace(path, bytes, mode),
    };
    written(path, outcome)
}

fn written(path: &Path, outcome: io::Result<()>) -> Result<(), AuthorityError> {
    outcome.map_err(|cause| match cause.kind() {
        io::ErrorKind::AlreadyExists => AuthorityError::Exists {
            path: path.to_owned(),
            remedy: "another command has just created it",
        },
        _ => write_error(path, cause),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_waits_for_another_one_names_it_and_ends() {
        let dir = tempfile::tempdir().expect("a folder");
        for lock in [lock, lock_trust] {
            let held = lock(dir.path()).expect("it is free");
            let path = match dir.path().join(TRUST_LOCK) {
                file if file.exists() => file,
                _ => dir.path().to_owned(),
            };
            let again = File::open(&path).expect("it is ours");
            let error = locked(again, &path, Duration::from_millis(50)).expect_err("it is locked");
            let text = error.to_string();
            assert!(text.contains("did not end within"), "{text}");
            let own = format!("is locked by process {} (`", std::process::id());
            assert!(text.contains(&own), "{text}");
            drop(held);
            lock(dir.path()).expect("it is free again");
        }
    }

    #[test]
    fn only_the_owner_can_lock_a_folder_of_partners() {
        let dir = tempfile::tempdir().expect("a folder");
        let _held = lock_trust(dir.path()).expect("it is free");
        let metadata = dir.path().join(TRUST_LOCK).metadata();
        assert_eq!(metadata.expect("it was made").mode() & 0o777, 0o600);
        // A lock of the folder itself, which other users can take, is not in the way.
        lock(dir.path()).expect("it is another lock");
    }
}
