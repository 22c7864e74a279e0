//! When the certificates of a route's peers expire, as the last accepted connection of each showed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::config::RouteConfig;
use crate::tls::PeerInfo;

/// No certificate was seen.
const UNSEEN: i64 = i64::MIN;

/// One date for each identity that a route lists; other identities cannot be added.
#[derive(Debug, Default)]
pub(super) struct PeerExpiries {
    // The next configuration of the route has the same date for the same identity.
    by_identity: BTreeMap<String, Arc<AtomicI64>>,
}

impl PeerExpiries {
    /// For the identities that `config` lists. Dates that `previous` knows stay.
    pub(super) fn new(config: &RouteConfig, previous: Option<&Self>) -> Self {
        let peers = config.tls.iter().flat_map(|tls| &tls.peers);
        let identities = peers.flat_map(|peer| &peer.identities);
        let known = |identity: &String| previous?.by_identity.get(identity).map(Arc::clone);
        let each = identities.map(ToString::to_string).map(|identity| {
            let date = known(&identity).unwrap_or_else(|| Arc::new(AtomicI64::new(UNSEEN)));
            (identity, date)
        });
        Self {
            by_identity: each.collect(),
        }
    }

    /// Notes the certificates by which a connection of `peer` was accepted: of its path, the date of the
    /// certificate that expires first counts.
    pub(super) fn note(&self, peer: &PeerInfo) {
        let first = peer.chain.iter().map(|one| one.not_after).min();
        if let (Some(date), Some(first)) = (self.by_identity.get(&peer.identity), first) {
            date.store(first, Ordering::Relaxed);
        }
    }

    /// The identities that were seen, with their dates in seconds since 1970.
    pub(super) fn seen(&self) -> Vec<(String, i64)> {
        let all = self.by_identity.iter();
        let all = all.map(|(identity, date)| (identity.clone(), date.load(Ordering::Relaxed)));
        all.filter(|(_, date)| *date != UNSEEN).collect()
    }
}
