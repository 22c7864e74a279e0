//! A worker's loop: tasks, timers, and a ring that submits polls and waits for their completions.
//!
//! One turn of the loop ends the sleeps that are due, polls the tasks that are ready, and enters the kernel
//! once. That call submits the polls that the tasks have queued, posts completions, and, where no task is
//! ready, waits until a completion, a deadline or a notification from another thread.
//!
//! Why no wake-up is lost:
//!
//! - A task that waits for a descriptor has queued its poll before the loop enters the kernel, and the kernel
//!   completes a poll of a descriptor that is ready already.
//! - A task that is woken on the worker's own thread notifies the parker, and a notified loop does not wait.
//! - A task that is woken by another thread notifies the parker too. The same atomic step shows that thread
//!   whether the loop waits. If it does, the thread makes an eventfd readable. The ring polls that eventfd
//!   whenever the loop waits, and the eventfd stays readable until the loop has read it.

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

use super::parker::Parker;
use super::timers::Timers;
use crate::limits::RING_FLUSHES_MAX;
use crate::sys::{push_poll, submit_and_look};

thread_local! {
    static CURRENT: RefCell<Option<Rc<Driver>>> = const { RefCell::new(None) };
}

/// The ring, the timers and the pending polls of one worker.
pub(super) struct Driver {
    ring: RefCell<IoUring>,
    polls: RefCell<Slab<State>>,
    pub(super) timers: Timers,
    // Tasks to wake after the next pass over the completions.
    turns: RefCell<Vec<Waker>>,
    // Passes over the completions so far.
    passes: Cell<u64>,
    parker: Arc<Parker>,
    // Whether the poll of the parker's eventfd is pending.
    is_parker_polled: Cell<bool>,
}

/// A poll that was queued, or whose completion has come.
enum State {
    // The file is kept open, so that its descriptor number is not reused while the poll runs.
    Pending(Rc<dyn AsRawFd>, Option<Waker>),
    // The same after the future was dropped.
    Abandoned(Rc<dyn AsRawFd>),
    // The result of the completion: a set of events, or a negative error number.
    Completed(i32),
}

// The token of the parker's poll. The tokens of other polls are keys of the slab, which count from zero.
const PARKER_TOKEN: u64 = u64::MAX;

impl Driver {
    /// The driver of this thread, where it runs one.
    pub(super) fn current() -> Option<Rc<Self>> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Runs `main`, and what it spawns, on this ring until `main` ends.
    ///
    /// # Errors
    /// No descriptor is available for the parker, or the kernel refuses to enter the ring.
    pub(super) fn run<F: Future>(ring: IoUring, main: F) -> io::Result<F::Output> {
        let driver = Rc::new(Self {
            ring: RefCell::new(ring),
            polls: RefCell::default(),
            timers: Timers::default(),
            turns: RefCell::default(),
            passes: Cell::new(0),
            parker: Parker::new()?,
            is_parker_polled: Cell::new(false),
        });
        // Its thread pool runs blocking calls (`spawn_blocking`). No task runs on this runtime itself.
        let threads = tokio::runtime::Builder::new_current_thread().build()?;
        let _entered = threads.enter();
        CURRENT.set(Some(Rc::clone(&driver)));
        let _current = Current;
        let tasks = LocalSet::new();
        driver.turn_until(pin!(tasks.run_until(main)))
    }

    fn turn_until<F: Future>(&self, mut root: Pin<&mut F>) -> io::Result<F::Output> {
        let waker = Waker::from(Arc::clone(&self.parker));
        let mut context = Context::from_waker(&waker);
        loop {
            if self.timers.next_deadline().is_some() {
                self.timers.fire(Instant::now());
            }
            if self.parker.take_notification()
                && let Poll::Ready(output) = root.as_mut().poll(&mut context)
            {
                return Ok(output);
            }
            self.enter()?;
            self.dispatch();
        }
    }

    // Submits queued polls, and waits where no task is ready.
    fn enter(&self) -> io::Result<()> {
        if !self.is_parker_polled.get() {
            self.push(self.parker.as_raw_fd(), PollFlags::IN, PARKER_TOKEN)?;
            self.is_parker_polled.set(true);
        }
        let mut ring = self.ring.borrow_mut();
        let outcome = if self.turns.borrow().is_empty() && self.parker.try_park() {
            let outcome = match self.timers.next_deadline() {
                None => ring.submitter().submit_and_wait(1),
                Some(due) => {
                    let limit = types::Timespec::from(whole_millis_until(due));
                    let arguments = types::SubmitArgs::new().timespec(&limit);
                    ring.submitter().submit_with_args(1, &arguments)
                }
            };
            self.parker.unpark();
            outcome.map(|_| ())
        } else {
            let queue = ring.submission();
            match queue.is_empty() && !queue.taskrun() && !queue.cq_overflow() {
                // Nothing to submit, and no completion to post.
                true => Ok(()),
                false => {
                    drop(queue);
                    submit_and_look(&mut ring)
                }
            }
        };
        outcome.or_else(ignore_transient)
    }

    // Takes the completions and wakes the tasks that wait for them.
    fn dispatch(&self) {
        let count = self.ring.borrow_mut().completion().len();
        for _ in 0..count {
            // No borrow lasts while a task is woken or a descriptor is closed.
            let next = self.ring.borrow_mut().completion().next();
            let Some(entry) = next else { break };
            if entry.user_data() == PARKER_TOKEN {
                self.is_parker_polled.set(false);
                self.parker.clear_event();
            } else {
                drop(self.complete(entry.user_data(), entry.result()));
            }
        }
        self.passes.set(self.passes.get().wrapping_add(1));
        let turns = std::mem::take(&mut *self.turns.borrow_mut());
        turns.into_iter().for_each(Waker::wake);
    }

    fn complete(&self, token: u64, result: i32) -> Option<Rc<dyn AsRawFd>> {
        let key = usize::try_from(token).ok()?;
        let mut polls = self.polls.borrow_mut();
        let state = polls.get_mut(key)?;
        match std::mem::replace(state, State::Completed(result)) {
            State::Pending(file, waker) => {
                drop(polls);
                waker.into_iter().for_each(Waker::wake);
                Some(file)
            }
            State::Abandoned(file) => {
                polls.remove(key);
                Some(file)
            }
            State::Completed(_) => None,
        }
    }

    fn push(&self, descriptor: RawFd, events: PollFlags, token: u64) -> io::Result<()> {
        let events = u32::from(events.bits());
        for _ in 0..RING_FLUSHES_MAX {
            if push_poll(&mut self.ring.borrow_mut(), descriptor, events, token) {
                return Ok(());
            }
            // LIMIT: RING_ENTRIES; a full queue is submitted, RING_FLUSHES_MAX times where the kernel takes none.
            submit_and_look(&mut self.ring.borrow_mut()).or_else(ignore_transient)?;
        }
        Err(Errno::NOBUFS.into())
    }

    /// Queues a poll of `file` for `events`.
    pub(super) fn submit_poll(
        self: Rc<Self>,
        file: Rc<dyn AsRawFd>,
        events: PollFlags,
    ) -> Readiness {
        let descriptor = file.as_raw_fd();
        let key = self.polls.borrow_mut().insert(State::Pending(file, None));
        let token = u64::try_from(key).unwrap_or(PARKER_TOKEN);
        if let Err(error) = self.push(descriptor, events, token) {
            let code = error.raw_os_error().unwrap_or_default();
            if let Some(state) = self.polls.borrow_mut().get_mut(key) {
                *state = State::Completed(code.saturating_neg());
            }
        }
        Readiness { driver: self, key }
    }

    /// Waits until the loop has passed over the completions once more.
    pub(super) async fn turn(&self) {
        let before = self.passes.get();
        std::future::poll_fn(|context| {
            if self.passes.get() != before {
                return Poll::Ready(());
            }
            self.turns.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

// Rounded up, so that sleeps that end at about the same time end in one turn.
fn whole_millis_until(due: Instant) -> Duration {
    let left = due.saturating_duration_since(Instant::now());
    let millis = left.as_micros().div_ceil(1000);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

// Errors after which the loop goes on: the timeout expired, a signal came, completions have to be taken first,
// or the kernel is short of memory.
fn ignore_transient(error: io::Error) -> io::Result<()> {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::TIME | Errno::INTR | Errno::BUSY) => Ok(()),
        Some(Errno::AGAIN | Errno::NOMEM) => {
            std::thread::sleep(Duration::from_millis(1));
            Ok(())
        }
        _ => Err(error),
    }
}

/// Removes the driver from its thread when dropped.
struct Current;

impl Drop for Current {
    fn drop(&mut self) {
        drop(CURRENT.take());
    }
}

/// Waits for a poll to complete. The poll stays in the ring when this is dropped.
pub(super) struct Readiness {
    driver: Rc<Driver>,
    key: usize,
}

impl Future for Readiness {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut polls = self.driver.polls.borrow_mut();
        match polls.get_mut(self.key) {
            Some(State::Pending(_, waiting)) => {
                match waiting {
                    Some(waker) => waker.clone_from(context.waker()),
                    None => *waiting = Some(context.waker().clone()),
                }
                Poll::Pending
            }
            Some(State::Completed(result)) if *result < 0 => {
                Poll::Ready(Err(io::Error::from_raw_os_error(result.saturating_neg())))
            }
            Some(State::Completed(_) | State::Abandoned(_)) | None => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        let mut polls = self.driver.polls.borrow_mut();
        let Some(state) = polls.get_mut(self.key) else {
            return;
        };
        // The waker is dropped after the borrow has ended.
        let _waker = match std::mem::replace(state, State::Completed(0)) {
            State::Pending(file, waker) => {
                *state = State::Abandoned(file);
                waker
            }
            State::Abandoned(_) | State::Completed(_) => {
                polls.remove(self.key);
                None
            }
        };
        drop(polls);
    }
}

#[cfg(test)]
mod tests;
