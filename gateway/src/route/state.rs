//! What a route keeps from one configuration to the next.

use std::collections::HashMap;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::id::RouteId;
use crate::config::{Observe, PeerName, Protocol, RouteConfig};
use crate::metrics::RouteCounters;

/// How far a route has come. It never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoutePhase {
    /// It serves.
    Open,
    /// Its connections end as soon as they have nothing outstanding.
    Draining,
    /// All its connections must end.
    Stopped,
}

/// What is counted of a route and what it is told, for as long as a route of its name is configured.
#[derive(Debug)]
pub struct RouteState {
    /// What it is named by.
    pub id: RouteId,
    /// Its counters, one block for each core of the process.
    pub counters: Vec<Arc<RouteCounters>>,
    // Its connections on all cores.
    pub(super) open: AtomicU32,
    // Its open associations, of all peers and of each identity of a peer.
    pub(super) associations: Arc<AtomicU32>,
    associations_by_identity: Mutex<HashMap<String, Arc<AtomicU32>>>,
    phase: watch::Sender<RoutePhase>,
}

impl RouteState {
    /// For a route on so many cores. Nothing has happened yet.
    pub(super) fn new(id: RouteId, cores: usize) -> Arc<Self> {
        Arc::new(Self {
            id,
            counters: (0..cores).map(|_| Arc::default()).collect(),
            open: AtomicU32::new(0),
            associations: Arc::default(),
            associations_by_identity: Mutex::default(),
            phase: watch::Sender::new(RoutePhase::Open),
        })
    }

    /// Takes the route on to `phase`, and ends its connections as that phase says.
    pub fn enter(&self, phase: RoutePhase) {
        self.phase.send_if_modified(|now| {
            let is_later = *now < phase;
            *now = phase.max(*now);
            is_later
        });
    }

    /// The signal that its connections end by.
    #[must_use]
    pub fn phase(&self) -> watch::Receiver<RoutePhase> {
        self.phase.subscribe()
    }

    /// Lets observers count what `config` says. What was counted before stays.
    pub(super) fn observe(&self, config: &RouteConfig) {
        for counters in &self.counters {
            match (config.observe, config.protocol) {
                (Observe::Off, _) | (_, Protocol::Tcp) => {}
                (_, Protocol::Dicom) => counters.observed.count_associations(),
                (_, Protocol::Mllp) => counters.observed.count_conversations(),
            }
        }
    }

    /// The number of open associations of a peer that is accepted by each of `identities`.
    pub(super) fn associations_of(&self, identities: &[PeerName]) -> Arc<AtomicU32> {
        // A panic leaves no entry half made.
        let all = self.associations_by_identity.lock();
        let mut all = all.unwrap_or_else(PoisonError::into_inner);
        let names = || identities.iter().map(ToString::to_string);
        let count = names().find_map(|name| all.get(&name).cloned());
        let count = count.unwrap_or_default();
        // Those of identities that are not configured any more and have none open are of no use.
        all.retain(|_, known| Arc::strong_count(known) > 1);
        all.extend(names().map(|name| (name, Arc::clone(&count))));
        count
    }
}
