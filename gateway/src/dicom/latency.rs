//! How long answers took, in little memory.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::record::Latency;
use crate::limits::STORE_LATENCY_MAX;

/// The shortest that is told apart from a shorter one, in microseconds.
const LEAST_US: u64 = 10;
/// What it has room for at first, in microseconds. More is made when a slower answer comes.
const FIRST_US: u64 = 20_000;
/// Significant digits.
const DIGITS: u8 = 2;

/// Times of answers. Holds nothing before the first.
#[derive(Default)]
pub(super) struct Latencies(Option<Box<Histogram<u32>>>);

impl Latencies {
    /// Notes an answer that took so long.
    pub(super) fn note(&mut self, latency: Duration) {
        let latency = latency.min(STORE_LATENCY_MAX).as_micros();
        let latency = u64::try_from(latency).unwrap_or(u64::MAX).max(LEAST_US);
        if self.0.is_none() {
            self.0 = histogram().map(Box::new);
        }
        if let Some(histogram) = &mut self.0 {
            // It grows up to STORE_LATENCY_MAX, so there is room for it.
            histogram.record(latency).ok();
        }
    }

    /// What they come to.
    pub(super) fn latency(&self) -> Option<Latency> {
        let histogram = self.0.as_ref()?;
        let at = |quantile| Duration::from_micros(histogram.value_at_quantile(quantile));
        Some(Latency {
            count: histogram.len(),
            p50: at(0.5),
            p99: at(0.99),
            max: Duration::from_micros(histogram.max()),
        })
    }
}

fn histogram() -> Option<Histogram<u32>> {
    let mut histogram = Histogram::new_with_bounds(LEAST_US, FIRST_US, DIGITS).ok()?;
    histogram.auto(true);
    Some(histogram)
}

impl fmt::Debug for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.latency().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(one: Duration, millis: u64) -> bool {
        one.abs_diff(Duration::from_millis(millis)) <= Duration::from_millis(millis) / 50
    }

    #[test]
    fn latencies_are_told_to_two_digits() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.latency(), None);
        for millis in 1..=100 {
            latencies.note(Duration::from_millis(millis));
        }
        let latency = latencies.latency().expect("a hundred");
        assert_eq!(latency.count, 100);
        assert!(near(latency.p50, 50), "{latency:?}");
        assert!(near(latency.p99, 99), "{latency:?}");
        assert!(near(latency.max, 100), "{latency:?}");
    }

    #[test]
    fn the_shortest_and_the_longest_are_bounded() {
        let mut latencies = Latencies::default();
        latencies.note(Duration::ZERO);
        latencies.note(Duration::from_secs(10 * 3600));
        let latency = latencies.latency().expect("two");
        assert_eq!(latency.count, 2);
        assert!(latency.p50 < Duration::from_micros(20));
        assert!(near(latency.max, 3_600_000), "{latency:?}");
    }
}
