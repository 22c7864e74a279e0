//! How long acknowledgements took.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::limits::{MLLP_LATENCY_MAX, MLLP_LATENCY_MIN};

/// Two figures are exact: what is shown is off by a hundredth at most.
const FIGURES: u8 = 2;

/// Times from the end of a message to the end of its acknowledgement.
///
/// It takes memory with the first time, and no more after it. Shorter and longer ones than the
/// bounds count as the bounds.
#[derive(Clone, PartialEq, Default)]
pub struct Latencies(Option<Box<Histogram<u32>>>);

impl Latencies {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, |histogram| histogram.len())
    }

    /// The time within which half of them came.
    #[must_use]
    pub fn p50(&self) -> Option<Duration> {
        self.at(0.5)
    }

    /// The time within which 99 of 100 came.
    #[must_use]
    pub fn p99(&self) -> Option<Duration> {
        self.at(0.99)
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Option<Duration> {
        self.at(1.0)
    }

    /// The times that came, rising, with how often each.
    pub fn each(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let steps = self
            .0
            .iter()
            .flat_map(|histogram| histogram.iter_recorded());
        steps.map(|step| {
            let time = Duration::from_micros(step.value_iterated_to());
            (time, step.count_since_last_iteration())
        })
    }

    pub(super) fn record(&mut self, time: Duration) {
        let time = time.clamp(MLLP_LATENCY_MIN, MLLP_LATENCY_MAX);
        self.0
            .get_or_insert_with(empty)
            .saturating_record(micros(time));
    }

    fn at(&self, quantile: f64) -> Option<Duration> {
        let histogram = self.0.as_ref()?;
        let time = Duration::from_micros(histogram.value_at_quantile(quantile));
        Some(time.min(MLLP_LATENCY_MAX))
    }
}

impl fmt::Debug for Latencies {
    // Some thousand counters say less than four figures.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latencies")
            .field("count", &self.count())
            .field("p50", &self.p50())
            .field("p99", &self.p99())
            .field("max", &self.max())
            .finish()
    }
}

fn empty() -> Box<Histogram<u32>> {
    let bounds = [MLLP_LATENCY_MIN, MLLP_LATENCY_MAX].map(micros);
    let histogram = Histogram::new_with_bounds(bounds[0], bounds[1], FIGURES);
    Box::new(histogram.expect("the bounds are constants that a test has tried"))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_to_two_figures() {
        let mut latencies = Latencies::default();
        assert_eq!((latencies.count(), latencies.p50()), (0, None));
        for milliseconds in 1..=1000 {
            latencies.record(Duration::from_millis(milliseconds));
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
        assert_eq!(latencies.each().map(|(_, count)| count).sum::<u64>(), 1000);
    }

    #[test]
    fn times_beyond_the_bounds_count_as_the_bounds() {
        let mut latencies = Latencies::default();
        latencies.record(Duration::ZERO);
        assert!(latencies.max() < Some(2 * MLLP_LATENCY_MIN));
        latencies.record(Duration::MAX);
        assert_eq!(latencies.max(), Some(MLLP_LATENCY_MAX));
        assert_eq!(latencies.count(), 2);
    }

    #[test]
    fn memory_is_taken_with_the_first_time() {
        assert_eq!(size_of::<Latencies>(), size_of::<usize>());
        let counters = empty().distinct_values() * size_of::<u32>();
        assert!(counters <= 12 << 10, "{counters}");
    }
}
