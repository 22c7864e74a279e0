//! Metrics of TLS handshakes and of connections to targets: results, what was negotiated, and durations.
//!
//! Rows of results, versions, suites and groups appear with their first event, because most routes have one of
//! each. The values of their labels are the lists in this file.

use std::fmt;

use super::openmetrics::{Durations, Labels, Writer, labels};
use super::{CoreCounters, Counter, RouteCounters, RouteMetrics};
use crate::measure::Times;
use std::sync::Arc;

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

    /// Whether its row is there before its first event.
    fn is_always_shown(self) -> bool {
        matches!(
            self,
            Self::Accepted | Self::Revoked | Self::NotListed | Self::Unacceptable
        )
    }

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
const VERSIONS: [&str; 2] = ["1.2", "1.3"];

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

    /// Counts one handshake of each kind, so that each row exists.
    #[cfg(test)]
    pub(super) fn note_everything(&self) {
        for result in HandshakeResult::ALL {
            self.note(result, 1);
        }
        let counters = [&self.versions[..], &self.suites, &self.groups];
        counters.into_iter().flatten().for_each(|one| one.add(1));
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

/// Writes the metrics of handshakes and of connecting.
pub(super) fn write(
    writer: &mut Writer<'_, '_>,
    routes: &[RouteMetrics],
    cores: &[Arc<CoreCounters>],
) -> fmt::Result {
    let rows = routes.iter().flat_map(|route| {
        let each = HandshakeResult::ALL.into_iter();
        each.filter_map(move |result| {
            let number = sum(route, |of| &of.results[result as usize]);
            let labels = labels([("route", &route.name), ("result", result.name())]);
            // Rows of rare results appear with their first event. An alert sees the first refusal of a known
            // issuer's certificate only if its row was 0 before.
            let is_shown = number > 0 || result.is_always_shown();
            is_shown.then(|| (labels, (number, last(route, result, cores))))
        })
    });
    writer.counters_with_example(
        (
            "wardgate_handshakes_total",
            "TLS handshakes by result, on both sides; the exemplar is the id of the last connection.",
        ),
        rows,
    )?;
    writer.counters(
        (
            "wardgate_tls_versions_total",
            "Accepted TLS handshakes by version.",
        ),
        negotiated(routes, "version", &VERSIONS, |of| &of.versions),
    )?;
    writer.counters(
        (
            "wardgate_tls_suites_total",
            "Accepted TLS handshakes by cipher suite.",
        ),
        negotiated(routes, "suite", &SUITES, |of| &of.suites),
    )?;
    writer.counters(
        (
            "wardgate_tls_groups_total",
            "Accepted TLS handshakes by group of the key exchange.",
        ),
        negotiated(routes, "group", &GROUPS, |of| &of.groups),
    )?;
    writer.histograms(
        (
            "wardgate_handshake_seconds",
            "Seconds from the beginning of a TLS handshake to its end, whatever its result.",
        ),
        durations(routes, |of| &of.handshakes.seconds),
    )?;
    writer.histograms(
        (
            "wardgate_connect_seconds",
            "Seconds from the attempt at a target, with the lookup of its name, to its connection.",
        ),
        durations(routes, |of| &of.connects),
    )
}

fn durations(
    routes: &[RouteMetrics],
    of: fn(&RouteCounters) -> &Times,
) -> impl Iterator<Item = (Labels<'_>, Durations)> {
    routes.iter().map(move |route| {
        let blocks = route.cores.iter().map(|block| of(block));
        (labels([("route", &route.name)]), Durations::sum(blocks))
    })
}

fn negotiated<'r, C: AsRef<[Counter]> + 'r>(
    routes: &'r [RouteMetrics],
    label: &'static str,
    names: &'static [&'static str],
    counters: fn(&HandshakeCounters) -> &C,
) -> impl Iterator<Item = (Labels<'r>, u64)> {
    routes.iter().flat_map(move |route| {
        let each = names.iter().enumerate();
        each.filter_map(move |(at, name)| {
            let blocks = route.cores.iter();
            let each = blocks.filter_map(|block| counters(&block.handshakes).as_ref().get(at));
            let number = each.map(Counter::get).fold(0, u64::wrapping_add);
            (number > 0).then(|| (labels([("route", &route.name), (label, name)]), number))
        })
    })
}

fn sum(route: &RouteMetrics, of: impl Fn(&HandshakeCounters) -> &Counter) -> u64 {
    let blocks = route.cores.iter();
    let each = blocks.map(|block| of(&block.handshakes).get());
    each.fold(0, u64::wrapping_add)
}

// The id of a connection with this result: the last one of a core, as the log writes it.
fn last(
    route: &RouteMetrics,
    result: HandshakeResult,
    cores: &[Arc<CoreCounters>],
) -> Option<String> {
    let blocks = route.cores.iter().zip(cores).enumerate();
    blocks.into_iter().find_map(|(core, (block, of_core))| {
        let number = block.handshakes.last[result as usize].get();
        let start = of_core.ids_start.get();
        (number > 0).then(|| format!("{start:x}-{core}-{number}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_counts_by_result_and_negotiation_and_names_its_connection() {
        let route = RouteMetrics {
            name: "ct".to_owned(),
            cores: (0..2).map(|_| Arc::default()).collect(),
            peers: Vec::new(),
        };
        let cores: Vec<_> = (0..2).map(|cpu| Arc::new(CoreCounters::new(cpu))).collect();
        cores[1].ids_start.set(0x1a);
        let block = &route.cores[1].handshakes;
        block.note(HandshakeResult::Accepted, 6);
        block.note(HandshakeResult::Revoked, 7);
        block.note_negotiated("1.3", "TLS_AES_256_GCM_SHA384", "x25519");
        block.note_negotiated("SSLv3", "unlisted", "unlisted");
        block.seconds.note(std::time::Duration::from_millis(3));
        let snapshot = crate::metrics::Snapshot {
            routes: vec![route],
            cores,
            ..crate::metrics::Snapshot::default()
        };
        let text = snapshot.text();
        for line in [
            "wardgate_handshakes_total{route=\"ct\",result=\"revoked\"} 1 # {id=\"1a-1-7\"} 1.0",
            "wardgate_tls_versions_total{route=\"ct\",version=\"1.3\"} 1",
            "wardgate_tls_suites_total{route=\"ct\",suite=\"TLS_AES_256_GCM_SHA384\"} 1",
            "wardgate_tls_groups_total{route=\"ct\",group=\"x25519\"} 1",
            "wardgate_handshake_seconds_bucket{le=\"0.005\",route=\"ct\"} 1",
            "wardgate_handshake_seconds_count{route=\"ct\"} 1",
        ] {
            assert!(text.lines().any(|row| row == line), "{line}\n{text}");
        }
        let row = "wardgate_handshakes_total{route=\"ct\",result=\"not_listed\"} 0";
        assert!(text.contains(row), "{text}");
        for absent in ["result=\"deadline\"", "\"1.2\"", "unlisted", "SSL"] {
            assert!(!text.contains(absent), "{absent}\n{text}");
        }
    }
}
