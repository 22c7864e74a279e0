//! The two sockets of a connection, what both directions share, and how it ends.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::audit::{Close, Party, Reason};
use crate::limits::{EXCHANGES_MIN, HALF_CLOSED_SILENCE};
use crate::observe::{Direction, Forbidden, Observer};
use crate::uring::Socket;

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

    /// Awaits both directions; ends them where nothing moved for `idle`, or the drain is over.
    pub(super) async fn watch(
        &self,
        mut both: Pin<&mut impl Future>,
        idle: Option<Duration>,
        mut stop: watch::Receiver<bool>,
    ) {
        tokio::select! {
            biased;
            _ = &mut both => return,
            which = self.silent(idle) => self.fail(Party::Gateway, Reason::Deadline(which)),
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
    }

    // Waits until nothing has moved for too long, and says by which deadline. One timer for both, which
    // looks again after at most `LOOK_EVERY`, because every connection that rests has it.
    async fn silent(&self, idle: Option<Duration>) -> &'static str {
        loop {
            let silence = self.moved.get().elapsed();
            if idle.is_some_and(|idle| silence >= idle) {
                return "idle";
            }
            // One direction has finished in order and the other has been silent for long: whoever
            // finished may be gone altogether, which TCP tells only to those who send.
            if silence >= HALF_CLOSED_SILENCE && self.finished.get().is_some() {
                return "half-closed";
            }
            let left = idle.map_or(LOOK_EVERY, |idle| idle.saturating_sub(silence));
            sleep(left.min(LOOK_EVERY)).await;
        }
    }
}

// How late a half-closed connection may be found silent.
const LOOK_EVERY: Duration = Duration::from_secs(HALF_CLOSED_SILENCE.as_secs() / 8);

/// Waits until connections must end.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone means that the process goes as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// A socket's end in the reason's words.
pub(super) fn reset(error: &io::Error) -> Reason {
    Reason::Reset(match error.kind() {
        io::ErrorKind::TimedOut => "the other end stopped answering".to_owned(),
        _ => error.to_string(),
    })
}
