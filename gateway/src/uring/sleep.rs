//! Sleeps and timeouts of the data plane.
//!
//! On a worker's thread, a sleep is a deadline in the worker's own queue, and the wait in the ring ends at the
//! earliest one. On any other thread, a sleep is tokio's, whose clock the simulation controls.

use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::driver::Driver;

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
