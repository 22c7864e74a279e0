//! Why a peer's certificate is refused: the certificate, the rule, and what to do.
//!
//! Each rule has its sentence for the operator and its alert for the peer (RFC 8446 section 6.2). The
//! alert follows from the `rustls::Error` that the verifier returns, so `Refusal::error` chooses that by
//! the alert it stands for.

use std::fmt;
use std::ops::RangeInclusive;

use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, Error};
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};
use x509_parser::public_key::PublicKey;

use super::der::{Elements, Layout, OBJECT_IDENTIFIER};
use super::identity::{Description, date};
use super::names::object_identifier;
use super::verifier::Side;

/// A peer's certificate that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which end we were.
    pub side: Side,
    /// The peer's own certificate.
    pub certificate: Box<Description>,
    /// The certificate of an issuer, where that one broke the rule.
    pub issuer: Option<Box<Description>>,
    /// The rule.
    pub rule: Rule,
}

/// The rules that a peer's certificate can break. Dates are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// The server asked for no certificate of ours.
    NotMutual,
    /// The server asked, but by signature schemes that our key cannot make.
    Unanswerable,
    /// More certificates than `limits::CHAIN_CERTIFICATES_MAX`.
    ChainTooLong {
        /// How many there were.
        presented: usize,
    },
    /// A certificate beyond `limits::CERTIFICATE_BYTES_MAX`, `CERTIFICATE_EXTENSIONS_MAX` or
    /// `CERTIFICATE_ELEMENTS_MAX`.
    TooLarge {
        /// `16500 bytes, which is more than 16384`.
        fault: String,
    },
    /// Not an X.509 version 3 certificate that can be judged (RFC 5280).
    Unreadable {
        /// The parser's word for it.
        cause: String,
    },
    /// A key that is too weak, or of a kind that is not accepted.
    Key {
        /// `an RSA key of 1024 bits`.
        fault: String,
    },
    /// The same of the trust anchor that the chain ends at.
    AnchorKey {
        /// As above.
        fault: String,
    },
    /// A signature algorithm that is not accepted.
    Signature {
        /// `SHA-1 with RSA`.
        fault: String,
    },
    /// A CA's certificate where a peer's own was due.
    CaAsLeaf,
    /// No trust anchor issued it.
    UnknownIssuer,
    /// It issued itself and is no trust anchor.
    SelfSigned,
    /// A trust anchor has its issuer's name, but another key.
    OtherKey,
    /// Past its last day.
    Expired {
        /// notAfter.
        not_after: i64,
    },
    /// Before its first day.
    NotYetValid {
        /// notBefore.
        not_before: i64,
    },
    /// The trust anchor is past its last day.
    AnchorExpired {
        /// notAfter.
        not_after: i64,
    },
    /// On a revocation list.
    Revoked,
    /// The revocation list that covers it is too old to be asked.
    ListExpired {
        /// Subject of the list's issuer.
        issuer: String,
        /// nextUpdate.
        next_update: i64,
    },
    /// There are revocation lists, but none covers it.
    ListMissing,
    /// The revocation list that covers it cannot be believed.
    ListUnusable {
        /// webpki's word for it.
        cause: String,
    },
    /// Its extended key usage does not allow this side of TLS.
    Purpose,
    /// Anything else that breaks the path (name constraints, path length, critical extensions).
    Path {
        /// webpki's word for it.
        cause: String,
    },
    /// A good certificate of somebody who is not listed in `peers`.
    NotListed {
        /// Who is listed, as configured, shortened.
        peers: String,
    },
    /// The peer did not prove that it has the certificate's key.
    NotProved {
        /// rustls's word for it.
        cause: String,
    },
}

impl Refusal {
    pub(super) fn new(side: Side, leaf: &CertificateDer<'_>, rule: Rule) -> Self {
        Self {
            side,
            certificate: Box::new(Description::new(leaf)),
            issuer: None,
            rule,
        }
    }

    /// Puts the blame on an issuer's certificate.
    pub(super) fn because_of(self, issuer: &CertificateDer<'_>) -> Self {
        Self {
            issuer: Some(Box::new(Description::new(issuer))),
            ..self
        }
    }

    /// The error that makes rustls send the alert for this rule.
    pub(super) fn error(&self) -> Error {
        let error = match &self.rule {
            // handshake_failure: there is no alert for a server that asks too little.
            Rule::NotMutual | Rule::Unanswerable => return Error::General(self.rule.to_string()),
            // bad_certificate.
            Rule::ChainTooLong { .. }
            | Rule::TooLarge { .. }
            | Rule::Unreadable { .. }
            | Rule::Key { .. }
            | Rule::Signature { .. }
            | Rule::Path { .. } => CertificateError::BadEncoding,
            // unsupported_certificate: good, but not for this use.
            Rule::CaAsLeaf | Rule::Purpose => CertificateError::InvalidPurpose,
            // unknown_ca. As in OpenSSL and rustls, also where the lists that make a CA usable are
            // missing or old.
            Rule::UnknownIssuer
            | Rule::SelfSigned
            | Rule::OtherKey
            | Rule::AnchorKey { .. }
            | Rule::AnchorExpired { .. } => CertificateError::UnknownIssuer,
            Rule::ListExpired { .. } => CertificateError::ExpiredRevocationList,
            Rule::ListMissing | Rule::ListUnusable { .. } => {
                CertificateError::UnknownRevocationStatus
            }
            // certificate_expired, which means "not currently valid" as well.
            Rule::Expired { .. } => CertificateError::Expired,
            Rule::NotYetValid { .. } => CertificateError::NotValidYet,
            // certificate_revoked.
            Rule::Revoked => CertificateError::Revoked,
            // access_denied: "when access control was applied".
            Rule::NotListed { .. } => CertificateError::ApplicationVerificationFailure,
            // decrypt_error; the verifier returns rustls's own error, this is its like.
            Rule::NotProved { .. } => CertificateError::BadSignature,
        };
        error.into()
    }

    fn remedy(&self) -> String {
        match &self.rule {
            Rule::NotMutual => "turn on client certificates at the server (wardgate: mode \
                 \"terminate\"; stunnel: verifyPeer or verifyChain; HAProxy: verify required)"
                .into(),
            Rule::Unanswerable => {
                "let the server accept the signatures of our key, or use a key of another kind"
                    .into()
            }
            Rule::ChainTooLong { .. } => "let the peer send its own certificate and its \
                 intermediates only"
                .into(),
            Rule::TooLarge { .. } => {
                "have the certificate issued anew with fewer names and extensions".into()
            }
            Rule::Unreadable { .. } | Rule::Path { .. } => {
                "have the certificate issued anew by RFC 5280".into()
            }
            Rule::Key { .. } => {
                "have it issued anew for a key of RSA 2048 to 8192 bits, ECDSA P-256 \
                 or P-384, or Ed25519"
                    .into()
            }
            Rule::AnchorKey { .. } => {
                "replace the CA by one with RSA 2048 to 8192 bits, ECDSA P-256 \
                 or P-384, or Ed25519"
                    .into()
            }
            Rule::Signature { .. } => "have it issued anew with SHA-256 or SHA-384".into(),
            Rule::CaAsLeaf => "issue the peer a certificate of its own from that CA".into(),
            Rule::UnknownIssuer => format!(
                "if that CA is to be believed, add \"{}\" to this route's trust; let the peer send \
                 its intermediates as well",
                self.certificate.issuer
            ),
            Rule::SelfSigned => {
                "give the peer a certificate from a CA in this route's trust".into()
            }
            Rule::OtherKey => {
                "if the CA was made anew under its old name, put its new certificate \
                 into this route's trust"
                    .into()
            }
            Rule::Expired { .. } => "let the peer install a renewed certificate".into(),
            Rule::NotYetValid { .. } => "compare the clocks of both ends".into(),
            Rule::AnchorExpired { .. } => {
                "put the CA's renewed certificate into this route's trust".into()
            }
            Rule::Revoked => "let the peer have a new certificate; a revoked one stays so".into(),
            Rule::ListExpired { .. } => {
                "put the CA's current list into this route's crl, then restart wardgate".into()
            }
            Rule::ListMissing => {
                let blamed = self.issuer.as_ref().unwrap_or(&self.certificate);
                format!(
                    "put the list of \"{}\" into this route's crl, then restart wardgate",
                    blamed.issuer
                )
            }
            Rule::ListUnusable { .. } => {
                "fetch the list again from its CA into this route's crl, then restart wardgate"
                    .into()
            }
            Rule::Purpose => "have it issued anew with serverAuth and clientAuth".into(),
            Rule::NotListed { .. } => match self.certificate.names.first() {
                Some(name) => {
                    format!("if this is the right peer, add \"{name}\" to the route's peers")
                }
                None => format!(
                    "have it issued anew with a DNS or URI name, or add \"sha256:{}\" to the \
                     route's peers",
                    self.certificate.key_sha256
                ),
            },
            Rule::NotProved { .. } => {
                "see whether key and certificate of the peer belong together".into()
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = match self.side {
            Side::Connector => "server",
            Side::Acceptor => "client",
        };
        write!(
            f,
            "refused the {whose} with certificate {}: ",
            self.certificate
        )?;
        match (&self.issuer, &self.rule) {
            (_, Rule::NotMutual | Rule::Unanswerable | Rule::NotProved { .. }) => {}
            (Some(issuer), _) => write!(
                f,
                "its issuer \"{}\" (serial {}) ",
                issuer.subject, issuer.serial
            )?,
            (None, _) => f.write_str("it ")?,
        }
        write!(f, "{}", self.rule)?;
        if let Rule::Purpose = self.rule {
            f.write_str(match self.side {
                Side::Connector => " (serverAuth)",
                Side::Acceptor => " (clientAuth)",
            })?;
        }
        write!(f, "; {}", self.remedy())
    }
}

/// What comes after "the certificate".
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMutual => f.write_str("the server asked for no client certificate"),
            Self::Unanswerable => f.write_str(
                "the server asked for a client certificate of a kind that our key is not",
            ),
            Self::ChainTooLong { presented } => {
                write!(
                    f,
                    "came in a chain of {presented} certificates, which is too long"
                )
            }
            Self::TooLarge { fault } => write!(f, "has {fault}"),
            Self::Unreadable { cause } => write!(f, "cannot be read ({cause})"),
            Self::Key { fault } => write!(f, "has {fault}, which is not accepted"),
            Self::AnchorKey { fault } => {
                write!(
                    f,
                    "was issued by a trust anchor with {fault}, which is not accepted"
                )
            }
            Self::Signature { fault } => write!(f, "is signed by {fault}, which is not accepted"),
            Self::CaAsLeaf => f.write_str("is a CA's certificate, not a peer's own"),
            Self::UnknownIssuer => f.write_str("was issued by no CA of this route's trust"),
            Self::SelfSigned => f.write_str("is self-signed and not in this route's trust"),
            Self::OtherKey => {
                f.write_str("names a CA of this route's trust as issuer, but another key signed it")
            }
            Self::Expired { not_after } => write!(f, "expired on {}", date(*not_after)),
            Self::NotYetValid { not_before } => {
                write!(f, "is not valid before {}", date(*not_before))
            }
            Self::AnchorExpired { not_after } => {
                write!(
                    f,
                    "was issued by a trust anchor that expired on {}",
                    date(*not_after)
                )
            }
            Self::Revoked => f.write_str("is revoked"),
            Self::ListExpired {
                issuer,
                next_update,
            } => write!(
                f,
                "is covered by the revocation list of \"{issuer}\", which was due for renewal on {}",
                date(*next_update)
            ),
            Self::ListMissing => f.write_str("is covered by no revocation list of this route"),
            Self::ListUnusable { cause } => {
                write!(
                    f,
                    "is covered by a revocation list that cannot be used ({cause})"
                )
            }
            Self::Purpose => f.write_str("does not allow this use in its extended key usage"),
            Self::Path { cause } => write!(f, "has no acceptable path to a trust anchor ({cause})"),
            Self::NotListed { peers } => {
                write!(f, "is none of this route's peers ({peers})")
            }
            Self::NotProved { cause } => {
                write!(
                    f,
                    "the peer did not prove that it has the certificate's key ({cause})"
                )
            }
        }
    }
}

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

/// What is wrong with the algorithm that a certificate is signed by, where something is.
pub(super) fn signature_fault(der: &CertificateDer<'_>) -> Option<String> {
    let mut algorithm = Elements(Layout::of(der)?.signature);
    let algorithm = object_identifier(algorithm.next_if(OBJECT_IDENTIFIER)?);
    let fault = match algorithm.as_str() {
        // ECDSA with SHA-256 and SHA-384, Ed25519, RSA with SHA-256, SHA-384 and SHA-512, RSASSA-PSS.
        "1.2.840.10045.4.3.2" | "1.2.840.10045.4.3.3" | "1.3.101.112" => return None,
        "1.2.840.113549.1.1.11" | "1.2.840.113549.1.1.12" | "1.2.840.113549.1.1.13" => return None,
        "1.2.840.113549.1.1.10" => return None,
        "1.2.840.113549.1.1.4" => "RSA with MD5",
        "1.2.840.113549.1.1.5" => "RSA with SHA-1",
        "1.2.840.10045.4.1" => "ECDSA with SHA-1",
        "1.2.840.10045.4.3.4" => "ECDSA with SHA-512",
        other => return Some(format!("algorithm {other}")),
    };
    Some(fault.into())
}
