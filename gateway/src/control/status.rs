//! The state of a running gateway, as the admin socket reports it.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The state of the gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The name of the host.
    #[serde(default)]
    pub host: String,
    /// When this was reported, in seconds since 1970.
    #[serde(default)]
    pub at: u64,
    /// Seconds since the start of the process.
    #[serde(default)]
    pub uptime_seconds: u64,
    /// Whether the gateway does its work, and if not, why.
    #[serde(default)]
    pub health: HealthStatus,
    /// The parts of the sandbox, in a fixed order.
    #[serde(default)]
    pub sandbox: Vec<SandboxStatus>,
    /// Open connections, those with the most bytes first, at most `limits::CONNECTIONS_SHOWN_MAX`.
    #[serde(default)]
    pub open: Vec<ConnectionStatus>,
    /// How many open connections `open` leaves out.
    #[serde(default)]
    pub open_left_out: u64,
    /// Certificates, trust anchors and revocation lists, those that expire first at the beginning.
    #[serde(default)]
    pub certificates: Vec<CertificateStatus>,
    /// The cores with a worker.
    #[serde(default)]
    pub cores: Vec<CoreStatus>,
    /// The last refused connections, the newest first, at most `audit::limits::REFUSALS_SHOWN_MAX`.
    #[serde(default)]
    pub refusals: Vec<RefusalStatus>,
}

/// Whether a route, or the gateway, does its work.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthStatus {
    /// The worst of the reasons.
    pub level: HealthLevel,
    /// Sentences, the worst first: what is wrong, on which side, and what to do. Empty if all is good.
    pub reasons: Vec<String>,
}

/// A part of the sandbox: what the process has given up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxStatus {
    /// Its name.
    pub part: String,
    /// `on`, `missing` or `off`.
    pub state: String,
    /// A detail, or the reason; may be empty.
    pub detail: String,
}

/// How well a route works.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum HealthLevel {
    /// It works.
    #[default]
    Good,
    /// It works, but an operator should act: a target is down while others work, a certificate expires soon, a
    /// limit was reached.
    Warning,
    /// It does not carry traffic.
    Failed,
}

/// An open connection. Holds no payload and no patient data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionStatus {
    /// Its id, as in the log; `wardgate end` takes it.
    pub id: String,
    /// The id of the TLS connection, which both sites log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<String>,
    /// The name of its route.
    pub route: String,
    /// The address of the client's TCP connection.
    pub source: String,
    /// The client that a proxy or the other gateway names in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded_for: Option<String>,
    /// The target, once it is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The identity of the TLS peer, once it is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The calling AE title of the association.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calling: Option<String>,
    /// The called AE title of the association.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub called: Option<String>,
    /// The HL7 message types so far with their numbers, the most frequent first: `ADT^A01 12`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// Payload bytes from the plain side into TLS (passthrough: from the source to the target).
    pub sealed_bytes: u64,
    /// Payload bytes from TLS to the plain side (passthrough: from the target to the source).
    pub opened_bytes: u64,
    /// Its age.
    pub seconds: u64,
    /// The time between the last request and its response, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<u64>,
}

/// A certificate, trust anchor or revocation list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// `own`, `anchor`, `crl`, or `peer` for a certificate that a peer has presented.
    pub kind: String,
    /// Whose: the file, or the identity of the peer.
    pub name: String,
    /// The routes that use it.
    pub routes: Vec<String>,
    /// When it expires, in seconds since 1970.
    pub expires: i64,
    /// Whole days until then; negative if it has expired.
    pub days_left: i64,
}

/// A core with a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoreStatus {
    /// The number of the CPU.
    pub cpu: usize,
    /// Whether its worker did not answer in time; its connections are not in `open` then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_silent: bool,
    /// How much of the last seconds its worker was busy, in percent.
    pub busy_percent: u8,
    /// Its open connections.
    pub connections: u64,
}

/// Connections that were refused for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalStatus {
    /// The last one, in seconds since 1970.
    pub at: u64,
    /// The name of the route.
    pub route: String,
    /// The client of the last one.
    pub source: String,
    /// Why, as in the log.
    pub reason: String,
    /// What to do; empty if the reason says all.
    pub remedy: String,
    /// How many since the start.
    pub count: u64,
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
    /// `open`, `closed` (because of a bad file), `leaving` (drains soon), `draining`, `drained` or `removed`.
    pub state: String,
    /// Its open connections.
    pub connections: u32,
    /// Its targets, in the order of the configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetStatus>,
    /// The drain, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainStatus>,
    /// `dicom`, `hl7` or `tcp`.
    #[serde(default)]
    pub protocol: String,
    /// The accepted identities of peers.
    #[serde(default)]
    pub peers: Vec<String>,
    /// Whether it does its work, and if not, why.
    #[serde(default)]
    pub health: HealthStatus,
    /// Payload bytes from the plain side into TLS since the start.
    #[serde(default)]
    pub sealed_bytes: u64,
    /// Payload bytes from TLS to the plain side since the start.
    #[serde(default)]
    pub opened_bytes: u64,
    /// The same two per second, as an average of about the last 5 s.
    #[serde(default)]
    pub sealed_per_second: u64,
    /// See `sealed_per_second`.
    #[serde(default)]
    pub opened_per_second: u64,
    /// The last time between a request and its response, in microseconds, if the route observes its protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<u64>,
}

impl Default for RouteStatus {
    fn default() -> Self {
        Self {
            name: String::new(),
            mode: String::new(),
            listen: SocketAddr::from(([0; 4], 0)),
            state: "open".to_owned(),
            connections: 0,
            targets: Vec::new(),
            drain: None,
            protocol: String::new(),
            peers: Vec::new(),
            health: HealthStatus::default(),
            sealed_bytes: 0,
            opened_bytes: 0,
            sealed_per_second: 0,
            opened_per_second: 0,
            latency_us: None,
        }
    }
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
    /// Since when its connections or probes fail, in seconds since 1970. A target without probes is `up` meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<u64>,
    /// Why they fail, as in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// The progress of a drain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainStatus {
    /// Seconds until connections that are still open are reset.
    pub seconds_left: u64,
}
