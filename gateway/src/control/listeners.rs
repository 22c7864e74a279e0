//! Which listeners a new table of routes needs.

use crate::config::RouteConfig;
use crate::route::{RouteId, RouteTable};

/// Where the listener of a route comes from when a new table replaces the one in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerPlan {
    /// The route has it already.
    Keep,
    /// The route has none, because an operator drained it, and gets none.
    Closed,
    /// Another route has it, and gives it up.
    TakeFrom(RouteId),
    /// It must be opened.
    Open,
}

/// Plans the listener of the route `wanted`, while `current` is in use. `is_drained` returns whether an
/// operator has drained a route.
#[must_use]
pub fn plan_listener(
    current: &RouteTable,
    wanted: &RouteConfig,
    is_drained: impl Fn(RouteId) -> bool,
) -> ListenerPlan {
    let is_same =
        |one: &RouteConfig| one.listen == wanted.listen && one.interface == wanted.interface;
    if let Some(known) = current.by_name(&wanted.name) {
        if is_drained(known.id()) {
            return ListenerPlan::Closed;
        }
        if is_same(&known.config) {
            return ListenerPlan::Keep;
        }
    }
    // Two routes of one configuration never have the same listener, so the route that has it now does not
    // keep it.
    let mut others = current.routes.iter();
    match others.find(|route| is_same(&route.config)) {
        Some(other) => ListenerPlan::TakeFrom(other.id()),
        None => ListenerPlan::Open,
    }
}
