//! Sealing: from the plain side into TLS.

use std::cell::{Cell, RefCell};
use std::io;

use tokio::sync::{Mutex, Notify};

use super::engine::{Engine, Unsealed};
use super::link::{Link, reset};
use crate::audit::{Party, Reason};
use crate::buffers::{Appetite, Batch, Buffer, Pool, Size, Talker};
use crate::limits::{ALERT_LINGER, ARTIM, CONTROL_ROOM, REASON_WAIT};
use crate::metrics::Counter;
use crate::tls::handshake::tell;
use crate::tls::session::SealError;
use crate::uring::{Patience, Socket, part, race, timeout};

/// What the sealing direction needs beside the link.
pub(super) struct Sealing<'c> {
    pub(super) engine: &'c RefCell<Engine>,
    pub(super) outlet: &'c Outlet,
    pub(super) pool: &'c Pool,
    pub(super) talker: Talker,
    pub(super) bytes: &'c Cell<u64>,
    pub(super) counter: &'c Counter,
}

impl Sealing<'_> {
    /// Moves payload until the plain side finishes or something fails; the link knows which. Where the
    /// plain side was told of a failure, it is given time to close.
    pub(super) async fn run<N: Socket, F: Socket>(&self, link: &Link<N, F>, first: &mut Vec<u8>) {
        self.pump(link, first).await;
        if link.is_parting() {
            Box::pin(part(&link.near, Vec::new(), ARTIM)).await;
        }
        self.outlet.sealing_over.notify_one();
    }

    // What is handed on is lent, here and below: each level that owned it would keep room for it.
    async fn pump<N: Socket, F: Socket>(&self, link: &Link<N, F>, first: &mut Vec<u8>) {
        let mut appetite = Appetite::new(self.talker);
        let mut plain = Unsealed::default();
        let mut sent = 0;
        while plain.hold(self.next_of(first, &mut sent)) {
            self.send(link, &mut plain).await;
        }
        *first = Vec::new();
        while !link.failed() {
            let received = receive(&link.near, &link.far, self.pool, &mut appetite).await;
            match received.map(|batch| plain.hold(batch)) {
                Ok(true) => self.send(link, &mut plain).await,
                Ok(false) => return Box::pin(self.finish(link)).await,
                // It was the opening direction that ended this socket, and its alert to the peer is
                // still on the way: it ends the other one as well.
                Err(_) if link.failed() => return,
                Err(error) => return link.fail(Party::PlainSide, reset(&error)),
            }
        }
    }

    fn next_of(&self, first: &[u8], sent: &mut usize) -> Option<Batch> {
        let rest = first.get(*sent..).filter(|rest| !rest.is_empty())?;
        let mut batch = self.pool.batch(Size::Small);
        *sent = sent.saturating_add(batch.copy_from(rest));
        Some(batch)
    }

    async fn send<N: Socket, F: Socket>(&self, link: &Link<N, F>, plain: &mut Unsealed) {
        if link.failed() || !link.see_from_near(plain.payloads()) {
            return;
        }
        let count = plain.len() as u64;
        let is_short = plain.is_short();
        self.seal(link, plain).await;
        if link.failed() {
            return;
        }
        let converses = link.is_conversation();
        if is_short && !converses {
            // The sender may hold the rest of a message back until this is acknowledged.
            link.near.acknowledge();
        }
        self.bytes.set(self.bytes.get().saturating_add(count));
        self.counter.add(count);
    }

    async fn seal<N: Socket, F: Socket>(&self, link: &Link<N, F>, plain: &mut Unsealed) {
        let _turn = self.outlet.turn.lock().await;
        while !link.failed() {
            // What was sealed before goes out before what is sealed now.
            self.outlet.answer(link, self.engine, plain.records()).await;
            if link.failed() {
                // The opening direction has sealed an alert meanwhile: nothing may be sealed behind it.
                return;
            }
            let Some(mut records) = self.next(link, plain) else {
                return;
            };
            if let Err(error) = write(link, &link.far, &mut records).await {
                return Box::pin(self.lost(link, &error)).await;
            }
        }
    }

    fn next<N: Socket, F: Socket>(
        &self,
        link: &Link<N, F>,
        plain: &mut Unsealed,
    ) -> Option<Buffer> {
        let sealed = self.engine.borrow_mut().seal(plain, self.pool);
        sealed.unwrap_or_else(|error| {
            link.fail(Party::Gateway, refusal(&error));
            None
        })
    }

    // FIN becomes close_notify and FIN.
    async fn finish<N: Socket, F: Socket>(&self, link: &Link<N, F>) {
        let _turn = self.outlet.turn.lock().await;
        self.outlet.answer(link, self.engine, 1).await;
        if link.failed() {
            // "Whole" would come before the alert that says otherwise.
            return;
        }
        let mut words = Vec::new();
        if let Err(error) = self.engine.borrow_mut().close_notify(&mut words) {
            return link.fail(Party::Gateway, refusal(&error));
        }
        let sent = write(link, &link.far, &mut Buffer::of(words)).await;
        match sent.and_then(|()| link.far.finish()) {
            Ok(()) => link.finish(Party::PlainSide),
            Err(error) => self.lost(link, &error).await,
        }
    }

    // A peer that refuses us says why in an alert and resets: the alert may still lie unread. The
    // opening direction gets a moment to find it, because the first cause is what is told.
    async fn lost<N: Socket, F: Socket>(&self, link: &Link<N, F>, error: &io::Error) {
        let _ = timeout(REASON_WAIT, self.outlet.opened_all()).await;
        link.fail(Party::TlsPeer, reset(error));
    }
}

/// Receives once from the plain side what `sink` will get, borrowing memory only when there is something
/// to receive. `None` is the end.
pub(super) async fn receive<S: Socket, T: Socket>(
    socket: &S,
    sink: &T,
    pool: &Pool,
    appetite: &mut Appetite,
) -> io::Result<Option<Batch>> {
    socket.readable().await?;
    let most = room_of(sink, appetite.is_bulk()).await;
    receive_ready(socket, most, pool, appetite).await
}

/// As `receive`, where it is known that there is something to receive, and of how many bytes a batch of
/// bulk may be.
pub(super) async fn receive_ready<S: Socket>(
    socket: &S,
    most: usize,
    pool: &Pool,
    appetite: &mut Appetite,
) -> io::Result<Option<Batch>> {
    let mut batch = pool.batch_within(appetite.size(pool), most);
    let (outcome, lent) = socket.readv_some(batch.lend()).await;
    batch.restore(lent);
    let count = outcome?;
    batch.fill(count);
    appetite.ate(count, batch.room(), pool);
    Ok(Some(batch).filter(|batch| !batch.is_empty()))
}

/// How many bytes of bulk `sink` takes at once; of what is no bulk it takes a small buffer at any time.
///
/// A receiver that is behind is waited for here, before anything is received for it: what it does not
/// take stays with the sender, and a large buffer is never stuck in front of it.
pub(super) async fn room_of<S: Socket>(sink: &S, is_bulk: bool) -> usize {
    if !is_bulk {
        return 0;
    }
    match sink.send_room() {
        0 => room_later(sink).await,
        room => room,
    }
}

/// As `room_of` for bulk, where the receiver is known to be behind.
pub(super) async fn room_later<S: Socket>(sink: &S) -> usize {
    // Where waiting fails the send finds out why.
    let _ = sink.writable().await;
    sink.send_room()
}

/// Sends the parts of `buffer`. Whatever the socket takes counts as movement: a slow reader is not an
/// idle one.
pub(super) async fn write<S: Socket, N: Socket, F: Socket>(
    link: &Link<N, F>,
    socket: &S,
    buffer: &mut Buffer,
) -> io::Result<()> {
    while buffer.parts() > 0 {
        let (outcome, lent) = socket.writev_some(buffer.lend_parts()).await;
        buffer.restore_parts(lent);
        buffer.sent(outcome?);
        link.stir();
    }
    Ok(())
}

async fn send_answers<N: Socket, F: Socket>(link: &Link<N, F>, answers: Vec<u8>) {
    let all = 0..answers.len();
    if let Err(error) = link.far.write_all(answers, all).await.0 {
        link.fail(Party::TlsPeer, reset(&error));
    }
}

fn refusal(error: &SealError) -> Reason {
    match error {
        SealError::Exhausted => Reason::Limit(
            "2^24 records of a TLS 1.2 key; connections that move this much need TLS 1.3",
        ),
        SealError::Tls(_) | SealError::Misused => Reason::Internal(error.to_string()),
    }
}

/// The way out to the TLS peer, which both directions use: sealing for payload, opening for the
/// answers that TLS owes. Records go out in the order in which they were sealed.
#[derive(Default)]
pub(super) struct Outlet {
    turn: Mutex<()>,
    answers: RefCell<Vec<u8>>,
    opening_over: Notify,
    sealing_over: Notify,
}

impl Outlet {
    /// Takes an answer in; it goes out at once, or with the batch that is on its way, and so does what
    /// the engine owes.
    pub(super) async fn post<N: Socket, F: Socket>(
        &self,
        link: &Link<N, F>,
        engine: &RefCell<Engine>,
        answer: &mut Vec<u8>,
    ) {
        self.answers.borrow_mut().append(answer);
        if self.answers.borrow().len() > CONTROL_ROOM {
            // LIMIT: what TLS owes in answer is one key update and one alert at a time.
            return link.fail(
                Party::TlsPeer,
                Reason::Limit("answers owed to the TLS peer"),
            );
        }
        // Never wait for the turn here: sealing may be held up by a peer that reads only after we
        // have read.
        if let Ok(_turn) = self.turn.try_lock() {
            self.answer(link, engine, 0).await;
        }
    }

    /// Sends what TLS owes before `records` more are sealed. The caller has the turn.
    async fn answer<N: Socket, F: Socket>(
        &self,
        link: &Link<N, F>,
        engine: &RefCell<Engine>,
        records: usize,
    ) {
        while let Some(answers) = self.owed(link, engine, records) {
            // Boxed, because it is rare, and a connection that rests keeps no room for it.
            Box::pin(send_answers(link, answers)).await;
        }
    }

    fn owed<N: Socket, F: Socket>(
        &self,
        link: &Link<N, F>,
        engine: &RefCell<Engine>,
        records: usize,
    ) -> Option<Vec<u8>> {
        if link.failed() {
            // What is owed then goes out with the alert.
            return None;
        }
        let mut answers = std::mem::take(&mut *self.answers.borrow_mut());
        if let Err(error) = engine.borrow_mut().before(records, &mut answers) {
            link.fail(Party::Gateway, refusal(&error));
        }
        Some(answers).filter(|answers| !answers.is_empty() && !link.failed())
    }

    /// Keeps answers that must go out before the alert that ends the connection.
    pub(super) fn owe(&self, answers: &mut Vec<u8>) {
        self.answers.borrow_mut().append(answers);
    }

    /// Sends the alert that ends the connection, behind all that was sealed before it: the batch that
    /// is on its way, and answers that wait. A peer that takes neither is reset. The link must have
    /// failed, so that nothing is sealed meanwhile.
    pub(super) async fn last_words<N: Socket, F: Socket>(
        &self,
        link: &Link<N, F>,
        engine: &RefCell<Engine>,
    ) {
        debug_assert!(link.failed(), "more may be sealed");
        let goodbye = async {
            let _turn = self.turn.lock().await;
            let mut words = self.answers.take();
            words.extend(engine.borrow_mut().last_words());
            tell(&link.far, words).await;
        };
        race(goodbye, 2 * ALERT_LINGER, || link.far.abort()).await;
    }

    /// The opening direction is over: whatever the peer had to say has been read.
    pub(super) fn opening_ended(&self) {
        self.opening_over.notify_one();
    }

    async fn opened_all(&self) {
        self.opening_over.notified().await;
    }

    /// Waits until a plain side that was told why has closed; it is reset when it takes too long.
    pub(super) async fn parted<N: Socket, F: Socket>(&self, link: &Link<N, F>) {
        if timeout(ARTIM, self.sealing_over.notified()).await.is_err() {
            link.near.abort();
        }
    }
}
