//! Sealing: from the plain side into TLS.

use std::cell::{Cell, RefCell};
use std::io;

use tokio::sync::Mutex;

use super::engine::Engine;
use super::link::{Link, reset};
use crate::audit::{Party, Reason};
use crate::buffers::{Buffer, Pool, Purpose};
use crate::limits::{ALERT_LINGER, CONTROL_ROOM, PLAINTEXT_ROOM, REASON_WAIT};
use crate::metrics::Counter;
use crate::tls::handshake::tell;
use crate::tls::session::SealError;
use crate::uring::{Patience, Socket, race};

/// The first bytes of the plain side, read before there was anywhere to send them.
pub(super) type FirstBytes = Option<Buffer>;

/// What the sealing direction needs beside the link.
pub(super) struct Sealing<'c> {
    pub(super) engine: &'c RefCell<Engine>,
    pub(super) outlet: &'c Outlet,
    pub(super) pool: &'c Pool,
    pub(super) bytes: &'c Cell<u64>,
    pub(super) counter: &'c Counter,
}

impl Sealing<'_> {
    /// Moves payload until the plain side finishes or something fails; the link knows which.
    pub(super) async fn run<N: Socket, F: Socket>(&self, link: &Link<N, F>, first: FirstBytes) {
        if let Some(batch) = first {
            self.send(link, batch).await;
        }
        while !link.failed() {
            match receive(&link.near, self.pool).await {
                Ok(Some(batch)) => self.send(link, batch).await,
                Ok(None) => return self.finish(link).await,
                // It was the opening direction that ended this socket, and its alert to the peer is
                // still on the way: it ends the other one as well.
                Err(_) if link.failed() => return,
                Err(error) => return link.fail(Party::PlainSide, reset(&error)),
            }
        }
    }

    async fn send<N: Socket, F: Socket>(&self, link: &Link<N, F>, mut batch: Buffer) {
        let count = batch.filled().len();
        let _turn = self.outlet.turn.lock().await;
        let mut records = self.pool.take(Purpose::Records);
        while !batch.is_empty() && !link.failed() {
            let part = batch.filled().len().min(payload_that_fits(&records));
            let plain = batch.filled().get(..part).unwrap_or_default();
            if let Err(error) = self.engine.borrow_mut().seal(plain, &mut records) {
                return link.fail(Party::Gateway, refusal(&error));
            }
            batch.consume(part);
            if let Err(error) = write(link, &link.far, &mut records).await {
                return self.lost(link, &error).await;
            }
        }
        self.outlet.answer(link).await;
        self.bytes
            .set(self.bytes.get().saturating_add(count as u64));
        self.counter.add(count as u64);
    }

    // FIN becomes close_notify and FIN.
    async fn finish<N: Socket, F: Socket>(&self, link: &Link<N, F>) {
        let _turn = self.outlet.turn.lock().await;
        if link.failed() {
            // "Whole" would come before the alert that says otherwise.
            return;
        }
        let mut records = self.pool.take(Purpose::Records);
        if let Err(error) = self.engine.borrow_mut().close_notify(&mut records) {
            return link.fail(Party::Gateway, refusal(&error));
        }
        let sent = write(link, &link.far, &mut records).await;
        match sent.and_then(|()| link.far.finish()) {
            Ok(()) => link.finish(Party::PlainSide),
            Err(error) => self.lost(link, &error).await,
        }
    }

    // A peer that refuses us says why in an alert and resets: the alert may still lie unread. The
    // opening direction gets a moment to find it, because the first cause is what is told.
    async fn lost<N: Socket, F: Socket>(&self, link: &Link<N, F>, error: &io::Error) {
        let _ = tokio::time::timeout(REASON_WAIT, self.outlet.opened_all()).await;
        link.fail(Party::TlsPeer, reset(error));
    }
}

/// Receives once from the plain side, borrowing memory only when there is something to receive.
/// `None` is the end.
pub(super) async fn receive<S: Socket>(socket: &S, pool: &Pool) -> io::Result<Option<Buffer>> {
    socket.readable().await?;
    let mut batch = pool.take(Purpose::Batch);
    let (bytes, room) = batch.lend_spare();
    let (outcome, bytes) = socket.read_some(bytes, room).await;
    batch.restore(bytes);
    batch.fill(outcome?);
    Ok(Some(batch).filter(|batch| !batch.is_empty()))
}

/// Sends all that `records` holds. Every part that the socket takes counts as movement: a slow
/// reader is not an idle one.
pub(super) async fn write<S: Socket, N: Socket, F: Socket>(
    link: &Link<N, F>,
    socket: &S,
    records: &mut Buffer,
) -> io::Result<()> {
    while !records.is_empty() {
        let (bytes, part) = records.lend_filled();
        let (outcome, bytes) = socket.write_some(bytes, part).await;
        records.restore(bytes);
        records.consume(outcome?);
        link.stir();
    }
    Ok(())
}

// A large buffer takes a large batch; a small one, lent when the pool was empty, one record.
fn payload_that_fits(records: &Buffer) -> usize {
    let mut payload = PLAINTEXT_ROOM;
    while Purpose::Records.room(payload + PLAINTEXT_ROOM) <= records.spare() {
        payload += PLAINTEXT_ROOM;
    }
    payload
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
    opening_over: tokio::sync::Notify,
}

impl Outlet {
    /// Takes an answer in; it goes out at once, or right behind the batch that is on its way.
    pub(super) async fn post<N: Socket, F: Socket>(&self, link: &Link<N, F>, answer: &mut Vec<u8>) {
        if answer.is_empty() {
            return;
        }
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
            self.answer(link).await;
        }
    }

    /// Sends the answers that wait. The caller has the turn.
    async fn answer<N: Socket, F: Socket>(&self, link: &Link<N, F>) {
        loop {
            let answers = std::mem::take(&mut *self.answers.borrow_mut());
            if answers.is_empty() || link.failed() {
                return;
            }
            let all = 0..answers.len();
            if let Err(error) = link.far.write_all(answers, all).await.0 {
                return link.fail(Party::TlsPeer, reset(&error));
            }
        }
    }

    /// Sends the alert that ends the connection, behind the batch that is on its way; a peer that
    /// takes neither is reset.
    pub(super) async fn last_words<N: Socket, F: Socket>(&self, link: &Link<N, F>, alert: Vec<u8>) {
        let goodbye = async {
            let _turn = self.turn.lock().await;
            tell(&link.far, alert).await;
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
}
