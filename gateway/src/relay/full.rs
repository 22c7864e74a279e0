//! How many connections a route, all passthrough routes together and a peer have, and what happens where
//! they may have no more.

use std::borrow::Cow;
use std::sync::atomic::Ordering;

use super::connection::{Outcome, Path, Side, Work};
use super::limiter::{
    ALL_LIMIT, PassthroughPlace, PeerPlace, passthrough_limit, peer_limit, route_limit,
    source_limit,
};
use crate::audit::{Close, Party, Reason};
use crate::metrics::{self, Stage};
use crate::uring::Verbs;

/// Which bound of its connections a route has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// Its own `connections`.
    Route(u32),
    /// The bound of all passthrough routes together.
    Passthrough,
}

impl Full {
    /// How many clients a core has of which one could make way for a connection of the route at place
    /// `index`.
    #[must_use]
    pub fn can_make_way(self, core: &metrics::Core, index: usize) -> u64 {
        match self {
            Self::Route(_) => {
                let counters = core.routes.get(index);
                counters.map_or(0, |counters| counters.unproved.get())
            }
            Self::Passthrough => core.unauthenticated(Stage::Passthrough).open.get(),
        }
    }
}

impl Path {
    /// Whether it has as many connections as it may, where all routes together may have `all`.
    #[must_use]
    pub fn full(&self, all: usize) -> Option<Full> {
        let is_passthrough_full = self.is_passthrough() && self.shares.is_passthrough_full(all);
        self.reached(self.open.load(Ordering::Relaxed), is_passthrough_full)
    }

    fn reached(&self, open: u32, is_passthrough_full: bool) -> Option<Full> {
        match self.route.connections {
            Some(most) if open >= most => Some(Full::Route(most)),
            _ => is_passthrough_full.then_some(Full::Passthrough),
        }
    }

    fn is_passthrough(&self) -> bool {
        matches!(self.side, Side::Passthrough)
    }
}

/// A connection among those of its route, and of all passthrough routes.
pub(super) struct OfRoute<'p> {
    path: &'p Path,
    _passthrough: Option<PassthroughPlace<'p>>,
}

impl<'p> OfRoute<'p> {
    /// The connection, and whether there were as many as may be.
    pub(super) fn count(path: &'p Path, all: usize) -> (Self, Option<Full>) {
        let open = path.open.fetch_add(1, Ordering::Relaxed);
        let passthrough = path
            .is_passthrough()
            .then(|| path.shares.count_passthrough(all));
        let (place, is_full) = passthrough.unzip();
        let full = path.reached(open, is_full == Some(true));
        let counted = Self {
            path,
            _passthrough: place,
        };
        (counted, full)
    }
}

impl Drop for OfRoute<'_> {
    fn drop(&mut self) {
        self.path.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<V: Verbs> Work<'_, V> {
    /// Whether the connection may be served: its route and the process may have a number of connections.
    pub(super) fn admit_connection(&self, full: Option<Full>, is_beyond: bool) -> Outcome<()> {
        let (limiter, all) = (&self.core.limiter, self.core.connections_max);
        let (path, source) = (self.path, self.source.ip());
        // LIMIT: PASSTHROUGH_SHARE, PASSTHROUGH_SOURCE_SHARE, `connections`, OVERFLOW_MAX; counted in
        // wardgate_connections_limited_total and wardgate_unauthenticated_ended_total.
        if path.is_passthrough() && path.shares.is_source_full(source, all) {
            return Err(limited(source_limit(all)));
        }
        match full {
            Some(Full::Route(most)) if !limiter.make_way_on(path.index) => {
                Err(limited(route_limit(most)))
            }
            Some(Full::Passthrough) if !limiter.make_way_in_passthrough() => {
                Err(limited(passthrough_limit(all)))
            }
            _ if is_beyond && !limiter.make_way() => Err(limited(ALL_LIMIT)),
            _ => Ok(()),
        }
    }

    /// The connection among those of its peer, which has proved who it is.
    pub(super) fn of_peer(&self) -> Outcome<Option<PeerPlace>> {
        let all = self.core.connections_max;
        let peer = self.account.peer.as_ref();
        let taken = peer.map(|peer| self.path.shares.take_of_peer(&peer.identity, all));
        let place = taken
            .transpose()
            .map_err(|most| limited(peer_limit(most, all)));
        place.map(Option::flatten)
    }
}

fn limited(limit: impl Into<Cow<'static, str>>) -> Close {
    Close {
        by: Party::Gateway,
        reason: Reason::Limit(limit.into()),
    }
}
