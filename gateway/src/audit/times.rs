//! Times as the log shows them.

use std::time::Duration;

/// Seconds to the millisecond: what is below is this program's own.
pub(super) fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

/// Programs read the log too, so a time that is not known is the number 0. Times are rounded to 0.01 ms, the smallest
/// difference that is measured (`LATENCY_MIN`).
pub(super) fn milliseconds(time: Option<Duration>) -> f64 {
    (time.unwrap_or_default().as_secs_f64() * 100_000.0).round() / 100.0
}
