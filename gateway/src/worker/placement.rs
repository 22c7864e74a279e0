//! Which core serves a connection: the one with the least to do, as far as can be seen.
//!
//! A core's load is a number of octets, and the sum of three:
//!
//! 1. what it moved in the last moments, by its own counters;
//! 2. what its newcomers will add: a connection that was just seated has shown nothing yet, and is
//!    taken for one like the others;
//! 3. a little for each of its connections, which may begin to carry something at any time.
//!
//! The first two fade together: in the time in which a connection's octets fill the first, its part
//! of the second goes, and what it carries is counted once. The third is so small that any number
//! of idle connections weighs as much as a small part of the traffic, or where there is none as one
//! newcomer: it decides between cores that are alike in the first two.
//!
//! What several connections would like to carry cannot be seen on a core that is fully used: two
//! such cores look alike, whatever the number of their connections.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::limits::STRANGERS_SHARE;
use crate::metrics::Core;

/// Over what time the past is forgotten (to a third). Longer than the pauses of an association
/// between two images, shorter than what a modality waits between two studies.
const MEMORY: Duration = Duration::from_secs(2);

/// How often the counters are looked at. A few times in `MEMORY`, and rarely enough that it costs
/// nothing to do so on an idle machine.
pub(super) const SAMPLE_EVERY: Duration = Duration::from_millis(250);

// A newcomer counts as the average connection, and as no less than this part of what the busiest
// core moves: a thousand idle connections must not make the average nothing.
const NEWCOMER_PART: f64 = 8.0;

// All open connections together weigh as much as this part of the traffic.
const OPEN_PART: f64 = 32.0;

/// How many connections each core has, and how many there may be in all.
#[derive(Debug)]
pub struct Loads {
    cores: Vec<Arc<Core>>,
    max: usize,
}

impl Loads {
    /// For these cores, which may have `max` connections together.
    #[must_use]
    pub fn new(cores: Vec<Arc<Core>>, max: usize) -> Arc<Self> {
        Arc::new(Self { cores, max })
    }

    /// How many handshakes with strangers a core may have under way.
    #[must_use]
    pub fn strangers_max(&self) -> usize {
        let share = self.max / STRANGERS_SHARE;
        share.div_ceil(self.cores.len().max(1))
    }

    /// Connections on all cores.
    #[must_use]
    pub fn open(&self) -> usize {
        let open: u64 = self.cores.iter().map(|core| core.open.get()).sum();
        usize::try_from(open).unwrap_or(usize::MAX)
    }
}

/// What one core that accepts knows of the loads of all. Its own: nobody else reads or writes it.
#[derive(Debug)]
pub struct Scales {
    loads: Arc<Loads>,
    looked: Instant,
    pasts: Vec<Past>,
}

/// A core's counters when they were looked at last, and what they have been.
#[derive(Debug)]
struct Past {
    moved_bytes: u64,
    given: u64,
    /// Octets moved, the more recent the more they count.
    recent_bytes: f64,
    /// Connections given, in the same way.
    newcomers: f64,
}

/// A core as it is weighed.
struct Weighed {
    core: usize,
    open: f64,
    newcomers: f64,
    recent_bytes: f64,
}

impl Scales {
    /// Scales that know of nothing before `now`.
    #[must_use]
    pub fn new(loads: &Arc<Loads>, now: Instant) -> Self {
        let pasts = loads.cores.iter().map(|core| Past {
            moved_bytes: core.moved_bytes(),
            given: core.given.get(),
            recent_bytes: 0.0,
            newcomers: 0.0,
        });
        Self {
            looked: now,
            pasts: pasts.collect(),
            loads: Arc::clone(loads),
        }
    }

    /// Looks at the counters of all cores, if it is time to. To be called every `SAMPLE_EVERY`.
    pub fn look(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.looked);
        if passed < SAMPLE_EVERY {
            return;
        }
        self.looked = now;
        let kept = (-passed.as_secs_f64() / MEMORY.as_secs_f64()).exp();
        for (past, core) in self.pasts.iter_mut().zip(&self.loads.cores) {
            past.look(core, kept);
        }
    }

    /// Takes a place on the least loaded core; among equals on `own`, which saves a connection the
    /// way to another core. `None` when there is no place left.
    #[must_use]
    pub fn seat(&mut self, own: usize, now: Instant) -> Option<Seat> {
        // LIMIT: descriptors (two a connection), counted in wardgate_connections_limited_total.
        if self.loads.open() >= self.loads.max {
            return None;
        }
        self.look(now);
        let core = self.least_loaded(own)?;
        let counters = Arc::clone(self.loads.cores.get(core)?);
        counters.given.add(1);
        counters.open.add(1);
        Some(Seat { counters, core })
    }

    fn least_loaded(&self, own: usize) -> Option<usize> {
        let cores: Vec<_> = self.weighed().collect();
        let newcomer = newcomer(&cores);
        let any = any(&cores);
        let load = |weighed: &Weighed| {
            weighed.recent_bytes + weighed.newcomers * newcomer + weighed.open * any
        };
        let own = cores.get(own).into_iter();
        let least = own
            .chain(&cores)
            .min_by(|one, other| load(one).total_cmp(&load(other)));
        least.map(|weighed| weighed.core)
    }

    fn weighed(&self) -> impl Iterator<Item = Weighed> {
        let cores = self.pasts.iter().zip(&self.loads.cores).enumerate();
        cores.map(|(core, (past, counters))| past.weigh(core, counters))
    }
}

impl Past {
    fn look(&mut self, core: &Core, kept: f64) {
        let (moved_bytes, given) = (core.moved_bytes(), core.given.get());
        let moved = moved_bytes.wrapping_sub(self.moved_bytes);
        self.recent_bytes = self.recent_bytes * kept + moved as f64;
        self.newcomers = self.newcomers * kept + given.wrapping_sub(self.given) as f64;
        (self.moved_bytes, self.given) = (moved_bytes, given);
    }

    // Connections are counted up to this moment, so that a burst is spread by those before it.
    fn weigh(&self, core: usize, counters: &Core) -> Weighed {
        let open = counters.open.get() as f64;
        let newcomers = self.newcomers + counters.given.get().wrapping_sub(self.given) as f64;
        Weighed {
            core,
            open,
            // Who has gone again will add nothing.
            newcomers: newcomers.min(open),
            recent_bytes: self.recent_bytes,
        }
    }
}

// What a newcomer is expected to carry: the average of those that have shown it. At least one octet,
// so that newcomers are counted where nothing moves.
fn newcomer(cores: &[Weighed]) -> f64 {
    let shown: f64 = cores.iter().map(|core| core.open - core.newcomers).sum();
    let busiest = cores.iter().map(|core| core.recent_bytes);
    let least = busiest.fold(0.0, f64::max) / NEWCOMER_PART;
    (traffic(cores) / shown.max(1.0)).max(least).max(1.0)
}

// What any open connection counts, whatever it carries.
fn any(cores: &[Weighed]) -> f64 {
    let open: f64 = cores.iter().map(|core| core.open).sum();
    (traffic(cores) / OPEN_PART).max(1.0) / open.max(1.0)
}

fn traffic(cores: &[Weighed]) -> f64 {
    cores.iter().map(|core| core.recent_bytes).sum()
}

/// A connection's place on a core; given back when dropped.
#[derive(Debug)]
pub struct Seat {
    counters: Arc<Core>,
    core: usize,
}

impl Seat {
    /// The core.
    #[must_use]
    pub fn core(&self) -> usize {
        self.core
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.counters.open.sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cores under a clock of their own, with connections that carry so much per second.
    struct Machine {
        loads: Arc<Loads>,
        scales: Scales,
        now: Instant,
        carried: Vec<(Seat, u64)>,
    }

    impl Machine {
        fn new(cores: usize) -> Self {
            let counters = (0..cores).map(|cpu| Arc::new(Core::new(cpu, 1)));
            let loads = Loads::new(counters.collect(), 100_000);
            let now = Instant::now();
            Self {
                scales: Scales::new(&loads, now),
                loads,
                now,
                carried: Vec::new(),
            }
        }

        fn seat(&mut self, bytes_per_second: u64) -> usize {
            let seat = self.scales.seat(0, self.now).expect("there is room");
            let core = seat.core();
            self.carried.push((seat, bytes_per_second));
            core
        }

        /// Connections of this kind that each core gets, all at once.
        fn burst(&mut self, count: usize, bytes_per_second: u64) -> Vec<usize> {
            let mut each = vec![0; self.loads.cores.len()];
            for _ in 0..count {
                each[self.seat(bytes_per_second)] += 1;
            }
            each
        }

        /// Idle connections of one core, as they are when all others have gone.
        fn idle(&mut self, core: usize, count: u64) {
            self.loads.cores[core].given.add(count);
            self.loads.cores[core].open.add(count);
            self.pass(Duration::from_secs(60));
        }

        /// Connections of one core that it has had for long.
        fn heavy(&mut self, core: usize, count: usize, bytes_per_second: u64) {
            let counters = &self.loads.cores[core];
            for _ in 0..count {
                counters.given.add(1);
                counters.open.add(1);
                let counters = Arc::clone(counters);
                self.carried
                    .push((Seat { counters, core }, bytes_per_second));
            }
            self.pass(Duration::from_secs(60));
        }

        fn pass(&mut self, time: Duration) {
            let until = self.now + time;
            while self.now < until {
                let step = SAMPLE_EVERY.min(until - self.now);
                self.now += step;
                for (seat, bytes_per_second) in &self.carried {
                    let bytes = *bytes_per_second as f64 * step.as_secs_f64();
                    seat.counters.routes[0].sealed_bytes.add(bytes as u64);
                }
                self.scales.look(self.now);
            }
        }

        /// Heavy connections that each core has.
        fn loaded(&self) -> Vec<usize> {
            let mut each = vec![0; self.loads.cores.len()];
            let heavy = self.carried.iter().filter(|(_, bytes)| *bytes > 0);
            heavy.for_each(|(seat, _)| each[seat.core] += 1);
            each
        }
    }

    const HEAVY: u64 = 100_000_000;

    fn spread(each: &[usize]) -> usize {
        let (least, most) = (each.iter().min(), each.iter().max());
        most.zip(least).map_or(0, |(most, least)| most - least)
    }

    #[test]
    fn a_burst_spreads_evenly_before_a_byte_has_moved_and_own_comes_first() {
        let loads = Loads::new((0..3).map(|cpu| Arc::new(Core::new(cpu, 1))).collect(), 9);
        let now = Instant::now();
        let mut scales = Scales::new(&loads, now);
        let seats: Vec<_> = (0..9).map_while(|_| scales.seat(1, now)).collect();
        assert_eq!(seats.first().map(Seat::core), Some(1));
        for core in 0..3 {
            let here = seats.iter().filter(|seat| seat.core() == core);
            assert_eq!(here.count(), 3, "core {core}");
        }
    }

    #[test]
    fn heavy_connections_spread_evenly_however_fast_they_come() {
        for cores in [2, 3, 8] {
            for count in [4, 8, 16, 40] {
                for pause in [0, 1, 10, 100, 300, 1000, 5000, 60_000] {
                    let mut machine = Machine::new(cores);
                    for _ in 0..count {
                        machine.seat(HEAVY);
                        machine.pass(Duration::from_millis(pause));
                    }
                    let each = machine.loaded();
                    assert!(spread(&each) <= 1, "{count}, {pause} ms apart: {each:?}");
                }
            }
        }
    }

    #[test]
    fn idle_connections_do_not_keep_heavy_ones_away() {
        for pause in [0, 10, 300, 5000] {
            let mut machine = Machine::new(2);
            machine.idle(0, 1000);
            for _ in 0..40 {
                machine.seat(HEAVY);
                machine.pass(Duration::from_millis(pause));
            }
            let each = machine.loaded();
            // A thirty-second of the traffic is what all idle ones weigh: 1.25 of 40.
            assert!(spread(&each) <= 2, "{pause} ms apart: {each:?}");
        }
    }

    #[test]
    fn a_core_that_carries_heavy_ones_gets_fewer_new_ones() {
        let mut machine = Machine::new(2);
        machine.heavy(0, 4, HEAVY);
        assert_eq!(machine.burst(4, HEAVY), [0, 4]);
        assert_eq!(machine.burst(4, HEAVY), [2, 2]);
    }

    #[test]
    fn one_heavy_connection_weighs_more_than_many_light_ones() {
        let mut machine = Machine::new(2);
        machine.heavy(0, 1, HEAVY);
        machine.heavy(1, 100, 1000);
        assert_eq!(machine.seat(HEAVY), 1);
    }

    #[test]
    fn what_has_ended_is_forgotten() {
        let mut machine = Machine::new(2);
        machine.heavy(0, 4, HEAVY);
        machine.carried.clear();
        machine.pass(20 * MEMORY);
        assert_eq!(machine.burst(10, HEAVY), [5, 5]);
    }

    #[test]
    fn newcomers_that_left_again_do_not_count() {
        let mut machine = Machine::new(2);
        machine.loads.cores[0].given.add(1000);
        assert_eq!(machine.burst(10, HEAVY), [5, 5]);
    }

    #[test]
    fn two_cores_that_accept_see_each_others_newcomers() {
        let machine = Machine::new(2);
        let (now, loads) = (machine.now, &machine.loads);
        let mut both = [Scales::new(loads, now), Scales::new(loads, now)];
        let seats: Vec<_> = (0..20)
            .filter_map(|turn: usize| both[turn % 2].seat(turn % 2, now))
            .collect();
        assert_eq!(seats.iter().filter(|seat| seat.core() == 0).count(), 10);
    }

    #[test]
    fn a_full_house_turns_away_until_somebody_leaves() {
        let loads = Loads::new(vec![Arc::new(Core::new(0, 1))], 2);
        let now = Instant::now();
        let mut scales = Scales::new(&loads, now);
        let (first, _second) = (scales.seat(0, now), scales.seat(0, now));
        assert!(scales.seat(0, now).is_none());
        drop(first);
        assert!(scales.seat(0, now).is_some());
    }

    #[test]
    fn strangers_leave_room_for_the_others_on_every_core() {
        let cores = |count| (0..count).map(|cpu| Arc::new(Core::new(cpu, 1))).collect();
        let loads = Loads::new(cores(2), 1000);
        assert_eq!(loads.strangers_max(), 250);
        assert!(2 * loads.strangers_max() <= 1000 / STRANGERS_SHARE);
        assert_eq!(
            Loads::new(cores(2), 1).strangers_max(),
            0,
            "a house of one has no room for strangers"
        );
    }
}
