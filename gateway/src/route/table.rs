//! All routes of one configuration.

use std::sync::Arc;

use super::draft::RouteDraft;
use super::id::RouteId;
use super::live::Route;
use super::shares::Shares;
use super::state::RouteState;
use crate::config::RouteConfig;
use crate::metrics::{self, RouteMetrics};

/// All open routes, in the order of the configuration. A table never changes; the next configuration creates
/// the next one.
#[derive(Debug)]
pub struct RouteTable {
    /// 0 for the first table of the process, then one more for each following table.
    pub generation: u64,
    /// The routes.
    pub routes: Vec<Arc<Route>>,
    cores: usize,
    // The id of the next new route.
    next_id: RouteId,
    shares: Arc<Shares>,
}

impl RouteTable {
    /// The table before the first one: no routes, on this many cores.
    #[must_use]
    pub fn empty(cores: usize) -> Self {
        Self {
            generation: 0,
            routes: Vec::new(),
            cores,
            next_id: RouteId::LEAST,
            shares: Arc::default(),
        }
    }

    /// The first table. `drafts` are the routes that can be opened, `all` the routes of the configuration.
    pub fn first(
        cores: usize,
        drafts: impl IntoIterator<Item = RouteDraft>,
        all: &[Arc<RouteConfig>],
    ) -> Self {
        let generation = 0;
        Self {
            generation,
            ..Self::empty(cores).next(drafts, all)
        }
    }

    /// The table after this one. An unchanged route is the same `Arc`; a route of the same name keeps its
    /// state.
    #[must_use]
    pub fn next(
        &self,
        drafts: impl IntoIterator<Item = RouteDraft>,
        all: &[Arc<RouteConfig>],
    ) -> Self {
        let mut next_id = self.next_id;
        let mut new_state = || {
            let id = next_id;
            next_id = id.following();
            RouteState::new(id, self.cores)
        };
        self.shares.share_among(all);
        let routes = drafts.into_iter().map(|draft| {
            let previous = self.by_name(&draft.config.name);
            if let Some(same) = previous.filter(|previous| previous.is_as(&draft)) {
                return Arc::clone(same);
            }
            let state = previous.map_or_else(&mut new_state, |known| Arc::clone(&known.state));
            let previous = previous.map(|previous| &**previous);
            Arc::new(Route::new(draft, state, previous, Arc::clone(&self.shares)))
        });
        Self {
            routes: routes.collect(),
            generation: self.generation.saturating_add(1),
            cores: self.cores,
            next_id,
            shares: Arc::clone(&self.shares),
        }
    }

    /// The route with this `id`.
    #[must_use]
    pub fn get(&self, id: RouteId) -> Option<&Arc<Route>> {
        self.routes.iter().find(|route| route.id() == id)
    }

    /// The counters of all routes.
    #[must_use]
    pub fn metrics(&self) -> Vec<RouteMetrics> {
        let each = self.routes.iter().map(|route| RouteMetrics {
            name: route.config.name.clone(),
            cores: route.state.counters.clone(),
            peers: route.peer_expiries.seen(),
        });
        each.collect()
    }

    /// The states of all targets.
    #[must_use]
    pub fn targets(&self) -> Vec<metrics::TargetMetrics> {
        let of_route = |route: &Arc<Route>| {
            let is_probed = route.config.health.is_some();
            let targets = route.targets.all.iter();
            let counters = targets.map(|target| Arc::clone(&target.state.counters));
            let each = counters.map(|counters| metrics::TargetMetrics {
                counters,
                is_probed,
            });
            each.collect::<Vec<_>>()
        };
        self.routes.iter().flat_map(of_route).collect()
    }

    /// The route of this name.
    pub(crate) fn by_name(&self, name: &str) -> Option<&Arc<Route>> {
        self.routes.iter().find(|route| route.config.name == name)
    }
}
