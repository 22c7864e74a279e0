//! Rates of routes and the load of cores, from counters that are read once a second.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::metrics::{ConnectionLimit, CoreCounters, RouteCounters};
use crate::route::{Route, RouteId};
use crate::supervisor::limits::{LIMIT_SHOWN_FOR, SAMPLES_MAX};

/// The samples of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Samples {
    routes: HashMap<RouteId, RouteSamples>,
    // CPU time of each core's worker in microseconds.
    cores: VecDeque<(Instant, Vec<u64>)>,
}

/// The samples of one route.
#[derive(Debug, Default)]
struct RouteSamples {
    // Sealed and opened bytes.
    bytes: VecDeque<(Instant, [u64; 2])>,
    limits: [ReachedLimit; ConnectionLimit::COUNT],
    // Of each core, the number of latencies.
    latencies: Vec<u64>,
    last_latency: Option<u64>,
}

/// Refusals because of one limit.
#[derive(Debug, Default, Clone, Copy)]
struct ReachedLimit {
    total: u64,
    // Since when `recent` counts, and the last one.
    last: Option<Instant>,
    recent: u64,
}

/// What the samples of a route show.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct RouteRates {
    /// Sealed and opened bytes since the start.
    pub bytes: [u64; 2],
    /// The same per second, over the last 5 s.
    pub per_second: [u64; 2],
    /// The same per second, in the second of the last 5 s with most: a full link has pauses.
    pub highest_second: [u64; 2],
    /// Limits that refused connections in the last minute: name and number.
    pub limits: Vec<(&'static str, u64)>,
    /// The last time between a request and its response, in microseconds.
    pub latency_us: Option<u64>,
}

impl Samples {
    /// Reads all counters.
    pub(super) fn take<'r>(
        &mut self,
        routes: impl Iterator<Item = &'r Arc<Route>> + Clone,
        cores: &[Arc<CoreCounters>],
        now: Instant,
    ) {
        let known: HashSet<_> = routes.clone().map(|route| route.id()).collect();
        self.routes.retain(|id, _| known.contains(id));
        for route in routes {
            let samples = self.routes.entry(route.id()).or_default();
            samples.take(&route.state.counters, now);
        }
        let times = cores.iter().map(|core| core.cpu_micros.get()).collect();
        keep(&mut self.cores, (now, times));
    }

    /// What the samples of a route show.
    pub(super) fn of(&self, route: RouteId, now: Instant) -> RouteRates {
        let samples = self.routes.get(&route);
        samples.map_or_else(RouteRates::default, |samples| samples.rates(now))
    }

    /// How much of the last seconds the worker of a core was busy, in percent.
    pub(super) fn busy_percent(&self, core: usize) -> u8 {
        let (Some((from, first)), Some((to, last))) = (self.cores.front(), self.cores.back())
        else {
            return 0;
        };
        let used = |times: &Vec<u64>| times.get(core).copied().unwrap_or_default();
        let used = u128::from(used(last).saturating_sub(used(first)));
        let passed = to.saturating_duration_since(*from).as_micros();
        let percent = (used * 100).checked_div(passed).unwrap_or_default();
        u8::try_from(percent.min(100)).unwrap_or(100)
    }
}

impl RouteSamples {
    fn take(&mut self, cores: &[Arc<RouteCounters>], now: Instant) {
        let sum = |of: fn(&RouteCounters) -> u64| cores.iter().map(|core| of(core)).sum();
        let bytes = [
            sum(|core| core.sealed_bytes.get()),
            sum(|core| core.opened_bytes.get()),
        ];
        keep(&mut self.bytes, (now, bytes));
        for (limit, reached) in ConnectionLimit::ALL.into_iter().zip(&mut self.limits) {
            let total = cores.iter().map(|core| core.limited_by(limit).get()).sum();
            reached.take(total, now);
        }
        self.latencies.resize(cores.len(), 0);
        for (core, known) in cores.iter().zip(&mut self.latencies) {
            let (associations, conversations) =
                (core.observed.associations(), core.observed.conversations());
            let times = associations.as_ref().map(|counts| &counts.stores);
            let times = times.or_else(|| conversations.as_ref().map(|counts| &counts.answers));
            let Some(times) = times else { continue };
            let count = times.count();
            if count != *known {
                *known = count;
                self.last_latency = Some(times.last_micros());
            }
        }
    }

    fn rates(&self, now: Instant) -> RouteRates {
        let Some(last) = self.bytes.back() else {
            return RouteRates::default();
        };
        let first = self.bytes.front().unwrap_or(last);
        let seconds = self.bytes.iter().zip(self.bytes.iter().skip(1));
        let highest = seconds.fold([0; 2], |[sealed, opened], (from, to)| {
            let [new_sealed, new_opened] = rates(from, to);
            [sealed.max(new_sealed), opened.max(new_opened)]
        });
        let limits = ConnectionLimit::ALL.into_iter().zip(&self.limits);
        let recent = limits.filter(|(_, reached)| reached.is_recent(now));
        RouteRates {
            bytes: last.1,
            per_second: rates(first, last),
            highest_second: highest,
            limits: recent
                .map(|(limit, reached)| (limit.name(), reached.recent))
                .collect(),
            latency_us: self.last_latency,
        }
    }
}

impl ReachedLimit {
    fn take(&mut self, total: u64, now: Instant) {
        let new = total.saturating_sub(self.total);
        self.total = total;
        if new == 0 {
            return;
        }
        if !self.is_recent(now) {
            self.recent = 0;
        }
        self.recent = self.recent.saturating_add(new);
        self.last = Some(now);
    }

    fn is_recent(&self, now: Instant) -> bool {
        let passed = |last| now.saturating_duration_since(last);
        self.last.is_some_and(|last| passed(last) < LIMIT_SHOWN_FOR)
    }
}

// LIMIT: SAMPLES_MAX.
fn keep<T>(samples: &mut VecDeque<T>, sample: T) {
    if samples.len() >= SAMPLES_MAX {
        samples.pop_front();
    }
    samples.push_back(sample);
}

fn rates(from: &(Instant, [u64; 2]), to: &(Instant, [u64; 2])) -> [u64; 2] {
    let passed = to.0.saturating_duration_since(from.0);
    [0, 1].map(|which| {
        let moved = to.1[which].saturating_sub(from.1[which]);
        per_second(moved, passed)
    })
}

fn per_second(count: u64, passed: Duration) -> u64 {
    let scaled = u128::from(count) * 1_000;
    let rate = scaled.checked_div(passed.as_millis()).unwrap_or_default();
    u64::try_from(rate).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn rates_are_averages_of_the_last_seconds() {
        let counters = [Arc::new(RouteCounters::default()), Arc::default()];
        let mut samples = RouteSamples::default();
        let start = Instant::now();
        assert_eq!(samples.rates(start), RouteRates::default());
        for second in 0..20 {
            samples.take(&counters, start + second * SECOND);
            counters[0].sealed_bytes.add(1000);
            counters[1].sealed_bytes.add(u64::from(second) * 100);
        }
        let rates = samples.rates(start + 19 * SECOND);
        // The last sample was taken before the last bytes.
        assert_eq!(rates.highest_second, [1000 + 1800, 0]);
        assert_eq!(rates.per_second, [1000 + 1600, 0]);
        assert_eq!(rates.bytes, [19_000 + 100 * (18 * 19 / 2), 0]);
    }

    #[test]
    fn a_limit_is_shown_for_a_minute() {
        let counters = [Arc::new(RouteCounters::default())];
        let mut samples = RouteSamples::default();
        let start = Instant::now();
        samples.take(&counters, start);
        assert!(samples.rates(start).limits.is_empty());
        counters[0].limited_by(ConnectionLimit::Source).add(3);
        samples.take(&counters, start + SECOND);
        let shown = samples.rates(start + 60 * SECOND).limits;
        assert_eq!(shown, [("connections_per_source", 3)]);
        assert!(samples.rates(start + 61 * SECOND).limits.is_empty());
        counters[0].limited_by(ConnectionLimit::Source).add(1);
        samples.take(&counters, start + 70 * SECOND);
        assert_eq!(samples.rates(start + 70 * SECOND).limits[0].1, 1);
    }

    #[test]
    fn the_share_of_a_core_is_its_cpu_time() {
        let cores = [Arc::new(CoreCounters::new(4))];
        let mut samples = Samples::default();
        assert_eq!(samples.busy_percent(0), 0);
        let start = Instant::now();
        samples.take([].iter(), &cores, start);
        cores[0].cpu_micros.add(250_000);
        samples.take([].iter(), &cores, start + SECOND);
        assert_eq!(samples.busy_percent(0), 25);
        assert_eq!(samples.busy_percent(1), 0);
    }
}
