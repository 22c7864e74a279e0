//! Opening: the direction from TLS to the plain side.

use std::cell::{Cell, RefCell};
use std::io;

use super::bandwidth::PacedFlow;
use super::ending::reset;
use super::engine::Engine;
use super::link::Link;
use super::receive::room_later;
use super::seal::{TlsWriter, write};
use crate::audit::{CloseReason, ClosedBy};
use crate::buffers::{Buffer, BufferSizer, FairnessId, Pool, Size};
use crate::metrics::Counter;
use crate::tls::session::Opened;
use crate::uring::{Socket, SocketExt, until};

/// Received records and opened payload that is not forwarded yet.
pub(super) struct ReceiveState {
    // The received bytes. Payload that was opened in place is among its parts.
    incoming: Option<Buffer>,
    // Payload in other memory.
    payload: Option<Buffer>,
    sizer: BufferSizer,
}

/// Why opening stopped.
#[derive(Debug)]
pub(super) enum OpenError {
    /// The socket failed.
    Socket(io::Error),
    /// The stream ended without close_notify.
    Truncated,
    /// A record was invalid, or an alert came.
    Records(rustls::Error),
}

impl ReceiveState {
    /// Begins with the bytes received after the handshake, and their payload that is opened already.
    pub(super) fn new(incoming: Buffer, early: Vec<u8>, fairness_id: FairnessId) -> Self {
        Self {
            incoming: Some(incoming).filter(|buffer| !buffer.is_empty()),
            payload: Some(Buffer::of(early)).filter(|buffer| buffer.parts() > 0),
            sizer: BufferSizer::new(fairness_id),
        }
    }

    /// Receives and opens until there is payload (true) or the peer has closed cleanly (false).
    pub(super) async fn first<F: Socket>(
        &mut self,
        tls: &F,
        engine: &RefCell<Engine>,
        pool: &Pool,
    ) -> Result<bool, OpenError> {
        loop {
            if self.payload().is_some() {
                return Ok(true);
            }
            let mut answer = Vec::new();
            let opened = self.open(engine, pool, &mut answer);
            // Also before an alert that may follow, because these records were sealed before it.
            let all = 0..answer.len();
            let sent = tls.write_all(answer, all).await.0;
            if opened.is_err() && self.payload().is_some() {
                // The payload was opened before the error, and is forwarded. The next call returns the error
                // again.
                return Ok(true);
            }
            let opened = opened?;
            sent.map_err(OpenError::Socket)?;
            match opened {
                _ if self.payload().is_some() => {}
                Opened::Closed => return Ok(false),
                Opened::Full => {}
                Opened::NeedBytes => self.receive(tls, None::<&F>, pool, None).await?,
            }
        }
    }

    /// Moves opened payload to the end of `there`.
    pub(super) fn move_payload(&mut self, there: &mut Vec<u8>) {
        while let Some(payload) = self.payload() {
            payload.move_outgoing(there);
        }
    }

    /// Returns payload that was moved out; it is delivered before all later payload.
    pub(super) fn hold(&mut self, payload: Vec<u8>) {
        if payload.is_empty() {
            return;
        }
        debug_assert!(self.payload().is_none(), "payload before payload");
        self.payload = Some(Buffer::of(payload));
    }

    // The payload that is delivered next.
    fn payload(&mut self) -> Option<&mut Buffer> {
        let received = [&mut self.payload, &mut self.incoming];
        received
            .into_iter()
            .flatten()
            .find(|buffer| buffer.parts() > 0)
    }

    // Whether a record has begun that is incomplete.
    fn is_partial(&self) -> bool {
        self.incoming.as_ref().is_some_and(|one| !one.is_empty())
    }

    // The number of bytes of opened payload that are not forwarded.
    fn payload_bytes(&self) -> u64 {
        let received = [&self.payload, &self.incoming];
        let received = received.into_iter().flatten();
        received.map(|buffer| buffer.outgoing() as u64).sum()
    }

    fn open(
        &mut self,
        engine: &RefCell<Engine>,
        pool: &Pool,
        answer: &mut Vec<u8>,
    ) -> Result<Opened, OpenError> {
        let mut none = Buffer::with_room(0);
        let incoming = self.incoming.as_mut().unwrap_or(&mut none);
        let mut engine = engine.borrow_mut();
        let opened = engine.open(incoming, &mut self.payload, pool, answer);
        opened.map_err(OpenError::Records)
    }

    // No memory is held while idle.
    fn release_memory(&mut self) {
        self.payload = None;
        self.incoming = self.incoming.take().filter(|incoming| !incoming.is_empty());
    }

    // The beginning of a record moves to a small buffer if its rest may take long.
    fn shrink(&mut self, pool: &Pool) {
        if let Some(incoming) = &mut self.incoming
            && incoming.memory() > Size::Small.room()
            && incoming.filled().len() < Size::Small.room()
        {
            let mut small = pool.take(Size::Small);
            small.append(incoming.filled());
            *incoming = small;
        }
    }

    // Receives the next bytes for `plain` if they have arrived already.
    async fn receive<F: Socket, N: Socket>(
        &mut self,
        tls: &F,
        plain: Option<&N>,
        pool: &Pool,
        paced: Option<(&PacedFlow<'_>, &Link<N, F>)>,
    ) -> Result<(), OpenError> {
        self.release_memory();
        if pool.is_in_demand() {
            self.shrink(pool);
        }
        tls.readable().await.map_err(OpenError::Socket)?;
        let most = match plain.filter(|_| self.sizer.is_bulk()) {
            Some(plain) => match plain.send_room() {
                0 => {
                    self.shrink(pool);
                    room_later(plain).await
                }
                room => room,
            },
            None => 0,
        };
        let turn = match paced {
            // Boxed: a resting connection holds no memory for it.
            Some((flow, link)) => Some(Box::pin(flow.turn(link)).await),
            None => None,
        };
        let most = turn.as_ref().map_or(most, |turn| turn.bytes().min(most));
        let size = self.sizer.size(pool);
        let mut incoming = match self.incoming.take() {
            Some(incoming) => with_room(incoming, pool, size, most),
            None => pool.take_within(size, most),
        };
        let (bytes, room) = incoming.lend_spare();
        let spare = room.len();
        if spare == 0 {
            return Err(OpenError::Records(rustls::Error::General(
                "record without an end".into(),
            )));
        }
        let within = turn.as_ref().map_or(spare, |turn| turn.bytes().min(spare));
        let room = room.start..room.start.saturating_add(within);
        let (outcome, bytes) = tls.read_some(bytes, room).await;
        incoming.restore(bytes);
        match outcome.map_err(OpenError::Socket)? {
            0 => Err(OpenError::Truncated),
            count => {
                if let Some(turn) = turn {
                    turn.receive(count);
                }
                self.sizer.note_received(count, within, pool);
                incoming.fill(count);
                self.incoming = Some(incoming);
                Ok(())
            }
        }
    }
}

// The beginning of a record moves to the front, so that its rest fits behind it. It moves to a larger buffer
// if needed: the buffer of the handshake may be too small for a record, and bulk begins in a small buffer.
fn with_room(mut incoming: Buffer, pool: &Pool, size: Size, most: usize) -> Buffer {
    incoming.compact();
    let room = size.room().min(most.max(Size::Small.room()));
    if incoming.memory() < room {
        let mut other = pool.take_within(size, most);
        if other.memory() > incoming.memory() {
            other.append(incoming.filled());
            return other;
        }
    }
    incoming.limit(room);
    incoming
}

/// The state of the opening direction besides the link.
pub(super) struct OpenDirection<'c> {
    pub(super) engine: &'c RefCell<Engine>,
    pub(super) writer: &'c TlsWriter,
    pub(super) pool: &'c Pool,
    pub(super) bytes: &'c Cell<u64>,
    pub(super) counter: &'c Counter,
    /// The number of bytes of opened payload that were not handed to the plain side.
    pub(super) undelivered: &'c Cell<u64>,
    /// Its share of the route's bandwidth, if that is limited.
    pub(super) flow: Option<&'c PacedFlow<'c>>,
    pub(super) explain: &'c dyn Fn(&rustls::Error) -> CloseReason,
}

impl OpenDirection<'_> {
    /// Forwards payload until the peer sends close_notify or an error occurs, which the link records.
    pub(super) async fn run<N: Socket, F: Socket>(
        &self,
        link: &Link<N, F>,
        received: &mut ReceiveState,
    ) {
        let mut is_wrong = false;
        match self.pump(link, received).await {
            Ok(()) => {}
            Err(_) if link.failed() && !link.is_broken() => {}
            // Many peers close without close_notify when nothing is outstanding. An attacker cannot cut off
            // anything there: the applications have answered everything that was sent.
            Err(OpenError::Truncated) if link.is_at_rest() && !received.is_partial() => {
                self.finish(link).await;
            }
            Err(cut) => {
                self.note(link, &cut);
                is_wrong = matches!(cut, OpenError::Records(_));
            }
        }
        self.writer.opened_all.reach();
        if link.is_broken() {
            Box::pin(self.leave(link, received, is_wrong)).await;
        }
        self.discard(received);
        self.writer.opening_ended();
    }

    fn note<N: Socket, F: Socket>(&self, link: &Link<N, F>, cut: &OpenError) {
        let reason = match cut {
            OpenError::Socket(error) => reset(error),
            OpenError::Truncated => CloseReason::Truncated,
            OpenError::Records(error) => (self.explain)(error),
        };
        link.note(ClosedBy::TlsPeer, reason);
    }

    // Opened payload is delivered as far as the plain side reads it; then the plain side is ended. Meanwhile
    // the peer receives an alert for an invalid record, or the records that were sealed before.
    async fn leave<N: Socket, F: Socket>(
        &self,
        link: &Link<N, F>,
        received: &mut ReceiveState,
        is_wrong: bool,
    ) {
        let is_taken = link.claim_tls_end();
        let plain = async {
            if !link.is_plain_ended() {
                let rest = self.deliver(link, received, true);
                until(rest, link.stalls(&link.plain), || link.abort_plain()).await;
                link.end_plain_after_delivery().await;
            }
            if link.is_plain_notified() {
                // The sealing direction receives, and possibly nothing ever comes.
                self.writer.plain_closed(link).await;
            }
        };
        let tls = async {
            match (is_taken, is_wrong) {
                (true, true) => self.writer.send_final_alert(link, self.engine).await,
                (true, false) => link.abort_tls_after_delivery().await,
                (false, _) => {}
            }
        };
        tokio::join!(plain, tls);
    }

    async fn pump<N: Socket, F: Socket>(
        &self,
        link: &Link<N, F>,
        received: &mut ReceiveState,
    ) -> Result<(), OpenError> {
        let mut answer = Vec::new();
        // Payload that was opened before this direction began comes first.
        self.deliver(link, received, false).await;
        while !link.failed() {
            let opened = received.open(self.engine, self.pool, &mut answer);
            if opened.is_err() {
                self.writer.keep_answers(&mut answer);
            }
            let opened = opened?;
            self.writer.post(link, self.engine, &mut answer).await;
            self.deliver(link, received, false).await;
            match opened {
                _ if link.failed() => return Ok(()),
                Opened::Full => {}
                Opened::NeedBytes => {
                    let paced = self.flow.map(|flow| (flow, link));
                    let plain = Some(&link.plain);
                    received.receive(&link.tls, plain, self.pool, paced).await?;
                }
                Opened::Closed => {
                    self.finish(link).await;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    // close_notify becomes FIN; the other direction may continue.
    async fn finish<N: Socket, F: Socket>(&self, link: &Link<N, F>) {
        if link.plain_waits_for_tls() {
            return link.note(ClosedBy::TlsPeer, CloseReason::Unfinished);
        }
        match link.plain.finish() {
            Ok(()) => link.finish(ClosedBy::TlsPeer),
            Err(error) => Box::pin(self.lost(link, &error)).await,
        }
    }

    // `is_rest` marks payload that was opened before the end of the connection.
    async fn deliver<N: Socket, F: Socket>(
        &self,
        link: &Link<N, F>,
        received: &mut ReceiveState,
        is_rest: bool,
    ) {
        while let Some(payload) = received.payload()
            && (is_rest || !link.failed())
        {
            if !link.observe_for_plain(payload.outgoing_parts()) {
                return;
            }
            let count = payload.outgoing();
            match write(link, &link.plain, payload).await {
                Ok(()) => {
                    link.answer();
                    self.count(count);
                }
                Err(error) => {
                    self.count(count.saturating_sub(payload.outgoing()));
                    self.discard(received);
                    return Box::pin(self.lost(link, &error)).await;
                }
            }
        }
    }

    // The payload can no longer be delivered, so its memory is released.
    fn discard(&self, received: &mut ReceiveState) {
        let undelivered = self.undelivered.get();
        self.undelivered
            .set(undelivered.saturating_add(received.payload_bytes()));
        (received.incoming, received.payload) = (None, None);
    }

    fn count(&self, delivered: usize) {
        let delivered = delivered as u64;
        self.bytes.set(self.bytes.get().saturating_add(delivered));
        self.counter.add(delivered);
    }

    // A plain side that resets may have sent more before; the sealing direction reads and sends it.
    async fn lost<N: Socket, F: Socket>(&self, link: &Link<N, F>, error: &io::Error) {
        self.writer.opened_all.reach();
        tokio::select! {
            () = self.writer.sealed_all.reached() => {}
            () = link.stalls(&link.tls) => {}
        }
        link.note(ClosedBy::PlainSide, reset(error));
        link.abort_plain();
    }
}
