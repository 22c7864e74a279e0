//! Reads certificate, key and revocation files: bounded, sorted by content, keys wiped.
//!
//! Errors are predicates: the caller puts the object in front (`key "/etc/wardgate/site.key"`).

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use zeroize::{Zeroize, Zeroizing};

use super::der::{BIT_STRING, Element, Elements, INTEGER, OBJECT_IDENTIFIER, SEQUENCE};
use super::pem::{self, Section, SectionKind};
use crate::config::access::{Process, UserIds};
use crate::pki::limits::PKI_FILE_BYTES_MAX;

/// Permission bits that a key file must not have: any access for others, and write access for its group.
/// The group may read the file, because a service may run under a group of its own.
const KEY_MODE_FORBIDDEN: u32 = 0o027;

/// The key of the configuration, or the command, that names a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileRole {
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
    /// A file that is shown or revoked, with any owner.
    Given,
    /// `web_token = `
    Token,
}

impl FileRole {
    /// What to do if the file is missing.
    fn remedy_missing(self) -> &'static str {
        match self {
            Self::Certificate | Self::Key | Self::Given => {
                "correct the path, or make it with `wardgate pki issue`"
            }
            Self::Trust => {
                "correct the path; this is the other site's CA certificate, its ca.pem: fetch it from there, \
                 and compare its fingerprint (`wardgate pki show`) with that site by telephone"
            }
            Self::Crl => "correct the path, or fetch the list from its CA",
            Self::Token => {
                "make it with `umask 077; openssl rand -hex 16 >` and its path, as the user that wardgate runs as"
            }
            Self::Authority => {
                "name the CA's folder with --dir, or make a CA with `wardgate pki init`"
            }
        }
    }
}

impl fmt::Display for FileRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::Key => "key",
            Self::Trust => "trust",
            Self::Crl => "crl",
            Self::Authority => "authority",
            Self::Given => "file",
            Self::Token => "web_token",
        })
    }
}

/// A file's bytes, wiped when dropped, with the permission bits that it had when it was read.
pub(crate) struct Raw {
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    mode: u32,
}

impl Raw {
    /// Reports wrong permissions of `path`, in case it holds a key.
    pub(super) fn key_mode_problem(&self, path: &Path, role: FileRole) -> Option<String> {
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
        // A service may run under a group of its own; the key of a CA is needed by its owner only.
        let or_group = match role {
            FileRole::Key | FileRole::Token => " (0640 if a service reads it by its group)",
            _ => "",
        };
        let secret = match role {
            FileRole::Token => "token",
            _ => "key",
        };
        Some(format!(
            "has mode {mode:04o}: {who}; `chmod 0600 {path}`{or_group}, and replace the {secret} if others had it"
        ))
    }
}

/// The contents of a file, sorted by kind, each kind in the order of the file. Keys are wiped on drop.
#[derive(Default)]
pub(crate) struct Contents {
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    pub(crate) keys: Vec<PrivateKeyDer<'static>>,
    pub(crate) crls: Vec<CertificateRevocationListDer<'static>>,
    /// Whether it contains a private key that requires a passphrase.
    pub(crate) encrypted_key: bool,
}

impl Contents {
    /// Takes the content of a section.
    fn add(&mut self, section: &mut Section) {
        let der = std::mem::take(&mut *section.der);
        match section.kind {
            SectionKind::Certificate => self.certificates.push(der.into()),
            SectionKind::Crl => self.crls.push(der.into()),
            SectionKind::Pkcs8Key => self.keys.push(PrivateKeyDer::Pkcs8(der.into())),
            SectionKind::Pkcs1Key => self.keys.push(PrivateKeyDer::Pkcs1(der.into())),
            SectionKind::Sec1Key => self.keys.push(PrivateKeyDer::Sec1(der.into())),
            SectionKind::EncryptedKey => self.encrypted_key = true,
            SectionKind::EcParameters | SectionKind::Unused(_) => {}
        }
    }

    /// Reports contents of the file that are not read from a file of `role`, and where they belong.
    pub(super) fn out_of_place(&self, role: FileRole) -> Option<&'static str> {
        match role {
            FileRole::Crl if self.has_key() => Some(
                "holds a private key, but revocation lists are handed to others; take it out, and \
                 replace that key if anyone had the file",
            ),
            FileRole::Crl if !self.certificates.is_empty() && !self.crls.is_empty() => Some(
                "also holds a certificate, which is not read here; put CA certificates into \
                 \"trust\"",
            ),
            FileRole::Certificate | FileRole::Key | FileRole::Trust if !self.crls.is_empty() => {
                Some(
                    "also holds a revocation list, which is not read here; put it into a file of its own \
                 and name that in \"crl\"",
                )
            }
            _ => None,
        }
    }

    /// Whether it contains any private key, readable or not.
    pub(super) fn has_key(&self) -> bool {
        self.encrypted_key || !self.keys.is_empty()
    }
}

impl Drop for Contents {
    fn drop(&mut self) {
        self.keys.iter_mut().for_each(Zeroize::zeroize);
    }
}

/// Reads the file for `role`, up to `limits::PKI_FILE_BYTES_MAX`. The error is a predicate.
pub(crate) fn read(path: &Path, role: FileRole) -> Result<Raw, String> {
    read_by(Process::current(), path, role)
}

/// As `read`, for a revocation list, which may also belong to the user of the service if root reads it.
pub(crate) fn read_list(path: &Path, service: Option<UserIds>) -> Result<Raw, String> {
    read_by(Process::current().for_lists(service), path, FileRole::Crl)
}

fn read_by(process: Process, path: &Path, role: FileRole) -> Result<Raw, String> {
    // Opening a FIFO would wait for a writer. O_NONBLOCK prevents that, and the FIFO is refused below.
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
    // LIMIT: PKI_FILE_BYTES_MAX; a larger file is refused.
    if bytes.len() as u64 > PKI_FILE_BYTES_MAX {
        let most = PKI_FILE_BYTES_MAX >> 20;
        return Err(format!(
            "is larger than {most} MiB; name a file that holds nothing else"
        ));
    }
    let mode = metadata.mode() & 0o7777;
    // A user with write access could change which peers are trusted. Keys have a stricter rule of their
    // own.
    if !matches!(role, FileRole::Key | FileRole::Token) && mode & 0o002 != 0 {
        let path = path.display();
        return Err(format!(
            "has mode {mode:04o}: every user of this machine may write to it; look at what it \
             holds, then `chmod 0644 {path}`"
        ));
    }
    let problem = match role {
        FileRole::Given => None,
        FileRole::Key | FileRole::Token => process.problem_of_key(path, &metadata),
        _ => process.problem(path, &metadata),
    };
    match problem {
        Some(problem) => Err(problem),
        None => Ok(Raw { bytes, mode }),
    }
}

/// Reserves room for the whole file: a growing vector would leave unwiped copies of a key behind.
fn capacity(metadata: &Metadata) -> usize {
    let bytes = metadata.len().min(PKI_FILE_BYTES_MAX) + 1;
    usize::try_from(bytes).unwrap_or(0)
}

fn unreadable(error: &io::Error) -> String {
    format!("cannot be read: {error}; correct the path")
}

fn open_problem(path: &Path, role: FileRole, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("does not exist; {}", role.remedy_missing()),
        io::ErrorKind::PermissionDenied => {
            let process = (
                rustix::process::geteuid().as_raw(),
                rustix::process::getegid().as_raw(),
            );
            permission_problem(path, process, std::fs::metadata(path).ok().as_ref())
        }
        _ => unreadable(error),
    }
}

/// Reports which user lacks which permission. `metadata` is `None` if it cannot be read either.
fn permission_problem(
    path: &Path,
    (user, group): (u32, u32),
    metadata: Option<&Metadata>,
) -> String {
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
         `chgrp {group} {path} && chmod 0640 {path}`, or `chown {user} {path}`",
        path = path.display()
    )
}

/// Sorts the PEM sections of the file at `path`. If a section is not read, the file is refused. The error
/// is a predicate.
pub(super) fn parse_pem(path: &Path, bytes: &[u8]) -> Result<Contents, String> {
    let (contents, unread) = parse_readable(path, bytes);
    let mut unread = unread.into_iter();
    match (unread.next(), unread.len()) {
        (None, _) => Ok(contents),
        (Some(problem), 0) => Err(problem),
        (Some(problem), more) => Err(format!("{problem} (and {more} more such sections)")),
    }
}

/// Sorts the readable sections, and reports why each other section cannot be read, as predicates.
pub(super) fn parse_readable(path: &Path, bytes: &[u8]) -> (Contents, Vec<String>) {
    let mut pem = pem::read(bytes);
    let mut contents = Contents::default();
    let mut unread = Vec::new();
    let next = pem.sections.iter().skip(1).map(Some).chain([None]);
    for (section, next) in pem.sections.iter().zip(next) {
        unread.extend(section.unused(next, path));
    }
    unread.extend(pem.fault.map(|fault| fault.predicate(path)));
    for section in &mut pem.sections {
        contents.add(section);
    }
    (contents, unread)
}

/// Reads revocation lists as PEM, or as DER if the file does not look like PEM.
pub(super) fn parse_crls(
    path: &Path,
    bytes: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    if is_der(bytes) {
        return Ok(vec![bytes.to_vec().into()]);
    }
    let mut contents = parse_pem(path, bytes)?;
    match contents.out_of_place(FileRole::Crl) {
        Some(problem) => Err(problem.to_owned()),
        None => Ok(std::mem::take(&mut contents.crls)),
    }
}

/// Whether the bytes begin like DER: with a SEQUENCE. In practice no PEM text begins so.
pub(super) fn is_der(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x30) && memchr::memmem::find(bytes, b"-----BEGIN ").is_none()
}

/// Explains how to convert a binary file to the PEM that a file of `role` must have. No suggested command
/// prints a private key to the screen or writes it into a file that others may read.
pub(super) fn der_problem(path: &Path, role: FileRole, bytes: &[u8]) -> String {
    let path = path.display();
    let is_key_file = role == FileRole::Key;
    let (form, command) = match (Form::of(bytes), is_key_file) {
        (Form::Pkcs12, true) => (
            "PKCS#12",
            format!("(umask 077; openssl pkcs12 -nocerts -nodes -in {path} -out {path}.new)"),
        ),
        (Form::Pkcs12, false) => (
            "PKCS#12",
            format!("openssl pkcs12 -nokeys -in {path} -out {path}.new"),
        ),
        (Form::Pkcs7, false) => (
            "PKCS#7",
            format!("openssl pkcs7 -inform DER -print_certs -in {path} -out {path}.new"),
        ),
        (Form::Certificate | Form::Unknown, false) => (
            "binary",
            format!("openssl x509 -inform DER -in {path} -out {path}.new"),
        ),
        (Form::Key | Form::Unknown, true) => (
            "binary",
            format!("(umask 077; openssl pkey -inform DER -in {path} -out {path}.new)"),
        ),
        (Form::Request, _) => {
            return "is a request to a CA (CSR) in binary; name the file that the CA issued for this request"
                .to_owned();
        }
        (Form::Crl, _) => return "is a revocation list in binary; name it in \"crl\"".to_owned(),
        (Form::Key, false) => {
            return "is a private key in binary; are \"certificate\" and \"key\" swapped?"
                .to_owned();
        }
        (Form::Certificate | Form::Pkcs7, true) => {
            return "holds certificates in binary and no private key; are \"certificate\" and \"key\" \
                    swapped?"
                .to_owned();
        }
    };
    format!("is {form}, and PEM is expected; convert it with `{command}`, and name that file")
}

/// The apparent contents of a binary file, judged by the beginning of its DER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Certificate,
    Key,
    Crl,
    /// PKCS#10 (RFC 2986).
    Request,
    /// Signed data of PKCS#7 (RFC 2315), a .p7b file.
    Pkcs7,
    /// RFC 7292, a .p12 or .pfx file.
    Pkcs12,
    Unknown,
}

impl Form {
    fn of(bytes: &[u8]) -> Self {
        const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 7, 2];
        if is_pkcs12(bytes) {
            return Self::Pkcs12;
        }
        let content = Elements(bytes).next_if(SEQUENCE).unwrap_or_default();
        let [first, second, third] = {
            let mut parts = Elements(content);
            [parts.next(), parts.next(), parts.next()]
        };
        let tag = |element: Option<Element<'_>>| element.map_or(0, |element| element.tag);
        let is_signed = tag(second) == SEQUENCE && tag(third) == BIT_STRING;
        match (tag(first), first.map_or(&[][..], |first| first.content)) {
            (OBJECT_IDENTIFIER, SIGNED_DATA) => Self::Pkcs7,
            // Private keys begin with their version: PKCS#8, PKCS#1 and SEC1.
            (INTEGER, _) => Self::Key,
            (SEQUENCE, inner) if is_signed => {
                let mut parts = Elements(inner);
                let version = parts.next();
                let rest: Vec<u8> = parts.take(4).map(|part| part.tag).collect();
                match (version, &rest[..]) {
                    (Some(version), [SEQUENCE, SEQUENCE, ..])
                        if version.tag == INTEGER && version.content == [0] =>
                    {
                        Self::Request
                    }
                    // Algorithm, issuer, then a time: the Validity of a certificate.
                    (Some(version), [SEQUENCE, SEQUENCE, UTC_TIME | GENERALIZED_TIME, ..])
                        if version.tag == INTEGER =>
                    {
                        Self::Crl
                    }
                    _ => Self::Certificate,
                }
            }
            _ => Self::Unknown,
        }
    }
}

const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Whether DER is PKCS#12 (RFC 7292 section 4): a SEQUENCE that begins with version 3 and a SEQUENCE.
fn is_pkcs12(der: &[u8]) -> bool {
    let content = match der {
        [0x30, short @ 0..0x80, content @ ..] => content.get(..usize::from(*short)),
        [0x30, 0x80, content @ ..] => Some(content),
        [0x30, long, rest @ ..] => rest.get(usize::from(long & 0x7f)..),
        _ => None,
    };
    content.is_some_and(|content| content.starts_with(&[2, 1, 3, 0x30]))
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
            permission_problem(Path::new("/etc/site.key"), (993, 990), Some(&metadata)),
            format!(
                "cannot be read by uid 993: it belongs to uid {owner} and has mode 0600; \
                 `chgrp 990 /etc/site.key && chmod 0640 /etc/site.key`, or `chown 993 /etc/site.key`"
            )
        );
        assert_eq!(
            permission_problem(Path::new("/etc/site.key"), (993, 990), None),
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
        let problem = read(&path, FileRole::Key).err();
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
        let problem = read(&path, FileRole::Trust).err();
        assert_eq!(
            problem.as_deref(),
            Some("is larger than 64 MiB; name a file that holds nothing else")
        );
    }

    #[test]
    fn broken_pem_is_named_without_quoting_it() {
        let path = Path::new("site.key");
        let cut = b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n";
        assert_eq!(
            parse_pem(path, cut).err().as_deref(),
            Some(
                "cannot be read beyond line 1: the section \"PRIVATE KEY\" that begins here has no \
                 END marker; copy it again"
            )
        );
        let garbled = b"-----BEGIN PRIVATE KEY-----\n!secret!\n-----END PRIVATE KEY-----\n";
        assert_eq!(
            parse_pem(path, garbled).err().as_deref(),
            Some(
                "cannot be read beyond line 2: the base64 of the section \"PRIVATE KEY\" is broken \
                 here; copy the section again"
            )
        );
    }

    #[test]
    fn arbitrary_bytes_do_not_crash_the_parsers() {
        for seed in 0..2000_u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut bytes = b"-----BEGIN CERTIFICATE-----\n".to_vec();
            for _ in 0..(seed % 97) {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                bytes.push(state.to_le_bytes()[0]);
            }
            let path = Path::new("any.pem");
            let _ = parse_pem(path, &bytes);
            let _ = parse_crls(path, bytes.get(28..).unwrap_or_default());
        }
    }
}
