//! Records response times compactly.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::measure::limits::{LATENCY_MAX, LATENCY_MIN};

/// Two significant digits: reported values are off by at most 1 %.
const FIGURES: u8 = 2;
/// The initial range in microseconds. The range grows when a slower answer arrives.
const FIRST_US: u64 = 20_000;

/// The response times of one connection.
///
/// Allocates memory with the first time, and more with each time longer than all before, up to a limit. Times
/// outside `LATENCY_MIN` and `LATENCY_MAX` count as these limits.
#[derive(Clone, PartialEq, Default)]
pub struct Latencies(Option<Box<RecordedTimes>>);

#[derive(Clone, PartialEq)]
struct RecordedTimes {
    histogram: Histogram<u32>,
    last: Duration,
}

impl Latencies {
    /// The number of recorded times.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, |times| times.histogram.len())
    }

    /// The median.
    #[must_use]
    pub fn p50(&self) -> Option<Duration> {
        self.at(0.5)
    }

    /// The 99th percentile.
    #[must_use]
    pub fn p99(&self) -> Option<Duration> {
        self.at(0.99)
    }

    /// The longest time.
    #[must_use]
    pub fn max(&self) -> Option<Duration> {
        self.at(1.0)
    }

    /// The time that was recorded last.
    #[must_use]
    pub fn last(&self) -> Option<Duration> {
        self.0.as_ref().map(|times| times.last)
    }

    /// Records a response time.
    pub fn note(&mut self, time: Duration) {
        let time = time.clamp(LATENCY_MIN, LATENCY_MAX);
        let times = self.0.get_or_insert_with(empty);
        times.last = time;
        // The range grows up to LATENCY_MAX, so the value always fits.
        times.histogram.record(micros(time)).ok();
    }

    fn at(&self, quantile: f64) -> Option<Duration> {
        let histogram = &self.0.as_ref()?.histogram;
        let time = Duration::from_micros(histogram.value_at_quantile(quantile));
        Some(time.min(LATENCY_MAX))
    }
}

impl fmt::Debug for Latencies {
    // Prints four figures instead of thousands of counters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latencies")
            .field("count", &self.count())
            .field("p50", &self.p50())
            .field("p99", &self.p99())
            .field("max", &self.max())
            .finish()
    }
}

fn empty() -> Box<RecordedTimes> {
    let histogram = Histogram::new_with_bounds(micros(LATENCY_MIN), FIRST_US, FIGURES);
    let mut histogram = histogram.expect("the bounds are constants that a test has tried");
    histogram.auto(true);
    Box::new(RecordedTimes {
        histogram,
        last: Duration::ZERO,
    })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_have_two_exact_digits() {
        let mut latencies = Latencies::default();
        assert_eq!((latencies.count(), latencies.p50()), (0, None));
        for milliseconds in 1..=1000 {
            latencies.note(Duration::from_millis(milliseconds));
        }
        for (found, exact) in [
            (latencies.p50(), 500.0),
            (latencies.p99(), 990.0),
            (latencies.max(), 1000.0),
        ] {
            let found = found.expect("there are some").as_secs_f64() * 1000.0;
            assert!((found / exact - 1.0).abs() <= 0.01, "{found} {exact}");
        }
        assert_eq!(latencies.count(), 1000);
        assert_eq!(latencies.last(), Some(Duration::from_millis(1000)));
    }

    #[test]
    fn times_outside_the_limits_count_as_the_limits() {
        let mut latencies = Latencies::default();
        latencies.note(Duration::ZERO);
        assert!(latencies.max() < Some(2 * LATENCY_MIN));
        latencies.note(Duration::MAX);
        assert!(latencies.p50() < Some(2 * LATENCY_MIN));
        assert_eq!(latencies.max(), Some(LATENCY_MAX));
        assert_eq!(latencies.count(), 2);
    }

    #[test]
    fn memory_is_allocated_with_the_first_time_and_is_bounded() {
        assert_eq!(size_of::<Latencies>(), size_of::<usize>());
        let mut latencies = Latencies::default();
        let mut counters = |time| {
            latencies.note(time);
            let histogram = &latencies.0.as_ref().expect("there is one time").histogram;
            histogram.distinct_values() * size_of::<u32>()
        };
        let first = counters(Duration::from_millis(1));
        assert!(first <= 6 << 10, "{first}");
        let most = counters(Duration::MAX);
        assert!(most <= 16 << 10, "{most}");
    }
}
