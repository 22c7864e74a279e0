//! Which keys and signature algorithms of a peer's certificates are accepted.
//!
//! The verifier of the path decides; this module says in words what it does not accept.

use std::ops::RangeInclusive;

use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};
use x509_parser::public_key::PublicKey;
use x509_parser::signature_algorithm::RsaSsaPssParams;
use x509_parser::x509::AlgorithmIdentifier;

use super::der::{Elements, Layout, OBJECT_IDENTIFIER, SEQUENCE};
use super::names::object_identifier;
use super::refusal::Rule;
use crate::pki::der::{element, only};

/// Bits that an RSA key must have (NIST SP 800-131A), and those that no library here verifies beyond.
const RSA_BITS: RangeInclusive<usize> = 2048..=8192;

/// What is wrong with a public key (DER SubjectPublicKeyInfo), where something is.
pub(super) fn key_fault(spki: &[u8]) -> Option<String> {
    let Ok((_, spki)) = SubjectPublicKeyInfo::from_der(spki) else {
        return Some("an unreadable key".into());
    };
    if let Ok(PublicKey::RSA(key)) = spki.parsed() {
        let bits = bits(key.modulus);
        return (!RSA_BITS.contains(&bits)).then(|| format!("an RSA key of {bits} bits"));
    }
    let algorithm = object_identifier(spki.algorithm.algorithm.as_bytes());
    let parameters = spki
        .algorithm
        .parameters
        .as_ref()
        .and_then(|any| any.as_oid().ok());
    match (
        algorithm.as_str(),
        parameters
            .map(|oid| object_identifier(oid.as_bytes()))
            .as_deref(),
    ) {
        // id-ecPublicKey on P-256 or P-384 (RFC 5480), Ed25519 (RFC 8410).
        ("1.2.840.10045.2.1", Some("1.2.840.10045.3.1.7" | "1.3.132.0.34")) => None,
        ("1.3.101.112", _) => None,
        ("1.2.840.10045.2.1", _) => Some("an EC key on another curve than P-256 or P-384".into()),
        (other, _) => Some(format!("a key of algorithm {other}")),
    }
}

fn bits(modulus: &[u8]) -> usize {
    let start = modulus
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(modulus.len());
    let significant = modulus.get(start..).unwrap_or_default();
    let unused = significant.first().map_or(0, |byte| byte.leading_zeros());
    (significant.len() * 8).saturating_sub(unused as usize)
}

/// What is wrong with the public key of a CA, where something is. A CA may use every curve that can be verified.
pub(super) fn ca_key_fault(spki: &[u8], known: Known<'_>) -> Option<String> {
    let algorithm = only(spki, SEQUENCE).and_then(|key| Elements(key).next_if(SEQUENCE));
    let is_curve = algorithm
        .is_some_and(|algorithm| Elements(algorithm).next_if(OBJECT_IDENTIFIER) == Some(EC_KEY));
    let is_known = known
        .iter()
        .any(|one| Some(one.public_key_alg_id().as_ref()) == algorithm);
    key_fault(spki).filter(|_| !(is_curve && is_known))
}

/// id-ecPublicKey.
const EC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];

/// The algorithms that signatures of certificates are verified by.
pub(super) type Known<'a> = &'a [&'static dyn SignatureVerificationAlgorithm];

/// The rule that a certificate breaks that is signed by none of the known algorithms; `None` where it is by one.
pub(super) fn signature_rule(der: &CertificateDer<'_>, known: Known<'_>) -> Option<Rule> {
    let whole = Layout::of(der)?.signature;
    if known
        .iter()
        .any(|one| one.signature_alg_id().as_ref() == whole)
    {
        return None;
    }
    let mut algorithm = Elements(whole);
    let algorithm = object_identifier(algorithm.next_if(OBJECT_IDENTIFIER)?);
    let fault = match algorithm.as_str() {
        "1.2.840.113549.1.1.10" => return Some(pss_rule(whole)),
        "1.2.840.113549.1.1.4" => "RSA with MD5".to_owned(),
        "1.2.840.113549.1.1.5" => "RSA with SHA-1".to_owned(),
        "1.2.840.10045.4.1" => "ECDSA with SHA-1".to_owned(),
        other => format!("algorithm {other}"),
    };
    Some(Rule::Signature { fault })
}

/// The same for RSASSA-PSS that is not known; `algorithm` is the content of its AlgorithmIdentifier (RFC 4055 section
/// 3.1).
fn pss_rule(algorithm: &[u8]) -> Rule {
    let whole = element(SEQUENCE, algorithm);
    let parsed = AlgorithmIdentifier::from_der(&whole).ok();
    let parameters = parsed
        .as_ref()
        .and_then(|(_, identifier)| identifier.parameters.as_ref())
        .and_then(|parameters| RsaSsaPssParams::try_from(parameters).ok());
    let hash = parameters.as_ref().map(|parameters| {
        let hash = parameters.hash_algorithm_oid().to_id_string();
        (hash, parameters.salt_length())
    });
    let (hash, salt) = match hash.as_ref().map(|(hash, salt)| (hash.as_str(), *salt)) {
        Some(("2.16.840.1.101.3.4.2.1", salt)) if salt != 32 => ("SHA-256", salt),
        Some(("2.16.840.1.101.3.4.2.2", salt)) if salt != 48 => ("SHA-384", salt),
        Some(("2.16.840.1.101.3.4.2.3", salt)) if salt != 64 => ("SHA-512", salt),
        Some(("1.3.14.3.2.26", _)) => {
            let fault = "RSA-PSS with SHA-1".to_owned();
            return Rule::Signature { fault };
        }
        _ => {
            let fault = "RSA-PSS with unusual parameters".to_owned();
            return Rule::Signature { fault };
        }
    };
    Rule::SaltLength {
        salt: salt.into(),
        algorithm: format!("RSA-PSS with {hash}"),
    }
}
