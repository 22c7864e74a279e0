//! What a route asks of its peers' certificates, and the order in which it asks.
//!
//! webpki builds the path (RFC 5280 section 6); around it stand the rules that it has not: the chain's
//! length, the leaf's own key, the anchors' last day, and the identity.

use std::cell::Cell;

use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use rustls::{DistinguishedName, Error};
use webpki::{EndEntityCert, VerifiedPath};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::chain::{self, Checks};
use super::identity::{PeerInfo, Peers};
use super::refusal::{Refusal, Rule, key_fault};
use super::revocation::{Revocation, options};
use super::verifier::Side;
use crate::config::PeerName;
use crate::limits::CHAIN_CERTIFICATES_MAX;
use crate::pki::Trust;

/// What a route asks of its peers' certificates.
#[derive(Debug)]
pub(super) struct Rules {
    peers: Peers,
    // INVARIANT: `anchors` and `anchor_facts` have the same length and order.
    pub(super) anchors: Vec<TrustAnchor<'static>>,
    pub(super) anchor_facts: Vec<AnchorFacts>,
    pub(super) hints: Vec<DistinguishedName>,
    pub(super) revocation: Revocation,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

/// What webpki leaves out of a trust anchor.
#[derive(Debug)]
pub(super) struct AnchorFacts {
    pub(super) not_after: i64,
    pub(super) key_fault: Option<String>,
}

impl Rules {
    /// Reads anchors and lists once. Fails where one of them cannot be read.
    pub(super) fn new(
        trust: &Trust,
        peers: &[PeerName],
        provider: &CryptoProvider,
    ) -> Result<Self, Error> {
        let mut anchors = Vec::new();
        let mut anchor_facts = Vec::new();
        for der in &trust.anchors {
            let anchor = webpki::anchor_from_trusted_cert(der)
                .map_err(|cause| Error::General(format!("trust anchor is unreadable: {cause}")))?;
            anchors.push(anchor.to_owned());
            anchor_facts.push(AnchorFacts::new(der));
        }
        let hints = anchors
            .iter()
            .map(|anchor| DistinguishedName::in_sequence(&anchor.subject))
            .collect();
        Ok(Self {
            peers: Peers::new(peers),
            anchors,
            anchor_facts,
            hints,
            revocation: Revocation::new(&trust.crls)?,
            algorithms: provider.signature_verification_algorithms,
        })
    }

    /// Says whom a chain belongs to, or why it is refused.
    pub(super) fn judge(&self, chain: Chain<'_>) -> Result<PeerInfo, Refusal> {
        let refuse = |rule| Refusal::new(chain.side, chain.leaf, rule);
        if chain.intermediates.len() >= CHAIN_CERTIFICATES_MAX {
            return Err(refuse(Rule::ChainTooLong {
                presented: chain.intermediates.len() + 1,
            }));
        }
        self.check_size(chain)?;
        let intermediates = chain::cut(chain.leaf, chain.intermediates, self.anchors_at(chain.now));
        let chain = Chain {
            intermediates: &intermediates,
            ..chain
        };
        let leaf = EndEntityCert::try_from(chain.leaf).map_err(|cause| {
            refuse(Rule::Unreadable {
                cause: cause.to_string(),
            })
        })?;
        if let Some(fault) = key_fault(&leaf.subject_public_key_info()) {
            return Err(refuse(Rule::Key { fault }));
        }
        self.check_path(&leaf, chain)?;
        self.peers.recognise(&leaf).ok_or_else(|| {
            refuse(Rule::NotListed {
                peers: self.peers.shown().to_owned(),
            })
        })
    }

    /// Refuses a certificate that is too large before anything reads it.
    fn check_size(&self, chain: Chain<'_>) -> Result<(), Refusal> {
        let presented = std::iter::once(chain.leaf).chain(chain.intermediates);
        for (index, certificate) in presented.enumerate() {
            if let Some(fault) = chain::size_fault(certificate) {
                let refusal = Refusal::new(chain.side, chain.leaf, Rule::TooLarge { fault });
                return Err(match index {
                    0 => refusal,
                    _ => refusal.because_of(certificate),
                });
            }
        }
        Ok(())
    }

    fn anchors_at(&self, now: UnixTime) -> impl Iterator<Item = chain::Anchor<'_>> + Clone {
        let anchors = self.anchors.iter().zip(&self.anchor_facts);
        anchors.map(move |(anchor, facts)| chain::Anchor {
            anchor,
            in_force: !facts.is_past(now),
        })
    }

    fn check_path(&self, leaf: &EndEntityCert<'_>, chain: Chain<'_>) -> Result<(), Refusal> {
        let anchor_expired = Cell::new(None);
        let anchor_is_valid = |path: &VerifiedPath<'_>| match self.expiry(path, chain.now) {
            None => Ok(()),
            Some(not_after) => {
                anchor_expired.set(Some(not_after));
                Err(webpki::Error::UnknownIssuer)
            }
        };
        let lists = self.revocation.lists();
        let checks = Checks::default();
        let counted = checks.counted(self.algorithms.all);
        let algorithms: Vec<_> = counted.iter().map(|algorithm| algorithm as _).collect();
        let Err(error) = leaf.verify_for_usage(
            &algorithms,
            &self.anchors,
            chain.intermediates,
            chain.now,
            chain.side.purpose(),
            options(&lists),
            Some(&anchor_is_valid),
        ) else {
            return Ok(());
        };
        // A path that was good but for its anchor's date says more than what other paths lacked.
        Err(match anchor_expired.get() {
            Some(not_after) => {
                Refusal::new(chain.side, chain.leaf, Rule::AnchorExpired { not_after })
            }
            None => self.diagnose(&error, leaf, chain),
        })
    }

    // webpki takes an anchor's key and name alone (RFC 5280 section 6.1.1 allows that); an operator who
    // sees a CA's last day pass expects it to end.
    fn expiry(&self, path: &VerifiedPath<'_>, now: UnixTime) -> Option<i64> {
        let facts = self
            .anchors
            .iter()
            .position(|anchor| std::ptr::eq(anchor, path.anchor()))
            .and_then(|index| self.anchor_facts.get(index))?;
        facts.is_past(now).then_some(facts.not_after)
    }
}

/// A chain as presented, and what it is to be judged for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chain<'a> {
    /// Which end we are.
    pub(super) side: Side,
    /// The peer's own certificate.
    pub(super) leaf: &'a CertificateDer<'a>,
    /// What it sent beside, in its order.
    pub(super) intermediates: &'a [CertificateDer<'a>],
    /// The moment to judge by.
    pub(super) now: UnixTime,
}

impl AnchorFacts {
    fn is_past(&self, now: UnixTime) -> bool {
        i64::try_from(now.as_secs()).unwrap_or(i64::MAX) > self.not_after
    }

    fn new(der: &CertificateDer<'_>) -> Self {
        match X509Certificate::from_der(der) {
            Ok((_, facts)) => Self {
                not_after: facts.validity().not_after.timestamp(),
                key_fault: key_fault(facts.public_key().raw),
            },
            // webpki could read it. Without dates it is an anchor that ended long ago.
            Err(_) => Self {
                not_after: i64::MIN,
                key_fault: None,
            },
        }
    }
}
