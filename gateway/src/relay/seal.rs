//! Sealing: the direction from the plain side into TLS.

use std::cell::{Cell, RefCell};
use std::io;

use tokio::sync::Mutex;

use super::bandwidth::{PacedFlow, receive_paced};
use super::ending::{Milestone, reset};
use super::engine::{Engine, PendingBatch};
use super::link::Link;
use super::receive::receive;
use crate::audit::{CloseReason, ClosedBy};
use crate::buffers::{Batch, Buffer, BufferSizer, FairnessId, Pool, Size};
use crate::dicom::ClosingPdu;
use crate::handshake::limits::ALERT_LINGER;
use crate::handshake::send_alert;
use crate::metrics::Counter;
use crate::relay::limits::ARTIM;
use crate::tls::session::SealError;
use crate::upstream::limits::CONTROL_ROOM;
use crate::uring::{Socket, SocketExt, linger_close, race, timeout};

/// The state of the sealing direction besides the link.
pub(super) struct SealDirection<'c> {
    pub(super) engine: &'c RefCell<Engine>,
    pub(super) writer: &'c TlsWriter,
    pub(super) pool: &'c Pool,
    pub(super) fairness_id: FairnessId,
    pub(super) bytes: &'c Cell<u64>,
    pub(super) counter: &'c Counter,
    /// The number of bytes that were received from the plain side and not sent on.
    pub(super) undelivered: &'c Cell<u64>,
    /// Its share of the route's bandwidth, if that is limited.
    pub(super) flow: Option<&'c PacedFlow<'c>>,
}

impl SealDirection<'_> {
    /// Forwards payload until the plain side finishes or an error occurs, which the link records. A plain
    /// side that was notified of a failure gets time to close.
    pub(super) async fn run<N: Socket, F: Socket>(&self, link: &Link<N, F>, first: &mut Vec<u8>) {
        self.pump(link, first).await;
        self.writer.sealed_all.reach();
        if link.is_broken() {
            Box::pin(self.leave(link)).await;
        }
        self.writer.sealing_over.reach();
    }

    // The TLS side sees that the stream is cut off, after all records that were sealed before.
    async fn leave<N: Socket, F: Socket>(&self, link: &Link<N, F>) {
        let tls = async {
            if link.claim_tls_end() {
                if let Some(pdu) = link.closing_pdu_for_tls() {
                    self.send_closing_pdu(link, pdu).await;
                }
                link.abort_tls_after_delivery().await;
            }
        };
        let plain = async {
            // The opening direction delivers its payload, as long as the receiver reads.
            tokio::select! {
                biased;
                () = self.writer.opened_all.reached() => {}
                () = link.stalls(&link.plain) => link.end_plain(None),
            }
            if self.writer.opening_over.is_reached() {
                link.end_plain_after_delivery().await;
            }
            if link.is_plain_notified() {
                linger_close(&link.plain, Vec::new(), ARTIM).await;
            }
        };
        tokio::join!(tls, plain);
    }

    // The last PDU for the application behind the TLS peer, which gets time to close.
    async fn send_closing_pdu<N: Socket, F: Socket>(&self, link: &Link<N, F>, pdu: ClosingPdu) {
        let _turn = self.writer.turn.lock().await;
        let sealed = self.engine.borrow_mut().linger(&pdu.to_bytes(), self.pool);
        let Ok(sealed) = sealed else { return };
        // The records that TLS must send were sealed before.
        let mut all = self.writer.answers.take();
        all.extend(sealed);
        let mut sealed = Buffer::of(all);
        let sent = write(link, &link.tls, &mut sealed);
        let (sent, _) = race(sent, ARTIM, || link.abort_tls()).await;
        if sent.is_ok() && link.tls.finish().is_ok() {
            link.note_reply(pdu);
            let _ = timeout(ARTIM, self.writer.opened_all.reached()).await;
        }
    }

    // Values are passed by reference, here and below: each level that owned them would hold memory for them.
    async fn pump<N: Socket, F: Socket>(&self, link: &Link<N, F>, first: &mut Vec<u8>) {
        let mut sizer = BufferSizer::new(self.fairness_id);
        let mut plain = PendingBatch::default();
        let mut sent = 0;
        while plain.hold(self.next_of(first, &mut sent)) {
            self.send(link, &mut plain).await;
        }
        *first = Vec::new();
        while !link.failed() {
            let received = match self.flow {
                None => receive(&link.plain, &link.tls, self.pool, &mut sizer).await,
                Some(flow) => self.receive_in_turn(link, flow, &mut sizer).await,
            };
            match received.map(|batch| plain.hold(batch)) {
                Ok(true) => self.send(link, &mut plain).await,
                Ok(false) => return Box::pin(self.finish(link)).await,
                Err(error) => {
                    link.note(ClosedBy::PlainSide, reset(&error));
                    // Nothing can be delivered there any more.
                    return link.abort_plain();
                }
            }
        }
    }

    async fn receive_in_turn<N: Socket, F: Socket>(
        &self,
        link: &Link<N, F>,
        flow: &PacedFlow<'_>,
        sizer: &mut BufferSizer,
    ) -> io::Result<Option<Batch>> {
        link.plain.readable().await?;
        let sockets = (&link.plain, &link.tls);
        // Boxed: a resting connection holds no memory for it.
        Box::pin(receive_paced(link, sockets, flow, self.pool, sizer)).await
    }

    fn next_of(&self, first: &[u8], sent: &mut usize) -> Option<Batch> {
        let rest = first.get(*sent..).filter(|rest| !rest.is_empty())?;
        let mut batch = self.pool.batch(Size::Small);
        *sent = sent.saturating_add(batch.copy_from(rest));
        Some(batch)
    }

    async fn send<N: Socket, F: Socket>(&self, link: &Link<N, F>, plain: &mut PendingBatch) {
        let count = plain.len() as u64;
        if link.failed() || !link.observe_from_plain(plain.payloads()) {
            return self.drop_bytes(count);
        }
        let is_short = plain.is_short();
        if !self.seal(link, plain).await {
            return self.drop_bytes(count);
        }
        let converses = link.is_conversation();
        if is_short && !converses {
            // The sender may hold back the rest of a message until these bytes are acknowledged.
            link.plain.acknowledge();
        }
        self.bytes.set(self.bytes.get().saturating_add(count));
        self.counter.add(count);
    }

    fn drop_bytes(&self, count: u64) {
        let undelivered = self.undelivered.get();
        self.undelivered.set(undelivered.saturating_add(count));
    }

    // Returns whether all of it was sealed and sent.
    async fn seal<N: Socket, F: Socket>(
        &self,
        link: &Link<N, F>,
        plain: &mut PendingBatch,
    ) -> bool {
        let _turn = self.writer.turn.lock().await;
        while !link.failed() {
            // Records that were sealed before are sent before new ones.
            self.writer.answer(link, self.engine, plain.records()).await;
            if link.failed() {
                // The opening direction has sealed an alert in the meantime: nothing may be sealed after it.
                return false;
            }
            let Some(mut records) = self.next(link, plain) else {
                return !link.failed();
            };
            if let Err(error) = write(link, &link.tls, &mut records).await {
                // The memory is for other connections while this one waits.
                drop(records);
                Box::pin(self.lost(link, &error)).await;
                return false;
            }
        }
        // The link may have failed already when the last record was sent.
        plain.records() == 0
    }

    fn next<N: Socket, F: Socket>(
        &self,
        link: &Link<N, F>,
        plain: &mut PendingBatch,
    ) -> Option<Buffer> {
        let sealed = self.engine.borrow_mut().seal(plain, self.pool);
        sealed.unwrap_or_else(|error| {
            link.note(ClosedBy::Gateway, refusal(&error));
            None
        })
    }

    // FIN becomes close_notify and FIN.
    async fn finish<N: Socket, F: Socket>(&self, link: &Link<N, F>) {
        let _turn = self.writer.turn.lock().await;
        self.writer.answer(link, self.engine, 1).await;
        if link.failed() {
            // A close_notify must not come before the alert that reports an error.
            return;
        }
        if link.tls_waits_for_plain() {
            return link.note(ClosedBy::PlainSide, CloseReason::Unfinished);
        }
        let mut records = Vec::new();
        if let Err(error) = self.engine.borrow_mut().close_notify(&mut records) {
            return link.note(ClosedBy::Gateway, refusal(&error));
        }
        let sent = write(link, &link.tls, &mut Buffer::of(records)).await;
        match sent.and_then(|()| link.tls.finish()) {
            Ok(()) => link.finish(ClosedBy::PlainSide),
            // A peer that has closed with nothing outstanding loses nothing.
            Err(_) if link.is_finished() && link.is_at_rest() => link.finish(ClosedBy::PlainSide),
            Err(error) => self.lost(link, &error).await,
        }
    }

    // A peer that resets may have sent more before, including an alert with the reason of a refusal. The
    // opening direction reads and delivers it, because these bytes are authenticated, and the first cause is
    // reported.
    async fn lost<N: Socket, F: Socket>(&self, link: &Link<N, F>, error: &io::Error) {
        self.writer.sealed_all.reach();
        tokio::select! {
            () = self.writer.opened_all.reached() => {}
            () = link.stalls(&link.plain) => {}
        }
        link.note(ClosedBy::TlsPeer, reset(error));
        link.abort_tls();
    }
}

/// Sends the parts of `buffer`. Each byte that the socket accepts counts as movement: a slow reader is not
/// idle.
pub(super) async fn write<S: Socket, N: Socket, F: Socket>(
    link: &Link<N, F>,
    socket: &S,
    buffer: &mut Buffer,
) -> io::Result<()> {
    while buffer.parts() > 0 {
        let (outcome, lent) = socket.writev_some(buffer.lend_parts()).await;
        buffer.restore_parts(lent);
        buffer.sent(outcome?);
        link.note_movement();
    }
    Ok(())
}

async fn send_answers<N: Socket, F: Socket>(link: &Link<N, F>, answers: Vec<u8>) {
    let all = 0..answers.len();
    if let Err(error) = link.tls.write_all(answers, all).await.0 {
        link.note(ClosedBy::TlsPeer, reset(&error));
        link.abort_tls();
    }
}

fn refusal(error: &SealError) -> CloseReason {
    match error {
        SealError::Exhausted => CloseReason::Limit(
            "2^24 records of a TLS 1.2 key; connections that move this much need TLS 1.3".into(),
        ),
        SealError::Tls(_) | SealError::Misused => CloseReason::Internal(error.to_string()),
    }
}

/// The way to the TLS peer, which both directions use: sealing for payload, opening for the answers that TLS
/// requires. Records are sent in the order in which they were sealed.
#[derive(Default)]
pub(super) struct TlsWriter {
    turn: Mutex<()>,
    answers: RefCell<Vec<u8>>,
    /// All bytes of the peer were read, and delivered as far as the receiver read them.
    pub(super) opened_all: Milestone,
    /// Nothing more will be sealed.
    pub(super) sealed_all: Milestone,
    // A direction has ended completely.
    opening_over: Milestone,
    sealing_over: Milestone,
}

impl TlsWriter {
    /// Adds an answer. The answer and the records of the engine are sent at once, or with the batch in
    /// progress.
    pub(super) async fn post<N: Socket, F: Socket>(
        &self,
        link: &Link<N, F>,
        engine: &RefCell<Engine>,
        answer: &mut Vec<u8>,
    ) {
        self.answers.borrow_mut().append(answer);
        if self.answers.borrow().len() > CONTROL_ROOM {
            // LIMIT: the required answers of TLS are one key update and one alert at a time.
            return link.note(
                ClosedBy::TlsPeer,
                CloseReason::Limit("answers owed to the TLS peer".into()),
            );
        }
        // Never wait for the turn here: sealing may be blocked by a peer that reads only after this gateway
        // has read.
        if let Ok(_turn) = self.turn.try_lock() {
            self.answer(link, engine, 0).await;
        }
    }

    /// Sends the records that TLS requires before `records` more are sealed. The caller has the turn.
    async fn answer<N: Socket, F: Socket>(
        &self,
        link: &Link<N, F>,
        engine: &RefCell<Engine>,
        records: usize,
    ) {
        while let Some(answers) = self.due_answers(link, engine, records) {
            // Boxed, because this is rare, and a resting connection holds no memory for it.
            Box::pin(send_answers(link, answers)).await;
        }
    }

    fn due_answers<N: Socket, F: Socket>(
        &self,
        link: &Link<N, F>,
        engine: &RefCell<Engine>,
        records: usize,
    ) -> Option<Vec<u8>> {
        if link.failed() {
            // The required records are then sent with the alert.
            return None;
        }
        let mut answers = std::mem::take(&mut *self.answers.borrow_mut());
        if let Err(error) = engine.borrow_mut().before(records, &mut answers) {
            link.note(ClosedBy::Gateway, refusal(&error));
        }
        Some(answers).filter(|answers| !answers.is_empty() && !link.failed())
    }

    /// Keeps answers that must be sent before the alert that ends the connection.
    pub(super) fn keep_answers(&self, answers: &mut Vec<u8>) {
        self.answers.borrow_mut().append(answers);
    }

    /// Sends the alert that ends the connection, after all records that were sealed before: the batch in
    /// progress, and waiting answers. A peer that reads neither is reset. The link must have failed, so that
    /// nothing is sealed in the meantime.
    pub(super) async fn send_final_alert<N: Socket, F: Socket>(
        &self,
        link: &Link<N, F>,
        engine: &RefCell<Engine>,
    ) {
        debug_assert!(link.failed(), "records may still be sealed");
        let alert = async {
            let _turn = self.turn.lock().await;
            let mut records = self.answers.take();
            records.extend(engine.borrow_mut().final_alert());
            send_alert(&link.tls, records).await;
        };
        race(alert, 2 * ALERT_LINGER, || link.abort_tls()).await;
    }

    /// Whether nothing is being sent.
    pub(super) fn is_free(&self) -> bool {
        self.turn.try_lock().is_ok()
    }

    /// The closing sequence of a clean end: the records that TLS requires, and close_notify.
    pub(super) fn closing_records(&self, engine: &RefCell<Engine>) -> Result<Vec<u8>, SealError> {
        let mut records = self.answers.take();
        let mut engine = engine.borrow_mut();
        engine.before(1, &mut records)?;
        engine.close_notify(&mut records)?;
        Ok(records)
    }

    /// The same with `pdu` before close_notify.
    pub(super) fn closing_records_with(
        &self,
        engine: &RefCell<Engine>,
        pdu: ClosingPdu,
        pool: &Pool,
    ) -> Result<Vec<u8>, SealError> {
        let mut records = self.answers.take();
        records.extend(engine.borrow_mut().linger(&pdu.to_bytes(), pool)?);
        Ok(records)
    }

    /// The opening direction has ended completely.
    pub(super) fn opening_ended(&self) {
        self.opening_over.reach();
    }

    /// Waits until a plain side that was notified has closed; resets it after a time limit.
    pub(super) async fn plain_closed<N: Socket, F: Socket>(&self, link: &Link<N, F>) {
        if self.sealing_over.is_reached() {
            return linger_close(&link.plain, Vec::new(), ARTIM).await;
        }
        if timeout(ARTIM, self.sealing_over.reached()).await.is_err() {
            link.abort_plain();
        }
    }
}
