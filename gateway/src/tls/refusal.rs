//! Why a peer's certificate is refused: the certificate and the rule.
//!
//! Each rule has a sentence for the operator, a remedy (`remedy`), and an alert for the peer (RFC 8446
//! section 6.2). rustls derives the alert from the `rustls::Error` that the verifier returns, so
//! `Refusal::error` chooses the error whose alert fits.

use std::fmt;

use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, Error};

use super::identity::CertificateDescription;
use super::role::TlsRole;
use super::text::date;
use crate::pki::algorithms::{Signature, SignatureFault};

/// The refusal of a peer's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The role of this gateway.
    pub side: TlsRole,
    /// The peer's own certificate; `None` if it had not been sent yet.
    pub certificate: Option<Box<CertificateDescription>>,
    /// The certificate of an issuer, if that certificate broke the rule.
    pub issuer: Option<Box<CertificateDescription>>,
    /// The rule.
    pub rule: Rule,
}

/// The rules that a peer's certificate can break. Dates are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// The client asked for another service than the route's, or for none although the route has one.
    Service {
        /// The service label of the route, if it has one.
        own: Option<String>,
        /// The label that the client asked for, if any.
        asked: Option<String>,
    },
    /// The server did not confirm the route's service.
    ServiceNotConfirmed {
        /// The service label of the route.
        own: String,
    },
    /// The client carries the address of its client and the route does not take it, or the other way round.
    CarriedSource {
        /// Whether the route takes it.
        own: bool,
    },
    /// The server did not confirm that it takes the client's address.
    CarriedSourceNotConfirmed,
    /// The server did not ask for the site's certificate.
    NotMutual,
    /// The server asked for it, but accepts only signature schemes that the site's key cannot use.
    Unanswerable,
    /// More certificates than `limits::CHAIN_CERTIFICATES_MAX`.
    ChainTooLong {
        /// The number of certificates.
        presented: usize,
    },
    /// A certificate beyond `limits::CERTIFICATE_BYTES_MAX`, `CERTIFICATE_EXTENSIONS_MAX` or
    /// `CERTIFICATE_ELEMENTS_MAX`.
    TooLarge {
        /// For example `16500 bytes, which is more than 16384`.
        fault: String,
    },
    /// Not an X.509 version 3 certificate that can be checked (RFC 5280).
    Unreadable {
        /// Why, in plain words.
        cause: String,
    },
    /// A key that is too weak, or of a kind that is not accepted.
    Key {
        /// For example `an RSA key of 1024 bits`.
        fault: String,
    },
    /// The trust anchor at which the chain ends has such a key.
    AnchorKey {
        /// For example `an RSA key of 1024 bits`.
        fault: String,
    },
    /// A signature algorithm that is not accepted.
    Signature {
        /// For example `SHA-1 with RSA`.
        fault: String,
    },
    /// RSASSA-PSS with a salt whose length is not that of the hash. No library used here verifies it.
    SaltLength {
        /// Bytes of the salt.
        salt: u64,
        /// For example `RSA-PSS with SHA-256`.
        algorithm: String,
    },
    /// A CA's certificate instead of a peer's own.
    CaAsLeaf,
    /// No trust anchor issued it.
    UnknownIssuer {
        /// Subject of the CA at which the presented chain ends.
        top: String,
        /// Whether the chain contains the certificate of that CA.
        is_presented: bool,
        /// The listed peer whose identity the certificate bears, if any.
        claim: Option<Box<Claim>>,
    },
    /// The certificate is self-issued and is not a trust anchor.
    SelfSigned {
        /// The listed peer whose identity the certificate bears, if any.
        claim: Option<Box<Claim>>,
    },
    /// A trust anchor has its issuer's name, but another key.
    OtherKey {
        /// The file of that anchor.
        trust: String,
    },
    /// Expired.
    Expired {
        /// notAfter.
        not_after: i64,
    },
    /// Not valid yet.
    NotYetValid {
        /// notBefore.
        not_before: i64,
    },
    /// The trust anchor has expired.
    AnchorExpired {
        /// The file of that anchor.
        trust: String,
        /// notAfter.
        not_after: i64,
    },
    /// A revocation list contains the certificate.
    Revoked,
    /// The revocation list that covers the certificate has expired.
    ListExpired {
        /// Subject of the list's issuer.
        issuer: String,
        /// nextUpdate.
        next_update: i64,
    },
    /// There are revocation lists, but none of its issuer.
    ListMissing,
    /// The lists with its issuer's name are signed by other keys than the one that signed the certificate.
    ListOfOtherKey,
    /// The lists of its issuer cover other certificates.
    ListOutOfScope {
        /// Which certificates the last of them covers: `is about CA certificates only`.
        scope: String,
    },
    /// The revocation list that covers the certificate is not valid.
    ListUnusable {
        /// webpki's description of the error.
        cause: String,
    },
    /// Its extended key usage does not allow its role in TLS.
    Purpose,
    /// A certificate that is not a CA's has issued another.
    NotACa,
    /// More CAs follow than one of them allows (pathLenConstraint, RFC 5280 section 4.2.1.9).
    PathLength,
    /// A critical extension that this program does not process (RFC 5280 section 4.2).
    Critical {
        /// The extension, by name or object identifier.
        extension: String,
    },
    /// A name for which its CA may not issue certificates (RFC 5280 section 4.2.1.10).
    NameConstraint {
        /// The names for which the CA may issue certificates.
        constraints: String,
    },
    /// A CA requires a certificate policy that is not valid on the path (RFC 5280 section 6.1.5).
    Policy {
        /// The violated rule about policies.
        fault: String,
    },
    /// Any other error of the path.
    Path {
        /// Why, in plain words.
        cause: String,
    },
    /// A valid certificate whose names are not listed in `peers`.
    NotListed {
        /// The listed peers, as configured, shortened.
        peers: String,
        /// The `[[peer]]` table whose CA issued it, if there is one.
        table: Option<String>,
    },
    /// A certificate with a peer's name, from a CA that may issue certificates for other peers only.
    OtherAuthority {
        /// Subject of the trust anchor.
        authority: String,
        /// The name, as configured.
        identity: String,
        /// The name of the peer's `[[peer]]` table, if it has one.
        peer: Option<String>,
        /// The file of the CAs that may issue certificates for the name.
        trust: String,
    },
    /// One of the peers, but not one that is expected at this target.
    NotExpected {
        /// The target, as configured.
        target: String,
        /// The identity that the peer proved.
        identity: String,
        /// The expected peers, as configured, shortened.
        expected: String,
    },
    /// The peer did not prove that it has the certificate's private key.
    NotProved {
        /// Why, in plain words.
        cause: String,
    },
}

/// A listed identity that a refused certificate bears. The identity is not proved: anyone can write a name
/// into a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The identity, as configured.
    pub identity: String,
    /// The name of the peer's `[[peer]]` table, if it has one.
    pub peer: Option<String>,
    /// The file of the CAs that may issue certificates for the identity.
    pub trust: String,
    /// The subjects of these CAs, shortened.
    pub authorities: String,
}

/// The class of a failed handshake, by what it shows about the peer. Each class has its own log rate limit,
/// so a flood of one class does not hide another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum RefusalClass {
    /// Anything but the classes below: port scans, other protocols, certificates of unknown CAs. Every host
    /// that can connect can cause it at will.
    #[default]
    Unknown,
    /// A revoked certificate of a trusted CA. Only the holder of its key can cause it.
    Revoked,
    /// A valid certificate of a trusted CA that is not a peer of the route, or not the expected peer. Only
    /// the holder of its key can cause it.
    NotListed,
    /// A certificate that is refused for another reason: it has expired, its revocation list is missing,
    /// the peer did not prove its key, or it bears a listed name and is of another CA. Certificates of
    /// unknown CAs can be among these.
    Unacceptable,
}

impl Refusal {
    /// Whether the certificate is valid, but is not the certificate of an accepted peer. Copies of such a
    /// certificate are easy to get, so it counts only after the peer has proved its key.
    pub(super) fn is_of_good_certificate(&self) -> bool {
        self.class() == RefusalClass::NotListed
    }

    pub(super) fn new(side: TlsRole, leaf: &CertificateDer<'_>, rule: Rule) -> Self {
        Self {
            side,
            certificate: Some(Box::new(CertificateDescription::new(leaf))),
            issuer: None,
            rule,
        }
    }

    /// A refusal because of the peer's hello message.
    pub(super) fn of_hello(side: TlsRole, rule: Rule) -> Self {
        Self {
            side,
            certificate: None,
            issuer: None,
            rule,
        }
    }

    /// Names an issuer's certificate as the cause.
    pub(super) fn because_of(self, issuer: &CertificateDer<'_>) -> Self {
        Self {
            issuer: Some(Box::new(CertificateDescription::new(issuer))),
            ..self
        }
    }

    /// The class of the refusal.
    #[must_use]
    pub fn class(&self) -> RefusalClass {
        match &self.rule {
            Rule::Revoked => RefusalClass::Revoked,
            Rule::NotListed { .. } | Rule::OtherAuthority { .. } | Rule::NotExpected { .. } => {
                RefusalClass::NotListed
            }
            // A peer that has a new CA, or whose CA file here is the wrong one.
            Rule::UnknownIssuer { claim: Some(_), .. } | Rule::SelfSigned { claim: Some(_) } => {
                RefusalClass::Unacceptable
            }
            Rule::AnchorKey { .. }
            | Rule::Expired { .. }
            | Rule::NotYetValid { .. }
            | Rule::AnchorExpired { .. }
            | Rule::ListExpired { .. }
            | Rule::ListMissing
            | Rule::ListOfOtherKey
            | Rule::ListOutOfScope { .. }
            | Rule::ListUnusable { .. }
            | Rule::Purpose
            | Rule::SaltLength { .. }
            | Rule::NotACa
            | Rule::PathLength
            | Rule::Critical { .. }
            | Rule::NameConstraint { .. }
            | Rule::Policy { .. }
            | Rule::NotProved { .. } => RefusalClass::Unacceptable,
            Rule::Service { .. }
            | Rule::ServiceNotConfirmed { .. }
            | Rule::CarriedSource { .. }
            | Rule::CarriedSourceNotConfirmed
            | Rule::NotMutual
            | Rule::Unanswerable
            | Rule::ChainTooLong { .. }
            | Rule::TooLarge { .. }
            | Rule::Unreadable { .. }
            | Rule::Key { .. }
            | Rule::Signature { .. }
            | Rule::CaAsLeaf
            | Rule::UnknownIssuer { .. }
            | Rule::SelfSigned { .. }
            | Rule::OtherKey { .. }
            | Rule::Path { .. } => RefusalClass::Unknown,
        }
    }

    /// The error that makes rustls send the alert for this rule.
    pub(super) fn error(&self) -> Error {
        let error = match &self.rule {
            // handshake_failure: there is no alert for a server that does not ask for a certificate.
            Rule::NotMutual
            | Rule::Unanswerable
            | Rule::Service { .. }
            | Rule::CarriedSource { .. }
            | Rule::CarriedSourceNotConfirmed
            | Rule::ServiceNotConfirmed { .. } => {
                return Error::General(self.rule.to_string());
            }
            // bad_certificate.
            Rule::ChainTooLong { .. }
            | Rule::TooLarge { .. }
            | Rule::Unreadable { .. }
            | Rule::Key { .. }
            | Rule::Signature { .. }
            | Rule::SaltLength { .. }
            | Rule::NotACa
            | Rule::PathLength
            | Rule::Critical { .. }
            | Rule::NameConstraint { .. }
            | Rule::Policy { .. }
            | Rule::Path { .. } => CertificateError::BadEncoding,
            // unsupported_certificate: valid, but not for this use.
            Rule::CaAsLeaf | Rule::Purpose => CertificateError::InvalidPurpose,
            // unknown_ca, as in OpenSSL and rustls, also if the revocation lists without which a CA cannot
            // be used are missing or expired.
            Rule::UnknownIssuer { .. }
            | Rule::SelfSigned { .. }
            | Rule::OtherKey { .. }
            | Rule::AnchorKey { .. }
            | Rule::AnchorExpired { .. } => CertificateError::UnknownIssuer,
            Rule::ListExpired { .. } => CertificateError::ExpiredRevocationList,
            Rule::ListMissing
            | Rule::ListOfOtherKey
            | Rule::ListOutOfScope { .. }
            | Rule::ListUnusable { .. } => CertificateError::UnknownRevocationStatus,
            // certificate_expired, which also means "not currently valid".
            Rule::Expired { .. } => CertificateError::Expired,
            Rule::NotYetValid { .. } => CertificateError::NotValidYet,
            // certificate_revoked.
            Rule::Revoked => CertificateError::Revoked,
            // access_denied: "a valid certificate was received, but when access control was applied, the sender
            // decided not to proceed".
            Rule::NotListed { .. } | Rule::OtherAuthority { .. } | Rule::NotExpected { .. } => {
                CertificateError::ApplicationVerificationFailure
            }
            // decrypt_error. The verifier returns rustls's own error; this one is equivalent.
            Rule::NotProved { .. } => CertificateError::BadSignature,
        };
        error.into()
    }
}

/// The reason first, then the remedy. Serial numbers and fingerprints are fields of the log line.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = match self.side {
            TlsRole::Client => "the server",
            TlsRole::Server => "the client",
        };
        let name = self
            .certificate
            .as_deref()
            .map(CertificateDescription::short_name);
        let name = name.filter(|name| !name.is_empty());
        let name = name.map_or(String::new(), |name| format!(" {name}"));
        let (rule, remedy) = (&self.rule, self.remedy());
        if rule.is_of_peer() {
            write!(f, "{whose} {rule}")?;
            if !name.is_empty() {
                write!(f, " (it showed{name})")?;
            }
        } else if let Some(issuer) = &self.issuer {
            let CertificateDescription {
                subject, serial, ..
            } = &**issuer;
            write!(
                f,
                "issuer \"{subject}\" (serial {serial}) of {whose}'s certificate{name} {rule}"
            )?;
        } else {
            write!(f, "{whose}'s certificate{name} {rule}")?;
        }
        if let Rule::Purpose = rule {
            f.write_str(match self.side {
                TlsRole::Client => " (serverAuth)",
                TlsRole::Server => " (clientAuth)",
            })?;
        }
        write!(f, "; {remedy}")
    }
}

impl Rule {
    /// The rule that a signature breaks if its algorithm is not accepted.
    pub(super) fn of_signature(signature: &Signature) -> Option<Self> {
        let name = signature.name.clone();
        Some(match signature.fault? {
            SignatureFault::Salt { salt } => Self::SaltLength {
                salt: u64::from(salt),
                algorithm: name,
            },
            SignatureFault::Forgeable { .. }
            | SignatureFault::ShortHash { .. }
            | SignatureFault::Unsupported => Self::Signature { fault: name },
        })
    }

    /// Whether the sentence is about the peer itself, not about its certificate.
    fn is_of_peer(&self) -> bool {
        matches!(
            self,
            Self::Service { .. }
                | Self::ServiceNotConfirmed { .. }
                | Self::CarriedSource { .. }
                | Self::CarriedSourceNotConfirmed
                | Self::NotMutual
                | Self::Unanswerable
                | Self::NotProved { .. }
        )
    }
}

/// The text that follows "the certificate".
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service { own, asked } => {
                match asked {
                    Some(asked) => write!(f, "asked for service \"{asked}\"")?,
                    None => f.write_str("named no service")?,
                }
                match own {
                    Some(own) => write!(f, ", and this route is service \"{own}\""),
                    None => f.write_str(", and this route has no service label"),
                }
            }
            Self::ServiceNotConfirmed { own } => {
                write!(f, "did not confirm service \"{own}\" of this route")
            }
            Self::CarriedSource { own: true } => {
                f.write_str("carries no address of its client, and this route has carry_source = true")
            }
            Self::CarriedSource { own: false } => {
                f.write_str("carries the address of its client, and this route has no carry_source")
            }
            Self::CarriedSourceNotConfirmed => f.write_str("did not confirm carry_source"),
            Self::NotMutual => f.write_str("asked for no client certificate"),
            Self::Unanswerable => {
                f.write_str("asked for a client certificate of a kind that our key is not")
            }
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
            Self::SaltLength { salt, algorithm } => write!(
                f,
                "is signed by {algorithm} with a salt of {salt} bytes, which is not accepted"
            ),
            Self::UnknownIssuer {
                top, is_presented, ..
            } => {
                f.write_str("was issued by no trusted CA of this route: ")?;
                match is_presented {
                    true => write!(f, "its chain ends at \"{top}\""),
                    false => write!(f, "the peer sent no certificate of \"{top}\""),
                }?;
                f.write_str(", and no trust has it")
            }
            Self::SelfSigned { .. } => {
                f.write_str("is self-signed: no CA that this route trusts issued it")
            }
            Self::OtherKey { .. } => f.write_str(
                "names a trusted CA of this route as issuer, but another key signed it",
            ),
            Self::Expired { not_after } => write!(f, "expired on {}", date(*not_after)),
            Self::NotYetValid { not_before } => {
                write!(f, "is not valid before {}", date(*not_before))
            }
            Self::AnchorExpired { not_after, .. } => {
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
                "is not accepted because the revocation list of \"{issuer}\" expired on {}: until it is \
                 renewed, every peer with a certificate of that CA is refused",
                date(*next_update)
            ),
            Self::ListMissing => f.write_str("is covered by no revocation list of its peer"),
            Self::ListOfOtherKey => f.write_str(
                "is covered by no revocation list of its peer: another key of its CA signed those that \
                 are there",
            ),
            Self::ListOutOfScope { scope } => write!(
                f,
                "is covered by no revocation list of its peer: its CA's {scope}"
            ),
            Self::ListUnusable { cause } => {
                write!(
                    f,
                    "is covered by a revocation list that cannot be used ({cause})"
                )
            }
            Self::Purpose => f.write_str("does not allow this use in its extended key usage"),
            Self::NotACa => f.write_str("has issued a certificate of the chain and is no CA's"),
            Self::PathLength => {
                f.write_str("came in a chain with more CAs than one of them allows below it")
            }
            Self::Critical { extension } => write!(
                f,
                "has the critical extension {extension}, which wardgate does not know"
            ),
            Self::NameConstraint { constraints } => write!(
                f,
                "bears a name that a CA of its chain may not issue certificates for (that CA may issue certificates for {constraints})"
            ),
            Self::Policy { fault } => f.write_str(fault),
            Self::Path { cause } => write!(f, "has no valid path to a trusted CA: {cause}"),
            Self::NotListed { peers, .. } => {
                write!(f, "is none of this route's peers ({peers})")
            }
            Self::OtherAuthority {
                authority,
                identity,
                ..
            } => write!(
                f,
                "was issued by \"{authority}\", which may not issue certificates for \"{identity}\""
            ),
            Self::NotExpected {
                target,
                identity,
                expected,
            } => write!(
                f,
                "proves \"{identity}\", and {expected} is expected at target {target}"
            ),
            Self::NotProved { cause } => {
                write!(
                    f,
                    "did not prove that it has the key of its certificate ({cause})"
                )
            }
        }
    }
}
