//! Trust anchors: the properties that webpki drops, and the anchors that one search uses.

use std::borrow::Cow;

use rustls::pki_types::{CertificateDer, Der, TrustAnchor, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::name_constraints::NameConstraints;
use super::text::printable;
use crate::pki::algorithms::{KeyUse, PublicKeyInfo};
use crate::pki::crl::{KeyHash, key_hash};
use crate::pki::name;

/// The properties of a trust anchor that webpki drops.
#[derive(Debug)]
pub(super) struct AnchorFacts {
    pub(super) not_after: i64,
    pub(super) key_fault: Option<String>,
    // Whether the CA issued this certificate to itself.
    pub(super) is_root: bool,
    pub(super) subject: String,
    pub(super) key: KeyHash,
    // The name constraints that webpki does not process.
    pub(super) constraints: Option<NameConstraints>,
    // INVARIANT: the indexes of the peers whose trust contains this anchor, ascending.
    pub(super) peers: Vec<usize>,
}

/// The anchors that one search uses.
pub(super) struct Selection<'a> {
    anchors: Cow<'a, [TrustAnchor<'a>]>,
    // INVARIANT: for each of `anchors`, in order, its index among the anchors of the route.
    numbers: Vec<usize>,
}

impl<'a> Selection<'a> {
    /// The anchors at these indexes of `all`, ascending.
    pub(super) fn new(all: &'a [TrustAnchor<'static>], numbers: Vec<usize>) -> Self {
        let anchors = match numbers.len() == all.len() {
            true => Cow::Borrowed(all),
            false => {
                let chosen = numbers.iter().filter_map(|number| all.get(*number));
                Cow::Owned(chosen.map(borrowed).collect())
            }
        };
        Self { anchors, numbers }
    }

    pub(super) fn all(&self) -> &[TrustAnchor<'a>] {
        &self.anchors
    }

    /// The index of an anchor of `all` among the anchors of the route.
    pub(super) fn number_of(&self, anchor: &TrustAnchor<'_>) -> Option<usize> {
        let is_it = |one: &TrustAnchor<'_>| std::ptr::eq(one, anchor);
        let place = self.anchors.iter().position(is_it)?;
        self.numbers.get(place).copied()
    }
}

/// The same anchor, borrowed instead of copied.
fn borrowed<'a>(anchor: &'a TrustAnchor<'static>) -> TrustAnchor<'a> {
    TrustAnchor {
        subject: Der::from_slice(&anchor.subject),
        subject_public_key_info: Der::from_slice(&anchor.subject_public_key_info),
        name_constraints: anchor.name_constraints.as_deref().map(Der::from_slice),
    }
}

impl AnchorFacts {
    /// Whether the certificate has expired.
    pub(super) fn is_past(&self, now: UnixTime) -> bool {
        i64::try_from(now.as_secs()).unwrap_or(i64::MAX) > self.not_after
    }

    /// Takes the properties that webpki does not process out of the anchor in `der`, which belongs to the
    /// trust of a peer, and brings its subject into the form in which names are compared.
    pub(super) fn take(
        anchor: &mut TrustAnchor<'_>,
        der: &CertificateDer<'_>,
        peer: usize,
    ) -> Self {
        let constraints = anchor.name_constraints.as_deref();
        let split = constraints.and_then(NameConstraints::split);
        let (constraints, rest) = split.map_or((None, None), |(own, rest)| (Some(own), Some(rest)));
        if let Some(rest) = rest {
            anchor.name_constraints = Some(Der::from(rest));
        }
        anchor.subject = Der::from(name::comparable_content(&anchor.subject));
        Self {
            constraints,
            ..Self::new(der, peer)
        }
    }

    /// Adds a peer whose trust contains this anchor. Peers are added in ascending order.
    pub(super) fn add_peer(&mut self, peer: usize) {
        if self.peers.last() != Some(&peer) {
            self.peers.push(peer);
        }
    }

    /// Whether this anchor may issue certificates for this peer.
    pub(super) fn may_issue_for(&self, peer: usize) -> bool {
        self.peers.binary_search(&peer).is_ok()
    }

    /// Whether this anchor may issue certificates for each of the `peers` peers.
    pub(super) fn may_issue_for_all(&self, peers: usize) -> bool {
        self.peers.len() == peers
    }

    /// Whether this anchor may issue certificates for one peer only.
    pub(super) fn is_of_one_peer(&self) -> bool {
        self.may_issue_for_all(1)
    }

    /// The first peer for which this anchor may issue certificates.
    pub(super) fn first_peer(&self) -> Option<usize> {
        self.peers.first().copied()
    }

    fn new(der: &CertificateDer<'_>, peer: usize) -> Self {
        let peers = vec![peer];
        match X509Certificate::from_der(der) {
            Ok((_, facts)) => Self {
                not_after: facts.validity().not_after.timestamp(),
                key_fault: PublicKeyInfo::of_spki(facts.public_key().raw)
                    .fault(KeyUse::Authority)
                    .map(|fault| fault.to_string()),
                is_root: facts.subject().as_raw() == facts.issuer().as_raw(),
                subject: printable(&facts.subject().to_string()),
                key: key_hash(facts.public_key().raw),
                peers,
                constraints: None,
            },
            // webpki has read this certificate. An anchor without readable dates counts as expired.
            Err(_) => Self {
                not_after: i64::MIN,
                key_fault: None,
                is_root: false,
                subject: String::new(),
                key: KeyHash::default(),
                peers,
                constraints: None,
            },
        }
    }
}
