//! All metrics: name, help text, and source. A name that ends in `_total` is a counter, any other a gauge.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use super::openmetrics::{Labels, Writer, labels};
use super::snapshot::Snapshot;
use super::{
    ClientStage, ConnectionLimit, CoreCounters, Counter, RouteCounters, RouteMetrics,
    TargetCounters, TargetMetrics, Unauthenticated, core_time, handshakes, passing,
};
use crate::measure::ReachedBound;

type Number = fn(&RouteCounters) -> &Counter;
type OfCore = fn(&CoreCounters) -> u64;
type OfTarget = fn(&TargetCounters) -> &Counter;
type OfStage = fn(&Unauthenticated) -> &Counter;

const ROUTES: [(&str, &str, Number); 18] = [
    (
        "wardgate_connections_accepted_total",
        "Accepted connections.",
        |r| &r.accepted,
    ),
    (
        "wardgate_connections_complete_total",
        "Connections that ended cleanly.",
        |r| &r.complete,
    ),
    (
        "wardgate_connections_empty_total",
        "Connections that closed without a byte.",
        |r| &r.empty,
    ),
    (
        "wardgate_handshakes_refused_total",
        "Failed TLS handshakes.",
        |r| &r.refused,
    ),
    (
        "wardgate_targets_unreachable_total",
        "Connections for which no target could be reached.",
        |r| &r.unreachable,
    ),
    (
        "wardgate_sources_refused_total",
        "Connections that were reset because their source address is in no network of from.",
        |r| &r.sources_refused,
    ),
    (
        "wardgate_starts_illegal_total",
        "Connections whose first bytes were not the protocol of their route.",
        |r| &r.illegal,
    ),
    (
        "wardgate_connections_forbidden_total",
        "Connections that the rules of their route refused or ended.",
        |r| &r.forbidden,
    ),
    (
        "wardgate_would_refuse_total",
        "Associations that the rules would have refused or ended, on routes with rules = \"report\".",
        |r| &r.would_refuse,
    ),
    (
        "wardgate_deadlines_passed_total",
        "Connections that were ended by a deadline.",
        |r| &r.late,
    ),
    (
        "wardgate_connections_limited_total",
        "Connections that were refused or ended because a limit was reached.",
        |r| &r.limited,
    ),
    (
        "wardgate_connections_broken_total",
        "Connections that were reset or cut off.",
        |r| &r.broken,
    ),
    (
        "wardgate_sealed_bytes_total",
        "Payload bytes sealed into TLS, counted when they are given to the socket; bytes that the receiver did not acknowledge before its connection was reset count in wardgate_undelivered_bytes_total too.",
        |r| &r.sealed_bytes,
    ),
    (
        "wardgate_opened_bytes_total",
        "Payload bytes opened from TLS, counted when they are given to the socket; bytes that the receiver did not acknowledge before its connection was reset count in wardgate_undelivered_bytes_total too.",
        |r| &r.opened_bytes,
    ),
    (
        "wardgate_undelivered_bytes_total",
        "Received payload bytes that were not delivered: not forwarded, or not acknowledged when the connection was reset. wardgate_sealed_bytes_total plus wardgate_opened_bytes_total minus this metric is what was delivered at least.",
        |r| &r.undelivered_bytes,
    ),
    (
        "wardgate_bandwidth_delayed_total",
        "Receives of connections that waited because their route had used its bandwidth.",
        |r| &r.bandwidth_delayed,
    ),
    ("wardgate_connections_open", "Open connections.", |r| {
        &r.open
    }),
    (
        "wardgate_listener_closed",
        "Whether the listener of the route is closed because all its targets are down or in maintenance (when_down = \"refuse\").",
        |r| &r.listener_closed,
    ),
];

const DIRECTIONS: [(&str, Number); 2] = [
    ("sealed", |r| &r.key_updates.sealed),
    ("opened", |r| &r.key_updates.opened),
];

const CORES: [(&str, &str, OfCore); 10] = [
    (
        "wardgate_core_connections_total",
        "Connections that were assigned to the core.",
        |c| c.given.get(),
    ),
    (
        "wardgate_core_connections_open",
        "Open connections of the core.",
        |c| c.open.get(),
    ),
    (
        "wardgate_core_bytes_total",
        "Payload bytes that the core moved, in both directions.",
        |c| c.moved_bytes.get(),
    ),
    (
        "wardgate_buffers_exhausted_total",
        "Times that all large buffers of a core were in use.",
        |c| c.pool_exhausted.get(),
    ),
    (
        "wardgate_buffers_lent",
        "Large buffers that connections of the core hold now, of 64.",
        |c| c.buffers_lent.get(),
    ),
    (
        "wardgate_pipes_exhausted_total",
        "Fallbacks of passthrough to copying because no pipe was available.",
        |c| c.pipes_exhausted.get(),
    ),
    (
        "wardgate_spliced_bytes_total",
        "Bytes that passthrough moved without copying.",
        |c| c.spliced_bytes.get(),
    ),
    (
        "wardgate_accept_paused_total",
        "Pauses of accepting because descriptors or memory were exhausted.",
        |c| c.accept_paused.get(),
    ),
    (
        "wardgate_handshake_steps_delayed_total",
        "Steps of client handshakes that waited for their turn.",
        |c| c.steps_delayed.get(),
    ),
    (
        "wardgate_handshakes_delayed_total",
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

const TARGETS: [(&str, &str, OfTarget); 5] = [
    (
        "wardgate_target_connections_open",
        "Open connections to the target, including those that are being set up.",
        |t| &t.open,
    ),
    (
        "wardgate_target_failures_total",
        "Connections to the target that failed: refused, not answered, unreachable, or without a successful handshake.",
        |t| &t.failed,
    ),
    (
        "wardgate_target_back_off",
        "Whether the last connection to the target failed, so that other targets are tried first for some time.",
        |t| &t.is_backed_off,
    ),
    (
        "wardgate_target_limited_total",
        "Connections for which the target was passed over because it had its maximum number of connections.",
        |t| &t.limited,
    ),
    (
        "wardgate_target_maintenance",
        "Whether the target is in maintenance and gets no new connections.",
        |t| &t.in_maintenance,
    ),
];

const OUTCOMES: [(&str, OfTarget); 2] = [("good", |t| &t.good), ("bad", |t| &t.bad)];

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        write(&mut Writer(&mut encoder), self)
    }
}

impl Snapshot {
    /// The metrics as OpenMetrics text.
    #[must_use]
    pub fn text(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut shown = String::new();
        // Writing into a string does not fail.
        let _ = encode(&mut shown, &registry);
        shown
    }
}

fn write(writer: &mut Writer<'_, '_>, now: &Snapshot) -> fmt::Result {
    of_routes(writer, &now.routes)?;
    handshakes::write(writer, &now.routes, &now.cores)?;
    passing::write(writer, &now.routes)?;
    peer_certificates(writer, &now.routes)?;
    of_targets(writer, &now.targets)?;
    of_cores(writer, &now.cores)?;
    unauthenticated(writer, &now.cores)?;
    let named = (
        "wardgate_log_events_dropped_total",
        "Log events that were dropped because the log was not read or could not be written.",
    );
    writer.counters(named, [(Vec::new(), now.log.dropped)])?;
    let named = (
        "wardgate_log_events_queued",
        "Log events that wait to be written, of 4096.",
    );
    writer.gauges(named, [(Vec::new(), signed(now.log.queued))])?;
    now.files.write(writer)?;
    now.reloads.write(writer, now.generation)?;
    now.http.write(writer)?;
    let named = (
        "wardgate_bound_reached_total",
        "Times that a bound without a metric of its own was reached; the page of bounds explains each.",
    );
    let rows = ReachedBound::ALL.into_iter();
    let rows = rows.map(|bound| (labels([("bound", bound.name())]), bound.count()));
    writer.counters(named, rows)?;
    let named = (
        "wardgate_start_timestamp_seconds",
        "Start of the process, in seconds since 1970.",
    );
    writer.gauges(named, [(Vec::new(), signed(now.started))])?;
    let named = (
        "wardgate_sandbox",
        "Whether the part of the sandbox is in force.",
    );
    let rows = now.sandbox.iter();
    let rows = rows.map(|(part, is_on)| (labels([("part", part)]), i64::from(*is_on)));
    writer.gauges(named, rows)?;
    let named = ("wardgate_build_info", "The version of the program.");
    writer.info(named, &labels([("version", env!("CARGO_PKG_VERSION"))]))
}

fn of_routes(writer: &mut Writer<'_, '_>, routes: &[RouteMetrics]) -> fmt::Result {
    for (name, help, number) in ROUTES {
        let rows = routes.iter();
        let rows = rows.map(|route| (labels([("route", &route.name)]), sum(route, number)));
        simple(writer, name, help, rows)?;
    }
    let named = (
        "wardgate_connections_limited_by_total",
        "Connections that were refused because they exceeded a limit of connections, by limit.",
    );
    let rows = routes.iter().flat_map(|route| {
        ConnectionLimit::ALL.into_iter().map(move |limit| {
            let each = route.cores.iter().map(|core| core.limited_by(limit).get());
            let labels = labels([("route", &route.name), ("limit", limit.name())]);
            (labels, each.fold(0, u64::wrapping_add))
        })
    });
    writer.counters(named, rows)?;
    let named = (
        "wardgate_key_updates_total",
        "TLS 1.3 key updates of connections with the in-place record layer, by direction.",
    );
    let rows = routes.iter().flat_map(|route| {
        DIRECTIONS.into_iter().map(move |(direction, number)| {
            let labels = labels([("route", &route.name), ("direction", direction)]);
            (labels, sum(route, number))
        })
    });
    writer.counters(named, rows)
}

fn of_cores(writer: &mut Writer<'_, '_>, cores: &[Arc<CoreCounters>]) -> fmt::Result {
    let cpus: Vec<_> = cores.iter().map(|core| core.cpu.to_string()).collect();
    let each = || cores.iter().zip(&cpus);
    for (name, help, number) in CORES {
        let rows = each().map(|(core, cpu)| (labels([("cpu", cpu)]), number(core)));
        simple(writer, name, help, rows)?;
    }
    let named = (
        "wardgate_handshake_cpu_seconds_total",
        "CPU time of the core that client handshakes took.",
    );
    let rows = each().map(|(core, cpu)| (labels([("cpu", cpu)]), core.steps_micros.get()));
    writer.counters_of_micros(named, rows)?;
    let named = (
        "wardgate_core_busy_seconds_total",
        "CPU time of the core's worker; with busy_poll, waiting awake is part of it.",
    );
    let rows = each().filter_map(|(core, cpu)| {
        let busy = core_time::micros(core)?;
        Some((labels([("cpu", cpu)]), busy))
    });
    writer.counters_of_micros(named, rows)
}

fn unauthenticated(writer: &mut Writer<'_, '_>, cores: &[Arc<CoreCounters>]) -> fmt::Result {
    let sum = |stage, number: OfStage| -> u64 {
        let cores = cores.iter().map(|core| core.unauthenticated(stage));
        cores.map(|block| number(block).get()).sum()
    };
    let named = (
        "wardgate_unauthenticated_open",
        "Connections of unauthenticated clients, and of accepted peers that have sent nothing, by stage.",
    );
    let rows = ClientStage::ALL.into_iter().map(|stage| {
        let open = sum(stage, |block| &block.open);
        (labels([("stage", stage.name())]), signed(open))
    });
    writer.gauges(named, rows)?;
    let named = (
        "wardgate_unauthenticated_ended_total",
        "Connections of these clients that were ended because a limit was reached.",
    );
    let rows = ClientStage::ALL.into_iter().flat_map(|stage| {
        ENDED.into_iter().map(move |(limit, number)| {
            let labels = labels([("stage", stage.name()), ("limit", limit)]);
            (labels, sum(stage, number))
        })
    });
    writer.counters(named, rows)
}

fn peer_certificates(writer: &mut Writer<'_, '_>, routes: &[RouteMetrics]) -> fmt::Result {
    let named = (
        "wardgate_peer_certificate_expiry_timestamp_seconds",
        "When the certificates by which the peer was accepted last expire, in seconds since 1970.",
    );
    let rows = routes.iter().flat_map(|route| {
        let peers = route.peers.iter();
        peers.map(|(identity, ends)| (labels([("route", &route.name), ("peer", identity)]), *ends))
    });
    writer.gauges(named, rows)
}

fn of_targets(writer: &mut Writer<'_, '_>, targets: &[TargetMetrics]) -> fmt::Result {
    let all = || targets.iter().map(|target| &*target.counters);
    let probed = targets.iter().filter(|target| target.is_probed);
    let probed = || probed.clone().map(|target| &*target.counters);
    let named = (
        "wardgate_target_up",
        "Whether the probed target counts as up.",
    );
    let rows = probed().map(|target| (target_labels(target), signed(target.up.get())));
    writer.gauges(named, rows)?;
    for (name, help, number) in TARGETS {
        let rows = all().map(|target| (target_labels(target), number(target).get()));
        simple(writer, name, help, rows)?;
    }
    let named = (
        "wardgate_health_probes_total",
        "Probes of the target, by outcome.",
    );
    let rows = probed().flat_map(|target| {
        OUTCOMES.into_iter().map(move |(outcome, number)| {
            let mut labels = target_labels(target);
            labels.push(("outcome", outcome.into()));
            (labels, number(target).get())
        })
    });
    writer.counters(named, rows)
}

fn target_labels(target: &TargetCounters) -> Labels<'_> {
    labels([("route", &target.route), ("target", &target.name)])
}

// A counter or a gauge, by its name.
fn simple<'l>(
    writer: &mut Writer<'_, '_>,
    name: &'static str,
    help: &'static str,
    rows: impl Iterator<Item = (Labels<'l>, u64)>,
) -> fmt::Result {
    match name.ends_with("_total") {
        true => writer.counters((name, help), rows),
        false => writer.gauges(
            (name, help),
            rows.map(|(labels, number)| (labels, signed(number))),
        ),
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn sum(route: &RouteMetrics, number: Number) -> u64 {
    let blocks = route.cores.iter();
    blocks
        .map(|block| number(block).get())
        .fold(0, u64::wrapping_add)
}

#[cfg(test)]
mod tests;
