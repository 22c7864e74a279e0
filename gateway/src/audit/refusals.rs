//! The last refused connections, by route and kind of reason, for `wardgate status`.
//!
//! The thread of the journal collects them, so that no worker waits. They hold what the log holds: no payload and
//! no patient data.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::event::{CloseReason, ConnectionSummary};
use crate::audit::limits::{REFUSAL_CHARS_MAX, REFUSALS_SHOWN_MAX};
use crate::config::Mode;
use crate::tls::RefusalClass;

/// Refused connections of one route, for one kind of reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRefusal {
    /// When the last one ended.
    pub at: SystemTime,
    /// The name of the route.
    pub route: String,
    /// The client of the last one.
    pub source: SocketAddr,
    /// Why the last one was refused, with the remedy, as in the log.
    pub reason: String,
    /// How many were refused since the row began.
    pub count: u64,
    kind: RefusalKind,
    is_of_peer: bool,
}

impl LastRefusal {
    /// Whether a TLS peer was refused, or refused this site. Clients that any scanner may be do not count.
    #[must_use]
    pub fn is_of_peer(&self) -> bool {
        self.is_of_peer
    }
}

fn is_of_peer(account: &ConnectionSummary) -> bool {
    match (&account.close.reason, account.route.mode) {
        (CloseReason::Handshake(RefusalClass::Unknown, _), Mode::Terminate) => false,
        (reason, _) => matches!(reason, CloseReason::Handshake(..)),
    }
}

/// Reasons that share a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RefusalKind {
    Handshake(RefusalClass),
    Unreachable,
    Unanswered,
    Source,
    Illegal,
    Forbidden,
    Limited,
    NotAccepted,
}

impl RefusalKind {
    fn of(reason: &CloseReason) -> Option<Self> {
        Some(match reason {
            CloseReason::Handshake(class, _) => Self::Handshake(*class),
            CloseReason::Unreachable(_) => Self::Unreachable,
            CloseReason::Unanswered(_) => Self::Unanswered,
            CloseReason::SourceNotAllowed
            | CloseReason::ProxyNotListed
            | CloseReason::CarriedNotAllowed => Self::Source,
            CloseReason::Illegal(_) => Self::Illegal,
            CloseReason::Forbidden(_) => Self::Forbidden,
            CloseReason::Limit(_) => Self::Limited,
            CloseReason::PeerNotAccepted(_) => Self::NotAccepted,
            _ => return None,
        })
    }
}

/// The table of refusals, shared by the thread of the journal and the supervisor.
#[derive(Debug, Clone, Default)]
pub struct Refusals(Arc<Mutex<Vec<LastRefusal>>>);

impl Refusals {
    /// Notes a connection that has ended, if it was refused.
    pub(super) fn note(&self, account: &ConnectionSummary, now: SystemTime) {
        let Some(kind) = RefusalKind::of(&account.close.reason) else {
            return;
        };
        let route = &account.route.name;
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = rows
            .iter()
            .position(|row| row.kind == kind && row.route == *route);
        let mut count = 1;
        if let Some(known) = known {
            count = rows.remove(known).count.saturating_add(1);
        }
        // LIMIT: REFUSALS_SHOWN_MAX. The row that is the longest without news goes.
        while rows.len() >= REFUSALS_SHOWN_MAX {
            rows.remove(0);
        }
        let reason = account.close.reason.to_string();
        rows.push(LastRefusal {
            at: now,
            route: route.clone(),
            source: account.client.unwrap_or(account.source),
            // LIMIT: REFUSAL_CHARS_MAX.
            reason: reason.chars().take(REFUSAL_CHARS_MAX).collect(),
            count,
            kind,
            is_of_peer: is_of_peer(account),
        });
    }

    /// The rows, the newest first.
    #[must_use]
    pub fn all(&self) -> Vec<LastRefusal> {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rows.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{ConnectionId, ConnectionIds};
    use crate::config::{self, RouteConfig};

    fn route(number: usize) -> Arc<RouteConfig> {
        let text = "[[route]]\nname = \"r\"\nmode = \"passthrough\"\nprotocol = \"tcp\"\nlisten = \"127.0.0.1:2762\"\n\
                    targets = [\"127.0.0.1:104\"]\n";
        let config = config::parse(text, std::path::Path::new("wardgate.toml"));
        let mut route = RouteConfig::clone(&config.expect("a good route").routes[0]);
        route.name = format!("r{number}");
        Arc::new(route)
    }

    fn id() -> ConnectionId {
        ConnectionIds::new(0, SystemTime::UNIX_EPOCH).next()
    }

    fn ended(route: &Arc<RouteConfig>, reason: CloseReason) -> ConnectionSummary {
        let source = SocketAddr::from(([192, 0, 2, 1], 5));
        ConnectionSummary::unserved(id(), Arc::clone(route), source, reason)
    }

    #[test]
    fn refusals_of_one_kind_share_a_row_and_the_oldest_row_goes() {
        let refusals = Refusals::default();
        let note = |route: &Arc<RouteConfig>, reason| {
            refusals.note(&ended(route, reason), SystemTime::UNIX_EPOCH);
        };
        let routes: Vec<_> = (0..REFUSALS_SHOWN_MAX).map(route).collect();
        let revoked = || CloseReason::Handshake(RefusalClass::Revoked, "é".repeat(2_000));
        for route in &routes {
            note(route, revoked());
            note(route, CloseReason::Complete);
        }
        note(&routes[0], revoked());
        let rows = refusals.all();
        assert_eq!(rows.len(), REFUSALS_SHOWN_MAX);
        assert_eq!((rows[0].route.as_str(), rows[0].count), ("r0", 2));
        assert_eq!(rows[0].reason.chars().count(), REFUSAL_CHARS_MAX);
        assert!(rows[0].is_of_peer());
        note(&routes[0], CloseReason::SourceNotAllowed);
        let rows = refusals.all();
        assert_eq!(rows.len(), REFUSALS_SHOWN_MAX);
        assert!(!rows[0].is_of_peer());
        assert!(rows.iter().all(|row| row.route != "r1"), "{rows:?}");
    }
}
