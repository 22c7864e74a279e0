//! A worker's loop: tasks, timers, and a ring that submits polls and waits for their completions.
//!
//! One turn of the loop ends the sleeps that are due, polls the tasks that are ready, and enters the kernel
//! once. That call submits the polls that the tasks have queued, posts completions, and, if no task is
//! ready, waits for a completion, a deadline or a notification from another thread.
//!
//! Why no wake-up is lost:
//!
//! - A task that waits for a descriptor has queued its poll before the loop enters the kernel, and the kernel
//!   completes a poll of a descriptor that is ready already.
//! - A task that is woken on the worker's own thread notifies the parker, and a notified loop does not wait.
//! - A task that is woken by another thread notifies the parker too. The same atomic step shows that thread
//!   whether the loop waits. If it does, the thread makes an eventfd readable. The ring polls that eventfd
//!   whenever the loop waits, and the eventfd stays readable until the loop has read it.
//! - If the kernel has no memory for a request, the loop keeps the request, takes the completions that are due
//!   (which frees memory), and does not wait until the kernel has accepted all requests.
//! - A poll that fails wakes its task with the error. If the kernel reports lost completions, the loop wakes
//!   every task that waits for a poll, and each task polls again.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::os::fd::AsRawFd;
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
use crate::sys::{RingRequest, look, push_request, submit_and_look};
use crate::uring::limits::{RING_RETRY_PAUSE, RING_WAIT_MAX};

thread_local! {
    static CURRENT: RefCell<Option<Rc<Driver>>> = const { RefCell::new(None) };
}

/// The ring, the timers and the pending polls of one worker.
pub(super) struct Driver {
    ring: RefCell<IoUring>,
    polls: RefCell<Slab<PollSlot>>,
    // Distinguishes a poll from an earlier one with the same key.
    next_serial: Cell<u32>,
    // Requests that did not fit into the submission queue, in order. At most one poll and one cancellation
    // for each wait of a task.
    backlog: RefCell<VecDeque<RingRequest>>,
    pub(super) timers: Timers,
    // Tasks to wake after the next pass over the completions.
    turns: RefCell<Vec<Waker>>,
    // The number of passes over the completions so far.
    passes: Cell<u64>,
    parker: Arc<Parker>,
    // Whether the poll of the parker's eventfd is pending.
    is_parker_polled: Cell<bool>,
    // Test hook: answers in place of the kernel.
    #[cfg(test)]
    faults: faults::Faults,
}

struct PollSlot {
    serial: u32,
    state: PollState,
}

/// A poll that is queued, or whose completion has arrived.
enum PollState {
    // The file stays open, so that its descriptor number is not reused while the poll runs.
    Pending(Rc<dyn AsRawFd>, Option<Waker>),
    // The future was dropped and the poll is being cancelled. The file stays open as above.
    Abandoned(Rc<dyn AsRawFd>),
    // The result of the completion: a set of events, or a negative error number.
    Completed(i32),
}

// The token of the parker's poll.
const PARKER_TOKEN: u64 = u64::MAX;

// The token of every cancellation. Its completion can be ignored, because the completion of the poll also
// arrives.
const CANCEL_TOKEN: u64 = u64::MAX - 1;

// The token of any other poll: its serial number and its key in the slab. The slab never reaches 2^32 - 2
// polls.
fn token(serial: u32, key: usize) -> u64 {
    u64::from(serial) << 32 | u64::try_from(key).unwrap_or_default()
}

fn key_of(token: u64) -> usize {
    usize::try_from(token & u64::from(u32::MAX)).unwrap_or(usize::MAX)
}

impl Driver {
    /// The driver of this thread, if the thread has one.
    pub(super) fn current() -> Option<Rc<Self>> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Runs `main`, and what it spawns, on this ring until `main` ends.
    ///
    /// # Errors
    /// If no file descriptor is available for the parker, or the kernel refuses to enter the ring.
    pub(super) fn run<F: Future>(ring: IoUring, main: F) -> io::Result<F::Output> {
        let driver = Rc::new(Self {
            ring: RefCell::new(ring),
            polls: RefCell::default(),
            next_serial: Cell::new(0),
            backlog: RefCell::default(),
            timers: Timers::default(),
            turns: RefCell::default(),
            passes: Cell::new(0),
            parker: Parker::new()?,
            is_parker_polled: Cell::new(false),
            #[cfg(test)]
            faults: faults::Faults::default(),
        });
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

    // Submits queued requests, and waits if no task is ready.
    fn enter(&self) -> io::Result<()> {
        if !self.is_parker_polled.replace(true) {
            self.push(RingRequest::Poll {
                descriptor: self.parker.as_raw_fd(),
                events: u32::from(PollFlags::IN.bits()),
                token: PARKER_TOKEN,
            });
        }
        let may_wait = self.submit_backlog() && self.turns.borrow().is_empty();
        let outcome = if may_wait && self.parker.try_park() {
            let outcome = self.submit_and_wait();
            self.parker.unpark();
            outcome
        } else {
            self.submit()
        };
        outcome.or_else(|error| self.recover(error))
    }

    // The kernel only waits if it has accepted every request in the queue.
    fn submit_and_wait(&self) -> io::Result<()> {
        #[cfg(test)]
        self.faults.next()?;
        let ring = self.ring.borrow();
        let submitted = match self.timers.next_deadline() {
            None => ring.submitter().submit_and_wait(1),
            Some(due) => {
                let limit = types::Timespec::from(wait_until(due, Instant::now()));
                let arguments = types::SubmitArgs::new().timespec(&limit);
                ring.submitter().submit_with_args(1, &arguments)
            }
        };
        submitted.map(|_| ())
    }

    // Submits queued requests and posts completions, without waiting.
    fn submit(&self) -> io::Result<()> {
        let mut ring = self.ring.borrow_mut();
        let queue = ring.submission();
        if queue.is_empty() && !queue.taskrun() && !queue.cq_overflow() {
            return Ok(());
        }
        drop(queue);
        #[cfg(test)]
        self.faults.next()?;
        submit_and_look(&mut ring)
    }

    // Decides by the error of an io_uring_enter call whether the loop can continue.
    fn recover(&self, error: io::Error) -> io::Result<()> {
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            // The timeout expired, a signal arrived, or completions have to be taken first.
            Some(Errno::TIME | Errno::INTR | Errno::BUSY) => Ok(()),
            // The kernel has no memory for a request. It returned before it posted completions, which may
            // free the memory.
            Some(Errno::AGAIN | Errno::NOMEM) => {
                let ring = self.ring.borrow();
                let looked = look(&ring);
                drop(ring);
                if self.ring.borrow_mut().completion().is_empty() {
                    std::thread::sleep(RING_RETRY_PAUSE);
                }
                match looked {
                    Err(error) if error.raw_os_error() == Some(Errno::BADR.raw_os_error()) => {
                        self.recover(error)
                    }
                    _ => Ok(()),
                }
            }
            // The completion queue was full, and the kernel had no memory to store the overflow.
            Some(Errno::BADR) => {
                self.wake_all();
                Ok(())
            }
            _ => Err(error),
        }
    }

    // Ends every wait, because any completion may be lost. Later completions of these polls are ignored,
    // because they have an older serial number.
    fn wake_all(&self) {
        self.is_parker_polled.set(false);
        let mut ended = Vec::new();
        let serial = self.take_serial();
        self.polls.borrow_mut().retain(|_, slot| {
            let lost = PollState::Completed(Errno::INTR.raw_os_error().saturating_neg());
            match std::mem::replace(&mut slot.state, lost) {
                PollState::Pending(file, waker) => {
                    slot.serial = serial;
                    ended.push((file, waker));
                    true
                }
                PollState::Abandoned(file) => {
                    ended.push((file, None));
                    false
                }
                PollState::Completed(result) => {
                    slot.state = PollState::Completed(result);
                    true
                }
            }
        });
        for (_file, waker) in ended {
            waker.into_iter().for_each(Waker::wake);
        }
    }

    // Takes the completions and wakes the tasks that wait for them.
    fn dispatch(&self) {
        let count = self.ring.borrow_mut().completion().len();
        for _ in 0..count {
            // No borrow is held while a task is woken or a file descriptor is closed.
            let next = self.ring.borrow_mut().completion().next();
            let Some(entry) = next else { break };
            match entry.user_data() {
                PARKER_TOKEN => {
                    self.is_parker_polled.set(false);
                    self.parker.clear_event();
                }
                CANCEL_TOKEN => {}
                token => drop(self.complete(token, entry.result())),
            }
        }
        self.passes.set(self.passes.get().wrapping_add(1));
        let turns = std::mem::take(&mut *self.turns.borrow_mut());
        turns.into_iter().for_each(Waker::wake);
    }

    fn complete(&self, token: u64, result: i32) -> Option<Rc<dyn AsRawFd>> {
        let key = key_of(token);
        let mut polls = self.polls.borrow_mut();
        let slot = polls.get_mut(key)?;
        if self::token(slot.serial, key) != token {
            return None;
        }
        match std::mem::replace(&mut slot.state, PollState::Completed(result)) {
            PollState::Pending(file, waker) => {
                drop(polls);
                waker.into_iter().for_each(Waker::wake);
                Some(file)
            }
            PollState::Abandoned(file) => {
                polls.remove(key);
                Some(file)
            }
            PollState::Completed(_) => None,
        }
    }

    // Queues `request` after the earlier ones.
    fn push(&self, request: RingRequest) {
        if self.submit_backlog() {
            let is_queued = || push_request(&mut self.ring.borrow_mut(), &request);
            // LIMIT: RING_ENTRIES. A full queue is submitted; requests that the kernel does not accept wait
            // in the backlog.
            if is_queued() || self.submit().is_ok() && is_queued() {
                return;
            }
        }
        self.backlog.borrow_mut().push_back(request);
    }

    // Moves requests from the backlog into the queue while it has room; returns true if none is left.
    fn submit_backlog(&self) -> bool {
        let mut backlog = self.backlog.borrow_mut();
        while let Some(request) = backlog.front() {
            if !push_request(&mut self.ring.borrow_mut(), request) {
                return false;
            }
            backlog.pop_front();
        }
        true
    }

    fn take_serial(&self) -> u32 {
        let serial = self.next_serial.get();
        self.next_serial.set(serial.wrapping_add(1));
        serial
    }

    /// Queues a poll of `file` for `events`.
    pub(super) fn submit_poll(
        self: Rc<Self>,
        file: Rc<dyn AsRawFd>,
        events: PollFlags,
    ) -> Readiness {
        let descriptor = file.as_raw_fd();
        let serial = self.take_serial();
        let state = PollState::Pending(file, None);
        let key = self.polls.borrow_mut().insert(PollSlot { serial, state });
        self.push(RingRequest::Poll {
            descriptor,
            events: u32::from(events.bits()),
            token: token(serial, key),
        });
        Readiness { driver: self, key }
    }

    /// Waits until the loop has made one more pass over the completions.
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

// How long the loop waits for `due`. Rounded up, so that sleeps with similar deadlines end in the same turn.
// LIMIT: RING_WAIT_MAX, after which the loop checks the deadline again.
fn wait_until(due: Instant, now: Instant) -> Duration {
    let micros = due.saturating_duration_since(now).as_micros();
    let millis = u64::try_from(micros.div_ceil(1000)).unwrap_or(u64::MAX);
    Duration::from_millis(millis).min(RING_WAIT_MAX)
}

/// Removes the driver from its thread when dropped.
struct Current;

impl Drop for Current {
    fn drop(&mut self) {
        drop(CURRENT.take());
    }
}

/// Waits for a poll to complete. On drop the poll is cancelled, and its file stays open until the kernel has
/// cancelled it.
pub(super) struct Readiness {
    driver: Rc<Driver>,
    key: usize,
}

impl Future for Readiness {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // The waker is dropped after the borrow has ended, because its task may be dropped with it.
        let before;
        let mut polls = self.driver.polls.borrow_mut();
        match polls.get_mut(self.key).map(|slot| &mut slot.state) {
            Some(PollState::Pending(_, waiting)) => {
                if !waiting
                    .as_ref()
                    .is_some_and(|waker| waker.will_wake(context.waker()))
                {
                    before = waiting.replace(context.waker().clone());
                    drop(polls);
                    drop(before);
                }
                Poll::Pending
            }
            Some(PollState::Completed(result)) if *result < 0 => {
                Poll::Ready(Err(io::Error::from_raw_os_error(result.saturating_neg())))
            }
            Some(PollState::Completed(_) | PollState::Abandoned(_)) | None => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        let mut polls = self.driver.polls.borrow_mut();
        let Some(slot) = polls.get_mut(self.key) else {
            return;
        };
        match std::mem::replace(&mut slot.state, PollState::Completed(0)) {
            PollState::Pending(file, waker) => {
                slot.state = PollState::Abandoned(file);
                let of = token(slot.serial, self.key);
                drop(polls);
                let token = CANCEL_TOKEN;
                self.driver.push(RingRequest::Cancel { of, token });
                drop(waker);
            }
            PollState::Abandoned(_) | PollState::Completed(_) => {
                polls.remove(self.key);
            }
        }
    }
}

#[cfg(test)]
mod faults;
#[cfg(test)]
mod tests;
