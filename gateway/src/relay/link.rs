//! The two sockets of a connection, what both directions share, and how it ends.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::receiver::{Limits, Receiver, State};
use crate::audit::{Close, Party, Reason};
use crate::config::Timeouts;
use crate::limits::{EXCHANGES_MIN, HALF_CLOSED_SILENCE};
use crate::observe::{Direction, Forbidden, Observer};
use crate::uring::{Socket, sleep};

/// Two sockets and the one end that they come to.
///
/// `near` is where payload is plain (passthrough: who connected to us), `far` the other.
pub(super) struct Link<N, F> {
    pub(super) near: N,
    pub(super) far: F,
    // The first cause is the cause; what follows from it is not told.
    ended: RefCell<Option<Close>>,
    // Who finished its direction first, where both do so in order.
    finished: Cell<Option<Party>>,
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
}

impl<N: Socket, F: Socket> Link<N, F> {
    /// `nearward` is where bytes for the near side go.
    pub(super) fn new(near: N, far: F, observer: Observer, nearward: Direction) -> Self {
        Self {
            observer: RefCell::new(observer),
            nearward,
            listens: Cell::new(true),
            parting: Cell::new(false),
            near,
            far,
            ended: RefCell::new(None),
            finished: Cell::new(None),
            moved: Cell::new(Instant::now()),
            answered: Cell::new(false),
            exchanges: Cell::new(0),
        }
    }

    /// Ends both sockets visibly: what they have not delivered whole must not look complete.
    pub(super) fn fail(&self, by: Party, reason: Reason) {
        self.note(by, reason);
        self.end_near(None);
        self.far.abort();
    }

    /// As `fail`, because of what was seen.
    fn forbid(&self, why: &Forbidden) {
        self.note(Party::Gateway, Reason::Forbidden(why.to_string()));
        self.end_near(Some(why));
        self.far.abort();
    }

    /// Ends the near side: by a word of its own protocol where there is one for it and it can be said,
    /// else by a reset. Who was told is waited for until it closes; the sealing direction does so.
    pub(super) fn end_near(&self, why: Option<&Forbidden>) {
        if self.parting.get() {
            return;
        }
        let words = self.observer.borrow().last_words(self.nearward, why);
        if let Some(words) = words.filter(|_| self.listens.get())
            && self.near.send_now(&words.octets()).is_ok()
            && self.near.finish().is_ok()
        {
            return self.parting.set(true);
        }
        self.near.abort();
    }

    /// Whether the near side was told that the connection has ended, and may not have closed yet.
    pub(super) fn is_parting(&self) -> bool {
        self.parting.get()
    }

    /// Whether the applications have said all that they had to say.
    pub(super) fn is_over(&self) -> bool {
        self.observer.borrow().is_over()
    }

    /// Looks at bytes that come from the near side; whether they may go on.
    pub(super) fn see_from_near<'b>(&self, parts: impl Iterator<Item = &'b [u8]>) -> bool {
        let direction = match self.nearward {
            Direction::Onward => Direction::Homeward,
            Direction::Homeward => Direction::Onward,
        };
        self.see(direction, parts)
    }

    /// Looks at bytes for the near side; whether they may go on. They must be told as delivered when
    /// they are.
    pub(super) fn see_for_near<'b>(&self, parts: impl Iterator<Item = &'b [u8]>) -> bool {
        let may_go_on = self.see(self.nearward, parts);
        self.listens.set(false);
        may_go_on
    }

    fn see<'b>(&self, direction: Direction, parts: impl Iterator<Item = &'b [u8]>) -> bool {
        let mut observer = self.observer.borrow_mut();
        if observer.is_blind() {
            return true;
        }
        let now = Instant::now().into_std();
        for part in parts {
            if let Err(why) = observer.see(direction, part, now) {
                drop(observer);
                self.forbid(&why);
                return false;
            }
        }
        true
    }

    /// The observer, when the connection has ended.
    pub(super) fn observer(&self) -> Observer {
        self.observer.take()
    }

    /// Notes the cause without ending the sockets yet.
    pub(super) fn note(&self, by: Party, reason: Reason) {
        self.ended.borrow_mut().get_or_insert(Close { by, reason });
    }

    /// Whether a cause is known.
    pub(super) fn failed(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// Notes that `by` finished its direction in order.
    pub(super) fn finish(&self, by: Party) {
        self.finished.set(self.finished.get().or(Some(by)));
        self.stir();
    }

    /// Notes that bytes moved just now.
    pub(super) fn stir(&self) {
        self.moved.set(Instant::now());
    }

    /// Notes that all that was seen for the near side has been delivered.
    pub(super) fn answer(&self) {
        self.answered.set(true);
        self.listens
            .set(self.observer.borrow().may_speak(self.nearward));
    }

    /// Notes that the near side spoke, and says whether it has been message and answer by turns for a
    /// while. Then each answer carries the acknowledgement that the next message may wait for, and who
    /// holds back a part of a message breaks the turns.
    pub(super) fn is_conversation(&self) -> bool {
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
            by: self.finished.get().unwrap_or(Party::Gateway),
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
        parties: [Party; 2],
        mut stop: watch::Receiver<bool>,
        until: impl Future<Output = Option<Reason>>,
    ) -> bool {
        tokio::select! {
            biased;
            _ = &mut both => return false,
            ended = until => match ended {
                Some(reason) => self.fail(Party::Gateway, reason),
                None => return true,
            },
            close = self.overdue(timeouts, parties) => self.fail(close.by, close.reason),
            () = stopped(&mut stop) => {
                // Who was told before has had its time.
                match self.is_parting() {
                    true => self.near.abort(),
                    false => self.fail(Party::Gateway, Reason::Drained),
                }
            }
        }
        // The sockets are ended, so what is in flight comes back; it is never dropped.
        both.await;
        false
    }

    // Waits until nothing has moved for too long or a receiver is gone, and returns how that ends the
    // connection. One timer for all, because every connection that rests has it.
    async fn overdue(&self, timeouts: &Timeouts, parties: [Party; 2]) -> Close {
        let idle = timeouts.idle;
        let limits = Limits {
            user: timeouts.user,
            stall: timeouts.stall,
        };
        let look_every = limits.look_every().min(LOOK_EVERY);
        let mut receivers = Receivers::new();
        let of_us = |which| Close {
            by: Party::Gateway,
            reason: Reason::Deadline(which),
        };
        loop {
            let moved = self.moved.get();
            let silence = moved.elapsed();
            if idle.is_some_and(|idle| silence >= idle) {
                return of_us("idle");
            }
            // One direction has finished in order and the other has been silent for long: whoever
            // finished may be gone altogether, which TCP tells only to those who send.
            if silence >= HALF_CLOSED_SILENCE && self.finished.get().is_some() {
                return of_us("half-closed");
            }
            // Where all had been taken and nothing moved since, there is nothing to ask the system.
            if receivers.rest_since != Some(moved) {
                let near = look_at(&self.near, &mut receivers.near, limits, parties[0]);
                let far = look_at(&self.far, &mut receivers.far, limits, parties[1]);
                receivers.rest_since = match (near, far) {
                    (Err(close), _) | (_, Err(close)) => return close,
                    (Ok(true), Ok(true)) => Some(moved),
                    _ => None,
                };
            }
            let left = idle.map_or(LOOK_EVERY, |idle| idle.saturating_sub(silence));
            sleep(left.min(look_every)).await;
        }
    }
}

/// Both receivers of a connection.
struct Receivers {
    near: Receiver,
    far: Receiver,
    // When bytes had moved last as both had taken all.
    rest_since: Option<Instant>,
}

impl Receivers {
    fn new() -> Self {
        let now = Instant::now().into_std();
        Self {
            near: Receiver::new(now),
            far: Receiver::new(now),
            rest_since: None,
        }
    }
}

// Whether `party` has taken all that was sent to it, or how the connection ends because it never will.
fn look_at<S: Socket>(
    socket: &S,
    receiver: &mut Receiver,
    limits: Limits,
    party: Party,
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
            by: Party::Gateway,
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

// How late at most a half-closed connection may be found silent.
const LOOK_EVERY: Duration = Duration::from_secs(HALF_CLOSED_SILENCE.as_secs() / 8);

/// Waits until connections must end.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone means that the process goes as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// A socket's end in the reason's words.
pub(super) fn reset(error: &io::Error) -> Reason {
    Reason::Reset(match error.kind() {
        io::ErrorKind::TimedOut => GONE.to_owned(),
        _ => error.to_string(),
    })
}
