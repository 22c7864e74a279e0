//! A connection at work, and what it shares with the other connections of its core.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::handle::ConnectionHandle;
use super::limiter::HandshakeLimiter;
use super::stats::ConnectionStats;
use crate::audit::Journal;
use crate::buffers::{FairnessId, Pool};
use crate::metrics::{self, RouteCounters};
use crate::pairing::desk::RenewalDesk;
use crate::route::{CountedPlace, Route, RouteTable};
use crate::tls::Cipher;
use crate::upstream::{Attempts, Connected, DnsCache};
use crate::uring::{Network, Pipes, Socket};

/// What the connections of one core share.
pub struct Core<V: Network> {
    /// How it reaches the network.
    pub network: V,
    /// What seals and opens records in place.
    pub cipher: Cipher,
    /// Its buffers.
    pub pool: Pool,
    /// Its pipes, for passthrough.
    pub pipes: Pipes<<V::Socket as Socket>::Pipe>,
    /// Its memory of names.
    pub dns: DnsCache,
    /// Its counters.
    pub counters: Arc<metrics::CoreCounters>,
    /// What its unauthenticated clients hold.
    pub limiter: HandshakeLimiter,
    /// Connections that all cores may have together.
    pub connections_max: usize,
    /// The table of routes in use. A peer is checked by it again after its handshake, which may have begun
    /// with an earlier one.
    pub table: RefCell<Option<Arc<RouteTable>>>,
    /// Where peers renew their CA certificates.
    pub renewals: RenewalDesk,
    /// Where accepted peers are reported.
    pub journal: Journal,
    /// Its place among the cores of the process, and among the counters of a route.
    pub place: usize,
}

/// A connection at work.
pub(super) struct ConnectionTask<'c, V: Network> {
    pub(super) handle: &'c ConnectionHandle,
    pub(super) started: Instant,
    pub(super) core: &'c Core<V>,
    pub(super) route: &'c Route,
    pub(super) source: SocketAddr,
    /// The address that the client connected to, if the route passes it on.
    pub(super) local: Option<SocketAddr>,
    pub(super) counters: &'c Arc<RouteCounters>,
    pub(super) fairness_id: FairnessId,
    pub(super) stats: ConnectionStats,
    /// The limit that the connection exceeds, if it waits for its request to be rejected.
    pub(super) excess: Option<Box<Excess>>,
}

impl<V: Network> ConnectionTask<'_, V> {
    /// Connects to the next target that answers, and notes how long that took.
    pub(super) async fn connect(
        &self,
        attempts: &mut Attempts<'_>,
    ) -> Option<Connected<V::Socket>> {
        let begun = Instant::now();
        let reached = attempts.next(&self.core.network, &self.core.dns).await?;
        self.counters.connects.note(begun.elapsed());
        Some(reached)
    }
}

/// A limit that a connection exceeds.
pub(super) struct Excess {
    /// The limit, for the log.
    pub(super) limit: String,
    /// Its place among such connections.
    pub(super) _place: CountedPlace,
}
