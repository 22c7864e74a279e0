//! A histogram of durations with fixed buckets.

use std::time::Duration;

use super::Counter;

/// The upper bounds of the buckets in microseconds, each with its name in seconds. They range from LAN
/// latencies to times that no application waits for. With two or three buckets per decade, a shift is
/// visible, and a percentile has an error of at most half its value.
pub(crate) const SCALE: [(u64, &str); 14] = [
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
    (30_000_000, "30"),
];

/// Durations per bucket, and their sum. Aggregates many connections; `Latencies` belong to one.
#[derive(Debug, Default)]
pub struct Times {
    // One counter per bucket, without the counts of lower buckets.
    steps: [Counter; SCALE.len()],
    beyond: Counter,
    micros: Counter,
    // The last duration, in microseconds.
    last: Counter,
}

impl Times {
    /// Records a duration.
    pub fn note(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let mut steps = SCALE.iter().zip(&self.steps);
        let step = steps.find(|((bound, _), _)| micros <= *bound);
        step.map_or(&self.beyond, |(_, counter)| counter).add(1);
        self.micros.add(micros);
        self.last.set(micros);
    }

    /// The number of durations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.each().sum()
    }

    /// The duration that was recorded last, in microseconds; 0 if there is none.
    #[must_use]
    pub fn last_micros(&self) -> u64 {
        self.last.get()
    }

    /// The count of each bucket alone; the last one is for all longer durations.
    pub fn each(&self) -> impl Iterator<Item = u64> + '_ {
        let all = self.steps.iter().chain([&self.beyond]);
        all.map(Counter::get)
    }

    /// The sum of all durations in microseconds.
    #[must_use]
    pub fn micros(&self) -> u64 {
        self.micros.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_bounds_increase_and_match_their_names() {
        assert!(SCALE.is_sorted_by(|one, next| one.0 < next.0));
        for (micros, name) in SCALE {
            let seconds: f64 = name.parse().expect("a name is a number");
            let exact = Duration::from_micros(micros).as_secs_f64();
            assert!((seconds - exact).abs() < 1e-9, "{name}");
        }
    }

    #[test]
    fn a_duration_counts_in_the_first_bucket_that_it_does_not_exceed() {
        let times = Times::default();
        for micros in [0, 1_000, 1_001, 30_000_000, 30_000_001] {
            times.note(Duration::from_micros(micros));
        }
        let mut expected = [0; SCALE.len() + 1];
        [expected[0], expected[1]] = [2, 1];
        [expected[13], expected[14]] = [1, 1];
        assert_eq!(times.each().collect::<Vec<_>>(), expected);
        assert_eq!(times.micros(), 60_002_002);
    }
}
