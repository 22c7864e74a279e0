//! The queue of the sleeps of one worker.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::task::Waker;

use tokio::time::Instant;

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

    /// A number that no other sleep has.
    pub(super) fn number(&self) -> u64 {
        let mut queue = self.0.borrow_mut();
        queue.next = queue.next.wrapping_add(1);
        queue.next
    }

    /// Wakes `waker` when the sleep of `key` ends.
    pub(super) fn set(&self, key: (Instant, u64), waker: &Waker) {
        let before = self.0.borrow_mut().waiting.insert(key, waker.clone());
        // After the borrow has ended, because a task may be dropped with its waker.
        drop(before);
    }

    /// Removes the sleep of `key`.
    pub(super) fn remove(&self, key: (Instant, u64)) {
        let waker = self.0.borrow_mut().waiting.remove(&key);
        drop(waker);
    }
}
