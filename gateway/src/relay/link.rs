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
}

impl<N: Socket, F: Socket> Link<N, F> {
    pub(super) fn new(near: N, far: F) -> Self {
        Self {
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
        self.near.abort();
        self.far.abort();
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

    /// Notes that the near side was sent something.
    pub(super) fn answer(&self) {
        self.answered.set(true);
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
            () = stopped(&mut stop) => self.fail(Party::Gateway, Reason::Drained),
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
