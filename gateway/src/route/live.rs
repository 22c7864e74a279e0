//! A route of one configuration, with everything needed to serve it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use tokio::time::Instant;

use super::admission::Admission;
use super::draft::{RouteDraft, Transport};
use super::id::RouteId;
use super::peer_expiries::PeerExpiries;
use super::shares::Shares;
use super::state::RouteState;
use crate::config::{RouteConfig, RouteTls, WhenDown};
use crate::metrics::RouteCounters;
use crate::tls::{NotAccepted, PeerInfo};
use crate::upstream::{RouteTarget, RouteTargets};

/// A route with everything needed to serve it. It never changes; a new configuration creates a new one.
pub struct Route {
    /// The route as configured.
    pub config: Arc<RouteConfig>,
    /// The mode, with its TLS setup.
    pub transport: Transport,
    /// The targets and their states.
    pub targets: RouteTargets,
    /// The part that survives this configuration.
    pub state: Arc<RouteState>,
    // The admission rules, on a DICOM route.
    pub(crate) admission: Option<Admission>,
    // When the certificates of its peers expire.
    pub(super) peer_expiries: PeerExpiries,
    // The connections of each peer by its identities, if `connections_per_peer` limits them.
    pub(super) peers: HashMap<String, Arc<AtomicU32>>,
    // The limits shared with the other routes.
    pub(crate) shares: Arc<Shares>,
    // Digest of the certificates, keys and lists that the transport was made of.
    material: [u8; 32],
}

impl Route {
    /// Creates a route from `draft`. It takes over the state, and the states of the targets, of `previous`, which
    /// had the same name. Without `previous` it begins with `state`.
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
        let known = previous.map_or(&[][..], |previous| &previous.targets.all);
        Self {
            targets: RouteTargets::new(&config, known),
            admission: Admission::new(&config, &state),
            peer_expiries: PeerExpiries::new(
                &config,
                previous.map(|previous| &previous.peer_expiries),
            ),
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

    /// The targets that are probed.
    #[must_use]
    pub fn probed(&self) -> &[Arc<RouteTarget>] {
        match self.config.health {
            Some(_) => &self.targets.all,
            None => &[],
        }
    }

    /// Whether the listener must be closed at the moment: each target is down or in maintenance, and `when_down` is
    /// `Refuse`.
    #[must_use]
    pub fn refuses_connections(&self) -> bool {
        let is_out =
            |target: &Arc<RouteTarget>| target.state.is_down() || target.state.is_in_maintenance();
        self.config.when_down == WhenDown::Refuse && self.targets.all.iter().all(is_out)
    }

    /// Sets or ends maintenance of a target, named by its address as configured. A target in maintenance gets no
    /// new connections, and its open connections continue. The next configuration keeps maintenance.
    ///
    /// # Errors
    /// If the route has no such target.
    pub fn set_maintenance(&self, target: &str, on: bool) -> Result<(), UnknownTarget> {
        let is_it = |one: &&Arc<RouteTarget>| one.target.to_string().eq_ignore_ascii_case(target);
        let Some(found) = self.targets.all.iter().find(is_it) else {
            let known = self.targets.all.iter().map(|one| one.target.to_string());
            return Err(UnknownTarget {
                route: self.config.name.clone(),
                target: target.to_owned(),
                known: known.collect(),
            });
        };
        found.state.set_maintenance(on, Instant::now().into_std());
        self.state.note_targets_changed();
        Ok(())
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

    /// Notes when the certificates expire by which a connection of `peer` was accepted, for the metrics.
    pub fn note_certificates(&self, peer: &PeerInfo) {
        self.peer_expiries.note(peer);
    }

    /// The identities of accepted peers, and when the certificates expire by which each was accepted last, in seconds
    /// since 1970.
    #[must_use]
    pub fn accepted_peers(&self) -> Vec<(String, i64)> {
        self.peer_expiries.seen()
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

/// A route has no such target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownTarget {
    route: String,
    target: String,
    known: Vec<String>,
}

impl fmt::Display for UnknownTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            route,
            target,
            known,
        } = self;
        let known = known.join(", ");
        write!(
            f,
            "route \"{route}\" has no target {target:?}; its targets are {known}"
        )
    }
}

impl std::error::Error for UnknownTarget {}

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
