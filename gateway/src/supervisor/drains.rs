//! The routes that drain: removed by a reload, drained by a command, or all of them before the process ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::control::{DrainStatus, DrainStep, RouteDrain};
use crate::route::{Route, RouteId, RoutePhase};

/// Why a route drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DrainCause {
    /// An operator asked for it, and may undo it.
    Command,
    /// The configuration does not have the route any more.
    Removed,
    /// The process ends.
    Stop,
}

/// The routes that drain.
#[derive(Default)]
pub(super) struct Drains(BTreeMap<RouteId, Draining>);

struct Draining {
    route: Arc<Route>,
    drain: RouteDrain,
    cause: DrainCause,
    is_drained: bool,
    // Until when the route still accepts.
    leaves_at: Option<Instant>,
}

impl Drains {
    /// Lets the connections of `route` end until the route's `drain` is over. A route that drains already keeps
    /// its time, and `cause` replaces an earlier one.
    pub(super) fn begin(&mut self, route: &Arc<Route>, cause: DrainCause, now: Instant) {
        route.state.enter(RoutePhase::Draining);
        let limit = route.config.timeouts.drain;
        let new = || Draining {
            route: Arc::clone(route),
            drain: RouteDrain::begin(now, limit),
            cause,
            is_drained: false,
            leaves_at: None,
        };
        let draining = self.0.entry(route.id()).or_insert_with(new);
        draining.cause = cause;
        draining.leaves_at = None;
    }

    /// Announces a drain by command: the route reports that it is not ready, and accepts until `leaves_at`.
    pub(super) fn announce(&mut self, route: &Arc<Route>, leaves_at: Instant) {
        route.state.enter(RoutePhase::Leaving);
        let limit = route.config.timeouts.drain;
        let announced = Draining {
            route: Arc::clone(route),
            drain: RouteDrain::begin(leaves_at, limit),
            cause: DrainCause::Command,
            is_drained: false,
            leaves_at: Some(leaves_at),
        };
        self.0.insert(route.id(), announced);
    }

    /// Whether the drain of the route is announced and has not begun.
    pub(super) fn is_announced(&self, route: RouteId) -> bool {
        let found = self.0.get(&route);
        found.is_some_and(|draining| draining.leaves_at.is_some())
    }

    /// Begins the announced drains that are due, and returns the routes that must stop accepting.
    pub(super) fn begin_due(&mut self, now: Instant) -> Vec<RouteId> {
        let all = self.0.iter_mut();
        let due = all.filter(|(_, one)| one.leaves_at.is_some_and(|at| at <= now));
        due.map(|(id, draining)| {
            draining.leaves_at = None;
            draining.route.state.enter(RoutePhase::Draining);
            *id
        })
        .collect()
    }

    /// Ends the drain of a route that an operator drained. Returns whether there was one.
    pub(super) fn undo(&mut self, route: RouteId) -> bool {
        if !self.is_by_command(route) {
            return false;
        }
        let undone = self.0.remove(&route);
        undone
            .inspect(|undone| undone.route.state.resume())
            .is_some()
    }

    /// Whether an operator drained the route.
    pub(super) fn is_by_command(&self, route: RouteId) -> bool {
        let found = self.0.get(&route);
        found.is_some_and(|draining| draining.cause == DrainCause::Command)
    }

    /// Ends the time for connections to end by themselves.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.0
            .values_mut()
            .for_each(|draining| draining.drain.hurry(now));
    }

    /// Resets the connections whose time is over. Returns messages about them, each with its route.
    pub(super) fn look(&mut self, now: Instant) -> Vec<(Arc<Route>, DrainStep, u32)> {
        let mut news = Vec::new();
        self.0.retain(|_, draining| {
            if draining.leaves_at.is_some() {
                return true;
            }
            let open = draining.route.state.open();
            let step = draining.drain.step(now, open);
            match step {
                DrainStep::Reset => {
                    draining.route.state.enter(RoutePhase::Stopped);
                    news.push((Arc::clone(&draining.route), step, open));
                }
                DrainStep::Drained if !draining.is_drained => {
                    draining.is_drained = true;
                    news.push((Arc::clone(&draining.route), step, open));
                }
                DrainStep::Wait | DrainStep::WaitForReset | DrainStep::Drained => {}
            }
            // A connection on its way between two cores holds the route as well.
            let is_gone = draining.cause == DrainCause::Removed
                && step == DrainStep::Drained
                && Arc::strong_count(&draining.route) == 1;
            !is_gone
        });
        news
    }

    /// Whether the time of each drain is over.
    pub(super) fn all_are_past(&self, now: Instant) -> bool {
        self.longest(now).is_zero()
    }

    /// The longest time until a connection that is left is reset.
    pub(super) fn longest(&self, now: Instant) -> Duration {
        let left = self.0.values().map(|draining| draining.drain.left(now));
        left.max().unwrap_or_default()
    }

    /// Whether something is to be looked at.
    pub(super) fn any(&self) -> bool {
        !self.0.is_empty()
    }

    /// The state of a drain, in a word, and its progress.
    pub(super) fn status(
        &self,
        route: RouteId,
        now: Instant,
    ) -> Option<(&'static str, DrainStatus)> {
        let draining = self.0.get(&route)?;
        let word = match (draining.cause, draining.is_drained) {
            (DrainCause::Removed, _) => "removed",
            (_, false) if draining.leaves_at.is_some() => "leaving",
            (_, true) => "drained",
            (_, false) => "draining",
        };
        let seconds_left = draining.drain.left(now).as_secs();
        Some((word, DrainStatus { seconds_left }))
    }

    /// The routes that the configuration does not have any more.
    pub(super) fn removed(&self) -> impl Iterator<Item = &Arc<Route>> {
        let removed = self.0.values();
        removed
            .filter(|draining| draining.cause == DrainCause::Removed)
            .map(|draining| &draining.route)
    }
}
