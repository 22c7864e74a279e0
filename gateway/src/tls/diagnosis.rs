//! Finds what stands behind an error of the path building: which certificate, by which rule.
//!
//! webpki says what failed last, not where. Nothing here decides: the chain is refused already.

use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::EndEntityCert;
use x509_parser::extensions::ExtendedKeyUsage;
use x509_parser::prelude::{FromDer, Validity};

use super::algorithms::{key_fault, signature_fault};
use super::der::Layout;
use super::refusal::{Refusal, Rule};
use super::rules::{Chain, Rules};
use super::verifier::Side;

impl Rules {
    /// Finds the certificate and the rule behind an error of the path building.
    pub(super) fn diagnose(
        &self,
        error: &webpki::Error,
        leaf: &EndEntityCert<'_>,
        chain: Chain<'_>,
    ) -> Refusal {
        use webpki::Error as E;
        let refuse = |rule| Refusal::new(chain.side, chain.leaf, rule);
        match error {
            E::CertExpired { not_after, .. } => {
                let rule = Rule::Expired {
                    not_after: seconds(*not_after),
                };
                self.blame(chain, rule, |certificate| {
                    validity(certificate)
                        .is_some_and(|dates| dates.not_after.timestamp() == seconds(*not_after))
                })
            }
            E::CertNotValidYet { not_before, .. } => {
                let rule = Rule::NotYetValid {
                    not_before: seconds(*not_before),
                };
                self.blame(chain, rule, |certificate| {
                    validity(certificate)
                        .is_some_and(|dates| dates.not_before.timestamp() == seconds(*not_before))
                })
            }
            E::CaUsedAsEndEntity => refuse(Rule::CaAsLeaf),
            E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => {
                let purpose = chain.side;
                self.blame(chain, Rule::Purpose, |certificate| {
                    lacks_purpose(certificate, purpose)
                })
            }
            E::UnknownIssuer
            | E::InvalidSignatureForPublicKey
            | E::UnsupportedSignatureAlgorithmContext(_)
            | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
                self.unknown_issuer(error, leaf, chain)
            }
            other => refuse(Rule::Path {
                cause: name_of(other),
            }),
        }
    }

    /// The refusal of the first certificate in the chain that is at fault; the leaf where none is.
    fn blame(
        &self,
        chain: Chain<'_>,
        rule: Rule,
        at_fault: impl Fn(&Layout<'_>) -> bool,
    ) -> Refusal {
        let is_at_fault =
            |der: &CertificateDer<'_>| Layout::of(der).is_some_and(|layout| at_fault(&layout));
        let refusal = Refusal::new(chain.side, chain.leaf, rule);
        if is_at_fault(chain.leaf) {
            return refusal;
        }
        match chain.intermediates.iter().find(|der| is_at_fault(der)) {
            Some(issuer) => refusal.because_of(issuer),
            None => refusal,
        }
    }

    /// Why no path was found: a weak key or signature on the way, another key under the same name, or
    /// simply nobody we know.
    fn unknown_issuer(
        &self,
        error: &webpki::Error,
        leaf: &EndEntityCert<'_>,
        chain: Chain<'_>,
    ) -> Refusal {
        let refuse = |rule| Refusal::new(chain.side, chain.leaf, rule);
        if let Some(fault) = signature_fault(chain.leaf) {
            return refuse(Rule::Signature { fault });
        }
        if let Some(fault) = self.weak_anchor(leaf, chain) {
            return refuse(Rule::AnchorKey { fault });
        }
        for der in chain
            .intermediates
            .iter()
            .filter(|der| !is_self_issued(der))
        {
            if let Some(fault) = signature_fault(der) {
                return refuse(Rule::Signature { fault }).because_of(der);
            }
            let fault = EndEntityCert::try_from(der)
                .ok()
                .and_then(|issuer| key_fault(&issuer.subject_public_key_info()));
            if let Some(fault) = fault {
                return refuse(Rule::Key { fault }).because_of(der);
            }
        }
        match error {
            webpki::Error::UnknownIssuer if is_self_issued(chain.leaf) => refuse(Rule::SelfSigned),
            webpki::Error::UnknownIssuer => refuse(Rule::UnknownIssuer),
            _ => refuse(Rule::OtherKey),
        }
    }

    // The anchor that the chain ends at by name, where its key is too weak to end it.
    fn weak_anchor(&self, leaf: &EndEntityCert<'_>, chain: Chain<'_>) -> Option<String> {
        let mut issuers = vec![leaf.issuer().to_vec()];
        for der in chain.intermediates {
            let Ok(certificate) = EndEntityCert::try_from(der) else {
                continue;
            };
            issuers.push(certificate.issuer().to_vec());
        }
        self.anchors
            .iter()
            .zip(&self.anchor_facts)
            .find(|(anchor, facts)| {
                facts.key_fault.is_some()
                    && issuers
                        .iter()
                        .any(|issuer| issuer.as_slice() == anchor.subject.as_ref())
            })
            .and_then(|(_, facts)| facts.key_fault.clone())
    }
}

fn validity(certificate: &Layout<'_>) -> Option<Validity> {
    let (_, dates) = Validity::from_der(certificate.validity_element).ok()?;
    Some(dates)
}

fn lacks_purpose(certificate: &Layout<'_>, side: Side) -> bool {
    let usage = certificate.extension(EXTENDED_KEY_USAGE);
    match usage.map(ExtendedKeyUsage::from_der) {
        Some(Ok((_, usage))) => match side {
            Side::Connector => !usage.server_auth,
            Side::Acceptor => !usage.client_auth,
        },
        _ => false,
    }
}

/// id-ce-extKeyUsage (RFC 5280 section 4.2.1.12).
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];

fn is_self_issued(der: &CertificateDer<'_>) -> bool {
    EndEntityCert::try_from(der).is_ok_and(|facts| facts.issuer() == facts.subject())
}

fn seconds(moment: UnixTime) -> i64 {
    i64::try_from(moment.as_secs()).unwrap_or(i64::MAX)
}

/// The name of an error without what it carries.
fn name_of(error: &webpki::Error) -> String {
    let whole = error.to_string();
    whole
        .split(['(', '{', ' '])
        .next()
        .unwrap_or_default()
        .to_owned()
}
