//! What a reload changes, in words.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::Gateway;
use crate::route::{Change, Route};

/// What a reload did to one route.
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
    let effect = match change {
        Change::Kept(_) => return "unchanged".to_owned(),
        Change::Changed(_) => "applies to new connections".to_owned(),
        Change::NewListener(_) | Change::Added(_) => {
            format!("accepts on {} now", route.config.listen)
        }
        Change::Removed(_) => "accepts no new connections".to_owned(),
    };
    let drain = route.config.timeouts.drain.as_secs();
    let of_open = match (change, open) {
        (_, 0) => return effect,
        (Change::Removed(_), 1) => format!("1 open connection has {drain} s to end"),
        (Change::Removed(_), _) => format!("{open} open connections have {drain} s to end"),
        (_, 1) => "1 open connection keeps the earlier configuration while its peer is accepted"
            .to_owned(),
        (_, _) => format!(
            "{open} open connections keep the earlier configuration while their peers are accepted"
        ),
    };
    format!("{effect}; {of_open}")
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
        ("web", running.web.is_some() != wanted.web.is_some()),
        ("web_token", web_token(running) != web_token(wanted)),
        ("log", running.log != wanted.log),
        ("connections", running.connections != wanted.connections),
        (
            "handshakes_per_second",
            running.handshakes_per_second != wanted.handshakes_per_second,
        ),
        ("sandbox", running.sandbox != wanted.sandbox),
        ("run_as", running.run_as != wanted.run_as),
        ("reload_ports", running.reload_ports != wanted.reload_ports),
    ];
    let keys = differing.into_iter().filter(|(_, differs)| *differs);
    keys.map(|(key, _)| key.to_owned()).collect()
}

// Its path; the line in the file is no difference.
fn web_token(gateway: &Gateway) -> Option<&PathBuf> {
    let token = gateway.web.as_ref()?.token.as_ref()?;
    Some(&token.value)
}
