//! Time for what runs on a worker's loop, and for what runs in memory under tokio's clock.
//!
//! The same code waits in both: on a thread that runs a ring, a sleep is a deadline that the ring's wait
//! ends at; anywhere else, it is tokio's, which the simulation stops and moves.

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
    // The number tells sleeps of the same deadline apart.
    waiting: BTreeMap<(Instant, u64), Waker>,
    next: u64,
}

impl Timers {
    /// When the first sleep ends.
    pub(super) fn first(&self) -> Option<Instant> {
        let queue = self.0.borrow();
        queue.waiting.first_key_value().map(|((due, _), _)| *due)
    }

    /// Wakes all who slept until `now` or before.
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
        let mut queue = self.0.borrow_mut();
        let held = queue.waiting.entry(key);
        held.and_modify(|held| held.clone_from(waker))
            .or_insert_with(|| waker.clone());
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

// What no process lives.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// Sleeps until `due`, at least.
pub async fn sleep_until(due: Instant) {
    match Driver::current() {
        None => tokio::time::sleep_until(due).await,
        Some(driver) => {
            let number = driver.timers.number();
            let asleep = false;
            Sleep {
                driver,
                key: (due, number),
                asleep,
            }
            .await;
        }
    }
}

/// Awaits `work`, and drops it where it takes longer than `limit`. Nothing of the ring may be dropped so.
///
/// # Errors
/// `Late` where it took longer.
pub async fn timeout<W: Future>(limit: Duration, work: W) -> Result<W::Output, Late> {
    let (work, late) = (pin!(work), pin!(sleep(limit)));
    tokio::select! {
        biased;
        output = work => Ok(output),
        () = late => Err(Late),
    }
}

/// Something took longer than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late;

struct Sleep {
    driver: Rc<Driver>,
    key: (Instant, u64),
    // Whether the queue knows of it.
    asleep: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.key.0 <= Instant::now() {
            return Poll::Ready(());
        }
        self.driver.timers.set(self.key, context.waker());
        self.asleep = true;
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if self.asleep {
            self.driver.timers.remove(self.key);
        }
    }
}
