//! Which keys and signature algorithms of certificates are accepted. `check`, start and handshakes all use
//! this module.
//!
//! Handshakes accept what `verification` accepts, by which webpki and rustls verify signatures. The tables
//! here give names to algorithms, and define which keys a peer may have; a test compares them with real
//! handshakes.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::LazyLock;

use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs};
use x509_parser::asn1_rs::Oid;
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};
use x509_parser::public_key::PublicKey;
use x509_parser::signature_algorithm::RsaSsaPssParams;
use x509_parser::x509::AlgorithmIdentifier;

use super::der::{Elements, OBJECT_IDENTIFIER, SEQUENCE, element, only};

/// The algorithms that verify the signatures of certificates, revocation lists and handshakes.
pub(crate) fn verification() -> WebPkiSupportedAlgorithms {
    static ALGORITHMS: LazyLock<WebPkiSupportedAlgorithms> =
        LazyLock::new(|| aws_lc_rs::default_provider().signature_verification_algorithms);
    *ALGORITHMS
}

/// The keys that a peer's certificate may have, for messages.
pub(crate) const ACCEPTED_KEYS: &str = "RSA 2048 to 8192 bits, ECDSA P-256 or P-384, or Ed25519";

/// Bits of an RSA key: the minimum of PS3.15 B.13 and NIST SP 800-131A, and the maximum of `verification`.
const RSA_BITS: RangeInclusive<usize> = 2048..=8192;
/// The minimum bits of a curve (PS3.15 B.13).
const EC_BITS_MIN: usize = 256;

/// Key algorithms other than RSA and elliptic curves: object identifier, name.
const KEYS: &[(&str, &str)] = &[
    ("1.3.101.112", "Ed25519"),
    ("1.3.101.113", "Ed448"),
    ("1.2.840.113549.1.1.10", "RSA-PSS"),
    ("1.2.840.10040.4.1", "DSA"),
    ("2.16.840.1.101.3.4.3.17", "ML-DSA-44"),
    ("2.16.840.1.101.3.4.3.18", "ML-DSA-65"),
    ("2.16.840.1.101.3.4.3.19", "ML-DSA-87"),
];

/// Named curves: object identifier, name of the key, bits.
const CURVES: &[(&str, &str, usize)] = &[
    ("1.2.840.10045.3.1.1", "EC P-192", 192),
    ("1.3.132.0.33", "EC P-224", 224),
    ("1.2.840.10045.3.1.7", "EC P-256", 256),
    ("1.3.132.0.34", "EC P-384", 384),
    ("1.3.132.0.35", "EC P-521", 521),
    ("1.3.132.0.10", "EC secp256k1", 256),
];

/// Names of the keys that a peer may have. A CA may have any key that `verification` supports.
const PEER_KEYS: &[&str] = &["RSA", "EC P-256", "EC P-384", "Ed25519"];

/// How strong a hash is.
#[derive(Clone, Copy)]
enum Hash {
    /// SHA-256 or stronger, or a scheme without a hash of its own.
    Strong,
    /// An attacker can create collisions.
    Broken(&'static str),
    /// Less than the 128 bits of SHA-256.
    Short(&'static str),
}

/// Signature algorithms: object identifier, name, hash.
const SIGNATURES: &[(&str, &str, Hash)] = &[
    ("1.2.840.113549.1.1.2", "RSA with MD2", Hash::Broken("MD2")),
    ("1.2.840.113549.1.1.3", "RSA with MD4", Hash::Broken("MD4")),
    ("1.2.840.113549.1.1.4", "RSA with MD5", Hash::Broken("MD5")),
    (
        "1.2.840.113549.1.1.5",
        "RSA with SHA-1",
        Hash::Broken("SHA-1"),
    ),
    ("1.3.14.3.2.29", "RSA with SHA-1", Hash::Broken("SHA-1")),
    (
        "1.2.840.113549.1.1.14",
        "RSA with SHA-224",
        Hash::Short("SHA-224"),
    ),
    ("1.2.840.113549.1.1.11", "RSA with SHA-256", Hash::Strong),
    ("1.2.840.113549.1.1.12", "RSA with SHA-384", Hash::Strong),
    ("1.2.840.113549.1.1.13", "RSA with SHA-512", Hash::Strong),
    ("1.2.840.10040.4.3", "DSA with SHA-1", Hash::Broken("SHA-1")),
    (
        "1.2.840.10045.4.1",
        "ECDSA with SHA-1",
        Hash::Broken("SHA-1"),
    ),
    (
        "1.2.840.10045.4.3.1",
        "ECDSA with SHA-224",
        Hash::Short("SHA-224"),
    ),
    ("1.2.840.10045.4.3.2", "ECDSA with SHA-256", Hash::Strong),
    ("1.2.840.10045.4.3.3", "ECDSA with SHA-384", Hash::Strong),
    ("1.2.840.10045.4.3.4", "ECDSA with SHA-512", Hash::Strong),
    ("1.3.101.112", "Ed25519", Hash::Strong),
    ("1.3.101.113", "Ed448", Hash::Strong),
    ("2.16.840.1.101.3.4.3.17", "ML-DSA-44", Hash::Strong),
    ("2.16.840.1.101.3.4.3.18", "ML-DSA-65", Hash::Strong),
    ("2.16.840.1.101.3.4.3.19", "ML-DSA-87", Hash::Strong),
];

/// RSASSA-PSS, whose parameters contain the hash (RFC 4055 section 3.1).
const RSA_PSS: &str = "1.2.840.113549.1.1.10";

/// Hashes of RSASSA-PSS: object identifier, name of the algorithm, hash, bytes of the only salt that is accepted.
const PSS_HASHES: &[(&str, &str, Hash, u32)] = &[
    (
        "1.3.14.3.2.26",
        "RSA-PSS with SHA-1",
        Hash::Broken("SHA-1"),
        0,
    ),
    (
        "2.16.840.1.101.3.4.2.4",
        "RSA-PSS with SHA-224",
        Hash::Short("SHA-224"),
        0,
    ),
    (
        "2.16.840.1.101.3.4.2.1",
        "RSA-PSS with SHA-256",
        Hash::Strong,
        32,
    ),
    (
        "2.16.840.1.101.3.4.2.2",
        "RSA-PSS with SHA-384",
        Hash::Strong,
        48,
    ),
    (
        "2.16.840.1.101.3.4.2.3",
        "RSA-PSS with SHA-512",
        Hash::Strong,
        64,
    ),
];

/// What a key is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyUse {
    /// To prove the identity of a TLS peer.
    Peer,
    /// To sign certificates.
    Authority,
}

/// A public key's type and strength.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicKeyInfo {
    /// `RSA`, `EC P-256`, `Ed25519`, or the object identifier of an algorithm without a name here.
    pub(crate) name: String,
    /// 0 where unknown.
    pub(crate) bits: usize,
    family: KeyFamily,
    // Whether `verification` has an algorithm for the key, whatever its size.
    is_verifiable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyFamily {
    Rsa,
    Ec,
    Other,
    Unreadable,
}

/// Why a key is not accepted. `Display` returns a noun phrase: `an RSA key of 1024 bits`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyFault {
    /// Shorter than `least` bits.
    Weak {
        /// The key.
        key: PublicKeyInfo,
        /// The minimum bits for such a key.
        least: usize,
    },
    /// An RSA key longer than `verification` supports.
    Long {
        /// Its length.
        bits: usize,
    },
    /// An elliptic curve that is not accepted.
    Curve,
    /// An algorithm that is not accepted.
    Algorithm(String),
    /// Not a SubjectPublicKeyInfo.
    Unreadable,
}

impl PublicKeyInfo {
    /// Reads a SubjectPublicKeyInfo in DER.
    pub(crate) fn of_spki(spki: &[u8]) -> Self {
        Self::read(spki).unwrap_or_else(|| Self {
            name: "unknown".to_owned(),
            bits: 0,
            family: KeyFamily::Unreadable,
            is_verifiable: false,
        })
    }

    fn read(spki: &[u8]) -> Option<Self> {
        let identifier = Elements(only(spki, SEQUENCE)?).next_if(SEQUENCE)?;
        let mut known = verification().all.iter();
        let is_verifiable = known.any(|one| one.public_key_alg_id().as_ref() == identifier);
        let (_, parsed) = SubjectPublicKeyInfo::from_der(spki).ok()?;
        let oid = object_identifier(parsed.algorithm.algorithm.as_bytes());
        let (family, name, bits) = match parsed.parsed() {
            Ok(PublicKey::RSA(key)) => (KeyFamily::Rsa, "RSA".to_owned(), bits(key.modulus)),
            Ok(PublicKey::EC(point)) => {
                let (name, bits) = curve(&parsed.algorithm, point.key_size());
                (KeyFamily::Ec, name, bits)
            }
            _ => {
                let named = KEYS.iter().find(|(known, _)| *known == oid);
                let name = named.map_or(oid, |(_, name)| (*name).to_owned());
                (KeyFamily::Other, name, 0)
            }
        };
        Some(Self {
            name,
            bits,
            family,
            is_verifiable,
        })
    }

    /// Why the key is not accepted for this use; `None` if it is accepted.
    pub(crate) fn fault(&self, purpose: KeyUse) -> Option<KeyFault> {
        let least = match self.family {
            KeyFamily::Unreadable => return Some(KeyFault::Unreadable),
            KeyFamily::Rsa => *RSA_BITS.start(),
            KeyFamily::Ec => EC_BITS_MIN,
            KeyFamily::Other => 0,
        };
        let bits = self.bits;
        if bits < least {
            let key = self.clone();
            return Some(KeyFault::Weak { key, least });
        }
        if self.family == KeyFamily::Rsa && !RSA_BITS.contains(&bits) {
            return Some(KeyFault::Long { bits });
        }
        let is_for_use = purpose == KeyUse::Authority || PEER_KEYS.contains(&self.name.as_str());
        match self.family {
            _ if is_for_use && self.is_verifiable => None,
            KeyFamily::Ec => Some(KeyFault::Curve),
            _ => Some(KeyFault::Algorithm(self.name.clone())),
        }
    }
}

fn curve(algorithm: &AlgorithmIdentifier<'_>, point_bits: usize) -> (String, usize) {
    let parameters = algorithm.parameters.as_ref();
    let Some(oid) = parameters.and_then(|any| any.as_oid().ok()) else {
        return ("EC unnamed curve".to_owned(), point_bits);
    };
    let oid = object_identifier(oid.as_bytes());
    match CURVES.iter().find(|(known, ..)| *known == oid) {
        Some((_, name, bits)) => ((*name).to_owned(), *bits),
        None => (format!("EC {oid}"), point_bits),
    }
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weak { key, .. } if key.family == KeyFamily::Rsa => {
                write!(f, "an RSA key of {} bits", key.bits)
            }
            Self::Long { bits } => write!(f, "an RSA key of {bits} bits"),
            Self::Weak { .. } | Self::Curve => {
                f.write_str("an EC key on another curve than P-256 or P-384")
            }
            Self::Algorithm(name) => write!(f, "a key of algorithm {name}"),
            Self::Unreadable => f.write_str("an unreadable key"),
        }
    }
}

/// How a certificate or revocation list is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signature {
    /// `ECDSA with SHA-256`, or the object identifier of an algorithm without a name here.
    pub(crate) name: String,
    /// Why it is not accepted; `None` if it is accepted.
    pub(crate) fault: Option<SignatureFault>,
}

/// Why a signature algorithm is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignatureFault {
    /// Its hash is broken, so signatures can be forged.
    Forgeable {
        /// The hash.
        hash: &'static str,
    },
    /// Its hash is shorter than SHA-256.
    ShortHash {
        /// The hash.
        hash: &'static str,
    },
    /// RSA-PSS with a salt whose length is not that of its hash.
    Salt {
        /// Bytes of the salt.
        salt: u32,
    },
    /// Any other algorithm that `verification` does not support.
    Unsupported,
}

impl Signature {
    /// Reads the outer signature algorithm of a certificate or revocation list in DER.
    pub(crate) fn of_signed(der: &[u8]) -> Option<Self> {
        let mut parts = Elements(only(der, SEQUENCE)?);
        parts.next_if(SEQUENCE)?;
        Self::of(parts.next_if(SEQUENCE)?)
    }

    /// Reads the content of an AlgorithmIdentifier; `None` if it does not begin with an object identifier.
    pub(crate) fn of(identifier: &[u8]) -> Option<Self> {
        let oid = Elements(identifier).element_if(OBJECT_IDENTIFIER)?;
        let known = verification().all.iter().map(|one| one.signature_alg_id());
        let is_accepted = known.clone().any(|one| one.as_ref() == identifier);
        let is_named = known.clone().any(|one| one.as_ref().starts_with(oid.whole));
        let oid = object_identifier(oid.content);
        let (mut name, hash, salt) = match oid.as_str() {
            RSA_PSS => pss(identifier),
            _ => match SIGNATURES.iter().find(|(known, ..)| *known == oid) {
                Some((_, name, hash)) => ((*name).to_owned(), *hash, None),
                None => (format!("algorithm {oid}"), Hash::Strong, None),
            },
        };
        let fault = match (is_accepted, hash, salt) {
            (true, ..) => None,
            (false, Hash::Broken(hash), _) => Some(SignatureFault::Forgeable { hash }),
            (false, Hash::Short(hash), _) => Some(SignatureFault::ShortHash { hash }),
            (false, Hash::Strong, Some(salt)) => Some(SignatureFault::Salt { salt }),
            (false, Hash::Strong, None) => Some(SignatureFault::Unsupported),
        };
        if fault == Some(SignatureFault::Unsupported) && is_named {
            // The algorithm is accepted with other parameters.
            name.push_str(" with unusual parameters");
        }
        Some(Self { name, fault })
    }
}

/// Name and hash of RSASSA-PSS, and the length of its salt if that is not the length of the hash.
fn pss(identifier: &[u8]) -> (String, Hash, Option<u32>) {
    let whole = element(SEQUENCE, identifier);
    let parsed = AlgorithmIdentifier::from_der(&whole).ok();
    let parameters = parsed
        .as_ref()
        .and_then(|(_, identifier)| identifier.parameters.as_ref())
        .and_then(|parameters| RsaSsaPssParams::try_from(parameters).ok());
    let row = parameters.as_ref().and_then(|parameters| {
        let oid = parameters.hash_algorithm_oid().to_id_string();
        let row = PSS_HASHES.iter().find(|(known, ..)| *known == oid)?;
        Some((row, parameters.salt_length()))
    });
    match row {
        Some(((_, name, hash, wanted), salt)) => {
            ((*name).to_owned(), *hash, (salt != *wanted).then_some(salt))
        }
        None => ("RSA-PSS".to_owned(), Hash::Strong, None),
    }
}

/// An object identifier in dotted form, if it is no longer than those in use.
pub(crate) fn object_identifier(oid: &[u8]) -> String {
    match oid.len() {
        0..=OID_BYTES_SHOWN => Oid::new(Cow::Borrowed(oid)).to_id_string(),
        length => format!("with an identifier of {length} bytes"),
    }
}

/// Longer than any registered algorithm or attribute.
pub(crate) const OID_BYTES_SHOWN: usize = 32;

fn bits(modulus: &[u8]) -> usize {
    let start = modulus.iter().position(|byte| *byte != 0);
    let significant = start.and_then(|start| modulus.get(start..));
    let significant = significant.unwrap_or_default();
    let unused = significant.first().map_or(0, |byte| byte.leading_zeros());
    (significant.len() * 8).saturating_sub(unused as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_that_verifies_has_a_name_and_no_fault() {
        for algorithm in verification().all {
            let identifier = algorithm.signature_alg_id();
            let signature = Signature::of(identifier.as_ref()).expect("an identifier");
            assert_eq!(signature.fault, None, "{signature:?}");
            assert!(!signature.name.contains('.'), "{signature:?}");
        }
    }

    #[test]
    fn every_algorithm_with_a_strong_hash_verifies_but_ed448() {
        let name = |identifier: &[u8]| Signature::of(identifier).map(|signature| signature.name);
        let all = verification().all.iter();
        let verified: Vec<_> = all
            .filter_map(|one| name(one.signature_alg_id().as_ref()))
            .collect();
        let signatures = SIGNATURES.iter().map(|(_, name, hash)| (*name, *hash));
        let pss = PSS_HASHES.iter().map(|(_, name, hash, _)| (*name, *hash));
        for (name, hash) in signatures.chain(pss) {
            let is_strong = matches!(hash, Hash::Strong) && name != "Ed448";
            assert_eq!(verified.iter().any(|one| one == name), is_strong, "{name}");
        }
    }

    #[test]
    fn damaged_keys_and_algorithms_have_a_fault() {
        for spki in [&[][..], &[0x30, 0], &[0x30, 2, 0x30, 0]] {
            let key = PublicKeyInfo::of_spki(spki);
            assert_eq!(key.fault(KeyUse::Authority), Some(KeyFault::Unreadable));
        }
        assert_eq!(Signature::of(&[]), None);
        let unusual = Signature::of(&[6, 3, 0x2b, 0x65, 0x70, 5, 0]).expect("Ed25519 with NULL");
        assert_eq!(unusual.fault, Some(SignatureFault::Unsupported));
        assert_eq!(unusual.name, "Ed25519 with unusual parameters");
    }
}
