//! The CPU time of a worker's thread, as the kernel counts it.
//!
//! It is read when it is shown, so that a worker spends nothing on it.

use std::fs;

use super::CoreCounters;

/// Microseconds that the core's worker has run; `None` before its thread runs, and where the kernel does not
/// count it.
pub(super) fn micros(core: &CoreCounters) -> Option<u64> {
    let thread = core.thread.get();
    if thread == 0 {
        return None;
    }
    let text = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?;
    nanoseconds(&text).map(|nanos| nanos / 1000)
}

// proc_pid_schedstat: time on a CPU, time waiting for one, number of slices.
fn nanoseconds(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_running_thread_grows() {
        let core = CoreCounters::new(0);
        assert_eq!(micros(&core), None);
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        core.thread.set(thread.unsigned_abs().into());
        let before = micros(&core).expect("the kernel counts it");
        let begun = std::time::Instant::now();
        while begun.elapsed() < std::time::Duration::from_millis(20) {}
        assert!(micros(&core).expect("as before") > before);
        assert_eq!(nanoseconds("12 3 4\n"), Some(12));
        assert_eq!(nanoseconds(""), None);
    }
}
