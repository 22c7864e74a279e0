//! All metrics: name, kind, help text, and source.

use std::fmt::Write as _;
use std::sync::Arc;

use super::text::{escaped, head};
use super::{
    ClientStage, ConnectionLimit, CoreCounters, Counter, RouteCounters, RouteMetrics,
    TargetCounters, TargetMetrics, Unauthenticated, passing,
};

type Number = fn(&RouteCounters) -> &Counter;
type OfCore = fn(&CoreCounters) -> u64;
type OfTarget = fn(&TargetCounters) -> &Counter;
type OfStage = fn(&Unauthenticated) -> &Counter;

const ROUTES: [(&str, &str, &str, Number); 18] = [
    (
        "wardgate_connections_accepted_total",
        "counter",
        "Accepted connections.",
        |r| &r.accepted,
    ),
    (
        "wardgate_connections_complete_total",
        "counter",
        "Connections that ended cleanly.",
        |r| &r.complete,
    ),
    (
        "wardgate_connections_empty_total",
        "counter",
        "Connections that closed without a byte.",
        |r| &r.empty,
    ),
    (
        "wardgate_handshakes_refused_total",
        "counter",
        "Failed TLS handshakes.",
        |r| &r.refused,
    ),
    (
        "wardgate_targets_unreachable_total",
        "counter",
        "Connections for which no target could be reached.",
        |r| &r.unreachable,
    ),
    (
        "wardgate_sources_refused_total",
        "counter",
        "Connections that were reset because their source address is in no network of from.",
        |r| &r.sources_refused,
    ),
    (
        "wardgate_starts_illegal_total",
        "counter",
        "Connections whose first bytes were not the protocol of their route.",
        |r| &r.illegal,
    ),
    (
        "wardgate_connections_forbidden_total",
        "counter",
        "Connections that the rules of their route refused or ended.",
        |r| &r.forbidden,
    ),
    (
        "wardgate_would_refuse_total",
        "counter",
        "Associations that the rules would have refused or ended, on routes with rules = \"report\".",
        |r| &r.would_refuse,
    ),
    (
        "wardgate_deadlines_passed_total",
        "counter",
        "Connections that were ended by a deadline.",
        |r| &r.late,
    ),
    (
        "wardgate_connections_limited_total",
        "counter",
        "Connections that were refused or ended because a limit was reached.",
        |r| &r.limited,
    ),
    (
        "wardgate_connections_broken_total",
        "counter",
        "Connections that were reset or cut off.",
        |r| &r.broken,
    ),
    (
        "wardgate_sealed_bytes_total",
        "counter",
        "Payload bytes sealed into TLS, counted when they are given to the socket; bytes that the receiver did not acknowledge before its connection was reset count in wardgate_undelivered_bytes_total too.",
        |r| &r.sealed_bytes,
    ),
    (
        "wardgate_opened_bytes_total",
        "counter",
        "Payload bytes opened from TLS, counted when they are given to the socket; bytes that the receiver did not acknowledge before its connection was reset count in wardgate_undelivered_bytes_total too.",
        |r| &r.opened_bytes,
    ),
    (
        "wardgate_undelivered_bytes_total",
        "counter",
        "Received payload bytes that were not delivered: not forwarded, or not acknowledged when the connection was reset. wardgate_sealed_bytes_total plus wardgate_opened_bytes_total minus this metric is what was delivered at least.",
        |r| &r.undelivered_bytes,
    ),
    (
        "wardgate_bandwidth_delayed_total",
        "counter",
        "Receives of connections that waited because their route had used its bandwidth.",
        |r| &r.bandwidth_delayed,
    ),
    (
        "wardgate_connections_open",
        "gauge",
        "Open connections.",
        |r| &r.open,
    ),
    (
        "wardgate_listener_closed",
        "gauge",
        "Whether the listener of the route is closed because all its targets are down or in maintenance (when_down = \"refuse\").",
        |r| &r.listener_closed,
    ),
];

const DIRECTIONS: [(&str, Number); 2] = [
    ("sealed", |r| &r.key_updates.sealed),
    ("opened", |r| &r.key_updates.opened),
];

const CORES: [(&str, &str, &str, OfCore); 9] = [
    (
        "wardgate_core_connections_total",
        "counter",
        "Connections that were assigned to the core.",
        |c| c.given.get(),
    ),
    (
        "wardgate_core_connections_open",
        "gauge",
        "Open connections of the core.",
        |c| c.open.get(),
    ),
    (
        "wardgate_core_bytes_total",
        "counter",
        "Payload bytes that the core moved, in both directions.",
        |c| c.moved_bytes.get(),
    ),
    (
        "wardgate_buffers_exhausted_total",
        "counter",
        "Times that all large buffers of a core were in use.",
        |c| c.pool_exhausted.get(),
    ),
    (
        "wardgate_pipes_exhausted_total",
        "counter",
        "Fallbacks of passthrough to copying because no pipe was available.",
        |c| c.pipes_exhausted.get(),
    ),
    (
        "wardgate_spliced_bytes_total",
        "counter",
        "Bytes that passthrough moved without copying.",
        |c| c.spliced_bytes.get(),
    ),
    (
        "wardgate_accept_paused_total",
        "counter",
        "Pauses of accepting because descriptors or memory were exhausted.",
        |c| c.accept_paused.get(),
    ),
    (
        "wardgate_handshake_steps_delayed_total",
        "counter",
        "Steps of client handshakes that waited for their turn.",
        |c| c.steps_delayed.get(),
    ),
    (
        "wardgate_handshakes_delayed_total",
        "counter",
        "Client handshakes that waited because their source had begun handshakes_per_second in the last second.",
        |c| c.handshakes_delayed.get(),
    ),
];

const ENDED: [(&str, OfStage); 7] = [
    ("places_of_address", |u| &u.ended_source_places),
    ("memory_of_address", |u| &u.ended_source_memory),
    ("places", |u| &u.ended_places),
    ("memory", |u| &u.ended_memory),
    ("connections_of_route", |u| &u.ended_route),
    ("connections_of_passthrough", |u| &u.ended_passthrough),
    ("connections", |u| &u.ended_all),
];

const TARGETS: [(&str, &str, &str, OfTarget); 5] = [
    (
        "wardgate_target_connections_open",
        "gauge",
        "Open connections to the target, including those that are being set up.",
        |t| &t.open,
    ),
    (
        "wardgate_target_failures_total",
        "counter",
        "Connections to the target that failed: refused, not answered, unreachable, or without a successful handshake.",
        |t| &t.failed,
    ),
    (
        "wardgate_target_back_off",
        "gauge",
        "Whether the last connection to the target failed, so that other targets are tried first for some time.",
        |t| &t.is_backed_off,
    ),
    (
        "wardgate_target_limited_total",
        "counter",
        "Connections for which the target was passed over because it had its maximum number of connections.",
        |t| &t.limited,
    ),
    (
        "wardgate_target_maintenance",
        "gauge",
        "Whether the target is in maintenance and gets no new connections.",
        |t| &t.in_maintenance,
    ),
];

const OUTCOMES: [(&str, OfTarget); 2] = [("good", |t| &t.good), ("bad", |t| &t.bad)];

/// The metrics of these routes, cores and targets as Prometheus text (format 0.0.4). `dropped` is the
/// number of log events lost because the log was not read.
#[must_use]
pub fn exposition(
    routes: &[RouteMetrics],
    cores: &[Arc<CoreCounters>],
    targets: &[TargetMetrics],
    dropped: u64,
) -> String {
    let mut text = String::new();
    for (name, kind, help, number) in ROUTES {
        head(&mut text, name, kind, help);
        for route in routes {
            let sum = sum(route, number);
            // A route's name has no character that needs escaping.
            let _ = writeln!(text, "{name}{{route=\"{}\"}} {sum}", route.name);
        }
    }
    let name = "wardgate_connections_limited_by_total";
    let help =
        "Connections that were refused because they exceeded a limit of connections, by limit.";
    head(&mut text, name, "counter", help);
    for route in routes {
        for limit in ConnectionLimit::ALL {
            let each = route.cores.iter().map(|core| core.limited_by(limit).get());
            let labels = format!("route=\"{}\",limit=\"{}\"", route.name, limit.name());
            let _ = writeln!(
                text,
                "{name}{{{labels}}} {}",
                each.fold(0, u64::wrapping_add)
            );
        }
    }
    let name = "wardgate_key_updates_total";
    head(
        &mut text,
        name,
        "counter",
        "TLS 1.3 key updates of connections with the in-place record layer, by direction.",
    );
    for route in routes {
        for (direction, number) in DIRECTIONS {
            let sum = sum(route, number);
            let labels = format!("route=\"{}\",direction=\"{direction}\"", route.name);
            let _ = writeln!(text, "{name}{{{labels}}} {sum}");
        }
    }
    passing::write(&mut text, routes);
    peer_certificates(&mut text, routes);
    health(&mut text, targets);
    for (name, kind, help, number) in CORES {
        head(&mut text, name, kind, help);
        for core in cores {
            let _ = writeln!(text, "{name}{{cpu=\"{}\"}} {}", core.cpu, number(core));
        }
    }
    let name = "wardgate_handshake_cpu_seconds_total";
    let help = "CPU time of the core that client handshakes took.";
    head(&mut text, name, "counter", help);
    for core in cores {
        let micros = core.steps_micros.get();
        let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
        let cpu = core.cpu;
        let _ = writeln!(text, "{name}{{cpu=\"{cpu}\"}} {seconds}.{rest:06}");
    }
    unauthenticated(&mut text, cores);
    let lost = "wardgate_log_events_dropped_total";
    head(
        &mut text,
        lost,
        "counter",
        "Log events that were dropped because the log was not read.",
    );
    let _ = writeln!(text, "{lost} {dropped}");
    text
}

fn unauthenticated(text: &mut String, cores: &[Arc<CoreCounters>]) {
    let sum = |stage, number: OfStage| -> u64 {
        let cores = cores.iter().map(|core| core.unauthenticated(stage));
        cores.map(|block| number(block).get()).sum()
    };
    let name = "wardgate_unauthenticated_open";
    let help = "Connections of unauthenticated clients, and of accepted peers that have sent nothing, by stage.";
    head(text, name, "gauge", help);
    for stage in ClientStage::ALL {
        let open = sum(stage, |block| &block.open);
        let _ = writeln!(text, "{name}{{stage=\"{}\"}} {open}", stage.name());
    }
    let name = "wardgate_unauthenticated_ended_total";
    let help = "Connections of these clients that were ended because a limit was reached.";
    head(text, name, "counter", help);
    for stage in ClientStage::ALL {
        for (limit, number) in ENDED {
            let labels = format!("stage=\"{}\",limit=\"{limit}\"", stage.name());
            let _ = writeln!(text, "{name}{{{labels}}} {}", sum(stage, number));
        }
    }
}

fn peer_certificates(text: &mut String, routes: &[RouteMetrics]) {
    let name = "wardgate_peer_certificate_expiry_timestamp_seconds";
    let help =
        "When the certificates by which the peer was accepted last expire, in seconds since 1970.";
    head(text, name, "gauge", help);
    for route in routes {
        for (identity, ends) in &route.peers {
            let labels = format!("route=\"{}\",peer=\"{}\"", route.name, escaped(identity));
            let _ = writeln!(text, "{name}{{{labels}}} {ends}");
        }
    }
}

fn health(text: &mut String, targets: &[TargetMetrics]) {
    let all = || targets.iter().map(|target| &*target.counters);
    let probed = targets.iter().filter(|target| target.is_probed);
    let probed = || probed.clone().map(|target| &*target.counters);
    let name = "wardgate_target_up";
    let help = "Whether the probed target counts as up.";
    head(text, name, "gauge", help);
    for target in probed() {
        let _ = writeln!(text, "{name}{{{}}} {}", labels(target), target.up.get());
    }
    for (name, kind, help, number) in TARGETS {
        head(text, name, kind, help);
        for target in all() {
            let (labels, number) = (labels(target), number(target).get());
            let _ = writeln!(text, "{name}{{{labels}}} {number}");
        }
    }
    let name = "wardgate_health_probes_total";
    head(text, name, "counter", "Probes of the target, by outcome.");
    for target in probed() {
        for (outcome, number) in OUTCOMES {
            let labels = format!("{},outcome=\"{outcome}\"", labels(target));
            let _ = writeln!(text, "{name}{{{labels}}} {}", number(target).get());
        }
    }
}

// Route names, addresses and DNS names have no character that needs escaping.
fn labels(target: &TargetCounters) -> String {
    let TargetCounters { route, name, .. } = target;
    format!("route=\"{route}\",target=\"{name}\"")
}

fn sum(route: &RouteMetrics, number: Number) -> u64 {
    let blocks = route.cores.iter();
    blocks
        .map(|block| number(block).get())
        .fold(0, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_shows_its_connections_and_bytes() {
        let core = CoreCounters::new(3);
        core.given.add(5);
        core.open.add(2);
        core.moved_bytes.add(17);
        let text = exposition(&[], &[Arc::new(core)], &[], 0);
        for line in [
            "wardgate_core_connections_total{cpu=\"3\"} 5\n",
            "wardgate_core_connections_open{cpu=\"3\"} 2\n",
            "wardgate_core_bytes_total{cpu=\"3\"} 17\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }

    #[test]
    fn a_target_shows_its_state_and_its_probes() {
        let target = TargetCounters::new("ct".to_owned(), "[::1]:104".to_owned());
        target.good.add(3);
        target.bad.add(2);
        target.up.set(0);
        target.open.add(7);
        let probed = TargetMetrics {
            counters: Arc::new(target),
            is_probed: true,
        };
        let other = TargetCounters::new("mr".to_owned(), "10.0.0.1:104".to_owned());
        let other = TargetMetrics {
            counters: Arc::new(other),
            is_probed: false,
        };
        let text = exposition(&[], &[], &[probed, other], 0);
        assert!(!text.contains("target_up{route=\"mr\""), "{text}");
        let labels = "route=\"ct\",target=\"[::1]:104\"";
        for line in [
            format!("wardgate_target_up{{{labels}}} 0\n"),
            format!("wardgate_target_connections_open{{{labels}}} 7\n"),
            "wardgate_target_maintenance{route=\"mr\",target=\"10.0.0.1:104\"} 0\n".to_owned(),
            format!("wardgate_health_probes_total{{{labels},outcome=\"good\"}} 3\n"),
            format!("wardgate_health_probes_total{{{labels},outcome=\"bad\"}} 2\n"),
        ] {
            assert!(text.contains(&line), "{line}{text}");
        }
    }

    #[test]
    fn the_expiry_of_a_peer_s_certificate_is_shown_with_its_identity_escaped() {
        let route = RouteMetrics {
            name: "ct".to_owned(),
            cores: Vec::new(),
            peers: vec![(r#"uri:urn:a"b\c"#.to_owned(), 1_800_000_000)],
        };
        let text = exposition(&[route], &[], &[], 0);
        let name = "wardgate_peer_certificate_expiry_timestamp_seconds";
        let line = format!(r#"{name}{{route="ct",peer="uri:urn:a\"b\\c"}} 1800000000"#);
        assert!(text.lines().any(|row| row == line), "{line}\n{text}");
    }

    #[test]
    fn the_cores_of_a_route_are_summed() {
        let [a, b] = ["a", "b"].map(|name| RouteMetrics {
            name: name.to_owned(),
            cores: (0..2).map(|_| Arc::default()).collect(),
            peers: Vec::new(),
        });
        b.cores[0].accepted.add(2);
        b.cores[1].accepted.add(3);
        a.cores[0].key_updates.sealed.add(4);
        a.cores[1].key_updates.sealed.add(1);
        let text = exposition(&[a, b], &[], &[], 7);
        assert!(
            text.contains("wardgate_connections_accepted_total{route=\"a\"} 0\n"),
            "{text}"
        );
        assert!(
            text.contains("wardgate_connections_accepted_total{route=\"b\"} 5\n"),
            "{text}"
        );
        let directions = [("sealed", 5), ("opened", 0)];
        for (direction, sum) in directions {
            let labels = format!("{{route=\"a\",direction=\"{direction}\"}}");
            let line = format!("wardgate_key_updates_total{labels} {sum}\n");
            assert!(text.contains(&line), "{text}");
        }
        assert!(
            text.contains("wardgate_log_events_dropped_total 7\n"),
            "{text}"
        );
    }
}
