//! The statistics of a connection for its summary, and how they are counted.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::ending::is_silence;
use super::handle::ConnectionHandle;
use crate::audit::{self, Close, CloseReason, ClosedBy, Deadline};
use crate::config::Protocol;
use crate::dicom::{self, AssociationRole, ClosingPdu, Ending};
use crate::metrics::RouteCounters;
use crate::observe::Observed;
use crate::proxy::Ends;
use crate::route::Transport;
use crate::tls::{CertificateDescription, PeerInfo, TlsInfo, TunnelId};
use crate::upstream::Attempts;

/// A connection that counts as open until this value is dropped, also after a panic.
pub(super) struct OpenConnection<'c>(&'c RouteCounters);

impl<'c> OpenConnection<'c> {
    pub(super) fn count(counters: &'c RouteCounters) -> Self {
        counters.open.add(1);
        Self(counters)
    }
}

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.0.open.sub(1);
    }
}

/// The client of a connection, as far as someone has named it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum NamedClient {
    /// Nobody has: the address of the TCP connection is that of the client.
    #[default]
    Unnamed,
    /// The proxy, or the other gateway, opened the connection for itself.
    Itself,
    /// A proxy or the other gateway names the client.
    Named(Ends),
}

impl NamedClient {
    /// The named address.
    pub(super) fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Named(ends) => Some(ends.source),
            Self::Unnamed | Self::Itself => None,
        }
    }
}

/// The statistics of a connection that has ended.
#[derive(Default)]
pub(super) struct ConnectionStats {
    pub(super) client: NamedClient,
    pub(super) target: Option<SocketAddr>,
    pub(super) peer: Option<Arc<PeerInfo>>,
    pub(super) refused: Option<Box<CertificateDescription>>,
    pub(super) tls: Option<TlsInfo>,
    pub(super) tunnel: Option<TunnelId>,
    // Bytes received and not forwarded, or forwarded and not acknowledged by their receiver: for the TLS side
    // (passthrough: the target) and for the plain side.
    pub(super) unsealed: Cell<u64>,
    pub(super) unopened: Cell<u64>,
    pub(super) observed: Option<Observed>,
    pub(super) reported: Option<String>,
}

impl ConnectionStats {
    /// Records how many bytes the plain side (passthrough: the source) and the TLS side had not acknowledged
    /// when they were reset. The bytes of the TLS side are records, so rather too much payload counts as lost
    /// than too little.
    pub(super) fn note_left(&self, moved: &ConnectionHandle, to_plain: u64, to_tls: u64) {
        let of_plain = (&moved.opened, &self.unopened, to_plain);
        let of_tls = (&moved.sealed, &self.unsealed, to_tls);
        for (passed, lost, left) in [of_plain, of_tls] {
            // The gateway's own replies are among these bytes; no other sender has lost them.
            let left = left.min(passed.get());
            passed.set(passed.get().saturating_sub(left));
            lost.set(lost.get().saturating_add(left));
        }
    }

    /// Bytes that did not reach the TLS side and the plain side.
    pub(super) fn undelivered(&self) -> [u64; 2] {
        [self.unsealed.get(), self.unopened.get()]
    }

    pub(super) fn summary(
        self,
        handle: &ConnectionHandle,
        started: Instant,
        close: Close,
    ) -> audit::ConnectionSummary {
        audit::ConnectionSummary {
            id: handle.id,
            route: Arc::clone(&handle.route.config),
            source: handle.source,
            client: self.client.address(),
            target: self.target,
            peer: self.peer,
            refused: self.refused,
            tls: self.tls,
            tunnel: self.tunnel,
            sealed_bytes: handle.sealed.get(),
            opened_bytes: handle.opened.get(),
            undelivered_bytes: [self.unsealed.get(), self.unopened.get()],
            observed: self.observed,
            reported: self.reported,
            duration: started.elapsed(),
            close,
        }
    }
}

/// How an association ended through the end of its connection, if it did not end itself.
pub(super) fn ending(close: &Close, transport: &Transport) -> Ending {
    let by = role(close.by, transport);
    match (&close.reason, by) {
        (CloseReason::Complete, Some(by)) => Ending::Closed { by },
        (CloseReason::Truncated, Some(by)) => Ending::Truncated { by },
        (
            CloseReason::Drained
            | CloseReason::EndedByCommand
            | CloseReason::PeerNotAccepted(_)
            | CloseReason::AtRest,
            _,
        ) => Ending::Stopped,
        (CloseReason::Deadline(Deadline::AssociationIdle), _) => answered(ClosingPdu::aborted()),
        _ => Ending::Lost { by },
    }
}

/// How an association ended whose connection ended as `ending`, if the gateway has sent `reply` in the place of
/// the side that was lost. A request that the gateway rejected was rejected, also if its target was connected
/// before.
pub(super) fn rejected(ending: Ending, reply: Option<ClosingPdu>) -> Ending {
    match (ending, reply) {
        (Ending::Lost { .. } | Ending::Truncated { .. }, Some(reply @ ClosingPdu::Reject(_))) => {
            answered(reply)
        }
        (ending, _) => ending,
    }
}

/// The end of a connection of a terminate route; if the target ended without having answered anything, the
/// end is named so, because a target that expects TLS does this.
pub(super) fn unanswered(close: Close, handle: &ConnectionHandle) -> Close {
    let expected = match handle.route.config.protocol {
        Protocol::Dicom => "DICOM",
        Protocol::Mllp => "HL7 in MLLP frames",
        Protocol::Tcp => return close,
    };
    let has_answered = handle.sealed.get() > 0 || handle.opened.get() == 0;
    let how = match &close.reason {
        _ if has_answered || close.by != ClosedBy::PlainSide => return close,
        CloseReason::Complete | CloseReason::Unfinished => "closed",
        CloseReason::Reset(_) if !is_silence(&close.reason) => "reset",
        _ => return close,
    };
    let sentence = format!(
        "the target {how} the connection without an answer; is this port plaintext {expected}? A port that expects TLS \
         does so"
    );
    Close {
        reason: CloseReason::Unanswered(sentence),
        ..close
    }
}

/// How an association ended that the gateway rejected.
pub(super) fn answered(answer: ClosingPdu) -> Ending {
    let by = dicom::AssociationEndpoint::Gateway;
    match answer {
        ClosingPdu::Reject(rejection) => Ending::Rejected { by, rejection },
        ClosingPdu::Abort(abort) => Ending::Aborted { by, abort },
    }
}

// The connecting side requests the association.
fn role(party: ClosedBy, transport: &Transport) -> Option<AssociationRole> {
    match (party, transport) {
        (ClosedBy::PlainSide, Transport::Originate(_))
        | (ClosedBy::TlsPeer, Transport::Terminate(_)) => Some(AssociationRole::Requestor),
        (ClosedBy::PlainSide, Transport::Terminate(_))
        | (ClosedBy::TlsPeer, Transport::Originate(_)) => Some(AssociationRole::Acceptor),
        _ => None,
    }
}

/// Why no target was usable. If the machine has no free source ports, or all targets are in maintenance, the
/// targets are not to blame.
pub(super) fn without_target(attempts: &Attempts<'_>) -> Close {
    let sentence = attempts.sentence();
    // LIMIT: `connections` of a target, counted in wardgate_connections_limited_total.
    if attempts.is_full() {
        return Close {
            by: ClosedBy::Gateway,
            reason: CloseReason::Limit(sentence.into()),
        };
    }
    Close {
        by: match attempts.lacks_ports() || attempts.is_untried() {
            true => ClosedBy::Gateway,
            false => ClosedBy::Target,
        },
        reason: CloseReason::Unreachable(sentence),
    }
}

/// Counts a connection by how it ended.
pub(super) fn count(counters: &RouteCounters, reason: &CloseReason) {
    let counter = match reason {
        CloseReason::Complete | CloseReason::AtRest => &counters.complete,
        CloseReason::Empty => &counters.empty,
        CloseReason::Handshake(..) => &counters.refused,
        CloseReason::Unreachable(_) => &counters.unreachable,
        CloseReason::SourceNotAllowed
        | CloseReason::ProxyNotListed
        | CloseReason::CarriedNotAllowed => &counters.sources_refused,
        CloseReason::Illegal(_) => &counters.illegal,
        CloseReason::Forbidden(_) => &counters.forbidden,
        CloseReason::Deadline(_) | CloseReason::Stalled(_) => &counters.late,
        CloseReason::Limit(_) => &counters.limited,
        CloseReason::Reset(_)
        | CloseReason::Unanswered(_)
        | CloseReason::Truncated
        | CloseReason::Unfinished
        | CloseReason::Protocol(_)
        | CloseReason::Drained
        | CloseReason::EndedByCommand
        | CloseReason::PeerNotAccepted(_)
        | CloseReason::Internal(_) => &counters.broken,
    };
    counter.add(1);
}
