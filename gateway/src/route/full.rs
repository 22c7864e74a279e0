//! Counts the connections of a route and of all passthrough routes together.

use std::sync::atomic::Ordering;

use super::draft::Transport;
use super::live::Route;
use super::shares::PassthroughPlace;
use crate::metrics::{self, ClientStage};

/// The limit that a route's connections have reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The route's own `connections`.
    Route(u32),
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

    /// Whether the route forwards bytes unchanged.
    pub(crate) fn is_passthrough(&self) -> bool {
        matches!(self.transport, Transport::Passthrough)
    }
}

/// A connection in the counts of its route and of all passthrough routes.
pub(crate) struct OfRoute<'r> {
    route: &'r Route,
    _passthrough: Option<PassthroughPlace<'r>>,
}

impl<'r> OfRoute<'r> {
    /// Counts the connection. Also returns whether the limit was reached before.
    pub(crate) fn count(route: &'r Route, all: usize) -> (Self, Option<Full>) {
        let open = route.state.open.fetch_add(1, Ordering::Relaxed);
        let passthrough = route
            .is_passthrough()
            .then(|| route.shares.count_passthrough(all));
        let (place, is_full) = passthrough.unzip();
        let full = route.reached(open, is_full == Some(true));
        let counted = Self {
            route,
            _passthrough: place,
        };
        (counted, full)
    }
}

impl Drop for OfRoute<'_> {
    fn drop(&mut self) {
        self.route.state.open.fetch_sub(1, Ordering::Relaxed);
    }
}
