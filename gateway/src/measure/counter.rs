//! A counter shared between threads.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread changes while others read it.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// A counter at zero, for a `static`.
    pub(super) const fn zero() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Adds 1 unless the number is `most` or more; returns whether it was added.
    pub fn add_up_to(&self, most: u64) -> bool {
        let one_more = |count| (count < most).then(|| count + 1);
        let relaxed = Ordering::Relaxed;
        self.0.fetch_update(relaxed, relaxed, one_more).is_ok()
    }

    /// Subtracts `count`; for gauges.
    pub fn sub(&self, count: u64) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    /// Sets the number, if it is counted elsewhere.
    pub fn set(&self, count: u64) {
        self.0.store(count, Ordering::Relaxed);
    }

    /// The current number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
