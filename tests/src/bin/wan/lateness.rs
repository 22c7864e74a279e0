//! How much later than asked a machine continues.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Measures by sleeping, as long as the value lives, how late this machine is: one that shares its processor with
/// builds may be late by seconds, and every timer of its kernel with it.
#[derive(Debug)]
pub(crate) struct Lateness {
    milliseconds: Arc<AtomicU64>,
}

const STEP: Duration = Duration::from_millis(100);

impl Lateness {
    pub(crate) fn measure() -> Self {
        let milliseconds = Arc::new(AtomicU64::new(0));
        let ours = Self {
            milliseconds: Arc::clone(&milliseconds),
        };
        // It ends when the other owner is gone.
        thread::spawn(move || {
            while Arc::strong_count(&milliseconds) > 1 {
                let start = Instant::now();
                thread::sleep(STEP);
                let late = start.elapsed().saturating_sub(STEP).as_millis();
                let late = u64::try_from(late).unwrap_or(u64::MAX);
                milliseconds.fetch_add(late, Ordering::Relaxed);
            }
        });
        ours
    }

    /// The sum of all delays until now.
    pub(crate) fn total(&self) -> Duration {
        Duration::from_millis(self.milliseconds.load(Ordering::Relaxed))
    }
}
