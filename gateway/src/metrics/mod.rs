//! Counters: one block per core, and one per core and route. Only its core writes a block; every thread may
//! read it.
//!
//! Exception: the connections assigned to a core (`CoreCounters::given`, `CoreCounters::open`) are counted by
//! the core that assigns them. Targets have their own blocks, which all cores write and read.

mod catalogue;
mod core_time;
mod files;
mod handshakes;
mod http;
mod openmetrics;
mod passing;
mod reloads;
mod snapshot;

pub use files::{FileExpiry, Files};
pub use handshakes::{HandshakeCounters, HandshakeResult};
pub use http::{HttpCounters, HttpRefusal};
pub use reloads::{ReloadCounts, Reloads};
pub use snapshot::{LogCounts, Snapshot};

use std::sync::{Arc, OnceLock};

use crate::dicom;
use crate::hl7;
pub use crate::measure::Counter;
use crate::measure::Times;

/// The counters of one core.
#[derive(Debug)]
pub struct CoreCounters {
    /// The CPU that the core's worker is pinned to.
    pub cpu: usize,
    /// The number of its worker's thread for the kernel, 0 before it runs.
    pub thread: Counter,
    /// Milliseconds from 1970 to the start of its worker, which begin the ids of its connections.
    pub ids_start: Counter,
    /// Large buffers of its pool that are lent, a few times a second.
    pub buffers_lent: Counter,
    /// Connections assigned to the core.
    pub given: Counter,
    /// Connections assigned to the core and open now, including those on their way to it.
    pub open: Counter,
    /// Active connections, each counted once per tick of the core's clock. Used for placement; not exported
    /// as a metric.
    pub at_work: Counter,
    /// Payload bytes of all connections that the core has moved, in both directions. A separate counter,
    /// because routes come and go. Used for placement; not exported as a metric.
    pub moved_bytes: Counter,
    /// CPU time of the worker's thread so far, in microseconds. The worker updates it four times a second while it
    /// accepts or has connections. With `busy_poll`, it includes the time of waiting awake.
    pub cpu_micros: Counter,
    /// Times a small buffer was used because all large ones were lent.
    pub pool_exhausted: Counter,
    /// Fallbacks of passthrough to copying because no pipe was available.
    pub pipes_exhausted: Counter,
    /// Bytes that passthrough moved without copying.
    pub spliced_bytes: Counter,
    /// Pauses of accepting because file descriptors or memory had run out.
    pub accept_paused: Counter,
    /// Handshake steps with clients that had to wait for their turn.
    pub steps_delayed: Counter,
    /// Handshakes that waited because their source had begun too many in the last second.
    pub handshakes_delayed: Counter,
    /// CPU time of the core spent on handshake steps with clients, in microseconds.
    pub steps_micros: Counter,
    /// Unauthenticated clients, one block per stage.
    pub unauthenticated: [Unauthenticated; ClientStage::COUNT],
}

/// The stage of a client that is unauthenticated, or accepted but silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientStage {
    /// On a terminate route: until the handshake is done.
    Handshake,
    /// On an originate route: until the first message is complete.
    FirstMessage,
    /// On a passthrough route: until the target has answered.
    Passthrough,
    /// On a terminate route: from the handshake, which accepted the peer, until the first message is
    /// complete. Last in the order, because connections of other stages are ended first.
    SilentPeer,
}

impl ClientStage {
    /// The number of stages.
    pub const COUNT: usize = 4;
    /// All stages.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Handshake,
        Self::FirstMessage,
        Self::Passthrough,
        Self::SilentPeer,
    ];

    /// The stage's name in metrics.
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

/// Counters of unauthenticated clients in one stage.
#[derive(Debug, Default)]
pub struct Unauthenticated {
    /// Connections that hold a place now.
    pub open: Counter,
    /// Connections ended because their address had reached its limit of places.
    pub ended_source_places: Counter,
    /// Connections ended because their address had reached its limit of memory.
    pub ended_source_memory: Counter,
    /// Connections ended because all places were taken.
    pub ended_places: Counter,
    /// Connections ended because all memory for them was used.
    pub ended_memory: Counter,
    /// Connections ended because their route had reached its limit.
    pub ended_route: Counter,
    /// Connections ended because all passthrough routes together had reached their limit.
    pub ended_passthrough: Counter,
    /// Connections ended because the process had reached its limit.
    pub ended_all: Counter,
}

impl CoreCounters {
    /// Counters that are all zero.
    #[must_use]
    pub fn new(cpu: usize) -> Self {
        Self {
            cpu,
            thread: Counter::default(),
            ids_start: Counter::default(),
            buffers_lent: Counter::default(),
            given: Counter::default(),
            open: Counter::default(),
            at_work: Counter::default(),
            moved_bytes: Counter::default(),
            cpu_micros: Counter::default(),
            pool_exhausted: Counter::default(),
            pipes_exhausted: Counter::default(),
            spliced_bytes: Counter::default(),
            accept_paused: Counter::default(),
            steps_delayed: Counter::default(),
            handshakes_delayed: Counter::default(),
            steps_micros: Counter::default(),
            unauthenticated: Default::default(),
        }
    }

    /// The block of one stage.
    #[must_use]
    pub fn unauthenticated(&self, stage: ClientStage) -> &Unauthenticated {
        &self.unauthenticated[stage as usize]
    }

    /// Unauthenticated clients in all stages.
    #[must_use]
    pub fn not_authenticated(&self) -> u64 {
        self.unauthenticated.iter().map(|of| of.open.get()).sum()
    }
}

/// A limit that a connection can exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionLimit {
    /// `connections` of the route.
    Route,
    /// `connections_per_source` of the route.
    Source,
    /// `connections_per_peer` of the route.
    Peer,
    /// The connections of all routes together.
    All,
    /// The share of one peer in these.
    PeerShare,
    /// The share of all passthrough routes in these.
    Passthrough,
    /// The share of one source in the answered connections of passthrough routes.
    PassthroughSource,
    /// `handshakes_per_second` of a source.
    Handshakes,
}

impl ConnectionLimit {
    /// The number of limits.
    pub const COUNT: usize = 8;
    /// All limits.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Route,
        Self::Source,
        Self::Peer,
        Self::All,
        Self::PeerShare,
        Self::Passthrough,
        Self::PassthroughSource,
        Self::Handshakes,
    ];

    /// The limit's name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Route => "connections",
            Self::Source => "connections_per_source",
            Self::Peer => "connections_per_peer",
            Self::All => "all_connections",
            Self::PeerShare => "share_of_peer",
            Self::Passthrough => "passthrough",
            Self::PassthroughSource => "passthrough_of_address",
            Self::Handshakes => "handshakes_per_second",
        }
    }
}

/// The counters of one route on one core.
#[derive(Debug, Default)]
pub struct RouteCounters {
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections that ended cleanly in both directions.
    pub complete: Counter,
    /// Connections that the client closed without a byte.
    pub empty: Counter,
    /// Failed handshakes, refused by either side.
    pub refused: Counter,
    /// Connections whose targets could not be reached.
    pub unreachable: Counter,
    /// Connections from an address that is in no network of `from`.
    pub sources_refused: Counter,
    /// Connections whose first bytes were not of their route's protocol.
    pub illegal: Counter,
    /// Connections that the rules of their route refused.
    pub forbidden: Counter,
    /// Associations that the rules would have refused or ended if they were enforced.
    pub would_refuse: Counter,
    /// Connections that ended at a deadline.
    pub late: Counter,
    /// Connections refused because a limit was reached.
    pub limited: Counter,
    /// Connections refused because this limit was reached.
    pub limited_by: [Counter; ConnectionLimit::COUNT],
    /// Receives that waited for a turn of the route's bandwidth.
    pub bandwidth_delayed: Counter,
    /// Connections that were reset, were truncated, or violated the protocol.
    pub broken: Counter,
    /// Payload bytes from the plain side into TLS (passthrough: to the target).
    pub sealed_bytes: Counter,
    /// Payload bytes out of TLS to the plain side (passthrough: from the target).
    pub opened_bytes: Counter,
    /// Received bytes that did not reach their receiver, whether or not one of these two counters includes
    /// them.
    pub undelivered_bytes: Counter,
    /// Connections that are open now.
    pub open: Counter,
    /// 1 on the core whose listener of the route is closed because all targets are down.
    pub listener_closed: Counter,
    /// Open connections of unauthenticated clients. Used for placement; not exported as a metric.
    pub not_authenticated: Counter,
    /// Its handshakes, with clients and with targets.
    pub handshakes: HandshakeCounters,
    /// Times until a target was connected.
    pub connects: Times,
    /// Key updates of its connections, counted by their record layers.
    pub key_updates: Arc<KeyUpdates>,
    /// The counters of its observers.
    pub observed: ObservedCounts,
}

/// The counters of observers, if a route is observed. Observers add to them during a connection, because
/// connections last for hours and months. A route may get another protocol while the gateway runs; earlier
/// counts stay.
#[derive(Debug, Default)]
pub struct ObservedCounts {
    associations: OnceLock<Arc<dicom::AssociationCounters>>,
    conversations: OnceLock<Arc<hl7::ConversationCounters>>,
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

    /// The counts of associations, if they are counted.
    #[must_use]
    pub fn associations(&self) -> Option<Arc<dicom::AssociationCounters>> {
        self.associations.get().cloned()
    }

    /// The counts of conversations, if they are counted.
    #[must_use]
    pub fn conversations(&self) -> Option<Arc<hl7::ConversationCounters>> {
        self.conversations.get().cloned()
    }
}

/// A route as shown in the metrics.
#[derive(Debug, Clone)]
pub struct RouteMetrics {
    /// Its name.
    pub name: String,
    /// Its counters, one block per core.
    pub cores: Vec<Arc<RouteCounters>>,
    /// The listed identities of peers that were accepted, and when the first certificate of the path by which
    /// each was accepted last expires, in seconds since 1970.
    pub peers: Vec<(String, i64)>,
}

/// Key updates in each direction (RFC 8446 section 4.6.3).
#[derive(Debug, Default)]
pub struct KeyUpdates {
    /// Keys for sealing: the limit of this side was reached, or the peer requested an update.
    pub sealed: Counter,
    /// Keys for opening: updated by the peer.
    pub opened: Counter,
}

impl RouteCounters {
    /// Refusals because of this limit.
    #[must_use]
    pub fn limited_by(&self, limit: ConnectionLimit) -> &Counter {
        &self.limited_by[limit as usize]
    }

    /// Moved payload bytes in both directions.
    #[must_use]
    pub fn moved_bytes(&self) -> u64 {
        let (sealed, opened) = (self.sealed_bytes.get(), self.opened_bytes.get());
        sealed.wrapping_add(opened)
    }
}

/// A target as shown in the metrics.
#[derive(Debug, Clone)]
pub struct TargetMetrics {
    /// Its counters.
    pub counters: Arc<TargetCounters>,
    /// Whether the target is probed.
    pub is_probed: bool,
}

/// The state of one target of a route, and the results of its probes.
#[derive(Debug)]
pub struct TargetCounters {
    /// The route, by its name.
    pub route: String,
    /// The target as configured.
    pub name: String,
    /// 1 if the target is up, 0 if its probes found it down. Read by every core that connects.
    pub up: Counter,
    /// Successful probes.
    pub good: Counter,
    /// Failed probes.
    pub bad: Counter,
    /// Open connections to the target of all cores, including those that are being set up.
    pub open: Counter,
    /// 1 from a failed connection to the next one that succeeds.
    pub is_backed_off: Counter,
    /// Connections that failed: refused, not answered, unreachable, or without a successful handshake.
    pub failed: Counter,
    /// Connections for which the target was passed over because it had its maximum of connections.
    pub limited: Counter,
    /// 1 while the target gets no new connections because an operator has set maintenance.
    pub in_maintenance: Counter,
}

impl TargetCounters {
    /// A target without probe results, which counts as up.
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
            open: Counter::default(),
            is_backed_off: Counter::default(),
            failed: Counter::default(),
            limited: Counter::default(),
            in_maintenance: Counter::default(),
        }
    }
}
