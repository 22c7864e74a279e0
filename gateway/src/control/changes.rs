//! What a reload changes, in words.

use serde::{Deserialize, Serialize};

use crate::config::Gateway;
use crate::route::{Change, Route};

/// The change of one route by a reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteChange {
    /// The name of the route.
    pub route: String,
    /// `kept`, `changed`, `moved` (another address), `added` or `removed`.
    pub change: String,
    /// Its open connections at the time of the change.
    pub connections: u32,
    /// What the change means for connections, as a sentence.
    pub meaning: String,
}

/// The changes of a reload for the operator.
#[must_use]
pub fn report_changes(changes: &[Change]) -> Vec<RouteChange> {
    changes.iter().map(RouteChange::of).collect()
}

impl RouteChange {
    fn of(change: &Change) -> Self {
        let (route, word) = match change {
            Change::Kept(route) => (route, "kept"),
            Change::Changed(route) => (route, "changed"),
            Change::NewListener(route) => (route, "moved"),
            Change::Added(route) => (route, "added"),
            Change::Removed(route) => (route, "removed"),
        };
        let connections = route.state.open();
        Self {
            route: route.config.name.clone(),
            change: word.to_owned(),
            connections,
            meaning: meaning(change, route, connections),
        }
    }
}

fn meaning(change: &Change, route: &Route, open: u32) -> String {
    match change {
        Change::Kept(_) => "unchanged".to_owned(),
        Change::Changed(_) if open == 0 => "applies to the next connection".to_owned(),
        Change::Changed(_) => format!(
            "applies to the next connection; {} goes on as it began, unless its peer is not accepted any more",
            of_open(open)
        ),
        Change::NewListener(_) => {
            let listen = route.config.listen;
            format!(
                "accepts on {listen} now; {} goes on as it began",
                of_open(open)
            )
        }
        Change::Added(_) => format!("accepts on {} now", route.config.listen),
        Change::Removed(_) if open == 0 => "accepts no more".to_owned(),
        Change::Removed(_) => format!(
            "accepts no more; {} has {} s to end",
            of_open(open),
            route.config.timeouts.drain.as_secs()
        ),
    }
}

fn of_open(open: u32) -> String {
    match open {
        1 => "its open connection".to_owned(),
        _ => format!("each of its {open} open connections"),
    }
}

/// The keys of `[gateway]` that differ and take effect at the next start only.
#[must_use]
pub fn restart_only(running: &Gateway, wanted: &Gateway) -> Vec<String> {
    let differing = [
        ("cores", running.cores != wanted.cores),
        ("busy_poll", running.busy_poll != wanted.busy_poll),
        ("cipher", running.cipher != wanted.cipher),
        ("admin", running.admin != wanted.admin),
        ("metrics", running.metrics != wanted.metrics),
        ("log", running.log != wanted.log),
        ("connections", running.connections != wanted.connections),
        (
            "handshakes_per_second",
            running.handshakes_per_second != wanted.handshakes_per_second,
        ),
    ];
    let keys = differing.into_iter().filter(|(_, differs)| *differs);
    keys.map(|(key, _)| key.to_owned()).collect()
}
