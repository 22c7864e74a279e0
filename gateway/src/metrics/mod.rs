//! What is counted: one block of counters per core, and one per core and route. Each is written by its core alone,
//! and read by anyone.
//!
//! Only the connections that a core is given (`CoreCounters::given`, `CoreCounters::open`) are counted by whichever
//! core gives them. Targets that are probed have blocks of their own, each written by the one core that
//! probes it and read by all.

mod catalogue;
mod files;
mod passing;
mod text;

pub use catalogue::exposition;
pub use files::{Expiry, Files};

use std::sync::{Arc, OnceLock};

use crate::dicom;
use crate::hl7;
pub use crate::measure::Counter;

/// The counters of one core.
#[derive(Debug)]
pub struct CoreCounters {
    /// The CPU that the core's worker is pinned to.
    pub cpu: usize,
    /// Connections that the core was given to serve.
    pub given: Counter,
    /// Connections that it has now, those on their way to it included.
    pub open: Counter,
    /// Connections at work, each once a turn of its core's clock. Read by those that place
    /// connections, and no metric.
    pub at_work: Counter,
    /// Payload bytes that the core has moved, both ways and for all connections. A counter of its own, because
    /// routes come and go. Read by those that place connections, and no metric.
    pub moved_bytes: Counter,
    /// Times that a small buffer had to do because all large ones were lent.
    pub pool_exhausted: Counter,
    /// Times that passthrough had to copy because no pipe was to be had.
    pub pipes_exhausted: Counter,
    /// Octets that passthrough moved without copying them.
    pub spliced_bytes: Counter,
    /// Times that accepting had to pause because descriptors or memory had run out.
    pub accept_paused: Counter,
    /// Steps of handshakes with clients that had to wait for their turn.
    pub steps_delayed: Counter,
    /// Microseconds of the core's time that steps of handshakes with clients took.
    pub steps_micros: Counter,
    /// Clients that have not proved who they are, one block for each stage.
    pub unauthenticated: [Unauthenticated; Stage::COUNT],
}

/// How far a client has come that has not proved who it is, or that is accepted and has sent nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// On a terminate route: until its handshake is done.
    Handshake,
    /// On an originate route: until its first message is whole.
    FirstMessage,
    /// On a passthrough route: until the target has answered.
    Passthrough,
    /// On a terminate route: from its handshake, by which it was accepted, until its first message is whole.
    /// Last, because connections of other stages make way before.
    SilentPeer,
}

impl Stage {
    /// How many there are.
    pub const COUNT: usize = 4;
    /// All of them.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Handshake,
        Self::FirstMessage,
        Self::Passthrough,
        Self::SilentPeer,
    ];

    /// Its name in a metric.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::FirstMessage => "first_message",
            Self::Passthrough => "passthrough",
            Self::SilentPeer => "silent_peer",
        }
    }
}

/// What is counted of unauthenticated clients in one stage.
#[derive(Debug, Default)]
pub struct Unauthenticated {
    /// Connections that hold a place now.
    pub open: Counter,
    /// Connections ended because their address had as many as it may.
    pub ended_source_places: Counter,
    /// Connections ended because those of their address used as much memory as they may.
    pub ended_source_memory: Counter,
    /// Connections ended because all places were taken.
    pub ended_places: Counter,
    /// Connections ended because all memory for them was used.
    pub ended_memory: Counter,
    /// Connections ended because their route had as many as it may.
    pub ended_route: Counter,
    /// Because all passthrough routes had as many connections as they may have together.
    pub ended_passthrough: Counter,
    /// Connections ended because the process had as many as it may.
    pub ended_all: Counter,
}

impl CoreCounters {
    /// Counters that are all zero.
    #[must_use]
    pub fn new(cpu: usize) -> Self {
        Self {
            cpu,
            given: Counter::default(),
            open: Counter::default(),
            at_work: Counter::default(),
            moved_bytes: Counter::default(),
            pool_exhausted: Counter::default(),
            pipes_exhausted: Counter::default(),
            spliced_bytes: Counter::default(),
            accept_paused: Counter::default(),
            steps_delayed: Counter::default(),
            steps_micros: Counter::default(),
            unauthenticated: Default::default(),
        }
    }

    /// The block of one stage.
    #[must_use]
    pub fn unauthenticated(&self, stage: Stage) -> &Unauthenticated {
        &self.unauthenticated[stage as usize]
    }

    /// Clients that have not proved who they are, in all stages.
    #[must_use]
    pub fn unproved(&self) -> u64 {
        self.unauthenticated.iter().map(|of| of.open.get()).sum()
    }
}

/// The counters of one route on one core.
#[derive(Debug, Default)]
pub struct RouteCounters {
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections that ended in order in both directions.
    pub complete: Counter,
    /// Connections closed by their opener without a byte.
    pub empty: Counter,
    /// Handshakes that came to nothing, whoever refused.
    pub refused: Counter,
    /// Connections whose targets could not be reached.
    pub unreachable: Counter,
    /// Connections that did not begin as their route's protocol does.
    pub illegal: Counter,
    /// Connections that the rules of their route did not allow.
    pub forbidden: Counter,
    /// Associations that the rules would have refused or ended if they were enforced.
    pub would_refuse: Counter,
    /// Connections that ended at a deadline.
    pub late: Counter,
    /// Connections turned away because a limit was reached.
    pub limited: Counter,
    /// Connections that broke: reset, truncated, against the protocol.
    pub broken: Counter,
    /// Payload octets from the plain side into TLS (passthrough: towards the target).
    pub sealed_bytes: Counter,
    /// Payload octets out of TLS to the plain side (passthrough: from the target).
    pub opened_bytes: Counter,
    /// Bytes that came in, were counted in either of these or in none, and did not get to their receiver.
    pub undelivered_bytes: Counter,
    /// Connections that are open now.
    pub open: Counter,
    /// Those of them whose clients have not proved who they are. Read by whoever places connections, and
    /// no metric.
    pub unproved: Counter,
    /// Key updates of its connections, which their record layers count.
    pub key_updates: Arc<KeyUpdates>,
    /// What its observers count.
    pub observed: ObservedCounts,
}

/// What observers count of what passes, where a route is observed. They add to it while it passes, since
/// connections stay for hours and months. A route may be configured for another protocol while the gateway runs;
/// what was counted before stays.
#[derive(Debug, Default)]
pub struct ObservedCounts {
    associations: OnceLock<Arc<dicom::Counts>>,
    conversations: OnceLock<Arc<hl7::Counts>>,
}

impl ObservedCounts {
    /// Counts DICOM associations from now on.
    pub fn count_associations(&self) {
        self.associations.get_or_init(Arc::default);
    }

    /// Counts conversations in MLLP from now on.
    pub fn count_conversations(&self) {
        self.conversations.get_or_init(Arc::default);
    }

    /// The counts of associations, where they are counted.
    #[must_use]
    pub fn associations(&self) -> Option<Arc<dicom::Counts>> {
        self.associations.get().cloned()
    }

    /// The counts of conversations, where they are counted.
    #[must_use]
    pub fn conversations(&self) -> Option<Arc<hl7::Counts>> {
        self.conversations.get().cloned()
    }
}

/// A route as the exposition shows it.
#[derive(Debug, Clone)]
pub struct RouteMetrics {
    /// Its name.
    pub name: String,
    /// Its counters, one block for each core.
    pub cores: Vec<Arc<RouteCounters>>,
}

/// Key updates in each direction (RFC 8446 section 4.6.3).
#[derive(Debug, Default)]
pub struct KeyUpdates {
    /// Of keys that seal: our own limit was reached, or the peer asked.
    pub sealed: Counter,
    /// Of keys that open: the peer's.
    pub opened: Counter,
}

impl RouteCounters {
    /// Payload octets that were moved, both ways.
    #[must_use]
    pub fn moved_bytes(&self) -> u64 {
        let (sealed, opened) = (self.sealed_bytes.get(), self.opened_bytes.get());
        sealed.wrapping_add(opened)
    }
}

/// What the probes of one target have told.
#[derive(Debug)]
pub struct Target {
    /// The route, by its name.
    pub route: String,
    /// The target, as it is configured.
    pub name: String,
    /// 1 where it counts as there, and 0 where it is known not to be. Read by whoever connects.
    pub up: Counter,
    /// Probes that it answered.
    pub good: Counter,
    /// Probes that it did not.
    pub bad: Counter,
}

impl Target {
    /// A target that nothing is known of, which counts as there.
    #[must_use]
    pub fn new(route: String, name: String) -> Self {
        let up = Counter::default();
        up.set(1);
        Self {
            route,
            name,
            up,
            good: Counter::default(),
            bad: Counter::default(),
        }
    }
}
