//! Reports about a connection while it lasts, and about a target that never answered.

use std::cell::Cell;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::link::Link;
use super::task::ConnectionTask;
use crate::audit::{self, Close, CloseReason, ClosedBy, ConnectionFault, Event};
use crate::config::Protocol;
use crate::pki::expiry::unix;
use crate::relay::limits::{ANSWER_GIVEN_UP_MIN, ANSWER_WAIT, MLLP_CR_WAIT, PROGRESS_EVERY};
use crate::route::Transport;
use crate::tls::PeerInfo;
use crate::uring::{Network, sleep_until};

/// The reports about a relayed connection so far.
pub(super) struct Reports {
    began: Instant,
    is_unanswered_reported: Cell<bool>,
}

impl Reports {
    /// For a connection that is relayed from now on, without any reports yet.
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            is_unanswered_reported: Cell::new(false),
        }
    }
}

/// Whether a side has ended a message without CR.
enum LackOfCr {
    /// Not seen.
    Unseen,
    /// Suspected; at this time, the CR can no longer be in transit.
    Suspected(Instant),
    /// Reported.
    Reported,
}

impl<V: Network> ConnectionTask<'_, V> {
    /// Never returns. Each relayed connection has one timer, which fires once early and then once an hour.
    pub(super) async fn report(
        &self,
        link: &Link<V::Socket, V::Socket>,
        reports: &Reports,
    ) -> Option<CloseReason> {
        let mut progress_at = Instant::now() + PROGRESS_EVERY;
        let mut answer_at = self.expects_answer().then(|| reports.began + ANSWER_WAIT);
        let mut lack = LackOfCr::Unseen;
        loop {
            let suspected = match lack {
                LackOfCr::Suspected(until) => Some(until),
                LackOfCr::Unseen | LackOfCr::Reported => None,
            };
            let others = [answer_at, suspected].into_iter().flatten();
            let next = others.fold(progress_at, Instant::min);
            // This task updates the link, and it is polled now.
            let seems_to_lack = poll_fn(|_| match lack {
                LackOfCr::Unseen if link.lacks_cr() => Poll::Ready(()),
                _ => Poll::Pending,
            });
            tokio::select! {
                biased;
                () = sleep_until(next) => {}
                () = seems_to_lack => lack = LackOfCr::Suspected(Instant::now() + MLLP_CR_WAIT),
            }
            let now = Instant::now();
            if suspected.is_some_and(|until| until <= now) {
                lack = match link.take_lack_of_cr() {
                    Some(by) => {
                        self.warn(ConnectionFault::EndsWithoutCr(by));
                        LackOfCr::Reported
                    }
                    None => LackOfCr::Unseen,
                };
            }
            if answer_at.is_some_and(|at| at <= now) {
                answer_at = self.look_for_answer(link, reports);
            }
            if progress_at <= now {
                self.report_progress(link);
                progress_at = now + PROGRESS_EVERY;
            }
        }
    }

    /// At the end of a connection, reports that its target had not answered, if the client waited for an
    /// answer.
    pub(super) fn report_end(
        &self,
        link: &Link<V::Socket, V::Socket>,
        reports: &Reports,
        close: &Close,
    ) {
        let target = match self.route.transport {
            Transport::Terminate(_) => ClosedBy::PlainSide,
            Transport::Originate(_) => ClosedBy::TlsPeer,
            Transport::Passthrough => ClosedBy::Target,
        };
        let is_given_up = matches!(
            close.reason,
            CloseReason::Complete
                | CloseReason::Unfinished
                | CloseReason::Reset(_)
                | CloseReason::Truncated
                | CloseReason::Deadline(_)
        );
        let is_known = reports.is_unanswered_reported.get();
        if is_known || close.by == target || !is_given_up || !self.expects_answer() {
            return;
        }
        let waited = self.unanswered_for(link, reports);
        if let Some(waited) = waited.filter(|waited| *waited >= ANSWER_GIVEN_UP_MIN) {
            let is_over = true;
            self.warn(ConnectionFault::NoAnswer { waited, is_over });
        }
    }

    // Reports a target that does not answer. Returns when to check again, if at all.
    fn look_for_answer(
        &self,
        link: &Link<V::Socket, V::Socket>,
        reports: &Reports,
    ) -> Option<Instant> {
        if self.has_answer() {
            return None;
        }
        let waited = self.unanswered_for(link, reports).unwrap_or_default();
        if waited < ANSWER_WAIT {
            return Some(Instant::now() + (ANSWER_WAIT - waited));
        }
        let is_over = false;
        self.warn(ConnectionFault::NoAnswer { waited, is_over });
        reports.is_unanswered_reported.set(true);
        None
    }

    fn expects_answer(&self) -> bool {
        self.route.config.protocol != Protocol::Tcp
    }

    // The bytes to the target and back.
    fn passed(&self) -> [u64; 2] {
        let [sealed, opened] = [&self.handle.sealed, &self.handle.opened].map(Cell::get);
        match self.route.transport {
            Transport::Terminate(_) => [opened, sealed],
            Transport::Originate(_) | Transport::Passthrough => [sealed, opened],
        }
    }

    fn has_answer(&self) -> bool {
        let [_, back] = self.passed();
        back > 0
    }

    // How long the first request has been without any reply; `None` if there is a reply, or no request.
    fn unanswered_for(
        &self,
        link: &Link<V::Socket, V::Socket>,
        reports: &Reports,
    ) -> Option<Duration> {
        let [there, back] = self.passed();
        if there == 0 || back > 0 {
            return None;
        }
        link.unanswered_for(reports.began)
    }

    fn warn(&self, fault: ConnectionFault) {
        let warning = audit::Warning {
            id: self.handle.id,
            route: Arc::clone(&self.route.config),
            source: self.source,
            target: self.stats.target,
            peer: self.stats.peer.as_ref().map(|peer| peer.identity.clone()),
            fault,
        };
        self.core.journal.report(Event::Warning(Box::new(warning)));
    }

    fn report_progress(&self, link: &Link<V::Socket, V::Socket>) {
        let progress = audit::ConnectionProgress {
            id: self.handle.id,
            route: Arc::clone(&self.route.config),
            source: self.source,
            peer: self.stats.peer.as_ref().map(|peer| peer.identity.clone()),
            tunnel: self.stats.tunnel,
            sealed_bytes: self.handle.sealed.get(),
            opened_bytes: self.handle.opened.get(),
            observed: link.progress(),
            duration: self.started.elapsed(),
        };
        self.core
            .journal
            .report(Event::Progress(Box::new(progress)));
    }

    // The handshake may have begun before a change that refuses this peer.
    fn end_if_not_accepted(&self, peer: &PeerInfo) {
        let table = self.core.table.borrow();
        let now = table.as_ref().and_then(|table| table.get(self.route.id()));
        let Some(now) = now.filter(|now| !std::ptr::eq(&***now, self.route)) else {
            return;
        };
        if let Err(fault) = now.still_accepts(peer, unix(SystemTime::now())) {
            self.handle.end(CloseReason::PeerNotAccepted(fault));
        }
    }

    // Recorded before any payload of the peer moves: if the process is killed, a record at the end of the
    // connection would be lost.
    pub(super) fn report_accepted(&self) {
        let Some(peer) = self.stats.peer.clone() else {
            return;
        };
        self.handle.accept(Arc::clone(&peer));
        self.end_if_not_accepted(&peer);
        self.route.note_certificates(&peer);
        let accepted = audit::AcceptedPeer {
            id: self.handle.id,
            route: Arc::clone(&self.route.config),
            source: self.source,
            client: self.stats.client.address(),
            target: self.stats.target,
            peer,
            tls: self.stats.tls.clone(),
            tunnel: self.stats.tunnel,
        };
        self.core
            .journal
            .report(Event::Accepted(Box::new(accepted)));
    }
}
