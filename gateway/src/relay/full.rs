//! Handles connections beyond the limit of their route, source or peer, or of all passthrough routes.

use super::limiter::{
    ALL_LIMIT, passthrough_limit, peer_limit, route_limit, route_peer_limit, route_source_limit,
    source_limit,
};
use super::task::{ConnectionTask, Excess};
use crate::audit::{Close, CloseReason, ClosedBy};
use crate::metrics::ConnectionLimit;
use crate::route::{CountedPlace, Full, PeerPlace};
use crate::uring::Network;

/// The places of a peer's connection in the counts of its route and of all routes.
pub(super) type PeerPlaces = (Option<CountedPlace>, Option<PeerPlace>);

/// A limit that a connection exceeds: which one, and the sentence for the log.
pub(super) type Exceeded = (ConnectionLimit, String);

impl<V: Network> ConnectionTask<'_, V> {
    /// Whether the connection may be served within the limits of its route and of the process.
    pub(super) fn admit_connection(
        &self,
        full: Option<Full>,
        is_beyond: bool,
    ) -> Result<(), Exceeded> {
        let (limiter, all) = (&self.core.limiter, self.core.connections_max);
        let (route, source) = (self.route, self.source.ip());
        // LIMIT: PASSTHROUGH_SHARE, PASSTHROUGH_SOURCE_SHARE, `connections`, `connections_per_source`,
        // OVERFLOW_MAX; counted in wardgate_connections_limited_total and
        // wardgate_unauthenticated_ended_total.
        if route.is_passthrough() && route.shares.is_source_full(source, all) {
            return Err((ConnectionLimit::PassthroughSource, source_limit(all)));
        }
        match full {
            Some(Full::Source(most)) => Err((ConnectionLimit::Source, route_source_limit(most))),
            Some(Full::Route(most)) if !limiter.free_place_on(route.id()) => {
                Err((ConnectionLimit::Route, route_limit(most)))
            }
            Some(Full::Passthrough) if !limiter.free_passthrough_place() => {
                Err((ConnectionLimit::Passthrough, passthrough_limit(all)))
            }
            _ if is_beyond && !limiter.free_place() => {
                Err((ConnectionLimit::All, ALL_LIMIT.to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Counts the connection of a peer that has authenticated against the limits of this peer.
    pub(super) fn of_peer(&self) -> Result<PeerPlaces, Exceeded> {
        let all = self.core.connections_max;
        let Some(peer) = self.stats.peer.as_ref().filter(|_| self.excess.is_none()) else {
            return Ok((None, None));
        };
        let on_route = self.route.take_of_peer(&peer.identity);
        let on_route = on_route.map_err(|most| (ConnectionLimit::Peer, route_peer_limit(most)))?;
        let of_all = self.route.shares.take_of_peer(&peer.identity, all);
        let of_all = of_all.map_err(|most| (ConnectionLimit::PeerShare, peer_limit(most, all)))?;
        Ok((on_route, of_all))
    }

    /// Counts a refusal because of this limit. In DICOM, the connection then goes on until its request can be
    /// rejected.
    ///
    /// # Errors
    /// The connection must be reset.
    pub(super) fn exceed(&mut self, (which, limit): Exceeded) -> Result<(), Close> {
        self.counters.limited_by(which).add(1);
        // The process has no connections left for those that wait.
        let may_wait = which != ConnectionLimit::All;
        match self.route.take_excess().filter(|_| may_wait) {
            Some(_place) => {
                self.excess = Some(Box::new(Excess { limit, _place }));
                Ok(())
            }
            None => Err(limited(limit)),
        }
    }
}

/// The end of a connection that exceeds a limit.
pub(super) fn limited(limit: String) -> Close {
    Close {
        by: ClosedBy::Gateway,
        reason: CloseReason::Limit(limit.into()),
    }
}
