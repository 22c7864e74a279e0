//! The message of a log line. `journalctl` shows it without the fields, which are beside it in the other formats.

use std::fmt;
use std::net::SocketAddr;

use super::event::{AcceptedPeer, ConnectionProgress, ConnectionSummary};
use super::fields::{NONE, shown};
use super::times::seconds;
use crate::config::LogFormat;

/// Makes messages for one format.
#[derive(Debug, Clone, Copy)]
pub(super) struct Headlines {
    /// Whether a message must be understood without its fields.
    is_alone: bool,
}

impl Headlines {
    pub(super) fn new(format: LogFormat) -> Self {
        Self {
            is_alone: format == LogFormat::Journald,
        }
    }

    /// The message of an event: its name, followed by `details` if nothing is shown beside it.
    pub(super) fn of(self, event: &'static str, details: impl FnOnce() -> String) -> String {
        match self.is_alone {
            true => format!("{event}: {}", details()),
            false => event.to_owned(),
        }
    }

    /// The field `event.name`, where the message is not only the name of the event.
    pub(super) fn event(self, event: &'static str) -> Option<&'static str> {
        self.is_alone.then_some(event)
    }

    /// What begins a sentence about a connection: its route and its client, if they are not shown beside it.
    pub(super) fn about(self, route: &str, client: SocketAddr) -> String {
        match self.is_alone {
            true => format!("route \"{route}\": client {client}: "),
            false => String::new(),
        }
    }
}

pub(super) fn of_accepted(accepted: &AcceptedPeer) -> String {
    let from = path(&accepted.route.name, accepted.source, accepted.target);
    format!("{from}, peer {}", accepted.peer.identity)
}

pub(super) fn of_progress(progress: &ConnectionProgress) -> String {
    format!(
        "{}, {}",
        path(&progress.route.name, progress.source, None),
        carried(progress.sealed_bytes, progress.opened_bytes),
    )
}

pub(super) fn of_connection(account: &ConnectionSummary) -> String {
    let peer = account.peer.as_ref().map_or(NONE, |peer| &peer.identity);
    format!(
        "{}, peer {peer}, {} in {} s, ended by {}: {}",
        path(&account.route.name, account.source, account.target),
        carried(account.sealed_bytes, account.opened_bytes),
        seconds(account.duration),
        account.close.by.name(),
        account.close.reason
    )
}

pub(super) fn of_observed(account: &ConnectionSummary, what: impl fmt::Display) -> String {
    let from = path(&account.route.name, account.source, account.target);
    format!("{from}, {what}")
}

fn path(route: &str, client: SocketAddr, server: Option<SocketAddr>) -> String {
    format!("{route}, client {client}, server {}", shown(server))
}

fn carried(sealed: u64, opened: u64) -> String {
    format!("{sealed} bytes sealed, {opened} opened")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_message_without_fields_beside_it_has_details() {
        let client = "10.20.0.5:49014".parse().expect("an address");
        let beside = Headlines::new(LogFormat::Json);
        assert_eq!(
            beside.of("accepted", || unreachable!("not shown")),
            "accepted"
        );
        assert_eq!(beside.event("accepted"), None);
        assert_eq!(beside.about("ct", client), "");
        let alone = Headlines::new(LogFormat::Journald);
        assert_eq!(
            alone.of("accepted", || path("ct", client, None)),
            "accepted: ct, client 10.20.0.5:49014, server -"
        );
        assert_eq!(alone.event("accepted"), Some("accepted"));
        assert_eq!(
            alone.about("ct", client),
            "route \"ct\": client 10.20.0.5:49014: "
        );
    }
}
