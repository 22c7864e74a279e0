//! Checks whether the peer of an open connection would still be accepted: by new rules, or at a later time.
//!
//! Only what the connection keeps of the peer's certificates is known, not the certificates themselves. So
//! the check is stricter than that of a handshake in two cases, and the peer must then connect again: if the
//! rules now list another name of the same certificate, and if several revocation lists of one CA have
//! different scopes.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::TrustAnchor;

use super::anchors::AnchorFacts;
use super::identity::{ChainCertificate, PeerInfo, issuer_digest};
use super::rules::{Group, PeerRules};
use super::text::serial;
use crate::pki::Crl;

/// Why the peer of an open connection is not accepted any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotAccepted {
    /// A certificate of its path has expired.
    Expired,
    /// None of its identities is listed any more.
    NotListed,
    /// No CA that may issue certificates for it has issued the last certificate of its path.
    NotTrusted,
    /// The certificate with this serial number, lower-case hexadecimal, is revoked.
    Revoked(String),
    /// The peer's CAs have revocation lists now, but none from the issuer of one of its certificates.
    NoList,
}

impl fmt::Display for NotAccepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("its certificate has expired"),
            Self::NotListed => f.write_str("the route does not list it any more"),
            Self::NotTrusted => f.write_str("the route does not trust its CA any more"),
            Self::Revoked(serial) => {
                write!(f, "its certificate with serial {serial} is revoked")
            }
            Self::NoList => f.write_str(
                "no revocation list of its CA is configured, but lists of other CAs are",
            ),
        }
    }
}

impl PeerRules {
    /// Whether a connected peer would still be accepted at `now`, in seconds since 1970. A revocation list
    /// that has expired does not count against the peer: it only refuses new handshakes.
    pub(super) fn still_accepts(&self, peer: &PeerInfo, now: i64) -> Result<(), NotAccepted> {
        peer.check_expiry(now)?;
        let mut fault = NotAccepted::NotListed;
        for number in self.peers.listing(&peer.identities()) {
            let Some(group) = self.groups.get(number) else {
                continue;
            };
            match self.still_proved(number, group, peer) {
                Ok(()) => return Ok(()),
                Err(because) => fault = because,
            }
        }
        Err(fault)
    }

    fn still_proved(
        &self,
        number: usize,
        group: &Group,
        peer: &PeerInfo,
    ) -> Result<(), NotAccepted> {
        let last = peer.chain.last().ok_or(NotAccepted::NotTrusted)?;
        let anchors = self.anchors.iter().zip(&self.anchor_facts);
        let mut of_peer = anchors.filter(|(_, facts)| facts.peers.contains(&number));
        let is_issuer = |(anchor, facts): (&TrustAnchor<'_>, &AnchorFacts)| {
            issuer_digest(&anchor.subject, &facts.key) == last.issuer
        };
        if !of_peer.any(is_issuer) {
            return Err(NotAccepted::NotTrusted);
        }
        if group.trust.crls.is_empty() {
            return Ok(());
        }
        peer.chain
            .iter()
            .try_for_each(|certificate| check_lists(group, certificate))
    }
}

impl PeerInfo {
    /// Whether all certificates of the peer's path are valid at `now`, in seconds since 1970.
    ///
    /// # Errors
    /// If one has expired.
    pub fn check_expiry(&self, now: i64) -> Result<(), NotAccepted> {
        match now > self.expires_at() {
            true => Err(NotAccepted::Expired),
            false => Ok(()),
        }
    }

    /// When the first certificate of the peer's path expires, in seconds since 1970.
    #[must_use]
    pub fn expires_at(&self) -> i64 {
        let ends = self.chain.iter().map(|certificate| certificate.not_after);
        ends.min().unwrap_or(i64::MAX)
    }
}

fn check_lists(group: &Group, certificate: &ChainCertificate) -> Result<(), NotAccepted> {
    let is_of_issuer = |crl: &&Arc<Crl>| {
        let digest = |key| issuer_digest(crl.issuer_name(), key);
        crl.signer().map(digest) == Some(certificate.issuer)
    };
    // The newest first. Lists with scopes complete each other; otherwise the newest one decides, as at a
    // handshake.
    let lists: Vec<_> = group.trust.crls.iter().filter(is_of_issuer).collect();
    let decisive = match lists.iter().any(|crl| crl.has_scope()) {
        true => lists.as_slice(),
        false => lists.get(..1).unwrap_or_default(),
    };
    if decisive.is_empty() {
        return Err(NotAccepted::NoList);
    }
    let is_revoked = |crl: &&Arc<Crl>| crl.revoked_at(&certificate.serial).is_some();
    match decisive.iter().copied().any(|crl| is_revoked(&crl)) {
        true => Err(NotAccepted::Revoked(serial(&certificate.serial))),
        false => Ok(()),
    }
}
