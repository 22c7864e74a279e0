//! One route of one configuration, with what it takes to serve it.

use std::fmt;
use std::sync::Arc;

use super::admission::Admission;
use super::draft::{RouteDraft, Transport};
use super::id::RouteId;
use super::shares::Shares;
use super::state::RouteState;
use crate::config::RouteConfig;
use crate::metrics::RouteCounters;
use crate::upstream::{ProbedTarget, probed_targets};

/// A route with what it takes to serve it. It never changes; a new configuration makes a new one.
pub struct Route {
    /// The route as configured.
    pub config: Arc<RouteConfig>,
    /// Its mode with that mode's means.
    pub transport: Transport,
    /// The targets that are probed, with what is known of each.
    pub targets: Vec<Arc<ProbedTarget>>,
    /// What outlives this configuration.
    pub state: Arc<RouteState>,
    // What its associations are held to, on a DICOM route.
    pub(crate) admission: Option<Admission>,
    // What it shares with the other routes.
    pub(crate) shares: Arc<Shares>,
    // Of the certificates, keys and lists that the transport was made of.
    material: [u8; 32],
}

impl Route {
    /// A route of `draft`. It takes over the state and the health of the targets of `previous`, which had
    /// the same name; without one it begins with `state`.
    pub(super) fn new(
        draft: RouteDraft,
        state: Arc<RouteState>,
        previous: Option<&Self>,
        shares: Arc<Shares>,
    ) -> Self {
        let RouteDraft {
            config,
            transport,
            material,
        } = draft;
        state.observe(&config);
        let known = previous.map_or(&[][..], |previous| &previous.targets);
        Self {
            targets: probed_targets(&config, known),
            admission: Admission::new(&config, &state),
            config,
            transport,
            state,
            shares,
            material,
        }
    }

    /// What it is named by as long as the process lives.
    #[must_use]
    pub fn id(&self) -> RouteId {
        self.state.id
    }

    /// Its counters on the core at place `core`.
    ///
    /// # Panics
    /// When there is no such core: a route has counters for all cores of the process.
    #[must_use]
    pub fn counters(&self, core: usize) -> &Arc<RouteCounters> {
        let counters = self.state.counters.get(core);
        counters.expect("a route has counters for each core")
    }

    /// Whether `draft` says the same.
    pub(super) fn is_as(&self, draft: &RouteDraft) -> bool {
        self.material == draft.material && self.config.means_the_same(&draft.config)
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Route({:?}, {:?})", self.state.id, self.config.name)
    }
}
