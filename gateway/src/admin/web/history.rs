//! Throughput and latency of each route in the last hour, in memory.
//!
//! Time is that of a monotonic clock and comes in as an argument, so a changed date moves no sample. An interval
//! in which nothing was recorded, because the machine was suspended for example, is a gap.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::admin::limits::{HISTORY_ROUTES_MAX, HISTORY_SAMPLES, HISTORY_STEP};
use crate::control::RouteStatus;

/// The samples of all routes.
#[derive(Debug, Default)]
pub(crate) struct History {
    // The end of the last interval that has a sample.
    last: Option<Instant>,
    routes: HashMap<String, RouteHistory>,
}

/// The samples of one route, the oldest first, one for each interval of `HISTORY_STEP`. `None` is an interval
/// without a measurement.
#[derive(Debug, Default)]
pub(crate) struct RouteHistory {
    samples: VecDeque<Option<Sample>>,
    before: Option<Totals>,
}

/// What a route did in one interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Payload bytes from the plain side into TLS, per second.
    pub sealed: u64,
    /// Payload bytes from TLS to the plain side, per second.
    pub opened: u64,
    /// The last latency in the interval, in microseconds, if the route moved bytes and measures it.
    pub latency_us: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Totals {
    sealed: u64,
    opened: u64,
}

impl History {
    /// Adds a sample for each route if an interval has passed since the last one. Routes that are not in
    /// `routes` any more are forgotten.
    pub(crate) fn record(&mut self, now: Instant, routes: &[RouteStatus]) {
        let Some(last) = self.last else {
            self.last = Some(now);
            self.add(Duration::ZERO, 0, routes);
            return;
        };
        let elapsed = now.saturating_duration_since(last);
        let intervals = intervals(elapsed);
        if intervals == 0 {
            return;
        }
        // The end of the last whole interval, so that samples stay a constant time apart.
        let length = u32::try_from(intervals).map(|count| HISTORY_STEP.saturating_mul(count));
        let end = length.ok().and_then(|length| last.checked_add(length));
        self.last = Some(end.unwrap_or(now));
        self.add(elapsed, intervals, routes);
    }

    /// The samples of the last hour, if the route has any.
    pub(crate) fn route(&self, name: &str) -> Option<&RouteHistory> {
        self.routes.get(name)
    }

    fn add(&mut self, elapsed: Duration, intervals: usize, routes: &[RouteStatus]) {
        self.routes
            .retain(|name, _| routes.iter().any(|route| route.name == *name));
        for route in routes {
            // LIMIT: HISTORY_ROUTES_MAX.
            if self.routes.len() >= HISTORY_ROUTES_MAX && !self.routes.contains_key(&route.name) {
                continue;
            }
            let history = self.routes.entry(route.name.clone()).or_default();
            history.add(elapsed, intervals, route);
        }
    }
}

// Whole intervals, at most as many as have samples.
fn intervals(elapsed: Duration) -> usize {
    let count = elapsed.as_millis() / HISTORY_STEP.as_millis();
    usize::try_from(count).map_or(HISTORY_SAMPLES, |count| count.min(HISTORY_SAMPLES))
}

impl RouteHistory {
    fn add(&mut self, elapsed: Duration, intervals: usize, route: &RouteStatus) {
        let totals = Totals {
            sealed: route.sealed_bytes,
            opened: route.opened_bytes,
        };
        let before = self.before.replace(totals);
        for _ in 1..intervals {
            self.push(None);
        }
        if intervals > 0 {
            self.push(before.and_then(|before| sample(before, totals, elapsed, route.latency_us)));
        }
    }

    fn push(&mut self, sample: Option<Sample>) {
        // LIMIT: HISTORY_SAMPLES.
        while self.samples.len() >= HISTORY_SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// The samples, the oldest first, at most `HISTORY_SAMPLES`.
    pub(crate) fn samples(&self) -> impl ExactSizeIterator<Item = Option<Sample>> + '_ {
        self.samples.iter().copied()
    }
}

// `None` if a counter is smaller than before: the route was made again.
fn sample(before: Totals, now: Totals, elapsed: Duration, latency: Option<u64>) -> Option<Sample> {
    let sealed = now.sealed.checked_sub(before.sealed)?;
    let opened = now.opened.checked_sub(before.opened)?;
    let millis = u64::try_from(elapsed.as_millis()).ok()?;
    let per_second = |bytes: u64| bytes.saturating_mul(1000).checked_div(millis);
    // A latency of an earlier interval is no measurement of this one.
    let has_moved = sealed > 0 || opened > 0;
    Some(Sample {
        sealed: per_second(sealed)?,
        opened: per_second(opened)?,
        latency_us: latency.filter(|_| has_moved),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(name: &str, sealed: u64, latency_us: Option<u64>) -> RouteStatus {
        RouteStatus {
            name: name.to_owned(),
            sealed_bytes: sealed,
            latency_us,
            ..RouteStatus::default()
        }
    }

    fn samples(history: &History, name: &str) -> Vec<Option<Sample>> {
        let route = history.route(name);
        route.map_or_else(Vec::new, |route| route.samples().collect())
    }

    fn sealed(history: &History, name: &str) -> Vec<Option<u64>> {
        let all = samples(history, name).into_iter();
        all.map(|sample| sample.map(|sample| sample.sealed))
            .collect()
    }

    #[test]
    fn a_sample_is_the_rate_of_its_interval() {
        let (mut history, start) = (History::default(), Instant::now());
        history.record(start, &[route("a", 500, None)]);
        history.record(start + HISTORY_STEP / 2, &[route("a", 600, None)]);
        history.record(start + HISTORY_STEP, &[route("a", 10_500, None)]);
        assert_eq!(sealed(&history, "a"), [Some(1000)]);
    }

    #[test]
    fn intervals_without_a_look_are_gaps() {
        let (mut history, start) = (History::default(), Instant::now());
        history.record(start, &[route("a", 0, None)]);
        history.record(start + 3 * HISTORY_STEP, &[route("a", 30_000, None)]);
        assert_eq!(sealed(&history, "a"), [None, None, Some(1000)]);
        // The machine was suspended for a month.
        history.record(start + 250_000 * HISTORY_STEP, &[route("a", 30_000, None)]);
        assert_eq!(sealed(&history, "a").len(), HISTORY_SAMPLES);
    }

    #[test]
    fn samples_and_routes_are_bounded_and_removed_routes_are_forgotten() {
        let (mut history, start) = (History::default(), Instant::now());
        let routes: Vec<_> = (0..2 * HISTORY_ROUTES_MAX)
            .map(|number| route(&format!("r{number}"), 0, None))
            .collect();
        for step in 0..HISTORY_SAMPLES as u32 + 9 {
            history.record(start + step * HISTORY_STEP, &routes);
        }
        assert_eq!(history.routes.len(), HISTORY_ROUTES_MAX);
        assert_eq!(samples(&history, "r0").len(), HISTORY_SAMPLES);
        let later = start + 500 * HISTORY_STEP;
        history.record(later, &[route("other", 0, None)]);
        assert_eq!(history.routes.keys().collect::<Vec<_>>(), ["other"]);
    }

    #[test]
    fn a_counter_that_begins_again_is_a_gap_and_not_a_huge_rate() {
        let (mut history, start) = (History::default(), Instant::now());
        history.record(start, &[route("a", u64::MAX, None)]);
        history.record(start + HISTORY_STEP, &[route("a", 5, None)]);
        history.record(start + 2 * HISTORY_STEP, &[route("a", u64::MAX, None)]);
        assert_eq!(sealed(&history, "a").first(), Some(&None));
        assert!(
            sealed(&history, "a")
                .iter()
                .flatten()
                .all(|rate| *rate <= u64::MAX / 10)
        );
    }

    #[test]
    fn the_latency_of_an_idle_interval_is_not_repeated() {
        let (mut history, start) = (History::default(), Instant::now());
        for (step, bytes) in [(0, 0), (1, 10), (2, 10)] {
            history.record(start + step * HISTORY_STEP, &[route("a", bytes, Some(7))]);
        }
        let latencies: Vec<_> = samples(&history, "a")
            .iter()
            .flatten()
            .map(|one| one.latency_us)
            .collect();
        assert_eq!(latencies, [Some(7), None]);
    }
}
