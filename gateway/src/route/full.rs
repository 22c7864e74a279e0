//! How many connections a route and all passthrough routes together have.

use std::sync::atomic::Ordering;

use super::draft::Transport;
use super::live::Route;
use super::shares::PassthroughPlace;
use crate::metrics::{self, Stage};

/// Which bound of its connections a route has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// Its own `connections`.
    Route(u32),
    /// The bound of all passthrough routes together.
    Passthrough,
}

impl Full {
    /// How many clients a core has of which one could make way for a connection of `route`; `place` is that of
    /// the core among all.
    #[must_use]
    pub fn can_make_way(self, core: &metrics::CoreCounters, place: usize, route: &Route) -> u64 {
        match self {
            Self::Route(_) => {
                let counters = route.state.counters.get(place);
                counters.map_or(0, |counters| counters.unproved.get())
            }
            Self::Passthrough => core.unauthenticated(Stage::Passthrough).open.get(),
        }
    }
}

impl Route {
    /// Whether it has as many connections as it may, where all routes together may have `all`.
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

    /// Whether it carries bytes as they are.
    pub(crate) fn is_passthrough(&self) -> bool {
        matches!(self.transport, Transport::Passthrough)
    }
}

/// A connection among those of its route, and of all passthrough routes.
pub(crate) struct OfRoute<'r> {
    route: &'r Route,
    _passthrough: Option<PassthroughPlace<'r>>,
}

impl<'r> OfRoute<'r> {
    /// The connection, and whether there were as many as may be.
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
