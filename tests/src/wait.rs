//! Waiting by condition, never by time alone.

use std::time::{Duration, Instant};

/// How long a test waits for something that takes milliseconds when all is well. Generous, because
/// the machine may be building something else; a test that passes never waits for it.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Between two looks at a condition.
const STEP: Duration = Duration::from_millis(4);

/// Asks `probe` again and again until it answers, and returns its answer.
///
/// Panics with `what` when `deadline` has passed without one.
pub fn until<T>(what: &str, deadline: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(
            start.elapsed() < deadline,
            "waited {deadline:?} in vain: {what}"
        );
        std::thread::sleep(STEP);
    }
}
