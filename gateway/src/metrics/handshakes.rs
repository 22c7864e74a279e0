//! Metrics of TLS handshakes and of connections to targets: results, what was negotiated, and durations.
//!
//! Rows of results, versions, suites and groups appear with their first event, because super::Counter;
use crate::measure::Times;

/// How a TLS handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeResult {
    /// Each side accepted the other one.
    Accepted,
    /// The gateway refused a revoked certificate of a trusted CA.
    Revoked,
    /// The gateway refused a valid certificate that is not a listed peer's.
    NotListed,
    /// The gateway refused a certificate for another reason that concerns a trusted CA or a listed name.
    Unacceptable,
    /// The gateway refused for any other reason: another protocol, a certificate of an unknown CA.
    Refused,
    /// The peer refused with an alert, or closed.
    RefusedByPeer,
    /// It took too long.
    Deadline,
    /// A limit of the gateway was reached.
    Limit,
    /// Anything else.
    Failed,
}

impl HandshakeResult {
    /// The number of results.
    pub const COUNT: usize = 9;
    /// All results.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Accepted,
        Self::Revoked,
        Self::NotListed,
        Self::Unacceptable,
        Self::Refused,
        Self::RefusedByPeer,
        Self::Deadline,
        Self::Limit,
        Self::Failed,
    ];

    /// The result's name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Revoked => "revoked",
            Self::NotListed => "not_listed",
            Self::Unacceptable => "unacceptable",
            Self::Refused => "refused",
            Self::RefusedByPeer => "refused_by_peer",
            Self::Deadline => "deadline",
            Self::Limit => "limit",
            Self::Failed => "failed",
        }
    }
}

/// The versions of TLS that a route may negotiate.
const VERSIONS: [&str; 2] = ["TLSv1.2", "TLSv1.3"];

/// The cipher suites that a route may negotiate.
const SUITES: [&str; 6] = [
    "TLS_AES_256_GCM_SHA384",
    "TLS_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
];

/// The groups of the key exchange that a route may negotiate.
const GROUPS: [&str; 4] = ["X25519MLKEM768", "x25519", "secp256r1", "secp384r1"];

/// The handshakes of one route on one core.
#[derive(Debug, Default)]
pub struct HandshakeCounters {
    results: [Counter; HandshakeResult::COUNT],
    // The number of the last connection with each result.
    last: [Counter; HandshakeResult::COUNT],
    versions: [Counter; VERSIONS.len()],
    suites: [Counter; SUITES.len()],
    groups: [Counter; GROUPS.len()],
    /// Durations of handshakes, whatever their result.
    pub seconds: Times,
}

impl HandshakeCounters {
    /// Counts a handshake of the connection with this number on its core.
    pub fn note(&self, result: HandshakeResult, connection: u64) {
        self.results[result as usize].add(1);
        self.last[result as usize].set(connection);
    }

    /// Counts what a handshake negotiated, by the names of the log.
    pub fn note_negotiated(&self, version: &str, suite: &str, group: &str) {
        note(&VERSIONS, &self.versions, version);
        note(&SUITES, &self.suites, suite);
        note(&GROUPS, &self.groups, group);
    }
}

fn note(names: &[&str], counters: &[Counter], name: &str) {
    let mut known = names.iter().zip(counters);
    if let Some((_, counter)) = known.find(|(known, _)| **known == name) {
        counter.add(1);
    }
}
