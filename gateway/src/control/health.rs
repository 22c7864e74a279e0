//! Whether a route, and the gateway, does its work, as sentences for an operator.
//!
//! Pure: facts in, sentences out. Each sentence names the side at fault, and what to do.

use super::status::{HealthLevel, HealthStatus, RefusalStatus, RouteStatus, TargetStatus};
use crate::pki::expiry::moment;

/// What is known of a route.
#[derive(Debug, Clone, Copy)]
pub struct RouteFacts<'f> {
    /// The route; its `health` is not read.
    pub route: &'f RouteStatus,
    /// Why it is closed, as sentences of the log.
    pub closed: &'f [String],
    /// Its certificates and lists that expire soon or have expired.
    pub dates: &'f [(HealthLevel, String)],
    /// Its load, if it has a `bandwidth`.
    pub load: Option<LinkLoad>,
    /// Limits that refused connections in the last minute: name and number.
    pub limits: &'f [(&'static str, u64)],
    /// The last refusal of a TLS peer.
    pub refused_peer: Option<&'f RefusalStatus>,
    /// Whether that was in the last five minutes.
    pub is_refused_recently: bool,
    /// Whether a TLS peer was ever accepted since the start.
    pub has_accepted: bool,
}

/// The load of a route in the direction with more of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkLoad {
    /// Bytes per second, in the second of the last few with most.
    pub bytes: u64,
    /// `bandwidth`, in bytes per second.
    pub bandwidth: u64,
}

impl LinkLoad {
    /// Whether at least nine tenths of the bandwidth are used.
    fn is_full(self) -> bool {
        self.bytes.saturating_mul(10) >= self.bandwidth.saturating_mul(9)
    }
}

/// The health of a route.
#[must_use]
pub fn route_health(facts: &RouteFacts<'_>) -> HealthStatus {
    let mut found = Vec::new();
    let route = facts.route;
    match route.state.as_str() {
        "closed" if facts.closed.is_empty() => {
            let text = "the route is closed; the log has the reason";
            found.push((HealthLevel::Failed, text.to_owned()));
        }
        "closed" => {
            let closed = facts.closed.iter().cloned();
            found.extend(closed.map(|text| (HealthLevel::Failed, text)));
        }
        "removed" => found.push((
            HealthLevel::Warning,
            "the configuration does not have this route any more; its open connections end".to_owned(),
        )),
        "leaving" => found.push((
            HealthLevel::Warning,
            "an operator drains this route: it accepts for the time `drain_delay`, and then no more".to_owned(),
        )),
        "draining" | "drained" => found.push((
            HealthLevel::Warning,
            format!(
                "an operator drains this route, so new clients are refused; `wardgate drain --undo {}` makes it accept \
                 again",
                route.name
            ),
        )),
        _ => {}
    }
    targets(route, &mut found);
    found.extend(facts.dates.iter().cloned());
    if let Some(load) = facts.load.filter(|load| load.is_full()) {
        found.push((
            HealthLevel::Warning,
            format!(
                "the link is full: {} of its bandwidth of {} are used, and transfers take longer; raise bandwidth if the \
                 line allows more",
                megabits(load.bytes),
                megabits(load.bandwidth)
            ),
        ));
    }
    for (limit, count) in facts.limits {
        found.push((HealthLevel::Warning, reached(limit, *count)));
    }
    if let Some(refusal) = facts.refused_peer {
        found.extend(refused(facts, refusal));
    }
    sorted(found)
}

/// The health of the gateway: that of its routes, and `own` reasons.
#[must_use]
pub fn gateway_health(
    routes: &[RouteStatus],
    own: impl IntoIterator<Item = (HealthLevel, String)>,
) -> HealthStatus {
    let mut found: Vec<_> = own.into_iter().collect();
    for route in routes {
        // The level of a single reason is not kept; the first one has that of the route.
        for (place, reason) in route.health.reasons.iter().enumerate() {
            let level = match place {
                0 => route.health.level,
                _ => route.health.level.min(HealthLevel::Warning),
            };
            let start = format!("route \"{}\"", route.name);
            let text = match reason.starts_with(&start) {
                true => reason.clone(),
                false => format!("{start}: {reason}"),
            };
            found.push((level, text));
        }
    }
    sorted(found)
}

fn sorted(mut found: Vec<(HealthLevel, String)>) -> HealthStatus {
    // Stable, so that reasons of one level keep their order.
    found.sort_by_key(|(level, _)| std::cmp::Reverse(*level));
    HealthStatus {
        level: found.first().map(|(level, _)| *level).unwrap_or_default(),
        reasons: found.into_iter().map(|(_, text)| text).collect(),
    }
}

fn targets(route: &RouteStatus, found: &mut Vec<(HealthLevel, String)>) {
    let works = |target: &&TargetStatus| target.state == "up" && target.failing_since.is_none();
    let has_others = route.targets.iter().any(|target| works(&target));
    let level = match has_others {
        true => HealthLevel::Warning,
        false => HealthLevel::Failed,
    };
    let effect = match has_others {
        true => "its connections go to the other targets",
        false => "the route carries nothing meanwhile",
    };
    for target in route.targets.iter().filter(|target| !works(target)) {
        let address = &target.address;
        if target.state == "maintenance" {
            let text = format!(
                "target {address} is in maintenance, and {effect}; `wardgate maintenance {} {address} --off` ends this",
                route.name
            );
            found.push((level, text));
            continue;
        }
        let why = target.failure.as_deref().unwrap_or("its probes fail");
        let why = without_target(why, address);
        let (which, check) = match route.mode.as_str() {
            // The other gateway has carried the probe to its application.
            "originate" if why.contains("rejected") => (
                format!("the application of the other site behind {address}"),
                "ask the other site to run `wardgate status`; its application is probably down",
            ),
            "originate" => (
                format!("the other site's gateway {address}"),
                "check the line to the other site, and the gateway there",
            ),
            _ => (
                format!("target {address}"),
                "check the application at this address, and the network to it",
            ),
        };
        let since = target.failing_since.map_or_else(String::new, |since| {
            format!(
                " since {}",
                moment(i64::try_from(since).unwrap_or(i64::MAX))
            )
        });
        let text = format!("{which} does not work{since} ({why}): {check}; {effect}");
        found.push((level, text));
    }
}

fn refused(facts: &RouteFacts<'_>, refusal: &RefusalStatus) -> Option<(HealthLevel, String)> {
    let (level, what) = match (facts.has_accepted, facts.is_refused_recently) {
        (false, _) => (
            HealthLevel::Failed,
            format!(
                "no peer was accepted since the start, and {} connections were refused",
                refusal.count
            ),
        ),
        (true, true) => (
            HealthLevel::Warning,
            "connections were refused in the last minutes".to_owned(),
        ),
        (true, false) => return None,
    };
    let mut text = format!(
        "{what}, the last one from {}: {}",
        refusal.source, refusal.reason
    );
    if !refusal.remedy.is_empty() {
        text.push_str("; ");
        text.push_str(&refusal.remedy);
    }
    Some((level, text))
}

/// The failure without the address, which the sentence has already, and without a general remedy.
fn without_target<'f>(failure: &'f str, address: &str) -> &'f str {
    let unreachable = format!("target {address} cannot be reached: ");
    if let Some(rest) = failure.strip_prefix(&unreachable) {
        return rest.split(';').next().unwrap_or(rest);
    }
    let start = format!("target {address}: ");
    failure.strip_prefix(&start).unwrap_or(failure)
}

fn reached(limit: &str, count: u64) -> String {
    let (which, remedy) = match limit {
        "all_connections" => (
            "the limit of connections of all routes",
            "raise connections of [gateway], or the limit of open files",
        ),
        "share_of_peer" => (
            "the share of one peer in all connections",
            "look for a peer that opens too many connections",
        ),
        "passthrough" | "passthrough_of_address" => (
            "the share of passthrough routes in all connections",
            "look for a client that opens too many connections",
        ),
        _ => (
            limit,
            "raise it if these connections are expected, or look for the client that opens too many",
        ),
    };
    let times = if count == 1 { "time" } else { "times" };
    format!(
        "{which} was reached {count} {times} in the last minute, and clients were refused; {remedy}"
    )
}

fn megabits(bytes_per_second: u64) -> String {
    let tenths = bytes_per_second.saturating_mul(8) / 100_000;
    format!("{}.{} Mbit/s", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(address: &str, state: &str, failure: Option<&str>) -> TargetStatus {
        TargetStatus {
            address: address.to_owned(),
            state: state.to_owned(),
            connections: 0,
            failing_since: failure.map(|_| 1_790_000_000),
            failure: failure.map(str::to_owned),
        }
    }

    fn health<'f>(
        route: &'f RouteStatus,
        change: impl FnOnce(&mut RouteFacts<'f>),
    ) -> HealthStatus {
        let mut facts = RouteFacts {
            route,
            closed: &[],
            dates: &[],
            load: None,
            limits: &[],
            refused_peer: None,
            is_refused_recently: false,
            has_accepted: false,
        };
        change(&mut facts);
        route_health(&facts)
    }

    fn route(mode: &str, targets: Vec<TargetStatus>) -> RouteStatus {
        RouteStatus {
            name: "ct".to_owned(),
            mode: mode.to_owned(),
            targets,
            ..RouteStatus::default()
        }
    }

    #[test]
    fn a_route_without_faults_is_good() {
        let route = route("terminate", vec![target("10.20.0.9:104", "up", None)]);
        assert_eq!(health(&route, |_| {}), HealthStatus::default());
    }

    #[test]
    fn a_target_that_fails_is_named_with_its_side_and_what_to_do() {
        let down = target(
            "10.20.0.9:104",
            "down",
            Some(
                "target 10.20.0.9:104 cannot be reached: connection refused; check that the service runs and \
                 listens on this port",
            ),
        );
        let health_of = |mode, targets| health(&route(mode, targets), |_| {});
        let found = health_of("terminate", vec![down.clone()]);
        assert_eq!(found.level, HealthLevel::Failed);
        assert_eq!(
            found.reasons,
            [
                "target 10.20.0.9:104 does not work since 2026-09-21 14:13 UTC (connection refused): check the \
                 application at this address, and the network to it; the route carries nothing meanwhile"
            ]
        );
        let found = health_of("originate", vec![down.clone()]);
        assert!(
            found.reasons[0].starts_with("the other site's gateway 10.20.0.9:104 does not work"),
            "{found:?}"
        );
        // The other gateway has answered.
        let rejected = target("10.20.0.9:104", "down", Some("the probe was rejected"));
        let found = health_of("originate", vec![rejected]);
        assert!(
            found.reasons[0].starts_with(
                "the application of the other site behind 10.20.0.9:104 does not work"
            ),
            "{found:?}"
        );
        // Another target serves.
        let both = vec![down.clone(), target("10.20.0.10:104", "up", None)];
        let found = health_of("terminate", both);
        assert_eq!(found.level, HealthLevel::Warning);
        assert!(
            found.reasons[0].ends_with("go to the other targets"),
            "{found:?}"
        );
        // A target without probes counts as up although all connections fail.
        let failing = target("10.20.0.9:104", "up", Some("no answer"));
        assert_eq!(
            health_of("terminate", vec![failing]).level,
            HealthLevel::Failed
        );
        let resting = target("10.20.0.10:104", "maintenance", None);
        let found = health_of("terminate", vec![down, resting]);
        assert_eq!((found.level, found.reasons.len()), (HealthLevel::Failed, 2));
    }

    #[test]
    fn a_full_link_and_reached_limits_are_warnings() {
        let route = route("originate", Vec::new());
        let load = |bytes| {
            health(&route, |facts| {
                let bandwidth = 1_250_000;
                facts.load = Some(LinkLoad { bytes, bandwidth });
            })
        };
        assert_eq!(load(1_100_000), HealthStatus::default());
        let found = load(1_200_000);
        assert_eq!(found.level, HealthLevel::Warning);
        assert!(
            found.reasons[0]
                .starts_with("the link is full: 9.6 Mbit/s of its bandwidth of 10.0 Mbit/s"),
            "{found:?}"
        );
        let found = health(&route, |facts| {
            facts.limits = &[("connections_per_source", 3)];
        });
        assert!(
            found.reasons[0]
                .starts_with("connections_per_source was reached 3 times in the last minute"),
            "{found:?}"
        );
    }

    #[test]
    fn the_worst_reason_comes_first_and_gives_the_level() {
        let closed = ["route \"ct\" is closed: no file".to_owned()];
        let dates = [(HealthLevel::Warning, "it expires".to_owned())];
        let mut route = route("originate", Vec::new());
        route.state = "closed".to_owned();
        let found = health(&route, |facts| {
            facts.closed = &closed;
            facts.dates = &dates;
        });
        assert_eq!(found.level, HealthLevel::Failed);
        assert_eq!(
            found.reasons,
            ["route \"ct\" is closed: no file", "it expires"]
        );
        route.health = found;
        let own = [(HealthLevel::Warning, "the clock".to_owned())];
        let all = gateway_health(&[route], own);
        assert_eq!(
            all.reasons,
            [
                "route \"ct\" is closed: no file",
                "the clock",
                "route \"ct\": it expires"
            ]
        );
    }

    #[test]
    fn refused_peers_count_until_one_is_accepted() {
        let route = route("terminate", Vec::new());
        let refusal = RefusalStatus {
            at: 0,
            route: "ct".to_owned(),
            source: "192.0.2.1:5".to_owned(),
            reason: "the client showed no certificate".to_owned(),
            remedy: "turn it on".to_owned(),
            count: 7,
        };
        let found = |has_accepted| {
            health(&route, |facts| {
                facts.refused_peer = Some(&refusal);
                facts.has_accepted = has_accepted;
            })
        };
        assert_eq!(found(true), HealthStatus::default());
        let recently = health(&route, |facts| {
            facts.refused_peer = Some(&refusal);
            (facts.has_accepted, facts.is_refused_recently) = (true, true);
        });
        assert_eq!(recently.level, HealthLevel::Warning);
        assert!(
            recently.reasons[0].contains("192.0.2.1:5: the client showed no certificate"),
            "{recently:?}"
        );
        let text = &found(false).reasons[0];
        assert!(
            text.contains("7 connections were refused") && text.ends_with("; turn it on"),
            "{text}"
        );
    }
}
