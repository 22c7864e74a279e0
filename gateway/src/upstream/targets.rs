//! All targets of a route: each address once with its state, and the lists that connections choose from.

use std::sync::Arc;

use super::list::TargetList;
use super::target::{RouteTarget, TargetState};
use crate::config::RouteConfig;

/// All targets of a route.
#[derive(Debug)]
pub struct RouteTargets {
    /// Each address once, with the state of its target.
    pub all: Vec<Arc<RouteTarget>>,
    /// The targets of the route itself.
    pub own: TargetList,
    /// The targets of each `[[route.ae]]` table, in the order of the tables.
    pub by_title: Vec<TargetList>,
}

impl RouteTargets {
    /// The targets of `route`. A target whose address is in `known` keeps its state.
    #[must_use]
    pub fn new(route: &RouteConfig, known: &[Arc<RouteTarget>]) -> Self {
        let tables = || route.dicom.iter().flat_map(|dicom| &dicom.by_title);
        let mut all: Vec<Arc<RouteTarget>> = Vec::new();
        let by_title = tables().flat_map(|table| &table.targets);
        for target in route.targets.iter().chain(by_title) {
            let is_it = |one: &&Arc<RouteTarget>| one.target.has_address_of(target);
            // A target in several lists of a route has one state, and is probed once.
            if all.iter().any(|one| is_it(&one)) {
                continue;
            }
            let state = known.iter().find(is_it).map(|one| Arc::clone(&one.state));
            let state = state.unwrap_or_else(|| Arc::new(TargetState::new(route, target)));
            if route.health.is_none() {
                // Nothing would find it up again.
                state.counters.up.set(1);
            }
            all.push(Arc::new(RouteTarget {
                target: target.clone(),
                called: route.echo_title(target),
                state,
            }));
        }
        Self {
            own: TargetList::new(route, &route.targets, &all),
            by_title: tables()
                .map(|table| TargetList::new(route, &table.targets, &all))
                .collect(),
            all,
        }
    }

    /// The list of the `[[route.ae]]` table with this index, or of the route itself.
    #[must_use]
    pub fn list(&self, table: Option<usize>) -> &TargetList {
        let of_title = table.and_then(|table| self.by_title.get(table));
        of_title.unwrap_or(&self.own)
    }
}
