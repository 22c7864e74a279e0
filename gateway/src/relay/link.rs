//! The two sockets of a connection, what both directions share, and how it ends.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::ending::{settle, stalls};
use super::handle::ConnectionHandle;
use super::receiver::{Limits, Receiver, State};
use crate::audit::{Close, ClosedBy, Deadline, Reason};
use crate::config::Timeouts;
use crate::dicom::Answer;
use crate::hl7;
use crate::limits::{ALERT_LINGER, ARTIM, EXCHANGES_MIN, HALF_CLOSED_SILENCE};
use crate::observe::{Direction, Forbidden, Observer, Progress};
use crate::uring::{Socket, sleep, timeout};

/// Two sockets and the one end that they come to.
///
/// `plain` is where payload is plain (passthrough: who connected to us), `tls` the other.
pub(super) struct Link<N, F> {
    pub(super) plain: N,
    pub(super) tls: F,
    // The first cause is the cause; what follows from it is not told.
    ended: RefCell<Option<Close>>,
    // Who finished its direction first, where both do so in order.
    finished: Cell<Option<ClosedBy>>,
    // Told when somebody finished; the watch of the connection waits for it.
    has_finished: Notify,
    moved: Cell<Instant>,
    // Whether something was delivered to the near side since it spoke last, and how many times in a
    // row that was so when it spoke.
    answered: Cell<bool>,
    exchanges: Cell<u32>,
    observer: RefCell<Observer>,
    // Where bytes for the near side go, seen from who connected.
    nearward: Direction,
    // Whether the near side has been delivered whole messages, and would understand another.
    listens: Cell<bool>,
    // The near side was told why, and is waited for.
    parting: Cell<bool>,
    // Something was seen for a side and is not all sent.
    is_owed_to_near: Cell<bool>,
    is_owed_to_far: Cell<bool>,
    // Both sides were ended in order by us.
    is_in_order: Cell<bool>,
    // Somebody ends the far side, and others leave it alone.
    is_far_taken: Cell<bool>,
    // Bytes that the near and the far side had not taken when they were reset.
    left: [Cell<Option<u64>>; 2],
}

/// The sockets of a link, for the places of what is kept of each.
const PLAIN: usize = 0;
const TLS: usize = 1;

impl<N: Socket, F: Socket> Link<N, F> {
    /// `nearward` is where bytes for the near side go.
    pub(super) fn new(plain: N, tls: F, observer: Observer, nearward: Direction) -> Self {
        Self {
            observer: RefCell::new(observer),
            nearward,
            listens: Cell::new(true),
            parting: Cell::new(false),
            is_owed_to_near: Cell::new(false),
            is_owed_to_far: Cell::new(false),
            is_in_order: Cell::new(false),
            is_far_taken: Cell::new(false),
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

    /// Ends both sockets visibly and at once: what they have not delivered whole must not look complete.
    pub(super) fn fail(&self, by: ClosedBy, reason: Reason) {
        self.note(by, reason);
        self.end_near(None);
        self.abort_tls();
    }

    /// Notes that what was seen must not go on. The near side is told at once if it can be; both are ended by
    /// the directions that lead to them.
    fn forbid(&self, why: &Forbidden) {
        self.note(ClosedBy::Gateway, Reason::Forbidden(why.to_string()));
        self.say_to_near(Some(why));
    }

    /// Ends the near side at once: by a word of its own protocol where there is one for it and it can be said,
    /// else by a reset. An application that was told is waited for until it closes, by whoever receives from
    /// it.
    pub(super) fn end_near(&self, why: Option<&Forbidden>) {
        if !self.say_to_near(why) {
            self.abort_plain();
        }
    }

    // Whether the near side has been told that the connection is broken off.
    fn say_to_near(&self, why: Option<&Forbidden>) -> bool {
        if self.parting.get() {
            return true;
        }
        let words = self.observer.borrow().last_words(self.nearward, why);
        let Some(words) = words.filter(|_| self.listens.get()) else {
            return false;
        };
        // A word that is cut off itself is nothing that another sent.
        let left = self.plain.send_queue().map_or(0, |queue| queue.bytes());
        let is_said = self.plain.send_now(&words.octets()).is_ok() && self.plain.finish().is_ok();
        self.parting.set(is_said);
        if !is_said && let Some(plain) = self.left.first() {
            plain.set(plain.get().or(Some(left)));
        }
        is_said
    }

    /// Resets the near side at once.
    pub(super) fn abort_plain(&self) {
        self.note_left(PLAIN, &self.plain);
        self.plain.abort();
    }

    /// Resets the far side at once.
    pub(super) fn abort_tls(&self) {
        self.note_left(TLS, &self.tls);
        self.tls.abort();
    }

    // What a socket still holds when it is reset was not delivered.
    fn note_left<S: Socket>(&self, which: usize, socket: &S) {
        let Some(left) = self.left.get(which) else {
            return;
        };
        if left.get().is_none() {
            let queue = socket.send_queue();
            left.set(Some(queue.map_or(0, |queue| queue.bytes())));
        }
    }

    /// Bytes that were sent and that the near and the far side had not taken when they were reset.
    pub(super) fn left(&self) -> [u64; 2] {
        self.left.each_ref().map(|left| left.get().unwrap_or(0))
    }

    /// Ends the near side as `end_near` does, once it has taken what was sent to it or goes on taking it no
    /// more.
    pub(super) async fn leave_near(&self) {
        settle(&self.plain, &self.moved).await;
        self.end_near(None);
    }

    /// Resets the far side once it has taken what was sent to it, or goes on taking it no more.
    pub(super) async fn leave_far(&self) {
        settle(&self.tls, &self.moved).await;
        self.abort_tls();
    }

    /// Resets both sides, once each has taken what was sent to it or goes on taking it no more.
    pub(super) async fn leave_both(&self) {
        tokio::join!(
            settle(&self.plain, &self.moved),
            settle(&self.tls, &self.moved)
        );
        self.abort_plain();
        self.abort_tls();
    }

    /// Waits until `socket`, one of the two, takes nothing more of what is sent to it.
    pub(super) async fn stalls<S: Socket>(&self, socket: &S) {
        stalls(socket, &self.moved).await;
    }

    /// Whether the far side is the caller's to end: nobody else has begun to.
    pub(super) fn take_far(&self) -> bool {
        !self.is_far_taken.replace(true)
    }

    /// Whether the near side was told that the connection has ended, and may not have closed yet.
    pub(super) fn is_parting(&self) -> bool {
        self.parting.get()
    }

    /// Whether the near side was ended already, so that nothing can be delivered there.
    pub(super) fn is_near_ended(&self) -> bool {
        let is_reset = |left: &Cell<Option<u64>>| left.get().is_some();
        self.parting.get() || self.left.first().is_some_and(is_reset)
    }

    /// Whether nothing is outstanding between the applications.
    pub(super) fn is_at_rest(&self) -> bool {
        let is_moving = self.is_owed_to_near.get() || self.is_owed_to_far.get();
        !is_moving && self.observer.borrow().is_at_rest()
    }

    /// Whether the near side, of an open association, must not take the end of the far side for a good one.
    pub(super) fn near_waits_for_far(&self) -> bool {
        self.waits_for_other(self.nearward)
    }

    /// As `near_waits_for_far`, the other way round.
    pub(super) fn far_waits_for_near(&self) -> bool {
        self.waits_for_other(self.farward())
    }

    // An application that has ended its own direction waits no more.
    fn waits_for_other(&self, direction: Direction) -> bool {
        self.finished.get().is_none() && self.observer.borrow().waits_for_other(direction)
    }

    /// What the application at the far side is told of the end of the near side, where that ended the
    /// connection and something can be said.
    pub(super) fn words_for_far(&self) -> Option<Answer> {
        let is_by_plain = |close: &Close| close.by == ClosedBy::PlainSide;
        if !self.ended.borrow().as_ref().is_some_and(is_by_plain) || self.is_owed_to_far.get() {
            return None;
        }
        let observer = self.observer.borrow();
        let may_speak = observer.may_speak(self.farward());
        observer
            .last_words(self.farward(), None)
            .filter(|_| may_speak)
    }

    fn farward(&self) -> Direction {
        match self.nearward {
            Direction::ToTarget => Direction::ToClient,
            Direction::ToClient => Direction::ToTarget,
        }
    }

    /// Ends both sides in order, with nothing outstanding: `words` are close_notify, and what TLS owes
    /// before it. Returns why the connection ends.
    pub(super) fn end_in_order(&self, words: &[u8]) -> Reason {
        self.note(ClosedBy::Gateway, Reason::AtRest);
        let tls = self.tls.send_now(words).and_then(|()| self.tls.finish());
        match tls.and_then(|()| self.plain.finish()) {
            Ok(()) => self.is_in_order.set(true),
            // Whoever is gone has taken nothing with it.
            Err(_) => self.fail(ClosedBy::Gateway, Reason::AtRest),
        }
        Reason::AtRest
    }

    /// Looks at bytes that come from the near side; whether they may go on.
    pub(super) fn see_from_near<'b>(&self, parts: impl Iterator<Item = &'b [u8]>) -> bool {
        self.is_owed_to_far.set(true);
        self.observe(self.farward(), parts)
    }

    /// Looks at bytes for the near side; whether they may go on. They must be told as delivered when
    /// they are.
    pub(super) fn see_for_near<'b>(&self, parts: impl Iterator<Item = &'b [u8]>) -> bool {
        let may_go_on = self.observe(self.nearward, parts);
        self.is_owed_to_near.set(true);
        self.listens.set(false);
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

    /// What the observer has seen until now.
    pub(super) fn progress(&self) -> Option<Progress> {
        self.observer.borrow().progress()
    }

    /// How long the first request has waited that came at `began` at the earliest, answered or not.
    pub(super) fn unanswered_for(&self, began: Instant) -> Option<Duration> {
        let now = Instant::now().into_std();
        let observer = self.observer.borrow();
        observer.first_request_waits(began.into_std(), now)
    }

    /// Whether a side ended a message of MLLP without CR.
    pub(super) fn lacks_cr(&self) -> bool {
        self.observer.borrow().lacks_cr()
    }

    /// Takes the side that did so, once.
    pub(super) fn take_lack_of_cr(&self) -> Option<hl7::Role> {
        self.observer.borrow_mut().take_lack_of_cr()
    }

    /// The observer, when the connection has ended.
    pub(super) fn observer(&self) -> Observer {
        self.observer.take()
    }

    /// Notes the cause without ending the sockets yet.
    pub(super) fn note(&self, by: ClosedBy, reason: Reason) {
        self.ended.borrow_mut().get_or_insert(Close { by, reason });
    }

    /// Whether a cause is known.
    pub(super) fn failed(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// Whether a cause is known for which both sides must be ended visibly.
    pub(super) fn is_broken(&self) -> bool {
        self.failed() && !self.is_in_order.get()
    }

    /// Notes that `by` finished its direction in order.
    pub(super) fn finish(&self, by: ClosedBy) {
        self.finished.set(self.finished.get().or(Some(by)));
        self.stir();
        self.has_finished.notify_one();
    }

    /// Whether a side has finished its direction in order.
    pub(super) fn is_finished(&self) -> bool {
        self.finished.get().is_some()
    }

    /// Notes that bytes moved just now.
    pub(super) fn stir(&self) {
        self.moved.set(Instant::now());
    }

    /// Notes that all that was seen for the near side has been delivered.
    pub(super) fn answer(&self) {
        self.answered.set(true);
        self.is_owed_to_near.set(false);
        self.listens
            .set(self.observer.borrow().may_speak(self.nearward));
    }

    /// Notes that the near side spoke and all of it has been sent, and says whether it has been message and answer by turns for a
    /// while. Then each answer carries the acknowledgement that the next message may wait for, and who
    /// holds back a part of a message breaks the turns.
    pub(super) fn is_conversation(&self) -> bool {
        self.is_owed_to_far.set(false);
        let exchanges = match self.answered.replace(false) {
            true => self.exchanges.get().saturating_add(1),
            false => 0,
        };
        self.exchanges.set(exchanges);
        exchanges >= EXCHANGES_MIN
    }

    /// How it ended, once both directions have.
    pub(super) fn close(&self) -> Close {
        let complete = || Close {
            by: self.finished.get().unwrap_or(ClosedBy::Gateway),
            reason: Reason::Complete,
        };
        self.ended.borrow_mut().take().unwrap_or_else(complete)
    }

    /// Awaits both directions; ends them where a deadline of `timeouts` passes, or the drain is over.
    /// `parties` are at the near and the far socket. A reason that `until` returns ends the connection;
    /// where it returns none, both directions go on, and the outcome is true.
    pub(super) async fn watch(
        &self,
        mut both: Pin<&mut impl Future>,
        timeouts: &Timeouts,
        parties: [ClosedBy; 2],
        handle: &ConnectionHandle,
        until: impl Future<Output = Option<Reason>>,
    ) -> bool {
        tokio::select! {
            biased;
            _ = &mut both => return false,
            ended = until => match ended {
                Some(Reason::AtRest) => {
                    // The other ends close in their turn, or later.
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
        // The sockets are ended, so what is in flight comes back; it is never dropped.
        both.await;
        false
    }

    fn stop(&self, reason: Reason) {
        // An application that was told before has had its time.
        match self.is_parting() {
            true => self.abort_plain(),
            false => self.fail(ClosedBy::Gateway, reason),
        }
    }

    // Where one side is gone, the other may still take what that one has sent: the direction that leads
    // there ends it when it finds out, within a time.
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
    // connection. One timer for all, because every connection that rests has it.
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
                reason: Reason::Deadline(which),
            },
            gone: None,
        };
        loop {
            let moved = self.moved.get();
            let silence = moved.elapsed();
            if idle.is_some_and(|idle| silence >= idle) {
                return of_us(Deadline::Idle);
            }
            // One direction has finished in order and the other has been silent for long: whoever
            // finished may be gone altogether, which TCP tells only to those who send.
            if silence >= HALF_CLOSED_SILENCE && self.finished.get().is_some() {
                return of_us(Deadline::HalfClosed);
            }
            // Where all had been taken and nothing moved since, there is nothing to ask the system.
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
            // Where the association is over, who has not closed is waited for as after a word of our own.
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

/// How a connection ends that was watched.
struct Overdue {
    close: Close,
    // The socket whose receiver is gone, where it is that.
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
    // When bytes had moved last as both had taken all.
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

// Whether `party` has taken all that was sent to it, or how the connection ends because it never will.
fn look_at<S: Socket>(
    socket: &S,
    receiver: &mut Receiver,
    limits: Limits,
    party: ClosedBy,
) -> Result<bool, Close> {
    // A socket that has ended is known to who reads from it or writes to it; a kernel that does not know
    // ends slow receivers as dead ones.
    let Ok(queue) = socket.send_queue() else {
        return Ok(false);
    };
    let was_slow = receiver.is_slow();
    let state = receiver.look(&queue, limits, Instant::now().into_std());
    if receiver.is_slow() != was_slow {
        socket.set_user_timeout(was_slow.then_some(limits.user));
    }
    match state {
        State::Done => Ok(true),
        State::Busy | State::Slow => Ok(false),
        State::Stalled => Err(Close {
            by: ClosedBy::Gateway,
            reason: Reason::Stalled(party),
        }),
        State::Gone => Err(Close {
            by: party,
            reason: Reason::Reset(GONE.to_owned()),
        }),
    }
}

const GONE: &str = "the other end stopped answering: neither data nor probes were acknowledged \
    (timeouts.user, or keepalive)";

/// Whether a connection ended because its other end stopped answering.
pub(super) fn is_silence(reason: &Reason) -> bool {
    matches!(reason, Reason::Reset(text) if text == GONE)
}

// How late at most a half-closed connection may be found silent.
const LOOK_EVERY: Duration = Duration::from_secs(HALF_CLOSED_SILENCE.as_secs() / 8);

/// A socket's end in the reason's words.
pub(super) fn reset(error: &io::Error) -> Reason {
    Reason::Reset(match error.kind() {
        io::ErrorKind::TimedOut => GONE.to_owned(),
        _ => error.to_string(),
    })
}
