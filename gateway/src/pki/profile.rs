//! The contents of a site's certificates: names, dates, usages, serial numbers.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use ring::rand::SecureRandom;
use rustls::pki_types::DnsName;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::authority_error::AuthorityError;
use super::permitted::{self, Permitted};

/// Seconds by which certificates and lists begin in the past, because the clocks of sites differ.
pub(super) const BACKDATED: i64 = 60 * 60;
/// Bytes of a serial number: 126 random bits, of at most 159 (RFC 5280 section 4.1.2.2).
const SERIAL_BYTES: usize = 16;
/// Characters of a common name (RFC 5280 appendix A, ub-common-name).
const COMMON_NAME_MAX: usize = 64;
/// Seconds of a day.
const DAY: i64 = 24 * 60 * 60;

/// Types of keys for new certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum KeyType {
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
}

impl KeyType {
    pub(crate) fn generate(self) -> Result<Zeroizing<KeyPair>, AuthorityError> {
        let algorithm = match self {
            Self::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Self::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        };
        Ok(Zeroizing::new(KeyPair::generate_for(algorithm)?))
    }
}

/// The properties of a new CA.
#[derive(Debug, Clone)]
pub struct NewAuthority {
    /// Its common name, 1 to 64 characters.
    pub name: String,
    /// Its key.
    pub key: KeyType,
    /// Days for which it is valid.
    pub days: u32,
    /// Days until its first revocation list must be renewed.
    pub crl_days: u32,
    /// The names for which it may issue certificates.
    pub permitted: Permitted,
}

/// The properties of a new certificate.
#[derive(Debug, Clone)]
pub struct NewCertificate {
    /// DNS names, without wildcards.
    pub dns: Vec<String>,
    /// URI names.
    pub uri: Vec<String>,
    /// Its key.
    pub key: KeyType,
    /// Days for which it is valid; it never outlives its CA.
    pub days: u32,
}

pub(crate) fn authority_params(
    wanted: &NewAuthority,
    now: i64,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(common_name(&wanted.name)?);
    params.not_before = instant(now - BACKDATED)?;
    params.not_after = instant(after(now, wanted.days))?;
    params.serial_number = Some(random_serial()?);
    // The CA signs certificates of sites, but no further CAs.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    if let Some(content) = wanted.permitted.extension()? {
        let mut extension = CustomExtension::from_oid_content(&permitted::OID, content);
        // RFC 5280 section 4.2.1.10: a verifier that does not support the extension must refuse the
        // certificate.
        extension.set_criticality(true);
        params.custom_extensions.push(extension);
    }
    Ok(params)
}

pub(super) fn leaf_params(
    wanted: &NewCertificate,
    not_before: i64,
    not_after: i64,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = alternative_names(wanted)?;
    // For people to read; peers check the names in the SAN.
    let first = wanted.dns.iter().chain(&wanted.uri).next();
    params.distinguished_name = match first {
        Some(name) if name.chars().count() <= COMMON_NAME_MAX => distinguished_name(name),
        _ => DistinguishedName::new(),
    };
    params.not_before = instant(not_before)?;
    params.not_after = instant(not_after)?;
    params.serial_number = Some(random_serial()?);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // A site accepts on some routes and connects on others, with the same certificate.
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn alternative_names(wanted: &NewCertificate) -> Result<Vec<SanType>, AuthorityError> {
    let mut names = Vec::new();
    for name in &wanted.dns {
        names.push(SanType::DnsName(dns_name(name)?.try_into()?));
    }
    for name in &wanted.uri {
        names.push(SanType::URI(uri_name(name)?.try_into()?));
    }
    if names.is_empty() {
        return Err(AuthorityError::Name {
            name: String::new(),
            problem: "is empty; give at least one with --dns or --uri",
        });
    }
    Ok(names)
}

fn dns_name(name: &str) -> Result<String, AuthorityError> {
    let problem = if name.contains('*') {
        "has a wildcard, but a certificate names one site; write the name out"
    } else if name.parse::<std::net::IpAddr>().is_ok() {
        "is an address; give a DNS name, which need not resolve, or a URI"
    } else if DnsName::try_from(name).is_err() {
        "is not a DNS name; labels of letters, digits and hyphens with dots between are"
    } else {
        return Ok(name.to_ascii_lowercase());
    };
    let name = name.to_owned();
    Err(AuthorityError::Name { name, problem })
}

/// A URI in the form of a SAN: absolute, ASCII (RFC 5280 section 4.2.1.6).
fn uri_name(name: &str) -> Result<&str, AuthorityError> {
    let scheme = name.split_once(':').map_or(
        "",
        |(scheme, rest)| {
            if rest.is_empty() { "" } else { scheme }
        },
    );
    let scheme_good = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    if scheme_good && name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(name);
    }
    Err(AuthorityError::Name {
        name: name.to_owned(),
        problem: "is not an absolute URI; write it like urn:nhs:ods:X26 or https://gw.example/",
    })
}

fn common_name(name: &str) -> Result<&str, AuthorityError> {
    let problem = if name.trim().is_empty() {
        "is empty; give the CA a name that people will recognise"
    } else if name.chars().count() > COMMON_NAME_MAX {
        "is longer than 64 characters; shorten it"
    } else if name.chars().any(char::is_control) {
        "has control characters; leave them out"
    } else {
        return Ok(name);
    };
    let name = name.to_owned();
    Err(AuthorityError::Name { name, problem })
}

fn distinguished_name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// Always positive, and always of the same length: the first byte is between 0x40 and 0x7f.
fn random_serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0; SERIAL_BYTES];
    ring::rand::SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| AuthorityError::Crypto("the system gave no random bytes".to_owned()))?;
    bytes[0] = (bytes[0] & 0x3f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

pub(crate) fn after(now: i64, days: u32) -> i64 {
    now.saturating_add(i64::from(days).saturating_mul(DAY))
}

pub(super) fn instant(unix: i64) -> Result<OffsetDateTime, AuthorityError> {
    OffsetDateTime::from_unix_timestamp(unix).map_err(|_| {
        AuthorityError::Crypto("its dates go beyond the calendar; give fewer --days".to_owned())
    })
}
