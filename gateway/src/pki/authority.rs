//! A site's own certificate authority: makes it, issues from it, revokes.
//!
//! Its state is one folder: `ca.pem`, `ca.key`, `ca.crl` and `issued.toml`. It exists so that two
//! sites can be brought up in minutes; a hospital's own CA does as well. A lock on the folder keeps
//! two commands apart.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::{
    CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, RevocationReason,
    RevokedCertParams, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

pub use super::authority_error::Error;
use super::authority_error::quoted;
use super::expiry::{date, unix};
use super::facts::{self, Facts, hex, trim};
use super::file::Role;
use super::folder::{
    Write, create_folder, file_error, lock, read_certificate, read_key, refuse_existing, write_key,
    write_public,
};
use super::index::{Entry, Index, parse_rfc3339, rfc3339};
pub use super::permitted::Permitted;
use super::profile::{BACKDATED, after, authority_params, instant, leaf_params};
pub use super::profile::{KeyType, NewAuthority, NewCertificate};
use super::write;

/// Days that a new CA is valid for.
pub const CA_DAYS: u32 = 3653;
/// Days that a new certificate is valid for: what browsers and public CAs made usual.
pub const CERTIFICATE_DAYS: u32 = 398;
/// Days until a new revocation list is due.
pub const CRL_DAYS: u32 = 30;

/// Why a certificate is revoked (RFC 5280 section 5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Reason {
    /// No reason is given.
    Unspecified,
    /// Somebody else may have the key.
    KeyCompromise,
    /// Names or organisation have changed.
    AffiliationChanged,
    /// Another certificate has taken its place.
    Superseded,
    /// The site is no more.
    CessationOfOperation,
    /// The site may no longer take part.
    PrivilegeWithdrawn,
}

impl Reason {
    /// The name that the command line and `issued.toml` have for it.
    fn name(self) -> String {
        use clap::ValueEnum;
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn parse(name: &str) -> Option<Self> {
        <Self as clap::ValueEnum>::from_str(name, false).ok()
    }

    // An unspecified reason is said by leaving it out (RFC 5280 section 5.3.1).
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

/// Where a certificate and its key are written.
#[derive(Debug, Clone)]
pub struct Output {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Its private key, PKCS#8 in PEM.
    pub key: PathBuf,
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
    /// It ends earlier than asked for, because its CA does.
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
    /// Revoked certificates in it.
    pub revoked: usize,
    /// Day by which the next one is due: `2026-12-23`.
    pub due: String,
}

/// What is to be revoked.
#[derive(Debug, Clone)]
pub enum Revocable {
    /// A serial number in hexadecimal, with or without colons.
    Serial(String),
    /// A file that holds the certificate.
    Certificate(PathBuf),
}

/// A certificate that was revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Lower-case hexadecimal.
    pub serial: String,
    /// Its names.
    pub names: Vec<String>,
    /// It had been revoked before; the list was written anew all the same.
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
    /// Held until the authority is dropped.
    _lock: File,
}

impl Authority {
    /// Makes a CA in `dir`, which is created where it is missing, with an empty revocation list, so
    /// that `crl = [...]` works from the first day.
    ///
    /// # Errors
    ///
    /// `Exists` where the folder has a CA, `Name`, `Write` and `Crypto`.
    pub fn init(dir: &Path, wanted: &NewAuthority, now: SystemTime) -> Result<Self, Error> {
        // What cannot be made leaves no folder behind.
        let params = authority_params(wanted, unix(now))?;
        create_folder(dir)?;
        let lock = lock(dir)?;
        for file in ["ca.key", "ca.pem"] {
            refuse_existing(&dir.join(file), "name another folder with --dir")?;
        }
        let key = wanted.key.generate()?;
        let certificate = params.self_signed(&*key)?;
        write_key(&dir.join("ca.key"), &key, Write::New)?;
        write_public(&dir.join("ca.pem"), &certificate.pem(), Write::New)?;
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

    /// Opens the CA in `dir`, waiting for another command that has it open.
    ///
    /// # Errors
    ///
    /// `File` for what is missing or damaged, and a key that is open to others.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let lock = lock(dir)?;
        let certificate = read_certificate(&dir.join("ca.pem"), Role::Authority)?;
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

    /// The names that the CA may vouch for; `None` where that is every name.
    #[must_use]
    pub fn permitted(&self) -> Option<String> {
        let constraints = self.facts.constraints.as_ref()?;
        Some(constraints.permitted_text())
    }

    /// Issues a certificate and its key into new files, whose folders are created where missing.
    ///
    /// # Errors
    ///
    /// `Exists` where one of the files is there, `Name`, `Expired`, `File`, `Write` and `Crypto`.
    pub fn issue(
        &mut self,
        wanted: &NewCertificate,
        output: &Output,
        now: SystemTime,
    ) -> Result<Issued, Error> {
        for path in [&output.certificate, &output.key] {
            refuse_existing(
                path,
                "name other files with --out and --key-out, or replace both with `wardgate pki renew`",
            )?;
        }
        for path in [&output.certificate, &output.key] {
            create_folder(write::folder(path))?;
        }
        self.issue_into(wanted, output, Write::New, now)
    }

    /// Issues a certificate with the names and key type of the one in `output`, and a new key, and
    /// writes both in the place of the old ones. The old certificate is not revoked: it stays good
    /// until it ends.
    ///
    /// # Errors
    ///
    /// As for `issue`, and `File` where the certificate is not of this CA.
    pub fn renew(&mut self, output: &Output, days: u32, now: SystemTime) -> Result<Issued, Error> {
        let old = self.read_issued(&output.certificate)?;
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
        let issued = self.issue_into(&wanted, output, Write::Replace, now)?;
        Ok(Issued {
            replaced: Some(Replaced {
                serial: old.serial_hex(),
                revoked: self.index.revoked_on(&old),
            }),
            ..issued
        })
    }

    fn issue_into(
        &mut self,
        wanted: &NewCertificate,
        output: &Output,
        how: Write,
        now: SystemTime,
    ) -> Result<Issued, Error> {
        if output.certificate == output.key {
            let problem = "is named for certificate and key alike; name two files".to_owned();
            return Err(file_error(&output.key, problem));
        }
        let now = unix(now);
        if self.facts.not_after <= now {
            return Err(Error::Expired {
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
        // Known before it leaves the house: what is not in the index could not be revoked by number.
        self.index.certificates.push(Entry::of(&facts));
        self.write_index()?;
        write_key(&output.key, &key, how)?;
        write_public(&output.certificate, &certificate.pem(), how)?;
        Ok(Issued {
            serial: facts.serial_hex(),
            ends: date(facts.not_after),
            names: facts.names,
            cut_by_authority: asked > not_after,
            replaced: None,
        })
    }

    /// Peers would refuse such a certificate; who asked for it should know before.
    fn refuse_not_permitted(&self, wanted: &NewCertificate) -> Result<(), Error> {
        let Some(constraints) = &self.facts.constraints else {
            return Ok(());
        };
        let dns = wanted.dns.iter().map(|name| format!("dns:{name}"));
        let mut names = dns.chain(wanted.uri.iter().map(|name| format!("uri:{name}")));
        match names.find(|name| !constraints.permit(name)) {
            None => Ok(()),
            Some(name) => Err(Error::NotPermitted {
                name,
                dir: self.dir.clone(),
                permitted: constraints.permitted_text(),
            }),
        }
    }

    /// Revokes a certificate and writes the list anew. To revoke again is no error: the list is then
    /// written anew all the same.
    ///
    /// # Errors
    ///
    /// `UnknownSerial`, `File` where the certificate is not of this CA, `Write` and `Crypto`.
    pub fn revoke(
        &mut self,
        what: &Revocable,
        reason: Reason,
        crl_days: u32,
        now: SystemTime,
    ) -> Result<Revoked, Error> {
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
        Ok(Revoked {
            serial,
            names,
            again,
            crl,
        })
    }

    /// Writes the revocation list anew, with a higher number and a new date.
    ///
    /// # Errors
    ///
    /// `Write`, `File` and `Crypto`.
    pub fn renew_crl(&mut self, crl_days: u32, now: SystemTime) -> Result<CrlWritten, Error> {
        self.write_crl(crl_days, now)
    }

    fn entry_by_serial(&mut self, serial: &str) -> Result<&mut Entry, Error> {
        let unknown = Error::UnknownSerial {
            serial: serial.to_owned(),
            index: self.dir.join("issued.toml"),
        };
        let wanted = serial_from_hex(serial);
        let entries = self.index.certificates.iter_mut();
        let mut found = entries.filter(|entry| Some(&entry.serial) == wanted.as_ref());
        found.next().ok_or(unknown)
    }

    fn write_crl(&mut self, days: u32, now: SystemTime) -> Result<CrlWritten, Error> {
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
        write_public(&path, &crl.pem()?, Write::Replace)?;
        Ok(CrlWritten {
            path,
            number: self.index.crl_number,
            revoked: params.revoked_certs.len(),
            due: date(due),
        })
    }

    /// The entries of the list. An entry that cannot be read fails it: to leave one out would make a
    /// revoked certificate good again.
    fn revoked(&self) -> Result<Vec<RevokedCertParams>, Error> {
        let entries = self.index.certificates.iter();
        let revoked = entries.filter_map(|entry| Some((entry, entry.revoked.as_deref()?)));
        revoked
            .map(|(entry, at)| {
                let reason = entry
                    .reason
                    .as_deref()
                    .map_or(Some(Reason::Unspecified), Reason::parse);
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

    /// Reads a certificate and makes sure that this CA signed it.
    fn read_issued(&self, path: &Path) -> Result<Facts, Error> {
        let certificate = read_certificate(path, Role::Given)?;
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

    fn issuer(&self) -> Result<Issuer<'static, &KeyPair>, Error> {
        Ok(Issuer::from_ca_cert_der(&self.certificate, &*self.key)?)
    }

    fn write_index(&self) -> Result<(), Error> {
        let path = self.dir.join("issued.toml");
        self.index
            .write(&path)
            .map_err(|problem| file_error(&path, problem))
    }
}

/// A serial number as people write it, in the form of the index.
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

fn own_facts(certificate: &CertificateDer<'_>) -> Result<Facts, Error> {
    Facts::of(certificate).map_err(Error::Crypto)
}

#[cfg(test)]
mod tests;
