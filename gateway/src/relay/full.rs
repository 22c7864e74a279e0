//! Handles connections beyond the limit of their route, of all passthrough routes, or of their peer.

use std::borrow::Cow;

use super::limiter::{ALL_LIMIT, passthrough_limit, peer_limit, route_limit, source_limit};
use super::task::ConnectionTask;
use crate::audit::{Close, CloseReason, ClosedBy};
use crate::route::{Full, PeerPlace};
use crate::uring::Network;

impl<V: Network> ConnectionTask<'_, V> {
    /// Whether the connection may be served within the limits of its route and of the process.
    pub(super) fn admit_connection(
        &self,
        full: Option<Full>,
        is_beyond: bool,
    ) -> Result<(), Close> {
        let (limiter, all) = (&self.core.limiter, self.core.connections_max);
        let (route, source) = (self.route, self.source.ip());
        // LIMIT: PASSTHROUGH_SHARE, PASSTHROUGH_SOURCE_SHARE, `connections`, OVERFLOW_MAX; counted in
        // wardgate_connections_limited_total and wardgate_unauthenticated_ended_total.
        if route.is_passthrough() && route.shares.is_source_full(source, all) {
            return Err(limited(source_limit(all)));
        }
        match full {
            Some(Full::Route(most)) if !limiter.free_place_on(route.id()) => {
                Err(limited(route_limit(most)))
            }
            Some(Full::Passthrough) if !limiter.free_passthrough_place() => {
                Err(limited(passthrough_limit(all)))
            }
            _ if is_beyond && !limiter.free_place() => Err(limited(ALL_LIMIT)),
            _ => Ok(()),
        }
    }

    /// Counts the connection of a peer that has authenticated against the limit of this peer.
    pub(super) fn of_peer(&self) -> Result<Option<PeerPlace>, Close> {
        let all = self.core.connections_max;
        let peer = self.stats.peer.as_ref();
        let taken = peer.map(|peer| self.route.shares.take_of_peer(&peer.identity, all));
        let place = taken
            .transpose()
            .map_err(|most| limited(peer_limit(most, all)));
        place.map(Option::flatten)
    }
}

fn limited(limit: impl Into<Cow<'static, str>>) -> Close {
    Close {
        by: ClosedBy::Gateway,
        reason: CloseReason::Limit(limit.into()),
    }
}
