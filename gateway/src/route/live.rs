//! A route of one configuration, with everything needed to serve it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use super::admission::Admission;
use super::draft::{RouteDraft, Transport};
use super::id::RouteId;
use super::shares::Shares;
use super::state::RouteState;
use crate::config::{RouteConfig, RouteTls};
use crate::metrics::RouteCounters;
use crate::tls::{NotAccepted, PeerInfo};
use crate::upstream::{ProbedTarget, probed_targets};

/// A route with everything needed to serve it. It never changes; a new configuration creates a new one.
pub struct Route {
    /// The route as configured.
    pub config: Arc<RouteConfig>,
    /// The mode, with its TLS setup.
    pub transport: Transport,
    /// The probed targets and the results of their probes.
    pub targets: Vec<Arc<ProbedTarget>>,
    /// The part that survives this configuration.
    pub state: Arc<RouteState>,
    // The admission rules, on a DICOM route.
    pub(crate) admission: Option<Admission>,
    // The connections of each peer by its identities, if `connections_per_peer` limits them.
    pub(super) peers: HashMap<String, Arc<AtomicU32>>,
    // The limits shared with the other routes.
    pub(crate) shares: Arc<Shares>,
    // Digest of the certificates, keys and lists that the transport was made of.
    material: [u8; 32],
}

impl Route {
    /// Creates a route from `draft`. It takes over the state, and the health of the targets, of `previous`,
    /// which had the same name. Without `previous` it begins with `state`.
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
        state.limit_bandwidth(&config);
        let known = previous.map_or(&[][..], |previous| &previous.targets);
        Self {
            targets: probed_targets(&config, known),
            admission: Admission::new(&config, &state),
            peers: peers(&config, &state),
            config,
            transport,
            state,
            shares,
            material,
        }
    }

    /// The id of the route, valid for the lifetime of the process.
    #[must_use]
    pub fn id(&self) -> RouteId {
        self.state.id
    }

    /// The route's counters on the core with index `core`.
    ///
    /// # Panics
    /// If there is no such core. A route has counters for all cores of the process.
    #[must_use]
    pub fn counters(&self, core: usize) -> &Arc<RouteCounters> {
        let counters = self.state.counters.get(core);
        counters.expect("a route has counters for each core")
    }

    /// Whether the peer of an open connection would still be accepted on this route at `now`, in seconds since
    /// 1970.
    ///
    /// # Errors
    /// Why it would not.
    pub fn still_accepts(&self, peer: &PeerInfo, now: i64) -> Result<(), NotAccepted> {
        match &self.transport {
            Transport::Originate(connector) => connector.still_accepts(peer, now),
            Transport::Terminate(acceptor) => acceptor.still_accepts(peer, now),
            Transport::Passthrough => Ok(()),
        }
    }

    /// Whether `draft` describes the same route.
    pub(super) fn is_as(&self, draft: &RouteDraft) -> bool {
        self.material == draft.material && self.config.means_the_same(&draft.config)
    }
}

// The counts of the peers of a route that limits them. Connections that began under another configuration count.
fn peers(config: &RouteConfig, state: &RouteState) -> HashMap<String, Arc<AtomicU32>> {
    let tls = config
        .tls
        .iter()
        .filter(|_| config.connections_per_peer.is_some());
    let sites = tls.flat_map(RouteTls::sites);
    let counted = sites.flat_map(|identities| {
        let count = state.by_peer.of(identities);
        let each = identities.iter().map(ToString::to_string);
        each.map(move |identity| (identity, Arc::clone(&count)))
    });
    counted.collect()
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Route({:?}, {:?})", self.state.id, self.config.name)
    }
}
