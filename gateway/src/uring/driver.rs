//! A worker's loop: tasks, a ring that is told of polls and waits for them, timers, and a bell.
//!
//! One turn polls the tasks that are ready, ends the sleeps that are over, and enters the kernel once: what
//! the tasks want to know is submitted, what has completed is taken, and where nobody is ready the thread
//! sleeps in that same call until a completion, a deadline or the bell.
//!
//! Why no wake-up is lost. A task that waits for a descriptor has its poll in the submission queue before the
//! loop enters the kernel, and the kernel answers a poll of what is ready already. A task that is woken while
//! the loop runs rings the bell, and a loop whose bell rang does not sleep. A task that is woken by another
//! thread rings the bell as well, and the bell tells that thread in the same step whether the loop sleeps; then
//! it makes a descriptor readable that the ring always polls while it sleeps, and that stays readable until the
//! loop has read it.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use io_uring::{IoUring, types};
use rustix::event::PollFlags;
use rustix::io::Errno;
use slab::Slab;
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::bell::Bell;
use super::timers::Timers;
use crate::limits::RING_FLUSHES_MAX;
use crate::sys::{push_poll, submit_and_look};

thread_local! {
    static CURRENT: RefCell<Option<Rc<Driver>>> = const { RefCell::new(None) };
}

/// What the tasks of one worker wait with.
pub(super) struct Driver {
    ring: RefCell<IoUring>,
    polls: RefCell<Slab<State>>,
    pub(super) timers: Timers,
    // Who wants to be woken behind the next look at the ring.
    turns: RefCell<Vec<Waker>>,
    // How often the ring was looked at.
    looks: Cell<u64>,
    bell: Arc<Bell>,
    // Whether the ring polls the bell.
    hears: Cell<bool>,
}

/// A poll that the ring knows of, or has answered.
enum State {
    // The file is kept, so that the descriptor number means it for as long as the poll runs.
    Asked(Rc<dyn AsRawFd>, Option<Waker>),
    // As before, and whoever asked is gone.
    Abandoned(Rc<dyn AsRawFd>),
    // The result of the completion: a set of events, or a negative error number.
    Answered(i32),
}

// No key of the slab, which counts from zero.
const BELL: u64 = u64::MAX;

impl Driver {
    /// The driver of this thread, where it runs one.
    pub(super) fn current() -> Option<Rc<Self>> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Runs `main`, and what it spawns, on this ring until `main` ends.
    ///
    /// # Errors
    /// No descriptor for the bell, or what the kernel says to the ring.
    pub(super) fn run<F: Future>(ring: IoUring, main: F) -> io::Result<F::Output> {
        let driver = Rc::new(Self {
            ring: RefCell::new(ring),
            polls: RefCell::default(),
            timers: Timers::default(),
            turns: RefCell::default(),
            looks: Cell::new(0),
            bell: Bell::new()?,
            hears: Cell::new(false),
        });
        // Threads for what blocks. Nothing runs on this runtime itself.
        let threads = tokio::runtime::Builder::new_current_thread().build()?;
        let _entered = threads.enter();
        CURRENT.set(Some(Rc::clone(&driver)));
        let _current = Current;
        let tasks = LocalSet::new();
        driver.turn_until(pin!(tasks.run_until(main)))
    }

    fn turn_until<F: Future>(&self, mut root: Pin<&mut F>) -> io::Result<F::Output> {
        let waker = Waker::from(Arc::clone(&self.bell));
        let mut context = Context::from_waker(&waker);
        loop {
            if self.timers.first().is_some() {
                self.timers.fire(Instant::now());
            }
            if self.bell.take()
                && let Poll::Ready(output) = root.as_mut().poll(&mut context)
            {
                return Ok(output);
            }
            self.enter()?;
            self.dispatch();
        }
    }

    // Submits, and waits where nobody is ready.
    fn enter(&self) -> io::Result<()> {
        if !self.hears.get() {
            self.push(self.bell.as_raw_fd(), PollFlags::IN, BELL)?;
            self.hears.set(true);
        }
        let mut ring = self.ring.borrow_mut();
        let outcome = if self.turns.borrow().is_empty() && self.bell.fall_asleep() {
            let outcome = match self.timers.first() {
                None => ring.submitter().submit_and_wait(1),
                Some(due) => {
                    let limit = types::Timespec::from(whole_millis_until(due));
                    let arguments = types::SubmitArgs::new().timespec(&limit);
                    ring.submitter().submit_with_args(1, &arguments)
                }
            };
            self.bell.wake_up();
            outcome.map(|_| ())
        } else {
            let queue = ring.submission();
            match queue.is_empty() && !queue.taskrun() && !queue.cq_overflow() {
                // The kernel has nothing to hear and nothing to say.
                true => Ok(()),
                false => {
                    drop(queue);
                    submit_and_look(&mut ring)
                }
            }
        };
        outcome.or_else(passing)
    }

    // Takes what has completed, and wakes who waits for it.
    fn dispatch(&self) {
        let count = self.ring.borrow_mut().completion().len();
        for _ in 0..count {
            // Nothing is borrowed while somebody is woken, or a descriptor is closed.
            let next = self.ring.borrow_mut().completion().next();
            let Some(entry) = next else { break };
            if entry.user_data() == BELL {
                self.hears.set(false);
                self.bell.clear();
            } else {
                drop(self.answer(entry.user_data(), entry.result()));
            }
        }
        self.looks.set(self.looks.get().wrapping_add(1));
        let turns = std::mem::take(&mut *self.turns.borrow_mut());
        turns.into_iter().for_each(Waker::wake);
    }

    fn answer(&self, token: u64, result: i32) -> Option<Rc<dyn AsRawFd>> {
        let key = usize::try_from(token).ok()?;
        let mut polls = self.polls.borrow_mut();
        let state = polls.get_mut(key)?;
        match std::mem::replace(state, State::Answered(result)) {
            State::Asked(file, waker) => {
                drop(polls);
                waker.into_iter().for_each(Waker::wake);
                Some(file)
            }
            State::Abandoned(file) => {
                polls.remove(key);
                Some(file)
            }
            State::Answered(_) => None,
        }
    }

    fn push(&self, descriptor: RawFd, events: PollFlags, token: u64) -> io::Result<()> {
        let events = u32::from(events.bits());
        for _ in 0..RING_FLUSHES_MAX {
            if push_poll(&mut self.ring.borrow_mut(), descriptor, events, token) {
                return Ok(());
            }
            // LIMIT: RING_ENTRIES; a full queue is submitted, RING_FLUSHES_MAX times where the kernel takes none.
            submit_and_look(&mut self.ring.borrow_mut()).or_else(passing)?;
        }
        Err(Errno::NOBUFS.into())
    }

    /// Begins to wait for one of `events` at `file`.
    pub(super) fn ask(self: Rc<Self>, file: Rc<dyn AsRawFd>, events: PollFlags) -> Readiness {
        let descriptor = file.as_raw_fd();
        let key = self.polls.borrow_mut().insert(State::Asked(file, None));
        let token = u64::try_from(key).unwrap_or(BELL);
        if let Err(error) = self.push(descriptor, events, token) {
            let code = error.raw_os_error().unwrap_or_default();
            if let Some(state) = self.polls.borrow_mut().get_mut(key) {
                *state = State::Answered(code.saturating_neg());
            }
        }
        Readiness { driver: self, key }
    }

    /// Waits until the ring was looked at once more.
    pub(super) async fn turn(&self) {
        let before = self.looks.get();
        std::future::poll_fn(|context| {
            if self.looks.get() != before {
                return Poll::Ready(());
            }
            self.turns.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

// Sleeps that end about the same time end in one turn.
fn whole_millis_until(due: Instant) -> Duration {
    let left = due.saturating_duration_since(Instant::now());
    let millis = left.as_micros().div_ceil(1000);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

// What passes by itself, or is seen to elsewhere: the time was up, a signal came, completions have to be taken
// first, the kernel is short of memory.
fn passing(error: io::Error) -> io::Result<()> {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::TIME | Errno::INTR | Errno::BUSY) => Ok(()),
        Some(Errno::AGAIN | Errno::NOMEM) => {
            std::thread::sleep(Duration::from_millis(1));
            Ok(())
        }
        _ => Err(error),
    }
}

/// Takes the driver from its thread.
struct Current;

impl Drop for Current {
    fn drop(&mut self) {
        drop(CURRENT.take());
    }
}

/// A wait for a descriptor. Dropped, it goes on without anybody who hears of its end.
pub(super) struct Readiness {
    driver: Rc<Driver>,
    key: usize,
}

impl Future for Readiness {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut polls = self.driver.polls.borrow_mut();
        match polls.get_mut(self.key) {
            Some(State::Asked(_, waiting)) => {
                match waiting {
                    Some(waker) => waker.clone_from(context.waker()),
                    None => *waiting = Some(context.waker().clone()),
                }
                Poll::Pending
            }
            Some(State::Answered(result)) if *result < 0 => {
                Poll::Ready(Err(io::Error::from_raw_os_error(result.saturating_neg())))
            }
            Some(State::Answered(_) | State::Abandoned(_)) | None => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        let mut polls = self.driver.polls.borrow_mut();
        let Some(state) = polls.get_mut(self.key) else {
            return;
        };
        // Dropped behind the borrow.
        let _waker = match std::mem::replace(state, State::Answered(0)) {
            State::Asked(file, waker) => {
                *state = State::Abandoned(file);
                waker
            }
            State::Abandoned(_) | State::Answered(_) => {
                polls.remove(self.key);
                None
            }
        };
        drop(polls);
    }
}

#[cfg(test)]
mod tests;
