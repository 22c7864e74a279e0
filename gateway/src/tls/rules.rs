//! What a route requires of its peers' certificates: the peers, their CAs, the algorithms. `search` applies
//! these rules.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use rustls::{DistinguishedName, Error};

use super::anchors::AnchorFacts;
use super::identity::Peers;
use super::role::TlsRole;
use crate::config::{Peer, Target};
use crate::pki::Trust;
use crate::pki::webpki_error::webpki_error_text;
use crate::tls::limits::CA_NAMES_BYTES_MAX;

/// What a route requires of its peers' certificates.
#[derive(Debug)]
pub(super) struct PeerRules {
    // In the order of the configuration, in which peers are numbered.
    pub(super) groups: Vec<Group>,
    pub(super) peers: Peers,
    // INVARIANT: `anchors` and `anchor_facts` have the same length and order.
    pub(super) anchors: Vec<TrustAnchor<'static>>,
    pub(super) anchor_facts: Vec<AnchorFacts>,
    pub(super) hints: Vec<DistinguishedName>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

/// A peer, and the CAs that may issue certificates for it.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) peer: Arc<Peer>,
    pub(super) trust: Arc<Trust>,
}

impl PeerRules {
    /// Reads the anchors of all peers. `trust` holds the trust of each of `peers`, in their order. Fails if
    /// an anchor cannot be read.
    pub(super) fn new(
        peers: &[Arc<Peer>],
        trust: &[Arc<Trust>],
        provider: &CryptoProvider,
    ) -> Result<Self, Error> {
        if peers.len() != trust.len() {
            return Err(Error::General("a peer without trust".into()));
        }
        let groups: Vec<Group> = peers
            .iter()
            .zip(trust)
            .map(|(peer, trust)| Group {
                peer: Arc::clone(peer),
                trust: Arc::clone(trust),
            })
            .collect();
        let mut rules = Self {
            groups,
            peers: Peers::new(peers),
            anchors: Vec::new(),
            anchor_facts: Vec::new(),
            hints: Vec::new(),
            algorithms: provider.signature_verification_algorithms,
        };
        rules.read_anchors()?;
        // LIMIT: `CA_NAMES_BYTES_MAX`. Without CA names a client chooses its certificate by itself (RFC
        // 8446 section 4.2.4).
        let names = rules.hints.iter().map(|name| name.as_ref().len());
        if names.sum::<usize>() > CA_NAMES_BYTES_MAX {
            rules.hints = Vec::new();
        }
        Ok(rules)
    }

    // A certificate that several peers trust is one anchor, so its signatures are checked once.
    fn read_anchors(&mut self) -> Result<(), Error> {
        let mut seen: Vec<&CertificateDer<'_>> = Vec::new();
        for (number, group) in self.groups.iter().enumerate() {
            for der in &group.trust.anchors {
                if let Some(index) = seen.iter().position(|known| *known == der) {
                    if let Some(facts) = self.anchor_facts.get_mut(index) {
                        facts.add_peer(number);
                    }
                    continue;
                }
                let anchor = webpki::anchor_from_trusted_cert(der).map_err(|cause| {
                    Error::General(format!(
                        "a CA certificate in trust cannot be used: {}",
                        webpki_error_text(&cause)
                    ))
                })?;
                let hint = DistinguishedName::in_sequence(&anchor.subject);
                // CAs with the same name are listed once in the CertificateRequest.
                if !self
                    .hints
                    .iter()
                    .any(|known| known.as_ref() == hint.as_ref())
                {
                    self.hints.push(hint);
                }
                seen.push(der);
                let mut anchor = anchor.to_owned();
                self.anchor_facts
                    .push(AnchorFacts::take(&mut anchor, der, number));
                self.anchors.push(anchor);
            }
        }
        Ok(())
    }

    /// The first peer for which an anchor may issue certificates.
    pub(super) fn group_of(&self, anchor: &AnchorFacts) -> Option<&Group> {
        self.groups.get(anchor.first_peer()?)
    }

    /// The file that holds an anchor, for a message.
    pub(super) fn trust_file(&self, anchor: usize) -> String {
        let facts = self.anchor_facts.get(anchor);
        let group = facts.and_then(|facts| self.group_of(facts));
        group.map_or_else(String::new, |group| {
            group.peer.trust.trust.value.display().to_string()
        })
    }
}

/// A chain as presented, and the circumstances of the check.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chain<'a> {
    /// The role of this gateway.
    pub(super) side: TlsRole,
    /// The peer's own certificate.
    pub(super) leaf: &'a CertificateDer<'a>,
    /// The other certificates that the peer sent, in its order.
    pub(super) intermediates: &'a [CertificateDer<'a>],
    /// The target of the connection, if the configuration names the expected peers there.
    pub(super) expected: Option<&'a Target>,
    /// The time for which the chain is checked.
    pub(super) now: UnixTime,
}
