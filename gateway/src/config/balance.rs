//! How a route chooses among its targets, and whether its listener stays open while all of them are down.

use std::collections::HashMap;

use super::file;
use super::health::HealthCheck;
use super::problem::Problems;
use super::value;
use super::{Host, Located, Target};

/// The order in which the targets of a list are tried.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// The order of the list.
    #[default]
    Priority,
    /// Each in turn.
    RoundRobin,
    /// The one with the fewest open connections.
    LeastConnections,
}

/// What the listener of a route does while all targets are down.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum WhenDown {
    /// It accepts connections, which the gateway then rejects in their own protocol.
    #[default]
    Accept,
    /// It is closed, so that the kernel refuses connections. Only on routes with `health`.
    Refuse,
}

impl Balance {
    /// The keywords of `balance`.
    const WORDS: [(&'static str, Self); 3] = [
        ("priority", Self::Priority),
        ("round-robin", Self::RoundRobin),
        ("least-connections", Self::LeastConnections),
    ];
}

impl WhenDown {
    /// The keywords of `when_down`.
    const WORDS: [(&'static str, Self); 2] = [("accept", Self::Accept), ("refuse", Self::Refuse)];
}

/// Reads `balance`, and checks that `slow_start` has an effect with it.
pub(super) fn resolve(
    route: &file::Route,
    health: Option<&HealthCheck>,
    problems: &mut Problems,
) -> Balance {
    let text = route.balance.value();
    let read = text.and_then(|text| {
        let read = value::word(&text.value, &Balance::WORDS);
        problems.accept(&route.scope, "balance", text, read)
    });
    let is_wrong = text.is_some() && read.is_none();
    let balance = read.unwrap_or_default();
    if let file::Health::Table(table) = &route.health
        && let Some(slow_start) = table.slow_start.value()
        && health.is_some_and(|health| health.slow_start.is_some())
        && balance == Balance::Priority
        && !is_wrong
    {
        let text = format!(
            "{}slow_start has no effect with balance = \"priority\", which uses the first target that is \
             up; remove it, or write balance = \"round-robin\" or \"least-connections\"",
            table.scope
        );
        problems.wrong(slow_start.line, text);
    }
    balance
}

/// Reads `when_down`, which needs probes.
pub(super) fn when_down(
    route: &file::Route,
    health: Option<&HealthCheck>,
    problems: &mut Problems,
) -> WhenDown {
    let Some(text) = route.when_down.value() else {
        return WhenDown::default();
    };
    let read = value::word(&text.value, &WhenDown::WORDS);
    let read = problems.accept(&route.scope, "when_down", text, read);
    let is_probed = match &route.health {
        file::Health::Absent => false,
        // A wrong keyword or table is reported already.
        file::Health::Word(word) => word.value != "off",
        file::Health::Table(_) => true,
    };
    if read == Some(WhenDown::Refuse) && health.is_none() && !is_probed {
        let text = format!(
            "{}when_down \"refuse\" needs probes, which find out that all targets are down; write \
             health = \"connect\" or another probe, or remove it",
            route.scope
        );
        problems.wrong(text_line(&route.when_down), text);
    }
    read.unwrap_or_default()
}

fn text_line(text: &file::Text) -> usize {
    text.value().map_or(0, |text| text.line)
}

/// Checks that a target in several lists of a route has the same `connections` in each: it has one count.
pub(super) fn check_limits(scope: &str, targets: &[Located<Target>], problems: &mut Problems) {
    let mut known = HashMap::<(&Host, u16), &Located<Target>>::new();
    for target in targets {
        let Target { host, port, .. } = &target.value;
        let first = known.entry((host, *port)).or_insert(target);
        let limits = [first.value.connections, target.value.connections];
        if limits[0] != limits[1] {
            let [before, here] = limits.map(|limit| match limit {
                Some(limit) => format!("connections = {limit}"),
                None => "no connections".to_owned(),
            });
            let text = format!(
                "{scope}target \"{}\" has {here} here and {before} in line {}; its connections are counted \
                 together, so write the same in both",
                target.value, first.line
            );
            problems.wrong(target.line, text);
        }
    }
}
