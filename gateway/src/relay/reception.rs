//! Receives the first bytes of a connection before there is a target, decides whether they may pass, and
//! replies to clients that cannot be served.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::engine::Engine;
use super::first::{Beginning, First, NoStart};
use super::limiter::LimiterPlace;
use super::open::{OpenError, ReceiveState};
use super::receive::receive_ready;
use super::seal::TlsWriter;
use super::stats::answered;
use super::task::ConnectionTask;
use crate::audit::{Close, CloseReason, ClosedBy, Deadline};
use crate::buffers::BufferSizer;
use crate::dicom::{ClosingPdu, Ending};
use crate::handshake::send_alert;
use crate::observe::Direction;
use crate::relay::limits::{ARTIM, FIRST_BYTES_GRACE};
use crate::route::{Admitted, Refused, Transport};
use crate::tls::PeerVerification;
use crate::uring::{Network, Socket, SocketExt, linger_close, sleep, sleep_until, until};

impl<'c, V: Network> ConnectionTask<'c, V> {
    /// Receives the first bytes of the client on a plain socket; an invalid start is answered and ended.
    pub(super) async fn first_bytes(
        &self,
        socket: &V::Socket,
        place: &LimiterPlace<'_>,
    ) -> Result<First, Close> {
        let beginning = Beginning::of(&self.route.config);
        let mut first = First::default();
        let has_begun = Cell::new(false);
        let wait = self.gather(socket, beginning, (&mut first, &has_begun), place);
        let by = match self.route.transport {
            Transport::Passthrough => ClosedBy::Source,
            Transport::Originate(_) | Transport::Terminate(_) => ClosedBy::PlainSide,
        };
        let close = || socket.finish();
        let close = (&has_begun, close);
        let reason = match self.before_first_byte(wait, socket, place, close).await? {
            Ok(()) => return Ok(first),
            Err(NoStart::Ended) => first.unfinished(),
            Err(NoStart::Illegal(illegal)) => {
                self.reply(socket, illegal.answer).await;
                CloseReason::Illegal(illegal.sentence)
            }
        };
        Err(Close { by, reason })
    }

    async fn gather(
        &self,
        socket: &V::Socket,
        beginning: Beginning,
        (first, has_begun): (&mut First, &Cell<bool>),
        place: &LimiterPlace<'_>,
    ) -> Result<(), NoStart> {
        let mut sizer = BufferSizer::new(self.fairness_id);
        while !first
            .is_legal(beginning, self.route.config.mode)
            .map_err(NoStart::Illegal)?
        {
            let ready = socket.readable().await;
            ready.map_err(|_| NoStart::Ended)?;
            let received = receive_ready(socket, 0, &self.core.pool, &mut sizer).await;
            let batch = received.ok().flatten().ok_or(NoStart::Ended)?;
            batch.append_to(&mut first.bytes);
            has_begun.set(true);
            place.hold_bytes(first.bytes.capacity());
        }
        Ok(())
    }

    /// The same for a client that is the TLS peer. `begun` is payload that was received before.
    pub(super) async fn first_payload(
        &self,
        tls: &V::Socket,
        engine: &RefCell<Engine>,
        (begun, received): (Vec<u8>, &mut ReceiveState),
        verification: &PeerVerification,
        place: &LimiterPlace<'_>,
    ) -> Result<First, Close> {
        let has_begun = Cell::new(!begun.is_empty());
        let mut first = First {
            bytes: begun,
            ..First::default()
        };
        let wait = self.gather_payload((tls, engine, received), (&mut first, &has_begun), place);
        let close = || {
            let reply = TlsWriter::default().closing_records(engine);
            let reply = reply.map_err(io::Error::other)?;
            tls.send_now(&reply)?;
            tls.finish()
        };
        let close = (&has_begun, close);
        let reason = match self.before_first_byte(wait, tls, place, close).await? {
            Ok(Ok(())) => return Ok(first),
            Ok(Err(NoStart::Ended)) => {
                // The peer has sent close_notify. A probe learns from the answer that its certificate was accepted.
                if let Ok(records) = TlsWriter::default().closing_records(engine) {
                    send_alert(tls, records).await;
                }
                first.unfinished()
            }
            Err(OpenError::Truncated | OpenError::Socket(_)) => first.unfinished(),
            Ok(Err(NoStart::Illegal(illegal))) => {
                self.reply_sealed(tls, engine, illegal.answer).await;
                CloseReason::Illegal(illegal.sentence)
            }
            Err(OpenError::Records(error)) => {
                let alert = engine.borrow_mut().final_alert();
                send_alert(tls, alert).await;
                self.wrong_record(&error, verification)
            }
        };
        Err(Close {
            by: ClosedBy::TlsPeer,
            reason,
        })
    }

    async fn gather_payload(
        &self,
        (tls, engine, received): (&V::Socket, &RefCell<Engine>, &mut ReceiveState),
        (first, has_begun): (&mut First, &Cell<bool>),
        place: &LimiterPlace<'_>,
    ) -> Result<Result<(), NoStart>, OpenError> {
        let beginning = Beginning::of(&self.route.config);
        loop {
            match first.is_legal(beginning, self.route.config.mode) {
                Ok(true) => return Ok(Ok(())),
                Ok(false) => {}
                Err(illegal) => return Ok(Err(NoStart::Illegal(illegal))),
            }
            if !received.first(tls, engine, &self.core.pool).await? {
                return Ok(Err(NoStart::Ended));
            }
            received.move_payload(&mut first.bytes);
            has_begun.set(true);
            place.hold_bytes(first.bytes.capacity());
        }
    }

    /// Decides whether the connection may continue, and to which targets; the request is not needed
    /// afterwards.
    pub(super) fn admit(&mut self, first: &mut First) -> Result<Admitted<'c>, Refused> {
        let route = self.route;
        if let Some(excess) = self.excess.take() {
            return Err(Refused::by_limit(excess.limit));
        }
        let (Some(admission), Some(request)) = (&route.admission, first.request.take()) else {
            return Ok(Admitted::anyone());
        };
        let peer = match route.transport {
            Transport::Terminate(_) => self.stats.peer.as_ref(),
            Transport::Originate(_) | Transport::Passthrough => None,
        };
        let identities = peer.map_or_else(Vec::new, |peer| peer.identities());
        let mut admitted = admission.admit(&route.config, &request, &identities)?;
        self.stats.reported = admitted.reported.take();
        Ok(admitted)
    }

    /// Rejects an association, and returns how that ends the connection.
    pub(super) async fn refuse(
        &mut self,
        plain: &V::Socket,
        first: &First,
        refused: Refused,
    ) -> Close {
        self.note_refused(first, &refused);
        self.reply(plain, Some(refused.answer)).await;
        close_of(refused)
    }

    // Sends the last reply to an application; without a reply it sees a reset.
    async fn reply(&self, plain: &V::Socket, reply: Option<ClosingPdu>) {
        match reply {
            Some(reply) => linger_close(plain, reply.to_bytes().to_vec(), ARTIM).await,
            None => plain.abort(),
        }
    }

    /// Sends the last reply to an application behind the TLS peer; without a reply it sees a reset.
    pub(super) async fn reply_sealed(
        &self,
        tls: &V::Socket,
        engine: &RefCell<Engine>,
        reply: Option<ClosingPdu>,
    ) {
        let Some(reply) = reply else {
            return tls.abort();
        };
        let sealed = engine
            .borrow_mut()
            .linger(&reply.to_bytes(), &self.core.pool);
        match sealed {
            Ok(sealed) => linger_close(tls, sealed, ARTIM).await,
            Err(_) => tls.abort(),
        }
    }

    /// Notifies an application that the target cannot be reached.
    pub(super) async fn reply_unreachable(
        &mut self,
        plain: &V::Socket,
        first: &First,
        close: &Close,
    ) {
        let reply = self.unreachable_reply(close);
        self.note_answered(first, reply);
        self.reply(plain, reply).await;
    }

    /// Records for the summary that an association ended with the gateway's reply to its request.
    pub(super) fn note_answered(&mut self, first: &First, reply: Option<ClosingPdu>) {
        if let Some(reply) = reply {
            self.note_ending(first, answered(reply));
        }
    }

    /// Records for the summary that the rules ended an association.
    pub(super) fn note_refused(&mut self, first: &First, refused: &Refused) {
        self.note_ending(first, Ending::Refused(refused.sentence.clone()));
    }

    // The bytes after the request were for the target and do not matter here.
    fn note_ending(&mut self, first: &First, ending: Ending) {
        let mut observer = self.route.observer(&self.counters.observed);
        let now = Instant::now().into_std();
        let request = first.bytes.get(..first.request_bytes).unwrap_or(&[]);
        // None of the bytes pass, whatever the verdict.
        let _ = observer.observe(Direction::ToTarget, request, now);
        self.stats.observed = observer.finish(ending, now);
    }

    // Waits for the first bytes of the client on `socket`, within their time limit.
    async fn before_first_byte<W: Future>(
        &self,
        wait: W,
        socket: &V::Socket,
        place: &LimiterPlace<'_>,
        (has_begun, close): (&Cell<bool>, impl Fn() -> io::Result<()>),
    ) -> Result<W::Output, Close> {
        let limit = self.route.config.timeouts.first_byte;
        // A client that waits with an idle connection for its first message loses nothing.
        let (is_closed, begun) = (Cell::new(false), Instant::now());
        let at_rest = async {
            self.handle.draining().await;
            // LIMIT: FIRST_BYTES_GRACE. A request that is on its way would be lost with the connection.
            sleep_until(begun + FIRST_BYTES_GRACE).await;
            // The drain may have been undone meanwhile.
            self.handle.draining().await;
            if has_begun.get() || close().is_err() {
                return std::future::pending().await;
            }
            is_closed.set(true);
        };
        let time = async {
            tokio::select! {
                () = passed(limit) => CloseReason::Deadline(Deadline::FirstByte),
                reason = self.handle.stopped() => reason,
                () = at_rest => CloseReason::AtRest,
                reason = place.ended() => reason,
            }
        };
        let end = || match is_closed.get() {
            true => socket.stop_reading(),
            false => socket.abort(),
        };
        match until(wait, time, end).await {
            (outcome, None) => Ok(outcome),
            (_, Some(reason)) => Err(Close {
                by: ClosedBy::Gateway,
                reason,
            }),
        }
    }

    /// The reply to an application whose association has no target at the moment, for the reason in `close`.
    pub(super) fn unreachable_reply(&self, close: &Close) -> Option<ClosingPdu> {
        let speaks_dicom = Beginning::of(&self.route.config) == Beginning::Request;
        speaks_dicom.then(|| match close.reason {
            CloseReason::Limit(_) => ClosingPdu::local_limit_exceeded(),
            _ => ClosingPdu::temporary_congestion(),
        })
    }
}

// Returns when the time is over; never returns without a limit.
async fn passed(limit: Option<Duration>) {
    match limit {
        Some(limit) => sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// How a connection ends whose association is refused.
pub(super) fn close_of(refused: Refused) -> Close {
    let reason = match refused.is_limit {
        true => CloseReason::Limit(refused.sentence.into()),
        false => CloseReason::Forbidden(refused.sentence),
    };
    let by = ClosedBy::Gateway;
    Close { by, reason }
}
