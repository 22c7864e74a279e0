//! Which keys and signature algorithms of a peer's certificates are accepted.
//!
//! The verifier of the path decides; this module says in words what it does not accept.

use std::ops::RangeInclusive;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};
use x509_parser::public_key::PublicKey;
use x509_parser::signature_algorithm::RsaSsaPssParams;
use x509_parser::x509::AlgorithmIdentifier;

use super::der::{Elements, Layout, OBJECT_IDENTIFIER, SEQUENCE};
use super::names::object_identifier;
use super::refusal::Rule;
use crate::pki::der::element;

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

/// The rule that the algorithm breaks by which a certificate is signed, where it breaks one.
pub(super) fn signature_rule(der: &CertificateDer<'_>) -> Option<Rule> {
    let whole = Layout::of(der)?.signature;
    let mut algorithm = Elements(whole);
    let algorithm = object_identifier(algorithm.next_if(OBJECT_IDENTIFIER)?);
    let fault = match algorithm.as_str() {
        // ECDSA with SHA-256 and SHA-384, Ed25519, RSA with SHA-256, SHA-384 and SHA-512.
        "1.2.840.10045.4.3.2" | "1.2.840.10045.4.3.3" | "1.3.101.112" => return None,
        "1.2.840.113549.1.1.11" | "1.2.840.113549.1.1.12" | "1.2.840.113549.1.1.13" => return None,
        "1.2.840.113549.1.1.10" => return pss_rule(whole),
        "1.2.840.113549.1.1.4" => "RSA with MD5".to_owned(),
        "1.2.840.113549.1.1.5" => "RSA with SHA-1".to_owned(),
        "1.2.840.10045.4.1" => "ECDSA with SHA-1".to_owned(),
        "1.2.840.10045.4.3.4" => "ECDSA with SHA-512".to_owned(),
        other => format!("algorithm {other}"),
    };
    Some(Rule::Signature { fault })
}

/// The same for RSASSA-PSS; `algorithm` is the content of its AlgorithmIdentifier (RFC 4055 section 3.1).
fn pss_rule(algorithm: &[u8]) -> Option<Rule> {
    let whole = element(SEQUENCE, algorithm);
    let (_, identifier) = AlgorithmIdentifier::from_der(&whole).ok()?;
    let unusual = || Rule::Signature {
        fault: "RSA-PSS with unusual parameters".to_owned(),
    };
    let parameters = identifier.parameters.as_ref();
    let Some(Ok(parameters)) = parameters.map(RsaSsaPssParams::try_from) else {
        return Some(unusual());
    };
    let hash = parameters.hash_algorithm_oid().to_id_string();
    let (name, length) = match hash.as_str() {
        "2.16.840.1.101.3.4.2.1" => ("RSA-PSS with SHA-256", 32),
        "2.16.840.1.101.3.4.2.2" => ("RSA-PSS with SHA-384", 48),
        "2.16.840.1.101.3.4.2.3" => ("RSA-PSS with SHA-512", 64),
        "1.3.14.3.2.26" => {
            let fault = "RSA-PSS with SHA-1".to_owned();
            return Some(Rule::Signature { fault });
        }
        _ => return Some(unusual()),
    };
    let mask = parameters.mask_gen_algorithm();
    let is_same_mask = mask.is_ok_and(|mask| mask.hash.to_id_string() == hash);
    match parameters.salt_length() {
        salt if salt != length => Some(Rule::SaltLength {
            salt: salt.into(),
            algorithm: name.to_owned(),
        }),
        _ if !is_same_mask => Some(unusual()),
        _ => None,
    }
}
