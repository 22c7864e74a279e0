//! Sleeps and timeouts of the data plane.
//!
//! On a worker's thread, a sleep is a deadline in the worker's own queue, and the wait in the ring ends at the
//! earliest one. On any other thread, a sleep is tokio's, whose clock the simulation controls.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::driver::Driver;

/// The sleeps of one worker, by deadline.
#[derive(Debug, Default)]
pub(super) struct Timers(RefCell<Queue>);

#[derive(Debug, Default)]
struct Queue {
    // The number distinguishes sleeps with the same deadline.
    waiting: BTreeMap<(Instant, u64), Waker>,
    next: u64,
}

impl Timers {
    /// When the next sleep ends.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let queue = self.0.borrow();
        queue.waiting.first_key_value().map(|((due, _), _)| *due)
    }

    /// Wakes the tasks whose sleeps ended at `now` or before.
    pub(super) fn fire(&self, now: Instant) {
        while let Some(waker) = self.take_due(now) {
            waker.wake();
        }
    }

    fn take_due(&self, now: Instant) -> Option<Waker> {
        let mut queue = self.0.borrow_mut();
        let first = queue.waiting.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    fn number(&self) -> u64 {
        let mut queue = self.0.borrow_mut();
        queue.next = queue.next.wrapping_add(1);
        queue.next
    }

    fn set(&self, key: (Instant, u64), waker: &Waker) {
        let before = self.0.borrow_mut().waiting.insert(key, waker.clone());
        // After the borrow has ended, because a task may be dropped with its waker.
        drop(before);
    }

    fn remove(&self, key: (Instant, u64)) {
        let waker = self.0.borrow_mut().waiting.remove(&key);
        drop(waker);
    }
}

/// Sleeps for `time`, at least.
pub fn sleep(time: Duration) -> impl Future<Output = ()> {
    let now = Instant::now();
    sleep_until(now.checked_add(time).unwrap_or(now + FOR_EVER))
}

// About 30 years: longer than any process runs.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// Sleeps until `due`, at least.
pub async fn sleep_until(due: Instant) {
    match Driver::current() {
        // In tests only, without a ring. Boxed, so that the sleeps of connections have no room for it.
        None => Box::pin(tokio::time::sleep_until(due)).await,
        Some(driver) => {
            let number = driver.timers.number();
            let is_queued = false;
            Sleep {
                driver,
                key: (due, number),
                is_queued,
            }
            .await;
        }
    }
}

/// Awaits `work` for at most `limit`, then drops it. `work` must not wait for the ring: an operation in flight
/// is never dropped.
///
/// # Errors
/// `Elapsed` where `work` took longer.
pub async fn timeout<W: Future>(limit: Duration, work: W) -> Result<W::Output, Elapsed> {
    let (work, late) = (pin!(work), pin!(sleep(limit)));
    tokio::select! {
        biased;
        output = work => Ok(output),
        () = late => Err(Elapsed),
    }
}

/// The time limit has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

struct Sleep {
    driver: Rc<Driver>,
    key: (Instant, u64),
    // Whether the queue has an entry for this sleep.
    is_queued: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.key.0 <= Instant::now() {
            return Poll::Ready(());
        }
        self.driver.timers.set(self.key, context.waker());
        self.is_queued = true;
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if self.is_queued {
            self.driver.timers.remove(self.key);
        }
    }
}
