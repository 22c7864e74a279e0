//! A site's own certificate authority: creates the CA, issues certificates, revokes them.
//!
//! The state is one folder: `ca.pem`, `ca.key`, `ca.crl` and `issued.toml`. This CA exists so that two
//! sites can be connected within minutes; a hospital's own CA works as well. A lock on the folder prevents
//! two commands from running at the same time.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::{
    CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, RevocationReason,
    RevokedCertParams, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

pub use super::authority_error::AuthorityError;
use super::authority_error::quoted;
use super::expiry::{date, unix};
use super::facts::{self, Facts, hex, trim};
use super::file::{self, FileRole};
use super::folder::{
    WriteMode, create_folder, file_error, lock, read_certificate, read_key, refuse_existing,
    replace_pair, write_error, write_key, write_public, write_site_key,
};
use super::index::{Index, IndexEntry, parse_rfc3339, rfc3339};
pub use super::permitted::Permitted;
use super::profile::{BACKDATED, after, authority_params, instant, leaf_params};
pub use super::profile::{KeyType, NewAuthority, NewCertificate};
use super::{store, write};

/// Days for which a new CA is valid.
pub(crate) const CA_DAYS: u32 = 3653;
/// Days for which a new certificate is valid: the usual lifetime of browsers and public CAs.
pub(crate) const CERTIFICATE_DAYS: u32 = 398;
/// Days until the next revocation list is due.
pub(crate) const CRL_DAYS: u32 = 30;

/// Why a certificate is revoked (RFC 5280 section 5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum RevokeReason {
    /// No reason is given.
    Unspecified,
    /// Someone else may have the key.
    KeyCompromise,
    /// Names or organisation have changed.
    AffiliationChanged,
    /// Another certificate has taken its place.
    Superseded,
    /// The site has closed.
    CessationOfOperation,
    /// The site no longer takes part.
    PrivilegeWithdrawn,
}

impl RevokeReason {
    /// The name on the command line and in `issued.toml`.
    fn name(self) -> String {
        use clap::ValueEnum;
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn parse(name: &str) -> Option<Self> {
        <Self as clap::ValueEnum>::from_str(name, false).ok()
    }

    // An unspecified reason is expressed by leaving it out (RFC 5280 section 5.3.1).
    fn code(self) -> Option<RevocationReason> {
        match self {
            Self::Unspecified => None,
            Self::KeyCompromise => Some(RevocationReason::KeyCompromise),
            Self::AffiliationChanged => Some(RevocationReason::AffiliationChanged),
            Self::Superseded => Some(RevocationReason::Superseded),
            Self::CessationOfOperation => Some(RevocationReason::CessationOfOperation),
            Self::PrivilegeWithdrawn => Some(RevocationReason::PrivilegeWithdrawn),
        }
    }
}

/// The files for a certificate and its key.
#[derive(Debug, Clone)]
pub struct OutputFiles {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Its private key, PKCS#8 in PEM.
    pub key: PathBuf,
}

impl OutputFiles {
    /// Whether the file of the key has another key than the certificate, as after a power failure between the two files. A
    /// key that cannot be read is none.
    pub(crate) fn has_other_key(&self, certificate: &CertificateDer<'_>) -> bool {
        let contents = file::read(&self.key, FileRole::Given)
            .and_then(|raw| file::parse_pem(&self.key, &raw.bytes));
        let key = contents.ok().and_then(|contents| {
            let [key] = contents.keys.as_slice() else {
                return None;
            };
            store::public_key(key)
        });
        let found = key.zip(Facts::of(certificate).ok());
        found.is_some_and(|(key, facts)| key != facts.spki)
    }
}

/// A certificate that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// Lower-case hexadecimal.
    pub serial: String,
    /// `dns:` and `uri:` names.
    pub names: Vec<String>,
    /// Last day: `2027-12-26`.
    pub ends: String,
    /// Whether it expires earlier than requested, because its CA does.
    pub cut_by_authority: bool,
    /// The certificate that it replaces.
    pub replaced: Option<Replaced>,
}

/// A certificate that was replaced by a renewed one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// Its serial number, lower-case hexadecimal.
    pub serial: String,
    /// The day on which it was revoked, such as `2026-12-23`; `None` if it was not.
    pub revoked: Option<String>,
}

/// A revocation list that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrlWritten {
    /// The file.
    pub path: PathBuf,
    /// Its number.
    pub number: u64,
    /// The number of revoked certificates in it.
    pub revoked: usize,
    /// Day by which the next one is due: `2026-12-23`.
    pub due: String,
}

/// The certificate to revoke.
#[derive(Debug, Clone)]
pub enum Revocable {
    /// A serial number in hexadecimal, with or without colons.
    Serial(String),
    /// A file that holds the certificate.
    Certificate(PathBuf),
}

/// A certificate that was revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Lower-case hexadecimal.
    pub serial: String,
    /// Its names.
    pub names: Vec<String>,
    /// Whether it had been revoked before; the list is rewritten in any case.
    pub again: bool,
    /// The new list.
    pub crl: CrlWritten,
}

/// A CA in its folder, open for one command and locked against others.
pub struct Authority {
    dir: PathBuf,
    certificate: CertificateDer<'static>,
    facts: Facts,
    key: Zeroizing<KeyPair>,
    index: Index,
    /// Held until the authority and all copies of the lock are dropped.
    _lock: File,
}

impl Authority {
    /// Creates a CA in `dir` with an empty revocation list, so `crl = [...]` works from the first day.
    /// Creates the folder if it is missing.
    ///
    /// # Errors
    ///
    /// `Exists` if the folder has a CA; `Name`, `WriteMode` and `Crypto`.
    pub fn init(
        dir: &Path,
        wanted: &NewAuthority,
        now: SystemTime,
    ) -> Result<Self, AuthorityError> {
        // Created first, so an error leaves no folder behind.
        let params = authority_params(wanted, unix(now))?;
        create_folder(dir)?;
        let lock = lock(dir)?;
        for file in ["ca.key", "ca.pem"] {
            refuse_existing(&dir.join(file), "name another folder with --dir")?;
        }
        let key = wanted.key.generate()?;
        let certificate = params.self_signed(&*key)?;
        write_key(&dir.join("ca.key"), &key, WriteMode::New)?;
        write_public(&dir.join("ca.pem"), &certificate.pem(), WriteMode::New)?;
        let certificate = certificate.der().clone();
        let mut authority = Self {
            dir: dir.to_owned(),
            facts: own_facts(&certificate)?,
            certificate,
            key,
            index: Index::default(),
            _lock: lock,
        };
        authority.write_crl(wanted.crl_days, now)?;
        Ok(authority)
    }

    /// Opens the CA in `dir`. Waits while another command has it open.
    ///
    /// # Errors
    ///
    /// `File` for a missing or damaged file, or a key that other users can read, or if the other command does not end.
    pub fn open(dir: &Path) -> Result<Self, AuthorityError> {
        Self::open_locked(dir, lock(dir)?)
    }

    /// The same with the lock of the folder, or a copy of it.
    ///
    /// # Errors
    ///
    /// `File`.
    pub(crate) fn open_locked(dir: &Path, lock: File) -> Result<Self, AuthorityError> {
        let certificate = read_certificate(&dir.join("ca.pem"), FileRole::Authority)?;
        let facts = own_facts(&certificate)?;
        let key = read_key(&dir.join("ca.key"), &facts)?;
        let index_path = dir.join("issued.toml");
        let index = Index::read(&index_path).map_err(|problem| file_error(&index_path, problem))?;
        Ok(Self {
            dir: dir.to_owned(),
            certificate,
            facts,
            key,
            index,
            _lock: lock,
        })
    }

    /// Last day of the CA: `2036-11-23`.
    #[must_use]
    pub fn ends(&self) -> String {
        date(self.facts.not_after)
    }

    /// The names for which the CA may issue certificates; `None` if there is no restriction.
    #[must_use]
    pub fn permitted(&self) -> Option<String> {
        let constraints = self.facts.constraints.as_ref()?;
        Some(constraints.permitted_text())
    }

    /// Issues a certificate and its key into new files. Creates missing folders.
    ///
    /// # Errors
    ///
    /// `Exists` if one of the files exists; `Name`, `Expired`, `File`, `WriteMode` and `Crypto`.
    pub fn issue(
        &mut self,
        wanted: &NewCertificate,
        output: &OutputFiles,
        now: SystemTime,
    ) -> Result<Issued, AuthorityError> {
        for path in [&output.certificate, &output.key] {
            refuse_existing(
                path,
                "name other files with --out and --key-out, or replace both with `wardgate pki renew`",
            )?;
        }
        for path in [&output.certificate, &output.key] {
            create_folder(write::folder(path))?;
        }
        self.issue_into(wanted, output, WriteMode::New, now)
    }

    /// Issues a certificate with the names and key type of the one in `output`, and a new key, and replaces
    /// both files, or neither if one of them cannot be written. The old certificate is not revoked: it stays
    /// valid until it expires.
    ///
    /// # Errors
    ///
    /// As for `issue`, and `File` if the certificate is not from this CA.
    pub fn renew(
        &mut self,
        output: &OutputFiles,
        days: u32,
        now: SystemTime,
    ) -> Result<Issued, AuthorityError> {
        let old = self.read_issued(&output.certificate)?;
        self.renew_as(&old, output, days, now)
    }

    /// Issues a certificate with the names and kind of key of `old`, and replaces the files.
    fn renew_as(
        &mut self,
        old: &Facts,
        output: &OutputFiles,
        days: u32,
        now: SystemTime,
    ) -> Result<Issued, AuthorityError> {
        let with = |prefix: &str| -> Vec<String> {
            let names = old
                .names
                .iter()
                .filter_map(|name| name.strip_prefix(prefix));
            names.map(str::to_owned).collect()
        };
        let wanted = NewCertificate {
            dns: with("dns:"),
            uri: with("uri:"),
            key: if old.key.bits == 384 {
                KeyType::P384
            } else {
                KeyType::P256
            },
            days,
        };
        let issued = self.issue_into(&wanted, output, WriteMode::Replace, now)?;
        Ok(Issued {
            replaced: Some(Replaced {
                serial: old.serial_hex(),
                revoked: self.index.revoked_on(old),
            }),
            ..issued
        })
    }

    fn issue_into(
        &mut self,
        wanted: &NewCertificate,
        output: &OutputFiles,
        how: WriteMode,
        now: SystemTime,
    ) -> Result<Issued, AuthorityError> {
        if output.certificate == output.key {
            let problem = "is named for certificate and key alike; name two files".to_owned();
            return Err(file_error(&output.key, problem));
        }
        let now = unix(now);
        if self.facts.not_after <= now {
            return Err(AuthorityError::Expired {
                dir: self.dir.clone(),
                date: self.ends(),
            });
        }
        let asked = after(now, wanted.days);
        let not_after = asked.min(self.facts.not_after);
        let not_before = (now - BACKDATED).max(self.facts.not_before);
        let params = leaf_params(wanted, not_before, not_after)?;
        self.refuse_not_permitted(wanted)?;
        let key = wanted.key.generate()?;
        let certificate = params.signed_by(&*key, &self.issuer()?)?;
        let facts = own_facts(certificate.der())?;
        // The index is written before the certificate: a certificate that is missing in the index could not
        // be revoked by its number.
        self.index.certificates.push(IndexEntry::of(&facts));
        self.write_index()?;
        let pem = certificate.pem();
        match how {
            WriteMode::New => {
                write_site_key(&output.key, &key)?;
                write_public(&output.certificate, &pem, how)?;
            }
            WriteMode::Replace => {
                replace_pair((&output.key, &key), (&output.certificate, &pem))?;
            }
        }
        Ok(Issued {
            serial: facts.serial_hex(),
            ends: date(facts.not_after),
            names: facts.names,
            cut_by_authority: asked > not_after,
            replaced: None,
        })
    }

    /// Peers would refuse such a certificate, so the command refuses it first.
    fn refuse_not_permitted(&self, wanted: &NewCertificate) -> Result<(), AuthorityError> {
        let Some(constraints) = &self.facts.constraints else {
            return Ok(());
        };
        let dns = wanted.dns.iter().map(|name| format!("dns:{name}"));
        let mut names = dns.chain(wanted.uri.iter().map(|name| format!("uri:{name}")));
        match names.find(|name| !constraints.permit(name)) {
            None => Ok(()),
            Some(name) => Err(AuthorityError::NotPermitted {
                name,
                dir: self.dir.clone(),
                permitted: constraints.permitted_text(),
            }),
        }
    }

    /// Revokes a certificate and rewrites the list. Revoking a revoked certificate is no error: the list is
    /// rewritten all the same.
    ///
    /// # Errors
    ///
    /// `UnknownSerial`, `File` if the certificate is not from this CA, `WriteMode` and `Crypto`.
    pub(crate) fn revoke(
        &mut self,
        what: &Revocable,
        reason: RevokeReason,
        crl_days: u32,
        now: SystemTime,
    ) -> Result<Revocation, AuthorityError> {
        let entry = match what {
            Revocable::Serial(serial) => self.entry_by_serial(serial)?,
            Revocable::Certificate(path) => {
                let facts = self.read_issued(path)?;
                self.index.entry(&facts)
            }
        };
        let again = entry.revoked.is_some();
        if !again {
            entry.revoked = Some(rfc3339(unix(now)));
            entry.reason = Some(reason.name());
        }
        let (serial, names) = (entry.serial.clone(), entry.names.clone());
        let crl = self.write_crl(crl_days, now)?;
        Ok(Revocation {
            serial,
            names,
            again,
            crl,
        })
    }

    /// Rewrites the revocation list, with a higher number and a new date.
    ///
    /// # Errors
    ///
    /// `WriteMode`, `File` and `Crypto`.
    pub(crate) fn renew_crl(
        &mut self,
        crl_days: u32,
        now: SystemTime,
    ) -> Result<CrlWritten, AuthorityError> {
        self.write_crl(crl_days, now)
    }

    /// Copies the current revocation list to `path` as DER, the form in which lists are published by HTTP
    /// (RFC 5280 section 4.2.1.13). Replaces the file in one step, so a web server never sends half a list.
    ///
    /// # Errors
    ///
    /// `File` if the list cannot be read, and `Write`.
    pub(crate) fn publish_crl(&self, path: &Path) -> Result<(), AuthorityError> {
        let current = self.dir.join("ca.crl");
        let read = file::read(&current, FileRole::Authority)
            .and_then(|raw| file::parse_crls(&current, &raw.bytes));
        let lists = read.map_err(|problem| file_error(&current, problem))?;
        let [list] = lists.as_slice() else {
            return Err(file_error(&current, "does not hold one list".to_owned()));
        };
        write::replace(path, list, write::MODE_PUBLIC).map_err(|cause| write_error(path, cause))
    }

    fn entry_by_serial(&mut self, serial: &str) -> Result<&mut IndexEntry, AuthorityError> {
        let unknown = AuthorityError::UnknownSerial {
            serial: serial.to_owned(),
            index: self.dir.join("issued.toml"),
        };
        let wanted = serial_from_hex(serial);
        let entries = self.index.certificates.iter_mut();
        let mut found = entries.filter(|entry| Some(&entry.serial) == wanted.as_ref());
        found.next().ok_or(unknown)
    }

    fn write_crl(&mut self, days: u32, now: SystemTime) -> Result<CrlWritten, AuthorityError> {
        let now = unix(now);
        self.index.crl_number += 1;
        self.write_index()?;
        let due = after(now, days);
        let params = CertificateRevocationListParams {
            this_update: instant(now - BACKDATED)?,
            next_update: instant(due)?,
            crl_number: SerialNumber::from(self.index.crl_number),
            issuing_distribution_point: None,
            revoked_certs: self.revoked()?,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let path = self.dir.join("ca.crl");
        let crl = params.signed_by(&self.issuer()?)?;
        write_public(&path, &crl.pem()?, WriteMode::Replace)?;
        Ok(CrlWritten {
            path,
            number: self.index.crl_number,
            revoked: params.revoked_certs.len(),
            due: date(due),
        })
    }

    /// The entries of the list. If an entry cannot be read, this fails: leaving one out would make a
    /// revoked certificate valid again.
    fn revoked(&self) -> Result<Vec<RevokedCertParams>, AuthorityError> {
        let entries = self.index.certificates.iter();
        let revoked = entries.filter_map(|entry| Some((entry, entry.revoked.as_deref()?)));
        revoked
            .map(|(entry, at)| {
                let reason = entry
                    .reason
                    .as_deref()
                    .map_or(Some(RevokeReason::Unspecified), RevokeReason::parse);
                let parts = (from_hex(&entry.serial), parse_rfc3339(at), reason);
                let (Some(serial), Some(at), Some(reason)) = parts else {
                    let problem = format!("has a damaged entry for serial {:?}", entry.serial);
                    return Err(file_error(&self.dir.join("issued.toml"), problem));
                };
                Ok(RevokedCertParams {
                    serial_number: SerialNumber::from_slice(&serial),
                    revocation_time: at,
                    reason_code: reason.code(),
                    invalidity_date: None,
                })
            })
            .collect()
    }

    /// Reads a certificate and checks that this CA signed it.
    fn read_issued(&self, path: &Path) -> Result<Facts, AuthorityError> {
        let certificate = read_certificate(path, FileRole::Given)?;
        let facts = Facts::of(&certificate).map_err(|problem| file_error(path, problem))?;
        let ours = facts.issuer_der == self.facts.subject_der
            && facts::certificate_signed_by(&certificate, &self.certificate) == Some(true);
        if !ours {
            let issuer = &facts.issuer;
            let problem = format!(
                "was not issued by the CA in {} but by {issuer:?}; ask that CA",
                quoted(&self.dir)
            );
            return Err(file_error(path, problem));
        }
        Ok(facts)
    }

    fn issuer(&self) -> Result<Issuer<'static, &KeyPair>, AuthorityError> {
        Ok(Issuer::from_ca_cert_der(&self.certificate, &*self.key)?)
    }

    fn write_index(&self) -> Result<(), AuthorityError> {
        let path = self.dir.join("issued.toml");
        self.index
            .write(&path)
            .map_err(|problem| file_error(&path, problem))
    }
}

/// Converts a serial number as people write it into the form of the index.
fn serial_from_hex(text: &str) -> Option<String> {
    let digits: String = text.trim().chars().filter(|c| *c != ':').collect();
    let even = if digits.len().is_multiple_of(2) {
        digits
    } else {
        format!("0{digits}")
    };
    Some(hex(&trim(&from_hex(&even)?)))
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

fn own_facts(certificate: &CertificateDer<'_>) -> Result<Facts, AuthorityError> {
    Facts::of(certificate).map_err(AuthorityError::Crypto)
}

mod succession;
#[cfg(test)]
mod tests;
