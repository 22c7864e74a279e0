//! Counts the connections of a route, of each source and peer on it, and of all passthrough routes together.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use super::counts::CountedPlace;
use super::draft::Transport;
use super::live::Route;
use super::shares::PassthroughPlace;
use crate::client_source::Source;
use crate::metrics::{self, ClientStage};
use crate::route::limits::EXCESS_MAX;

/// The limit that a route's connections have reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The route's own `connections`.
    Route(u32),
    /// The route's `connections_per_source`.
    Source(u32),
    /// The limit of all passthrough routes together.
    Passthrough,
}

impl Full {
    /// The number of clients on a core that could be ended for a connection of `route`. `place` is the core's
    /// index.
    #[must_use]
    pub fn can_free_place(self, core: &metrics::CoreCounters, place: usize, route: &Route) -> u64 {
        match self {
            Self::Route(_) => {
                let counters = route.state.counters.get(place);
                counters.map_or(0, |counters| counters.not_authenticated.get())
            }
            // Its end could not be for another source.
            Self::Source(_) => 0,
            Self::Passthrough => core.unauthenticated(ClientStage::Passthrough).open.get(),
        }
    }
}

impl Route {
    /// Which limit the route has reached, if all routes together may have `all` connections.
    #[must_use]
    pub fn full(&self, all: usize) -> Option<Full> {
        let is_passthrough_full = self.is_passthrough() && self.shares.is_passthrough_full(all);
        self.reached(self.state.open.load(Ordering::Relaxed), is_passthrough_full)
    }

    fn reached(&self, open: u32, is_passthrough_full: bool) -> Option<Full> {
        match self.config.connections {
            Some(most) if open >= most => Some(Full::Route(most)),
            _ => is_passthrough_full.then_some(Full::Passthrough),
        }
    }

    /// Counts a connection of the peer that was accepted by `identity` on this route; `Ok(None)` if the route
    /// does not limit it.
    ///
    /// # Errors
    /// The limit, if the peer has reached it.
    // LIMIT: `connections_per_peer`.
    pub(crate) fn take_of_peer(&self, identity: &str) -> Result<Option<CountedPlace>, u32> {
        let limit = self.config.connections_per_peer;
        let Some((count, most)) = self.peers.get(identity).zip(limit) else {
            return Ok(None);
        };
        CountedPlace::take(count, most).map(Some).ok_or(most)
    }

    /// A place for a connection beyond a limit that waits for its request to be rejected. `None` if the route
    /// reads no requests, or if all such places are taken.
    // LIMIT: EXCESS_MAX.
    pub(crate) fn take_excess(&self) -> Option<CountedPlace> {
        self.admission.as_ref()?;
        CountedPlace::take(&self.state.excess, EXCESS_MAX)
    }

    /// Whether the route forwards bytes unchanged.
    pub(crate) fn is_passthrough(&self) -> bool {
        matches!(self.transport, Transport::Passthrough)
    }
}

/// A connection in the counts of its route and of all passthrough routes.
pub(crate) struct OfRoute<'r> {
    route: &'r Route,
    source: Source,
    _passthrough: Option<PassthroughPlace<'r>>,
}

impl<'r> OfRoute<'r> {
    /// Counts the connection. Also returns whether the limit was reached before.
    // LIMIT: `connections`, `connections_per_source`.
    pub(crate) fn count(route: &'r Route, source: IpAddr, all: usize) -> (Self, Option<Full>) {
        let source = Source::from(source);
        let of_source = route.state.by_source.add(source);
        let open = route.state.open.fetch_add(1, Ordering::Relaxed);
        let passthrough = route
            .is_passthrough()
            .then(|| route.shares.count_passthrough(all));
        let (place, is_full) = passthrough.unzip();
        let most = route.config.connections_per_source;
        let full = match most.filter(|most| of_source >= *most) {
            Some(most) => Some(Full::Source(most)),
            None => route.reached(open, is_full == Some(true)),
        };
        let counted = Self {
            route,
            source,
            _passthrough: place,
        };
        (counted, full)
    }
}

impl Drop for OfRoute<'_> {
    fn drop(&mut self) {
        self.route.state.open.fetch_sub(1, Ordering::Relaxed);
        self.route.state.by_source.remove(self.source);
    }
}
