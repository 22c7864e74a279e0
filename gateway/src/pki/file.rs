//! Reads certificate, key and revocation files: bounded, sorted by what they hold, keys wiped.
//!
//! Errors are predicates: the caller puts the object in front (`key "/etc/wardgate/site.key"`).

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustls::pki_types::pem::{self, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use zeroize::{Zeroize, Zeroizing};

use crate::limits::PKI_FILE_BYTES_MAX;

/// Permission bits that a key file must not have: anything for others, and writing for its group.
/// Reading by the group stays allowed, for a service that runs under a group of its own.
const KEY_MODE_FORBIDDEN: u32 = 0o027;

/// What a file is named for in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// `certificate = `
    Certificate,
    /// `key = `
    Key,
    /// `trust = `
    Trust,
    /// `crl = `
    Crl,
    /// A file of a CA's folder.
    Authority,
}

impl Role {
    /// What to do where the file is missing.
    fn remedy_missing(self) -> &'static str {
        match self {
            Self::Certificate | Self::Key => {
                "correct the path, or make it with `wardgate pki issue`"
            }
            Self::Trust => "correct the path, or put the CA certificates of your peers there",
            Self::Crl => "correct the path, or fetch the list from its CA",
            Self::Authority => {
                "name the CA's folder with --dir, or make a CA with `wardgate pki init`"
            }
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::Key => "key",
            Self::Trust => "trust",
            Self::Crl => "crl",
            Self::Authority => "authority",
        })
    }
}

/// A file's bytes, wiped when dropped, with the permission bits it had when it was read.
pub(crate) struct Raw {
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    mode: u32,
}

impl Raw {
    /// Says what is wrong with the permissions of `path`, should it hold a key.
    pub(crate) fn key_mode_problem(&self, path: &Path) -> Option<String> {
        let mode = self.mode;
        if mode & KEY_MODE_FORBIDDEN == 0 {
            return None;
        }
        let who = if mode & 0o007 == 0 {
            "its group may write to it"
        } else {
            "it is open to every user"
        };
        let path = path.display();
        Some(format!(
            "has mode {mode:04o}: {who}; `chmod 0600 {path}`, and replace the key if others had it"
        ))
    }
}

/// What a file holds, sorted by kind, each kind in the order of the file. Keys are wiped on drop.
#[derive(Default)]
pub(crate) struct Contents {
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    pub(crate) keys: Vec<PrivateKeyDer<'static>>,
    pub(crate) crls: Vec<CertificateRevocationListDer<'static>>,
    /// A private key is there that only a passphrase opens.
    pub(crate) encrypted_key: bool,
}

impl Contents {
    /// Whether any private key is in it, readable or not.
    pub(crate) fn has_key(&self) -> bool {
        self.encrypted_key || !self.keys.is_empty()
    }
}

impl Drop for Contents {
    fn drop(&mut self) {
        self.keys.iter_mut().for_each(Zeroize::zeroize);
    }
}

/// Reads the file named for `role`, up to `limits::PKI_FILE_BYTES_MAX`. The error is a predicate.
pub(crate) fn read(path: &Path, role: Role) -> Result<Raw, String> {
    // Opening a FIFO would wait for a writer; O_NONBLOCK makes it return, and it is refused below.
    let file = File::options()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(|error| open_problem(path, role, &error))?;
    let metadata = file.metadata().map_err(|error| unreadable(&error))?;
    if !metadata.is_file() {
        return Err("is not a regular file; name a file".to_owned());
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity(&metadata)));
    file.take(PKI_FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(&error))?;
    // LIMIT: PKI_FILE_BYTES_MAX; the file is refused whole.
    if bytes.len() as u64 > PKI_FILE_BYTES_MAX {
        let most = PKI_FILE_BYTES_MAX >> 20;
        return Err(format!(
            "is larger than {most} MiB; name a file that holds nothing else"
        ));
    }
    let mode = metadata.mode() & 0o7777;
    // Whoever writes it decides who is believed. A key has a stricter rule of its own.
    if role != Role::Key && mode & 0o002 != 0 {
        let path = path.display();
        return Err(format!(
            "has mode {mode:04o}: every user of this machine may write to it; look at what it \
             holds, then `chmod 0644 {path}`"
        ));
    }
    Ok(Raw { bytes, mode })
}

/// Room for the whole file at once: a vector that grows would leave unwiped copies of a key behind.
fn capacity(metadata: &Metadata) -> usize {
    let bytes = metadata.len().min(PKI_FILE_BYTES_MAX) + 1;
    usize::try_from(bytes).unwrap_or(0)
}

fn unreadable(error: &io::Error) -> String {
    format!("cannot be read: {error}; correct the path")
}

fn open_problem(path: &Path, role: Role, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("does not exist; {}", role.remedy_missing()),
        io::ErrorKind::PermissionDenied => {
            let user = rustix::process::geteuid().as_raw();
            permission_problem(path, user, std::fs::metadata(path).ok().as_ref())
        }
        _ => unreadable(error),
    }
}

/// Says which user lacks which permission; `None` where even the file's metadata is out of reach.
fn permission_problem(path: &Path, user: u32, metadata: Option<&Metadata>) -> String {
    let Some(metadata) = metadata else {
        return format!(
            "cannot be read by uid {user}: a folder above it is closed to this user; \
             give it search permission (`namei -l {}` shows which)",
            path.display()
        );
    };
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    format!(
        "cannot be read by uid {user}: it belongs to uid {owner} and has mode {mode:04o}; \
         `chown {user} {}`",
        path.display()
    )
}

/// Sorts the PEM sections of a file. Text around the sections is skipped; the error is a predicate.
pub(crate) fn parse_pem(bytes: &[u8]) -> Result<Contents, String> {
    let mut contents = Contents::default();
    contents.encrypted_key = contains(bytes, b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || contains(bytes, b"Proc-Type: 4,ENCRYPTED");
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
        let (kind, der) = match section {
            Ok(section) => section,
            // The old form of encryption puts headers into the section, which breaks its base64.
            Err(_) if contents.encrypted_key => continue,
            Err(error) => return Err(pem_problem(&error)),
        };
        match kind {
            SectionKind::Certificate => contents.certificates.push(der.into()),
            SectionKind::Crl => contents.crls.push(der.into()),
            _ => contents.keys.extend(PrivateKeyDer::from_pem(kind, der)),
        }
    }
    Ok(contents)
}

/// Reads revocation lists as PEM, or as DER where the file does not look like PEM.
pub(crate) fn parse_crls(
    bytes: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    if is_der(bytes) {
        return Ok(vec![bytes.to_vec().into()]);
    }
    let mut contents = parse_pem(bytes)?;
    Ok(std::mem::take(&mut contents.crls))
}

/// Whether the bytes begin as DER does: with a SEQUENCE, as no PEM text does in practice.
pub(crate) fn is_der(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x30) && !contains(bytes, b"-----BEGIN ")
}

// The decoder's own words would quote bytes of the file, perhaps of a key.
fn pem_problem(error: &pem::Error) -> String {
    let why = match error {
        pem::Error::MissingSectionEnd { .. } => "an \"-----END\" line is missing",
        pem::Error::IllegalSectionStart { .. } => "a \"-----BEGIN\" line is broken",
        pem::Error::Base64Decode(_) => "its base64 is broken",
        _ => "it cannot be decoded",
    };
    format!("is not whole PEM: {why}; copy it again")
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permission_problem_says_which_user_and_which_mode() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("site.key");
        std::fs::write(&path, "").expect("write");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, mode).expect("chmod");
        let metadata = std::fs::metadata(&path).expect("stat");
        let owner = metadata.uid();
        assert_eq!(
            permission_problem(Path::new("/etc/site.key"), 993, Some(&metadata)),
            format!(
                "cannot be read by uid 993: it belongs to uid {owner} and has mode 0600; \
                 `chown 993 /etc/site.key`"
            )
        );
        assert_eq!(
            permission_problem(Path::new("/etc/site.key"), 993, None),
            "cannot be read by uid 993: a folder above it is closed to this user; give it search \
             permission (`namei -l /etc/site.key` shows which)"
        );
    }

    #[test]
    fn a_fifo_is_refused_without_waiting_for_a_writer() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .expect("mkfifo");
        let problem = read(&path, Role::Key).err();
        assert_eq!(
            problem.as_deref(),
            Some("is not a regular file; name a file")
        );
    }

    #[test]
    fn a_file_beyond_the_bound_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("large.pem");
        let file = File::create(&path).expect("create");
        file.set_len(PKI_FILE_BYTES_MAX + 1).expect("a sparse file");
        let problem = read(&path, Role::Trust).err();
        assert_eq!(
            problem.as_deref(),
            Some("is larger than 64 MiB; name a file that holds nothing else")
        );
    }

    #[test]
    fn broken_pem_is_named_without_quoting_it() {
        let cut = b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n";
        assert_eq!(
            parse_pem(cut).err().as_deref(),
            Some("is not whole PEM: an \"-----END\" line is missing; copy it again")
        );
        let garbled = b"-----BEGIN PRIVATE KEY-----\n!secret!\n-----END PRIVATE KEY-----\n";
        assert_eq!(
            parse_pem(garbled).err().as_deref(),
            Some("is not whole PEM: its base64 is broken; copy it again")
        );
    }

    #[test]
    fn arbitrary_bytes_end_neither_parser() {
        for seed in 0..2000_u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut bytes = b"-----BEGIN CERTIFICATE-----\n".to_vec();
            for _ in 0..(seed % 97) {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                bytes.push(state.to_le_bytes()[0]);
            }
            let _ = parse_pem(&bytes);
            let _ = parse_crls(bytes.get(28..).unwrap_or_default());
        }
    }
}
