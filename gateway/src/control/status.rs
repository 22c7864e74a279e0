//! The state of a running gateway, as the admin socket reports it.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The state of the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayStatus {
    /// The version of the program.
    pub program: String,
    /// The process id.
    pub pid: u32,
    /// 0 for the configuration of the start, then one more for each change.
    pub generation: u64,
    /// Open connections on all routes.
    pub connections: usize,
    /// Whether the process ends after its connections.
    pub stopping: bool,
    /// The routes, in the order of the configuration, then removed ones with open connections.
    pub routes: Vec<RouteStatus>,
    /// Problems of files, for which routes are closed, peers are refused, or earlier files are still in use.
    pub problems: Vec<String>,
    /// Keys whose new values take effect at the next start.
    pub restart: Vec<String>,
}

/// The state of one route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteStatus {
    /// Its name.
    pub name: String,
    /// `originate`, `terminate` or `passthrough`.
    pub mode: String,
    /// Where it accepts.
    pub listen: SocketAddr,
    /// `open`, `closed` (because of a bad file), `draining`, `drained` or `removed`.
    pub state: String,
    /// Its open connections.
    pub connections: u32,
    /// Its targets, in the order of the configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetStatus>,
    /// The drain, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainStatus>,
}

/// The state of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetStatus {
    /// Its address as configured.
    pub address: String,
    /// `up`, `down` (by its probes) or `maintenance`. A target without probes is `up`.
    pub state: String,
    /// Its open connections.
    pub connections: u64,
}

/// The progress of a drain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainStatus {
    /// Seconds until connections that are still open are reset.
    pub seconds_left: u64,
}
