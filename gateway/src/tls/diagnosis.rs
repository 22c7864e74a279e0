//! Finds the cause of a path building error: which certificate broke which rule.
//!
//! webpki reports the last failure, but not its place. This module decides nothing: the chain is already
//! refused.

use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::EndEntityCert;
use x509_parser::extensions::{ExtendedKeyUsage, NameConstraints};
use x509_parser::prelude::FromDer;

use super::der::{Elements, Layout, OBJECT_IDENTIFIER, SEQUENCE};
use super::normal_form::NormalChain;
use super::policies::extension_name;
use super::refusal::{Claim, Refusal, Rule};
use super::role::TlsRole;
use super::rules::{Chain, PeerRules};
use super::text::{list, printable};
use crate::pki::algorithms::{KeyUse, PublicKeyInfo, Signature, object_identifier};
use crate::pki::constraints::Constraints;
use crate::pki::crl::key_hash;
use crate::pki::der::{BOOLEAN, element, only};
use crate::pki::webpki_error::webpki_error_text;

/// The rule that a peer's own certificate breaks if webpki cannot read its normal form.
pub(super) fn unreadable(normal: &CertificateDer<'_>, error: &webpki::Error) -> Rule {
    match (error, unknown_critical_extension(normal)) {
        (webpki::Error::UnsupportedCriticalExtension, Some(extension)) => {
            Rule::Critical { extension }
        }
        _ => Rule::Unreadable {
            cause: webpki_error_text(error).to_owned(),
        },
    }
}

impl PeerRules {
    /// Finds the certificate and the rule behind a path building error. The intermediates of `chain` are in
    /// their normal form.
    pub(super) fn diagnose(
        &self,
        error: &webpki::Error,
        leaf: &EndEntityCert<'_>,
        normal: &NormalChain<'_>,
        chain: Chain<'_>,
    ) -> Refusal {
        use webpki::Error as E;
        let presented = Presented { normal, chain };
        match error {
            E::CertExpired { not_after, .. } => {
                let not_after = seconds(*not_after);
                presented.blame(Rule::Expired { not_after }, |certificate| {
                    certificate
                        .validity()
                        .is_some_and(|dates| dates.not_after.timestamp() == not_after)
                })
            }
            E::CertNotValidYet { not_before, .. } => {
                let not_before = seconds(*not_before);
                presented.blame(Rule::NotYetValid { not_before }, |certificate| {
                    certificate
                        .validity()
                        .is_some_and(|dates| dates.not_before.timestamp() == not_before)
                })
            }
            E::CaUsedAsEndEntity => presented.refuse(Rule::CaAsLeaf),
            E::EndEntityUsedAsCa => presented.blame_issuer(Rule::NotACa, |der| {
                Layout::of(der).is_some_and(|certificate| !is_ca(&certificate))
            }),
            E::PathLenConstraintViolated => presented.refuse(Rule::PathLength),
            E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => presented
                .blame(Rule::Purpose, |certificate| {
                    lacks_purpose(certificate, chain.side)
                }),
            E::NameConstraintViolation => {
                let constraints = self.violated_constraints(leaf, chain);
                presented.refuse(Rule::NameConstraint { constraints })
            }
            E::UnknownIssuer
            | E::UnsupportedCriticalExtension
            | E::InvalidSignatureForPublicKey
            | E::UnsupportedSignatureAlgorithmContext(_)
            | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
                self.unknown_issuer(error, leaf, presented)
            }
            other => presented.refuse(Rule::Path {
                cause: webpki_error_text(other).to_owned(),
            }),
        }
    }

    /// Why no path was found: an extension, a weak key or a signature on the path, another key under the
    /// same name, or an unknown issuer.
    fn unknown_issuer(
        &self,
        error: &webpki::Error,
        leaf: &EndEntityCert<'_>,
        presented: Presented<'_>,
    ) -> Refusal {
        let chain = presented.chain;
        if let Some(rule) = signature_rule(chain.leaf) {
            return presented.refuse(rule);
        }
        if let Some(fault) = self.weak_anchor(leaf, chain) {
            return presented.refuse(Rule::AnchorKey { fault });
        }
        for der in chain
            .intermediates
            .iter()
            .filter(|der| !is_self_issued(der))
        {
            if let Some(extension) = unknown_critical_extension(der) {
                return presented.refuse_issuer(Rule::Critical { extension }, der);
            }
            if let Some(rule) = signature_rule(der) {
                return presented.refuse_issuer(rule, der);
            }
            let fault = EndEntityCert::try_from(der).ok().and_then(|issuer| {
                PublicKeyInfo::of_spki(&issuer.subject_public_key_info()).fault(KeyUse::Authority)
            });
            if let Some(fault) = fault {
                let fault = fault.to_string();
                return presented.refuse_issuer(Rule::Key { fault }, der);
            }
        }
        match error {
            webpki::Error::InvalidSignatureForPublicKey
            | webpki::Error::UnsupportedSignatureAlgorithmContext(_)
            | webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => presented
                .refuse(Rule::OtherKey {
                    trust: self.trust_of_namesake(leaf, chain),
                }),
            _ => {
                let claim = self.claim(leaf, chain).map(Box::new);
                if is_self_issued(presented.normal.leaf()) {
                    return presented.refuse(Rule::SelfSigned { claim });
                }
                let (top, is_presented) = presented.normal.top();
                presented.refuse(Rule::UnknownIssuer {
                    top,
                    is_presented,
                    claim,
                })
            }
        }
    }

    /// The first listed identity that the leaf bears, and the CAs that may issue certificates for it.
    fn claim(&self, leaf: &EndEntityCert<'_>, chain: Chain<'_>) -> Option<Claim> {
        let key = key_hash(&leaf.subject_public_key_info());
        let proved = self.peers.proved(leaf, &key, chain.expected);
        let claimed = proved
            .iter()
            .find(|one| one.is_expected)
            .or(proved.first())?;
        let peer = &self.groups.get(claimed.group)?.peer;
        let of_peer = self.anchor_facts.iter();
        let of_peer = of_peer.filter(|facts| facts.may_issue_for(claimed.group));
        let authorities: Vec<_> = of_peer
            .map(|facts| format!("\"{}\"", facts.subject))
            .collect();
        Some(Claim {
            identity: claimed.name.to_string(),
            peer: peer.name.clone(),
            trust: peer.trust.trust.value.display().to_string(),
            authorities: list(authorities.into_iter()),
        })
    }

    /// The trust file that holds the anchor whose name is that of an issuer in the chain.
    fn trust_of_namesake(&self, leaf: &EndEntityCert<'_>, chain: Chain<'_>) -> String {
        let above = chain.intermediates.iter().filter_map(|der| Layout::of(der));
        let issuers: Vec<&[u8]> = std::iter::once(leaf.issuer())
            .chain(above.map(|layout| layout.issuer))
            .collect();
        let namesake = self
            .anchors
            .iter()
            .position(|anchor| issuers.contains(&anchor.subject.as_ref()));
        namesake.map_or_else(String::new, |anchor| self.trust_file(anchor))
    }

    /// The permitted names of the first CA that may not issue certificates for a name of the leaf.
    fn violated_constraints(&self, leaf: &EndEntityCert<'_>, chain: Chain<'_>) -> String {
        let names: Vec<_> = leaf
            .valid_dns_names()
            .map(|name| format!("dns:{name}"))
            .collect();
        let of_anchors = self.anchors.iter();
        let of_anchors = of_anchors.filter_map(|anchor| anchor.name_constraints.as_deref());
        let above = chain.intermediates.iter().filter_map(|der| {
            let value = Layout::of(der)?.extension(NAME_CONSTRAINTS)?;
            only(value, SEQUENCE)
        });
        let all: Vec<Constraints> = above
            .chain(of_anchors)
            .filter_map(|content| {
                let der = element(SEQUENCE, content);
                let (_, parsed) = NameConstraints::from_der(&der).ok()?;
                Some(Constraints::of(&parsed, true))
            })
            .collect();
        let violated = all
            .iter()
            .find(|one| names.iter().any(|name| !one.permit(name)));
        let shown = violated.or(all.first());
        shown.map_or_else(
            || "other names".to_owned(),
            |one| printable(&one.permitted_text()),
        )
    }

    // The anchor at which the chain ends by name, if its key is too weak.
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

/// The rule that a certificate breaks if its signature algorithm is not accepted.
pub(super) fn signature_rule(der: &CertificateDer<'_>) -> Option<Rule> {
    let signature = Signature::of(Layout::of(der)?.signature)?;
    Rule::of_signature(&signature)
}

/// A presented chain, with its intermediates in their normal form, for building a refusal.
#[derive(Clone, Copy)]
struct Presented<'a> {
    normal: &'a NormalChain<'a>,
    chain: Chain<'a>,
}

impl Presented<'_> {
    fn refuse(&self, rule: Rule) -> Refusal {
        Refusal::new(self.chain.side, self.chain.leaf, rule)
    }

    /// A refusal because of the issuer whose normal form is `normal`.
    fn refuse_issuer(&self, rule: Rule, normal: &CertificateDer<'_>) -> Refusal {
        let original = self.normal.find(normal);
        self.refuse(rule)
            .because_of(original.map_or(normal, |one| one.original()))
    }

    /// A refusal because of the first certificate in the chain that matches `at_fault`, or because of the
    /// leaf if none matches.
    fn blame(&self, rule: Rule, at_fault: impl Fn(&Layout<'_>) -> bool) -> Refusal {
        let is_at_fault =
            |der: &CertificateDer<'_>| Layout::of(der).is_some_and(|layout| at_fault(&layout));
        match is_at_fault(self.chain.leaf) {
            true => self.refuse(rule),
            false => self.blame_issuer(rule, is_at_fault),
        }
    }

    fn blame_issuer(&self, rule: Rule, at_fault: impl Fn(&CertificateDer<'_>) -> bool) -> Refusal {
        match self.chain.intermediates.iter().find(|der| at_fault(der)) {
            Some(issuer) => self.refuse_issuer(rule, issuer),
            None => self.refuse(rule),
        }
    }
}

/// The first critical extension in the normal form of a certificate that neither webpki nor this module's
/// neighbours process.
fn unknown_critical_extension(normal: &CertificateDer<'_>) -> Option<String> {
    let mut extensions = Layout::of(normal)?.each_extension();
    extensions.find_map(|extension| {
        let mut parts = Elements(extension.content);
        let id = parts.next_if(OBJECT_IDENTIFIER)?;
        let is_critical = parts.next_if(BOOLEAN).is_some_and(|value| value != [0]);
        if !is_critical || KNOWN_EXTENSIONS.contains(&id) {
            return None;
        }
        let number = object_identifier(id);
        Some(match extension_name(id) {
            Some(name) => format!("{name} ({number})"),
            None => number,
        })
    })
}

/// The extensions that webpki reads: keyUsage, subjectAltName, basicConstraints, nameConstraints,
/// cRLDistributionPoints, extKeyUsage and the list of signed certificate timestamps.
const KNOWN_EXTENSIONS: [&[u8]; 7] = [
    &[0x55, 0x1d, 0x0f],
    &[0x55, 0x1d, 0x11],
    BASIC_CONSTRAINTS,
    NAME_CONSTRAINTS,
    &[0x55, 0x1d, 0x1f],
    EXTENDED_KEY_USAGE,
    &[0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 2],
];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x1e];

fn is_ca(certificate: &Layout<'_>) -> bool {
    let value = certificate.extension(BASIC_CONSTRAINTS).unwrap_or_default();
    let mut fields = Elements(only(value, SEQUENCE).unwrap_or_default());
    fields.next_if(BOOLEAN).is_some_and(|value| value != [0])
}

fn lacks_purpose(certificate: &Layout<'_>, side: TlsRole) -> bool {
    let usage = certificate.extension(EXTENDED_KEY_USAGE);
    match usage.map(ExtendedKeyUsage::from_der) {
        Some(Ok((_, usage))) => match side {
            TlsRole::Client => !usage.server_auth,
            TlsRole::Server => !usage.client_auth,
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
