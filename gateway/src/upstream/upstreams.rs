//! The targets of all routes that are probed, with what is known of each, and the addresses that did not
//! answer: one table for all cores.
//!
//! What is known of a target is written by the one core that probes it, once a probe, and read by whoever
//! connects.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::addresses::DeadAddresses;
use super::unresolved::UnresolvedNames;
use crate::config::{RouteConfig, Target};
use crate::dicom::AeTitle;
use crate::metrics;

/// The targets that are probed, by the names of their routes.
#[derive(Debug, Default)]
pub struct Upstreams {
    by_route: HashMap<String, Vec<Arc<Watched>>>,
    // In the order of the configuration.
    counters: Vec<Arc<metrics::Target>>,
    dead_addresses: Mutex<DeadAddresses>,
    unresolved: Mutex<UnresolvedNames>,
}

/// A target that is probed.
#[derive(Debug)]
pub struct Watched {
    /// The target.
    pub target: Target,
    /// The title that a C-ECHO calls there.
    pub called: AeTitle,
    /// What its probes have told.
    pub counters: Arc<metrics::Target>,
}

impl Upstreams {
    /// The targets of these routes, as far as they are probed; nothing is known of them yet.
    #[must_use]
    pub fn new<'r>(routes: impl IntoIterator<Item = &'r RouteConfig>) -> Arc<Self> {
        let mut upstreams = Self::default();
        for route in routes {
            let watched = watched(route);
            let counters = watched.iter().map(|watched| Arc::clone(&watched.counters));
            upstreams.counters.extend(counters);
            upstreams.by_route.insert(route.name.clone(), watched);
        }
        Arc::new(upstreams)
    }

    /// What is known of all of them, for the metrics.
    #[must_use]
    pub fn counters(&self) -> &[Arc<metrics::Target>] {
        &self.counters
    }

    /// The targets of a route that are probed.
    #[must_use]
    pub fn of(&self, route: &RouteConfig) -> &[Arc<Watched>] {
        self.by_route.get(&route.name).map_or(&[], Vec::as_slice)
    }

    /// The addresses that did not answer. Locked for a look-up or two per connection that is made, and
    /// never across a wait.
    pub(super) fn dead_addresses(&self) -> MutexGuard<'_, DeadAddresses> {
        let addresses = self.dead_addresses.lock();
        addresses.unwrap_or_else(PoisonError::into_inner)
    }

    /// The names that the resolver did not resolve. Locked when a resolver has answered and when a connection
    /// begins, and never across a wait.
    pub(super) fn unresolved(&self) -> MutexGuard<'_, UnresolvedNames> {
        let names = self.unresolved.lock();
        names.unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a target is known not to answer.
    pub(super) fn is_down(&self, route: &RouteConfig, target: &Target) -> bool {
        let mut watched = self.of(route).iter();
        let found = watched.find(|watched| watched.target == *target);
        found.is_some_and(|found| found.counters.up.get() == 0)
    }
}

// A target that stands in several lists of a route is probed once.
fn watched(route: &RouteConfig) -> Vec<Arc<Watched>> {
    if route.health.is_none() {
        return Vec::new();
    }
    let by_title = route.dicom.iter().flat_map(|dicom| &dicom.by_title);
    let by_title = by_title.flat_map(|table| &table.targets);
    let mut all: Vec<Arc<Watched>> = Vec::new();
    for target in route.targets.iter().chain(by_title) {
        if !all.iter().any(|watched| watched.target == *target) {
            let counters = metrics::Target::new(route.name.clone(), target.to_string());
            all.push(Arc::new(Watched {
                target: target.clone(),
                called: route.echo_title(target),
                counters: Arc::new(counters),
            }));
        }
    }
    all
}
