//! What is kept of a connection for the account of it, and how it is counted.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::connection::{Path, Side};
use crate::audit::{self, Close, Party, Reason};
use crate::dicom::{self, Answer, Ending, Role};
use crate::metrics::RouteCounters;
use crate::observe::Observed;
use crate::tls::{Description, PeerInfo, TlsInfo};

/// A connection that is counted as open until this goes, also by a panic.
pub(super) struct Open<'c>(&'c RouteCounters);

impl<'c> Open<'c> {
    pub(super) fn count(counters: &'c RouteCounters) -> Self {
        counters.open.add(1);
        Self(counters)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.sub(1);
    }
}

/// What is told of a connection when it has ended.
#[derive(Default)]
pub(super) struct Account {
    pub(super) target: Option<SocketAddr>,
    pub(super) peer: Option<PeerInfo>,
    pub(super) refused: Option<Box<Description>>,
    pub(super) tls: Option<TlsInfo>,
    pub(super) sealed: Cell<u64>,
    pub(super) opened: Cell<u64>,
    pub(super) observed: Option<Observed>,
    pub(super) reported: Option<String>,
}

impl Account {
    pub(super) fn told(
        self,
        path: &Path,
        source: SocketAddr,
        started: Instant,
        close: Close,
    ) -> audit::Connection {
        audit::Connection {
            route: Arc::clone(&path.route),
            source,
            target: self.target,
            peer: self.peer,
            refused: self.refused,
            tls: self.tls,
            sealed_bytes: self.sealed.get(),
            opened_bytes: self.opened.get(),
            observed: self.observed,
            reported: self.reported,
            duration: started.elapsed(),
            close,
        }
    }
}

/// How an association ended whose connection ended so, if it did not say itself.
pub(super) fn ending(close: &Close, side: &Side) -> Ending {
    let by = role(close.by, side);
    match (&close.reason, by) {
        (Reason::Complete, Some(by)) => Ending::Closed { by },
        (Reason::Truncated, Some(by)) => Ending::Truncated { by },
        (Reason::Drained, _) => Ending::Stopped,
        _ => Ending::Lost { by },
    }
}

/// How an association ended that never began, because we answered its request.
pub(super) fn answered(answer: Answer) -> Ending {
    let by = dicom::Party::Gateway;
    match answer {
        Answer::Reject(rejection) => Ending::Rejected { by, rejection },
        Answer::Abort(abort) => Ending::Aborted { by, abort },
    }
}

// Who connects asks for the association.
fn role(party: Party, side: &Side) -> Option<Role> {
    match (party, side) {
        (Party::PlainSide, Side::Originate(_)) | (Party::TlsPeer, Side::Terminate(_)) => {
            Some(Role::Requestor)
        }
        (Party::PlainSide, Side::Terminate(_)) | (Party::TlsPeer, Side::Originate(_)) => {
            Some(Role::Acceptor)
        }
        _ => None,
    }
}

/// Counts a connection by how it ended.
pub(super) fn count(counters: &RouteCounters, reason: &Reason) {
    let counter = match reason {
        Reason::Complete => &counters.complete,
        Reason::Empty => &counters.empty,
        Reason::Handshake(..) => &counters.refused,
        Reason::Unreachable(_) => &counters.unreachable,
        Reason::Illegal(_) => &counters.illegal,
        Reason::Forbidden(_) => &counters.forbidden,
        Reason::Deadline(_) | Reason::Stalled(_) => &counters.late,
        Reason::Limit(_) => &counters.limited,
        Reason::Reset(_)
        | Reason::Truncated
        | Reason::Protocol(_)
        | Reason::Drained
        | Reason::Internal(_) => &counters.broken,
    };
    counter.add(1);
}
