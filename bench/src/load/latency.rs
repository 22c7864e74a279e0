//! Distributions of times, in microseconds.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::report::Report;

/// What counts as this long however long it took; longer than any stall may be.
pub(crate) const MAX_US: u64 = 3_600_000_000;

/// Significant digits that are kept.
const DIGITS: u8 = 3;

pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MAX_US, DIGITS).expect("the bounds are constants")
}

/// Whole microseconds, 1 at least.
pub(crate) fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1)
}

/// Adds mean, quantiles and maximum as `name_p50_us` and so on, and the whole as a curve.
pub(crate) fn rows(report: &mut Report, name: &str, times: &Histogram<u64>) {
    report.real(&format!("{name}_mean_us"), times.mean());
    for (which, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)] {
        let row = format!("{name}_{which}_us");
        report.whole(&row, times.value_at_quantile(quantile));
    }
    report.whole(&format!("{name}_max_us"), times.max());
}
