//! The state of a route that survives a change of the configuration.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};

use super::id::RouteId;
use crate::config::{Observe, PeerName, Protocol, RouteConfig};
use crate::metrics::RouteCounters;

/// The phase of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoutePhase {
    /// The route serves.
    Open,
    /// Its connections end as soon as they have no outstanding messages.
    Draining,
    /// All its connections must end now.
    Stopped,
}

/// Counters and signals of a route, for as long as a route of its name is configured.
#[derive(Debug)]
pub struct RouteState {
    /// The id of the route.
    pub id: RouteId,
    /// Its counters, one block per core of the process.
    pub counters: Vec<Arc<RouteCounters>>,
    // Its connections on all cores.
    pub(super) open: AtomicU32,
    // Its open associations, of all peers and of each identity of a peer.
    pub(super) associations: Arc<AtomicU32>,
    associations_by_identity: Mutex<HashMap<String, Arc<AtomicU32>>>,
    phase: watch::Sender<RoutePhase>,
    // Wakes the listener, which may have to close or open.
    targets_changed: Notify,
}

impl RouteState {
    /// New state for a route on this many cores.
    pub(super) fn new(id: RouteId, cores: usize) -> Arc<Self> {
        Arc::new(Self {
            id,
            counters: (0..cores).map(|_| Arc::default()).collect(),
            open: AtomicU32::new(0),
            associations: Arc::default(),
            associations_by_identity: Mutex::default(),
            phase: watch::Sender::new(RoutePhase::Open),
            targets_changed: Notify::new(),
        })
    }

    /// Moves the route forward to `phase`, which ends its connections accordingly.
    pub fn enter(&self, phase: RoutePhase) {
        self.phase.send_if_modified(|now| {
            let is_later = *now < phase;
            *now = phase.max(*now);
            is_later
        });
    }

    /// Ends a drain: connections that are still open stay, and new ones are served.
    pub fn resume(&self) {
        self.phase.send_if_modified(|now| {
            let is_other = *now != RoutePhase::Open;
            *now = RoutePhase::Open;
            is_other
        });
    }

    /// Its open connections on all cores.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    /// Counts an open connection, as `OfRoute` does.
    #[cfg(test)]
    pub(crate) fn count_one_more(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection has ended.
    #[cfg(test)]
    pub(crate) fn count_one_less(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// The signal that ends its connections.
    #[must_use]
    pub fn phase(&self) -> watch::Receiver<RoutePhase> {
        self.phase.subscribe()
    }

    /// Wakes the route's listener: a target went up or down, maintenance began or ended, or the configuration
    /// changed.
    pub fn note_targets_changed(&self) {
        self.targets_changed.notify_one();
    }

    /// Waits for the next change. Only the listener may wait, because one waiter is woken.
    pub async fn targets_changed(&self) {
        self.targets_changed.notified().await;
    }

    /// Makes observers count what `config` requests. Existing counts stay.
    pub(super) fn observe(&self, config: &RouteConfig) {
        for counters in &self.counters {
            match (config.observe, config.protocol) {
                (Observe::Off, _) | (_, Protocol::Tcp) => {}
                (_, Protocol::Dicom) => counters.observed.count_associations(),
                (_, Protocol::Mllp) => counters.observed.count_conversations(),
            }
        }
    }

    /// The number of open associations of a peer that is accepted by any of `identities`.
    pub(super) fn associations_of(&self, identities: &[PeerName]) -> Arc<AtomicU32> {
        // A panic cannot leave an entry half made.
        let all = self.associations_by_identity.lock();
        let mut all = all.unwrap_or_else(PoisonError::into_inner);
        let names = || identities.iter().map(ToString::to_string);
        let count = names().find_map(|name| all.get(&name).cloned());
        let count = count.unwrap_or_default();
        // Drops the entries of identities that are no longer configured and have no open association.
        all.retain(|_, known| Arc::strong_count(known) > 1);
        all.extend(names().map(|name| (name, Arc::clone(&count))));
        count
    }
}
