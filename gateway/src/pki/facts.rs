//! The contents of certificates and revocation lists, parsed once into plain values.
//!
//! This module does not judge: `rules` does, and `show` prints the values as text. Text from a file is
//! untrusted: print it with `{:?}`, so that no control character reaches a terminal.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{
    ExtendedKeyUsage, GeneralName, KeyUsage, ParsedExtension, X509Extension,
};
use x509_parser::oid_registry::OID_X509_EXT_NAME_CONSTRAINTS;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::{CertificateRevocationList, RevokedCertificate};
use x509_parser::x509::X509Version;

use super::algorithms::{PublicKeyInfo, Signature};
use super::constraints::{Constraints, ip_text};
use super::name;

const UNREADABLE_ALGORITHM: &str = "its signature algorithm cannot be read";

/// The fields of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Distinguished name: `CN=gw.hospital.example`.
    pub(crate) subject: String,
    pub(crate) issuer: String,
    /// The issuer's and subject's names in their comparable form (`name`).
    pub(crate) subject_der: Vec<u8>,
    pub(crate) issuer_der: Vec<u8>,
    /// X.509 version, 1 to 3.
    pub(crate) version: u32,
    /// Serial number without leading zero bytes, the form in which CRLs are searched.
    pub(crate) serial: Vec<u8>,
    /// Seconds since 1970.
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
    pub(crate) key: PublicKeyInfo,
    /// The SubjectPublicKeyInfo as DER, of which `sha256:` identities are the hash.
    pub(crate) spki: Vec<u8>,
    pub(crate) signature: Signature,
    /// SAN entries: `dns:...`, `uri:...`, `ip:...`, `email:...`, `other`.
    pub(crate) names: Vec<String>,
    /// Whether basicConstraints make it a CA, and how many CAs may follow below it.
    pub(crate) ca: bool,
    pub(crate) path_length: Option<u32>,
    /// The names for which a CA may issue certificates, if it is constrained.
    pub(crate) constraints: Option<Constraints>,
    /// keyUsage and extendedKeyUsage, if present.
    pub(crate) usage: Option<Vec<&'static str>>,
    pub(crate) extended_usage: Option<Vec<String>>,
}

impl Facts {
    /// Parses a certificate; the error is the parser's.
    pub(crate) fn of(der: &[u8]) -> Result<Self, String> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        if !rest.is_empty() {
            return Err("bytes follow its end".to_owned());
        }
        let signature = Signature::of_signed(der).ok_or(UNREADABLE_ALGORITHM)?;
        Ok(Self::from_parsed(&certificate, signature))
    }

    fn from_parsed(certificate: &X509Certificate<'_>, signature: Signature) -> Self {
        let extensions = Extensions::of(certificate.extensions());
        Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            subject_der: name::comparable(certificate.subject().as_raw()),
            issuer_der: name::comparable(certificate.issuer().as_raw()),
            version: version(certificate.version()),
            serial: trim(certificate.raw_serial()),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            key: PublicKeyInfo::of_spki(certificate.public_key().raw),
            spki: certificate.public_key().raw.to_vec(),
            signature,
            names: extensions.names,
            ca: extensions.ca,
            path_length: extensions.path_length,
            constraints: extensions.constraints,
            usage: extensions.usage,
            extended_usage: extensions.extended_usage,
        }
    }

    /// Whether subject and issuer are the same: a root, or a self-signed certificate.
    pub(super) fn self_issued(&self) -> bool {
        self.subject_der == self.issuer_der
    }

    /// The serial number in lower-case hexadecimal.
    pub(super) fn serial_hex(&self) -> String {
        hex(&self.serial)
    }

    /// `sha256:` and the hash of the public key, in the form of `peers`.
    pub(super) fn peer_sha256(&self) -> String {
        format!("sha256:{}", sha256_hex(&self.spki))
    }
}

/// The extensions of a certificate. If a certificate repeats one, the last counts here; TLS refuses such a
/// certificate.
#[derive(Default)]
struct Extensions {
    names: Vec<String>,
    ca: bool,
    path_length: Option<u32>,
    constraints: Option<Constraints>,
    usage: Option<Vec<&'static str>>,
    extended_usage: Option<Vec<String>>,
}

impl Extensions {
    fn of(extensions: &[X509Extension<'_>]) -> Self {
        let mut all = Self::default();
        for extension in extensions {
            match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(san) => {
                    all.names = san.general_names.iter().map(general_name).collect();
                }
                ParsedExtension::BasicConstraints(constraints) => {
                    all.ca = constraints.ca;
                    all.path_length = constraints.path_len_constraint;
                }
                ParsedExtension::NameConstraints(constraints) => {
                    all.constraints = Some(Constraints::of(constraints, extension.critical));
                }
                _ if extension.oid == OID_X509_EXT_NAME_CONSTRAINTS => {
                    all.constraints = Some(Constraints::unreadable(extension.critical));
                }
                ParsedExtension::KeyUsage(usage) => all.usage = Some(usages(usage)),
                ParsedExtension::ExtendedKeyUsage(usage) => {
                    all.extended_usage = Some(extended_usages(usage));
                }
                _ => {}
            }
        }
        all
    }
}

fn version(version: X509Version) -> u32 {
    version.0.saturating_add(1)
}

fn general_name(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => format!("dns:{name}"),
        GeneralName::URI(uri) => format!("uri:{uri}"),
        GeneralName::RFC822Name(name) => format!("email:{name}"),
        GeneralName::IPAddress(bytes) => ip_name(bytes),
        _ => "other".to_owned(),
    }
}

fn ip_name(bytes: &[u8]) -> String {
    format!("ip:{}", ip_text(bytes))
}

fn usages(usage: &KeyUsage) -> Vec<&'static str> {
    let all = [
        (usage.digital_signature(), "digitalSignature"),
        (usage.non_repudiation(), "nonRepudiation"),
        (usage.key_encipherment(), "keyEncipherment"),
        (usage.data_encipherment(), "dataEncipherment"),
        (usage.key_agreement(), "keyAgreement"),
        (usage.key_cert_sign(), "keyCertSign"),
        (usage.crl_sign(), "cRLSign"),
    ];
    let set = all.into_iter().filter(|(set, _)| *set);
    set.map(|(_, name)| name).collect()
}

fn extended_usages(usage: &ExtendedKeyUsage<'_>) -> Vec<String> {
    let known = [
        (usage.any, "anyExtendedKeyUsage"),
        (usage.server_auth, "serverAuth"),
        (usage.client_auth, "clientAuth"),
        (usage.code_signing, "codeSigning"),
        (usage.email_protection, "emailProtection"),
        (usage.time_stamping, "timeStamping"),
        (usage.ocsp_signing, "OCSPSigning"),
    ];
    let set = known.into_iter().filter(|(set, _)| *set);
    let others = usage
        .other
        .iter()
        .map(x509_parser::oid_registry::Oid::to_id_string);
    set.map(|(_, name)| name.to_owned()).chain(others).collect()
}

/// The fields of a revocation list; its entries are in `revoked`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CrlFacts {
    pub(crate) issuer: String,
    pub(crate) issuer_der: Vec<u8>,
    /// CRL number in lower-case hexadecimal, if it has one.
    pub(crate) number: Option<Vec<u8>>,
    /// Seconds since 1970.
    pub(crate) this_update: i64,
    pub(crate) next_update: Option<i64>,
    pub(crate) signature: Signature,
    /// Whether it lists changes to another list (RFC 5280 section 5.2.4).
    pub(crate) delta: bool,
    /// Whether it contains entries of other CAs (RFC 5280 section 5.2.5).
    pub(crate) indirect: bool,
    /// In the order of the list.
    pub(crate) revoked: Vec<RevokedEntry>,
}

/// One entry of a revocation list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RevokedEntry {
    /// Serial number without leading zero bytes.
    pub(crate) serial: Vec<u8>,
    /// Seconds since 1970.
    pub(crate) at: i64,
    /// The reason in the form of the command line, for example `key-compromise`, if there is one.
    pub(crate) reason: Option<&'static str>,
}

impl CrlFacts {
    /// Parses a revocation list; the error is the parser's.
    pub(crate) fn of(der: &[u8]) -> Result<Self, String> {
        let (rest, crl) =
            CertificateRevocationList::from_der(der).map_err(|error| error.to_string())?;
        if !rest.is_empty() {
            return Err("bytes follow its end".to_owned());
        }
        let signature = Signature::of_signed(der).ok_or(UNREADABLE_ALGORITHM)?;
        Ok(Self::from_parsed(&crl, signature))
    }

    fn from_parsed(crl: &CertificateRevocationList<'_>, signature: Signature) -> Self {
        let extensions = || crl.extensions().iter().map(X509Extension::parsed_extension);
        Self {
            issuer: crl.issuer().to_string(),
            issuer_der: name::comparable(crl.issuer().as_raw()),
            number: crl.crl_number().map(x509_parser::num_bigint::BigUint::to_bytes_be),
            this_update: crl.last_update().timestamp(),
            next_update: crl.next_update().map(|at| at.timestamp()),
            signature,
            delta: crl.extensions().iter().any(|extension| {
                extension.oid == x509_parser::oid_registry::OID_X509_EXT_DELTA_CRL_INDICATOR
            }),
            indirect: extensions().any(|parsed| {
                matches!(parsed, ParsedExtension::IssuingDistributionPoint(p) if p.indirect_crl)
            }),
            revoked: crl.iter_revoked_certificates().map(revoked).collect(),
        }
    }
}

fn revoked(entry: &RevokedCertificate<'_>) -> RevokedEntry {
    RevokedEntry {
        serial: trim(entry.raw_serial()),
        at: entry.revocation_date.timestamp(),
        reason: entry.reason_code().map(|(_, code)| reason(code.0)),
    }
}

/// The reason codes of RFC 5280 section 5.3.1.
fn reason(code: u8) -> &'static str {
    match code {
        0 => "unspecified",
        1 => "key-compromise",
        2 => "ca-compromise",
        3 => "affiliation-changed",
        4 => "superseded",
        5 => "cessation-of-operation",
        6 => "certificate-hold",
        8 => "remove-from-crl",
        9 => "privilege-withdrawn",
        10 => "aa-compromise",
        _ => "unknown reason",
    }
}

/// Whether `certificate` (DER) carries a signature by the key in `issuer` (DER). `None` if this program
/// does not support the algorithm.
pub(super) fn certificate_signed_by(certificate: &[u8], issuer: &[u8]) -> Option<bool> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let (_, issuer) = X509Certificate::from_der(issuer).ok()?;
    judged(&certificate.verify_signature(Some(issuer.public_key())))
}

fn judged(outcome: &Result<(), x509_parser::error::X509Error>) -> Option<bool> {
    match outcome {
        Ok(()) => Some(true),
        Err(x509_parser::error::X509Error::SignatureVerificationError) => Some(false),
        Err(_) => None,
    }
}

/// SHA-256 in lower-case hexadecimal.
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A serial number without leading zero bytes; zero itself stays one byte.
pub(crate) fn trim(serial: &[u8]) -> Vec<u8> {
    let first = serial.iter().position(|byte| *byte != 0);
    let kept = first.and_then(|first| serial.get(first..));
    kept.unwrap_or(&[0]).to_vec()
}
