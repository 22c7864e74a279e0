//! The two sockets of a connection, the state of both directions, and the way it ends.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::ending::{GONE, delivered_or_stalled, stalls};
use super::handle::ConnectionHandle;
use super::receiver::{DeliveryState, Limits, Receiver};
use crate::audit::{Close, CloseReason, ClosedBy, Deadline};
use crate::config::Timeouts;
use crate::dicom::ClosingPdu;
use crate::handshake::limits::ALERT_LINGER;
use crate::hl7;
use crate::observe::{Direction, Forbidden, Observer, Progress};
use crate::relay::limits::{ARTIM, EXCHANGES_MIN, HALF_CLOSED_SILENCE};
use crate::uring::{Socket, sleep, timeout};

/// Two sockets that end together.
///
/// `plain` is the plain side (passthrough: the client), `tls` the other socket.
pub(super) struct Link<N, F> {
    pub(super) plain: N,
    pub(super) tls: F,
    // Only the first cause is reported; later ones follow from it.
    ended: RefCell<Option<Close>>,
    // The side that finished its direction first, if both finish cleanly.
    finished: Cell<Option<ClosedBy>>,
    // Notified when a side has finished; the watch of the connection waits for it.
    has_finished: Notify,
    moved: Cell<Instant>,
    // Whether bytes were delivered to the plain side since it sent last, and how many times in a row this was
    // the case when it sent.
    answered: Cell<bool>,
    exchanges: Cell<u32>,
    observer: Rc<RefCell<Observer>>,
    // The direction of bytes for the plain side.
    to_plain: Direction,
    // Whether the plain side has received only complete PDUs, and can read another one.
    is_between_pdus: Cell<bool>,
    // The plain side was notified of the end, and the gateway waits for it to close.
    plain_notified: Cell<bool>,
    // The PDU that the gateway sent in the place of a side that was lost.
    replied: Cell<Option<ClosingPdu>>,
    // Observed bytes for a side are not completely sent.
    has_unsent_to_plain: Cell<bool>,
    has_unsent_to_tls: Cell<bool>,
    // The gateway ended both sides cleanly.
    is_clean: Cell<bool>,
    // One task ends the TLS side, and the other tasks leave it alone.
    is_tls_end_claimed: Cell<bool>,
    // The bytes that the plain side and the TLS side had not acknowledged when they were reset.
    left: [Cell<Option<u64>>; 2],
}

/// The indices of the sockets in arrays with one value for each.
const PLAIN: usize = 0;
const TLS: usize = 1;

impl<N: Socket, F: Socket> Link<N, F> {
    /// `to_plain` is the direction of bytes for the plain side.
    pub(super) fn new(
        plain: N,
        tls: F,
        observer: Rc<RefCell<Observer>>,
        to_plain: Direction,
    ) -> Self {
        Self {
            observer,
            to_plain,
            is_between_pdus: Cell::new(true),
            plain_notified: Cell::new(false),
            replied: Cell::new(None),
            has_unsent_to_plain: Cell::new(false),
            has_unsent_to_tls: Cell::new(false),
            is_clean: Cell::new(false),
            is_tls_end_claimed: Cell::new(false),
            left: Default::default(),
            plain,
            tls,
            ended: RefCell::new(None),
            finished: Cell::new(None),
            has_finished: Notify::new(),
            moved: Cell::new(Instant::now()),
            answered: Cell::new(false),
            exchanges: Cell::new(0),
        }
    }

    /// Resets both sockets at once: an incomplete delivery must not look complete.
    pub(super) fn fail(&self, by: ClosedBy, reason: CloseReason) {
        self.note(by, reason);
        self.end_plain(None);
        self.abort_tls();
    }

    /// Records that observed bytes must not pass. The plain side is notified at once if possible; the
    /// directions that lead to the sides end both.
    fn forbid(&self, why: &Forbidden) {
        self.note(ClosedBy::Gateway, CloseReason::Forbidden(why.to_string()));
        self.notify_plain(Some(why));
    }

    /// Ends the plain side at once: sends a protocol-level rejection or abort if possible, else resets. After
    /// such a reply, the task that receives from the application waits for it to close.
    pub(super) fn end_plain(&self, why: Option<&Forbidden>) {
        if !self.notify_plain(why) {
            self.abort_plain();
        }
    }

    // Whether the plain side was notified that the connection is aborted.
    fn notify_plain(&self, why: Option<&Forbidden>) -> bool {
        if self.plain_notified.get() {
            return true;
        }
        let pdu = self.observer.borrow().closing_pdu(self.to_plain, why);
        let Some(pdu) = pdu.filter(|_| self.is_between_pdus.get()) else {
            return false;
        };
        // If the reply itself is cut off, no byte of another sender is lost.
        let left = self.plain.send_queue().map_or(0, |queue| queue.bytes());
        let is_sent = self.plain.send_now(&pdu.to_bytes()).is_ok() && self.plain.finish().is_ok();
        self.plain_notified.set(is_sent);
        if is_sent && why.is_none() {
            self.note_reply(pdu);
        }
        if !is_sent && let Some(plain) = self.left.first() {
            plain.set(plain.get().or(Some(left)));
        }
        is_sent
    }

    /// Resets the plain side at once.
    pub(super) fn abort_plain(&self) {
        self.note_left(PLAIN, &self.plain);
        self.plain.abort();
    }

    /// Resets the TLS side at once.
    pub(super) fn abort_tls(&self) {
        self.note_left(TLS, &self.tls);
        self.tls.abort();
    }

    // Bytes that a socket still holds when it is reset were not delivered.
    fn note_left<S: Socket>(&self, which: usize, socket: &S) {
        let Some(left) = self.left.get(which) else {
            return;
        };
        if left.get().is_none() {
            let queue = socket.send_queue();
            left.set(Some(queue.map_or(0, |queue| queue.bytes())));
        }
    }

    /// Bytes that were sent but not acknowledged by the plain side and the TLS side when they were reset.
    pub(super) fn left(&self) -> [u64; 2] {
        self.left.each_ref().map(|left| left.get().unwrap_or(0))
    }

    /// Ends the plain side like `end_plain`, after it has acknowledged all sent bytes or makes no more
    /// progress.
    pub(super) async fn end_plain_after_delivery(&self) {
        delivered_or_stalled(&self.plain, &self.moved).await;
        self.end_plain(None);
    }

    /// Resets the TLS side after it has acknowledged all sent bytes, or makes no more progress.
    pub(super) async fn abort_tls_after_delivery(&self) {
        delivered_or_stalled(&self.tls, &self.moved).await;
        self.abort_tls();
    }

    /// Resets both sides, each after it has acknowledged all sent bytes or makes no more progress.
    pub(super) async fn abort_both_after_delivery(&self) {
        tokio::join!(
            delivered_or_stalled(&self.plain, &self.moved),
            delivered_or_stalled(&self.tls, &self.moved)
        );
        self.abort_plain();
        self.abort_tls();
    }

    /// Waits until `socket`, one of the two, makes no more progress with the bytes sent to it.
    pub(super) async fn stalls<S: Socket>(&self, socket: &S) {
        stalls(socket, &self.moved).await;
    }

    /// Whether the caller may end the TLS side: no other task has begun to.
    pub(super) fn claim_tls_end(&self) -> bool {
        !self.is_tls_end_claimed.replace(true)
    }

    /// Records the PDU that the gateway sends in the place of a side that was lost.
    pub(super) fn note_reply(&self, reply: ClosingPdu) {
        self.replied.set(Some(reply));
    }

    /// The PDU that the gateway sent in the place of a side that was lost.
    pub(super) fn reply(&self) -> Option<ClosingPdu> {
        self.replied.get()
    }

    /// Whether the plain side was notified of the end and may not have closed yet.
    pub(super) fn is_plain_notified(&self) -> bool {
        self.plain_notified.get()
    }

    /// Whether the plain side was ended already, so that nothing can be delivered there.
    pub(super) fn is_plain_ended(&self) -> bool {
        let is_reset = |left: &Cell<Option<u64>>| left.get().is_some();
        self.plain_notified.get() || self.left.first().is_some_and(is_reset)
    }

    /// Whether nothing is outstanding between the applications.
    pub(super) fn is_at_rest(&self) -> bool {
        let is_moving = self.has_unsent_to_plain.get() || self.has_unsent_to_tls.get();
        !is_moving && self.observer.borrow().is_at_rest()
    }

    /// Whether an association is open, nothing is outstanding in it, and all its bytes are forwarded.
    pub(super) fn is_idle_association(&self) -> bool {
        let is_moving = self.has_unsent_to_plain.get() || self.has_unsent_to_tls.get();
        !is_moving && !self.is_finished() && self.observer.borrow().is_idle_association()
    }

    /// How long no byte has moved.
    pub(super) fn silence(&self) -> Duration {
        self.moved.get().elapsed()
    }

    /// Whether an association is open and the plain side still waits, so that the end of the TLS side must
    /// not look clean to it.
    pub(super) fn plain_waits_for_tls(&self) -> bool {
        self.waits_for_other(self.to_plain)
    }

    /// The same as `plain_waits_for_tls`, in the other direction.
    pub(super) fn tls_waits_for_plain(&self) -> bool {
        self.waits_for_other(self.to_tls())
    }

    // An application that has ended its own direction no longer waits.
    fn waits_for_other(&self, direction: Direction) -> bool {
        self.finished.get().is_none() && self.observer.borrow().waits_for_other(direction)
    }

    /// The PDU for the application behind the TLS side, if the end of the plain side ended the connection and
    /// a PDU can be sent.
    pub(super) fn closing_pdu_for_tls(&self) -> Option<ClosingPdu> {
        let is_by_plain = |close: &Close| close.by == ClosedBy::PlainSide;
        if !self.ended.borrow().as_ref().is_some_and(is_by_plain) || self.has_unsent_to_tls.get() {
            return None;
        }
        let observer = self.observer.borrow();
        let can_send_pdu = observer.can_send_pdu(self.to_tls());
        observer
            .closing_pdu(self.to_tls(), None)
            .filter(|_| can_send_pdu)
    }

    fn to_tls(&self) -> Direction {
        match self.to_plain {
            Direction::ToTarget => Direction::ToClient,
            Direction::ToClient => Direction::ToTarget,
        }
    }

    /// Ends both sides cleanly, with nothing outstanding, because of `reason`. `records` are close_notify and
    /// the records before it, `last` the last bytes for the plain side.
    pub(super) fn end_cleanly(&self, reason: CloseReason, records: &[u8], last: &[u8]) {
        self.note(ClosedBy::Gateway, reason.clone());
        let tls = self.tls.send_now(records).and_then(|()| self.tls.finish());
        let plain = || match last {
            [] => self.plain.finish(),
            last => self.plain.send_now(last).and_then(|()| self.plain.finish()),
        };
        match tls.and_then(|()| plain()) {
            Ok(()) => self.is_clean.set(true),
            // A peer that has gone has lost nothing.
            Err(_) => self.fail(ClosedBy::Gateway, reason),
        }
    }

    /// Observes bytes from the plain side; returns whether they may pass.
    pub(super) fn observe_from_plain<'b>(&self, parts: impl Iterator<Item = &'b [u8]>) -> bool {
        self.has_unsent_to_tls.set(true);
        self.observe(self.to_tls(), parts)
    }

    /// Observes bytes for the plain side; returns whether they may pass. The caller must report them with
    /// `answer` when they are delivered.
    pub(super) fn observe_for_plain<'b>(&self, parts: impl Iterator<Item = &'b [u8]>) -> bool {
        let may_go_on = self.observe(self.to_plain, parts);
        self.has_unsent_to_plain.set(true);
        self.is_between_pdus.set(false);
        may_go_on
    }

    fn observe<'b>(&self, direction: Direction, parts: impl Iterator<Item = &'b [u8]>) -> bool {
        let mut observer = self.observer.borrow_mut();
        if observer.is_blind() {
            return true;
        }
        let now = Instant::now().into_std();
        for part in parts {
            if let Err(why) = observer.observe(direction, part, now) {
                drop(observer);
                self.forbid(&why);
                return false;
            }
        }
        true
    }

    /// The counts of the observer until now.
    pub(super) fn progress(&self) -> Option<Progress> {
        self.observer.borrow().progress()
    }

    /// How long the first request has waited if it came at `began` or later, with or without a reply.
    pub(super) fn unanswered_for(&self, began: Instant) -> Option<Duration> {
        let now = Instant::now().into_std();
        let observer = self.observer.borrow();
        observer.first_request_waits(began.into_std(), now)
    }

    /// Whether a side ended an MLLP message without CR.
    pub(super) fn lacks_cr(&self) -> bool {
        self.observer.borrow().lacks_cr()
    }

    /// Returns that side, once.
    pub(super) fn take_lack_of_cr(&self) -> Option<hl7::MllpRole> {
        self.observer.borrow_mut().take_lack_of_cr()
    }

    /// The observer, when the connection has ended.
    pub(super) fn observer(&self) -> Observer {
        self.observer.take()
    }

    /// Records the cause without ending the sockets yet.
    pub(super) fn note(&self, by: ClosedBy, reason: CloseReason) {
        self.ended.borrow_mut().get_or_insert(Close { by, reason });
    }

    /// Whether a cause is known.
    pub(super) fn failed(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// Whether there is a cause that needs a reset of both sides.
    pub(super) fn is_broken(&self) -> bool {
        self.failed() && !self.is_clean.get()
    }

    /// Records that `by` finished its direction cleanly.
    pub(super) fn finish(&self, by: ClosedBy) {
        self.finished.set(self.finished.get().or(Some(by)));
        self.note_movement();
        self.has_finished.notify_one();
    }

    /// Whether a side has finished its direction cleanly.
    pub(super) fn is_finished(&self) -> bool {
        self.finished.get().is_some()
    }

    /// Records that bytes moved just now.
    pub(super) fn note_movement(&self) {
        self.moved.set(Instant::now());
    }

    /// Records that all observed bytes for the plain side are delivered.
    pub(super) fn answer(&self) {
        self.answered.set(true);
        self.has_unsent_to_plain.set(false);
        self.is_between_pdus
            .set(self.observer.borrow().can_send_pdu(self.to_plain));
    }

    /// Records that the plain side sent and that all of it is forwarded. Returns whether messages and answers
    /// have alternated for a while. In that case each answer carries the acknowledgement that the next
    /// message may wait for; a sender that holds back part of a message breaks the alternation.
    pub(super) fn is_conversation(&self) -> bool {
        self.has_unsent_to_tls.set(false);
        let exchanges = match self.answered.replace(false) {
            true => self.exchanges.get().saturating_add(1),
            false => 0,
        };
        self.exchanges.set(exchanges);
        exchanges >= EXCHANGES_MIN
    }

    /// How the connection ended, after both directions have ended.
    pub(super) fn close(&self) -> Close {
        let complete = || Close {
            by: self.finished.get().unwrap_or(ClosedBy::Gateway),
            reason: CloseReason::Complete,
        };
        self.ended.borrow_mut().take().unwrap_or_else(complete)
    }

    /// Waits for both directions; ends them if a deadline of `timeouts` passes or the drain is over.
    /// `parties` are at the plain and the TLS socket. A reason that `until` returns ends the connection; if
    /// `until` returns none, both directions continue and the result is true.
    pub(super) async fn watch(
        &self,
        mut both: Pin<&mut impl Future>,
        timeouts: &Timeouts,
        parties: [ClosedBy; 2],
        handle: &ConnectionHandle,
        until: impl Future<Output = Option<CloseReason>>,
    ) -> bool {
        tokio::select! {
            biased;
            _ = &mut both => return false,
            ended = until => match ended {
                Some(_) if self.is_clean.get() => {
                    // The other ways to end follow later.
                    if timeout(ALERT_LINGER, both.as_mut()).await.is_ok() {
                        return false;
                    }
                    self.plain.stop_reading();
                    self.tls.stop_reading();
                }
                Some(reason) => self.fail(ClosedBy::Gateway, reason),
                None => return true,
            },
            overdue = self.overdue(timeouts, parties) => {
                self.note(overdue.close.by, overdue.close.reason.clone());
                tokio::select! {
                    biased;
                    _ = &mut both => return false,
                    () = Box::pin(self.end_overdue(overdue)) => {}
                    reason = handle.stopped() => self.stop(reason),
                }
            }
            reason = handle.stopped() => self.stop(reason),
        }
        // The sockets are ended, so pending operations complete; they are never dropped.
        both.await;
        false
    }

    fn stop(&self, reason: CloseReason) {
        // An application that was notified before has had its time.
        match self.is_plain_notified() {
            true => self.abort_plain(),
            false => self.fail(ClosedBy::Gateway, reason),
        }
    }

    // If one side is gone, the other may still receive the bytes that the first has sent: the direction to it
    // ends it when it notices, within a time limit.
    async fn end_overdue(&self, overdue: Overdue) {
        let Close { by, reason } = overdue.close;
        match overdue.gone {
            None => {}
            Some(PLAIN) => {
                self.abort_plain();
                stalls(&self.tls, &self.moved).await;
            }
            Some(_) => {
                self.abort_tls();
                stalls(&self.plain, &self.moved).await;
            }
        }
        self.fail(by, reason);
    }

    // Waits until nothing has moved for too long or a receiver is gone, and returns how that ends the
    // connection. All deadlines share one timer, because every resting connection has it.
    async fn overdue(&self, timeouts: &Timeouts, parties: [ClosedBy; 2]) -> Overdue {
        let idle = timeouts.idle;
        let limits = Limits {
            user: timeouts.user,
            stall: timeouts.stall,
        };
        let look_every = limits.look_every().min(LOOK_EVERY);
        let mut receivers = Receivers::new();
        let of_us = |which| Overdue {
            close: Close {
                by: ClosedBy::Gateway,
                reason: CloseReason::Deadline(which),
            },
            gone: None,
        };
        loop {
            let moved = self.moved.get();
            let silence = moved.elapsed();
            if idle.is_some_and(|idle| silence >= idle) {
                return of_us(Deadline::Idle);
            }
            // One direction has finished cleanly and the other has been silent for long: the side that
            // finished may be gone, which TCP reports only to senders.
            if silence >= HALF_CLOSED_SILENCE && self.finished.get().is_some() {
                return of_us(Deadline::HalfClosed);
            }
            // If all bytes were acknowledged and nothing has moved since, no system call is needed.
            if receivers.rest_since != Some(moved) {
                let plain = look_at(&self.plain, &mut receivers.plain, limits, parties[0]);
                let tls = look_at(&self.tls, &mut receivers.tls, limits, parties[1]);
                receivers.rest_since = match (plain, tls) {
                    (Err(close), _) => return Overdue::of(PLAIN, close),
                    (_, Err(close)) => return Overdue::of(TLS, close),
                    (Ok(true), Ok(true)) => Some(moved),
                    _ => None,
                };
            }
            let mut left = idle.map_or(LOOK_EVERY, |idle| idle.saturating_sub(silence));
            // If the association is over, the gateway waits for the open side as after its own reply.
            if self.is_finished() && self.observer.borrow().is_association_over() {
                if silence >= ARTIM {
                    return of_us(Deadline::HalfClosed);
                }
                left = left.min(ARTIM.saturating_sub(silence));
            }
            tokio::select! {
                () = sleep(left.min(look_every)) => {}
                () = self.has_finished.notified() => {}
            }
        }
    }
}

/// How a connection ends after a deadline.
struct Overdue {
    close: Close,
    // The socket whose receiver is gone, if this is the cause.
    gone: Option<usize>,
}

impl Overdue {
    fn of(which: usize, close: Close) -> Self {
        let gone = Some(which);
        Self { close, gone }
    }
}

/// Both receivers of a connection.
struct Receivers {
    plain: Receiver,
    tls: Receiver,
    // The time of the last movement at which both receivers had acknowledged all bytes.
    rest_since: Option<Instant>,
}

impl Receivers {
    fn new() -> Self {
        let now = Instant::now().into_std();
        Self {
            plain: Receiver::new(now),
            tls: Receiver::new(now),
            rest_since: None,
        }
    }
}

// Whether `party` has acknowledged all sent bytes; or how the connection ends because it never will.
fn look_at<S: Socket>(
    socket: &S,
    receiver: &mut Receiver,
    limits: Limits,
    party: ClosedBy,
) -> Result<bool, Close> {
    // The task that reads or writes a socket notices its end. Without this data from the kernel, slow
    // receivers are ended like dead ones.
    let Ok(queue) = socket.send_queue() else {
        return Ok(false);
    };
    let was_slow = receiver.is_slow();
    let state = receiver.look(&queue, limits, Instant::now().into_std());
    if receiver.is_slow() != was_slow {
        socket.set_user_timeout(was_slow.then_some(limits.user));
    }
    match state {
        DeliveryState::Done => Ok(true),
        DeliveryState::Busy | DeliveryState::Slow => Ok(false),
        DeliveryState::Stalled => Err(Close {
            by: ClosedBy::Gateway,
            reason: CloseReason::Stalled(party),
        }),
        DeliveryState::Gone => Err(Close {
            by: party,
            reason: CloseReason::Reset(GONE.to_owned()),
        }),
    }
}

// The maximum delay until a silent half-closed connection is noticed.
const LOOK_EVERY: Duration = Duration::from_secs(HALF_CLOSED_SILENCE.as_secs() / 8);
