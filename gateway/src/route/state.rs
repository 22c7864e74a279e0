//! The state of a route that survives a change of the configuration.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{Notify, watch};

use super::bandwidth::RouteBandwidth;
use super::counts::{ByIdentity, BySource};
use super::id::RouteId;
use crate::config::{Bandwidth, Observe, PeerName, Protocol, RouteConfig};
use crate::metrics::RouteCounters;

/// The phase of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoutePhase {
    /// The route serves.
    Open,
    /// It serves as before, and reports that it is not ready: it drains soon.
    Leaving,
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
    // Its connections on all cores, of all clients, of each source, and of each identity of a peer.
    pub(super) open: AtomicU32,
    pub(super) by_source: BySource,
    pub(super) by_peer: ByIdentity,
    // Connections beyond a limit that wait for their request to be rejected.
    pub(super) excess: Arc<AtomicU32>,
    // Its bandwidth to the target and to the client.
    pub(crate) bandwidth: [RouteBandwidth; 2],
    // Its open associations, of all peers and of each identity of a peer.
    pub(super) associations: Arc<AtomicU32>,
    associations_by_identity: ByIdentity,
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
            by_source: BySource::default(),
            by_peer: ByIdentity::default(),
            excess: Arc::default(),
            bandwidth: Default::default(),
            associations: Arc::default(),
            associations_by_identity: ByIdentity::default(),
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

    /// Gives the connections of the route the bandwidth of `config`, open ones included that began with one.
    pub(super) fn limit_bandwidth(&self, config: &RouteConfig) {
        let rate = config.bandwidth.map(Bandwidth::bytes_per_second);
        for direction in &self.bandwidth {
            direction.set(rate);
        }
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
        self.associations_by_identity.of(identities)
    }
}
