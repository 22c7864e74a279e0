//! Chooses the core that serves a new connection: the one with the least expected work.
//!
//! A core's load is measured in connections. It is the sum of three parts:
//!
//! 1. Its recent work. Half of this part is the number of bytes it moved, relative to an average active
//!    connection; the other half is its number of active connections. Bytes alone are not enough: a fully
//!    loaded core moves as many for ten connections as for five. Connections alone are not enough: one may
//!    move a hundred times as much as another.
//! 2. Its new connections. A new connection has shown no activity yet and counts as active.
//! 3. A small weight for each open connection, which may become active at any time.
//!
//! The first two parts use the same decay. While a connection's work fills the first part, its share of the
//! second part fades, so it counts once. The third part is a small fraction of the activity on all cores,
//! however many connections are idle. It only decides between cores that are equal in the first two parts.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::metrics::{ClientStage, CoreCounters};
use crate::worker::limits::{HANDSHAKES_SHARE, OPENERS_SHARE, OVERFLOW_MAX};

/// Time constant of the decay (to about a third). Longer than the pauses of an association between two
/// images, shorter than the pause of a modality between two studies.
const MEMORY: Duration = Duration::from_secs(2);

/// Interval at which the counters are read, and the time in which a connection must show activity. A few
/// times shorter than `MEMORY`, and long enough to cost nothing on an idle machine.
pub(super) const TURN: Duration = Duration::from_millis(250);

// All open connections together weigh this fraction of all active ones, or half a connection if that is more.
// Either is less than the weight of one active connection.
const OPEN_PART: f64 = 32.0;
const OPEN_LEAST: f64 = 0.5;

// On small machines, the overflow is this fraction of all places.
const OVERFLOW_PART: usize = 8;

/// How many connections each core has, and how many all cores may have.
#[derive(Debug)]
pub(crate) struct Loads {
    cores: Vec<Arc<CoreCounters>>,
    max: usize,
}

impl Loads {
    /// For these cores, which may have `max` connections in total.
    #[must_use]
    pub(crate) fn new(cores: Vec<Arc<CoreCounters>>, max: usize) -> Arc<Self> {
        Arc::new(Self { cores, max })
    }

    /// How many unauthenticated clients a core may have in this stage.
    #[must_use]
    pub(super) fn unauthenticated_max(&self, stage: ClientStage) -> usize {
        let share = match stage {
            ClientStage::Handshake => HANDSHAKES_SHARE,
            ClientStage::FirstMessage | ClientStage::Passthrough | ClientStage::SilentPeer => {
                OPENERS_SHARE
            }
        };
        (self.max / share).div_ceil(self.cores.len().max(1))
    }

    /// How many connections all cores may have. Connections above this number are served if each of them ends
    /// an unauthenticated client.
    #[must_use]
    pub(crate) fn connections_max(&self) -> usize {
        let overflow = OVERFLOW_MAX.min(self.max / OVERFLOW_PART);
        self.max.saturating_sub(overflow)
    }

    /// Connections on all cores.
    #[must_use]
    pub(crate) fn open(&self) -> usize {
        let open: u64 = self.cores.iter().map(|core| core.open.get()).sum();
        usize::try_from(open).unwrap_or(usize::MAX)
    }
}

/// What one accepting core knows of the loads of all cores. Each accepting core has its own.
#[derive(Debug)]
pub(crate) struct Placement {
    loads: Arc<Loads>,
    looked: Instant,
    pasts: Vec<Past>,
}

/// A core's counters at the last reading, and decaying sums of earlier values.
#[derive(Debug, Default)]
struct Past {
    seen: CoreReading,
    recent_bytes: f64,
    recent_at_work: f64,
    newcomers: f64,
}

/// The values read from a core's counters.
#[derive(Debug, Default, Clone, Copy)]
struct CoreReading {
    moved_bytes: u64,
    at_work: u64,
    given: u64,
}

/// A core with its weights.
struct Weighed {
    core: usize,
    recent_bytes: f64,
    at_work: f64,
    newcomers: f64,
    open: f64,
}

impl Placement {
    /// Starts at `now` without history.
    #[must_use]
    pub(crate) fn new(loads: &Arc<Loads>, now: Instant) -> Self {
        let pasts = loads.cores.iter().map(|core| Past {
            seen: CoreReading::of(core),
            ..Past::default()
        });
        Self {
            looked: now,
            pasts: pasts.collect(),
            loads: Arc::clone(loads),
        }
    }

    /// Reads the counters of all cores if it is time. Must be called every `TURN`.
    pub(crate) fn look(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.looked);
        if passed < TURN {
            return;
        }
        self.looked = now;
        let kept = kept(passed);
        for (past, core) in self.pasts.iter_mut().zip(&self.loads.cores) {
            past.look(core, kept);
        }
    }

    /// Takes a slot on the least loaded core. Among equal cores it prefers `own`, because the connection then
    /// need not move. `None` if all slots are taken.
    #[must_use]
    pub(crate) fn slot(&mut self, own: usize, now: Instant) -> Option<ConnectionSlot> {
        self.slot_where(own, now, None::<fn(usize, &CoreCounters) -> u64>)
    }

    /// Like `slot`, for a connection of a route at its limit: takes a slot on the core with the most
    /// unauthenticated clients according to `not_authenticated`. One of these clients must then be ended.
    #[must_use]
    pub(super) fn slot_of_full(
        &mut self,
        own: usize,
        now: Instant,
        not_authenticated: impl Fn(usize, &CoreCounters) -> u64,
    ) -> Option<ConnectionSlot> {
        self.slot_where(own, now, Some(not_authenticated))
    }

    fn slot_where(
        &mut self,
        own: usize,
        now: Instant,
        not_authenticated: Option<impl Fn(usize, &CoreCounters) -> u64>,
    ) -> Option<ConnectionSlot> {
        // LIMIT: file descriptors (two per connection), counted in wardgate_connections_limited_total.
        let open = self.loads.open();
        if open >= self.loads.max {
            return None;
        }
        self.look(now);
        let is_beyond = open >= self.loads.connections_max();
        let core = match not_authenticated {
            None if !is_beyond => self.least_loaded(own)?,
            None => self.most(|_, core| core.not_authenticated()),
            Some(not_authenticated) => self.most(not_authenticated),
        };
        let counters = Arc::clone(self.loads.cores.get(core)?);
        counters.given.add(1);
        counters.open.add(1);
        Some(ConnectionSlot {
            counters,
            core,
            is_beyond,
        })
    }

    // The core with the most clients that can be ended. If no core has any, the connection is refused on the
    // first core.
    fn most(&self, not_authenticated: impl Fn(usize, &CoreCounters) -> u64) -> usize {
        let cores = self.loads.cores.iter().enumerate();
        let most =
            cores.max_by_key(|(index, core)| (not_authenticated(*index, core), Reverse(*index)));
        most.map_or(0, |(index, _)| index)
    }

    fn least_loaded(&self, own: usize) -> Option<usize> {
        let cores: Vec<_> = self.weighed().collect();
        let all = Sums::of(&cores);
        let load = |weighed: &Weighed| all.load(weighed);
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

impl CoreReading {
    fn of(core: &CoreCounters) -> Self {
        Self {
            moved_bytes: core.moved_bytes.get(),
            at_work: core.at_work.get(),
            given: core.given.get(),
        }
    }
}

impl Past {
    fn look(&mut self, core: &CoreCounters, kept: f64) {
        let (before, now) = (self.seen, CoreReading::of(core));
        let add = |sum: &mut f64, before: u64, now: u64| {
            *sum = *sum * kept + now.wrapping_sub(before) as f64;
        };
        add(&mut self.recent_bytes, before.moved_bytes, now.moved_bytes);
        add(&mut self.recent_at_work, before.at_work, now.at_work);
        add(&mut self.newcomers, before.given, now.given);
        self.seen = now;
    }

    // New connections are counted up to this moment, so that a burst is spread over the cores.
    fn weigh(&self, core: usize, counters: &CoreCounters) -> Weighed {
        let open = counters.open.get() as f64;
        let given = counters.given.get().wrapping_sub(self.seen.given) as f64;
        Weighed {
            core,
            recent_bytes: self.recent_bytes,
            // Each active connection was counted once per tick.
            at_work: self.recent_at_work * (1.0 - kept(TURN)),
            // A new connection that has ended will not become active.
            newcomers: (self.newcomers + given).min(open),
            open,
        }
    }
}

// The fraction of a decaying sum that remains after this time.
fn kept(passed: Duration) -> f64 {
    (-passed.as_secs_f64() / MEMORY.as_secs_f64()).exp()
}

/// Totals over all cores.
struct Sums {
    recent_bytes: f64,
    at_work: f64,
    open: f64,
}

impl Sums {
    fn of(cores: &[Weighed]) -> Self {
        let sum = |part: fn(&Weighed) -> f64| cores.iter().map(part).sum::<f64>();
        Self {
            recent_bytes: sum(|core| core.recent_bytes).max(1.0),
            at_work: sum(|core| core.at_work),
            open: sum(|core| core.open).max(1.0),
        }
    }

    // The load of one core, in connections.
    fn load(&self, core: &Weighed) -> f64 {
        // If no connection is active, the few bytes that move count as one active connection.
        let by_bytes = core.recent_bytes / self.recent_bytes * self.at_work.max(1.0);
        let work = f64::midpoint(by_bytes, core.at_work);
        let any = (self.at_work / OPEN_PART).max(OPEN_LEAST) / self.open;
        work + core.newcomers + core.open * any
    }
}

/// A connection's slot on a core; released on drop.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    counters: Arc<CoreCounters>,
    core: usize,
    is_beyond: bool,
}

impl ConnectionSlot {
    /// Whether the connections were at their maximum without this one.
    #[must_use]
    pub(crate) fn is_beyond(&self) -> bool {
        self.is_beyond
    }

    /// The index of the core.
    #[must_use]
    pub(crate) fn core(&self) -> usize {
        self.core
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.counters.open.sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cores with a simulated clock, and connections with a given rate in bytes per second.
    struct Machine {
        loads: Arc<Loads>,
        placement: Placement,
        now: Instant,
        turn_end: Instant,
        /// Bytes that a core can move per second.
        most: f64,
        carried: Vec<(ConnectionSlot, u64)>,
    }

    impl Machine {
        fn new(cores: usize) -> Self {
            let counters = (0..cores).map(|cpu| Arc::new(CoreCounters::new(cpu)));
            let loads = Loads::new(counters.collect(), 100_000);
            let now = Instant::now();
            Self {
                placement: Placement::new(&loads, now),
                loads,
                now,
                turn_end: now + TURN,
                most: f64::INFINITY,
                carried: Vec::new(),
            }
        }

        fn slot(&mut self, bytes_per_second: u64) -> usize {
            let slot = self.placement.slot(0, self.now).expect("there is room");
            let core = slot.core();
            self.carried.push((slot, bytes_per_second));
            core
        }

        /// Starts this many connections at once and returns how many each core got.
        fn burst(&mut self, count: usize, bytes_per_second: u64) -> Vec<usize> {
            let mut each = vec![0; self.loads.cores.len()];
            for _ in 0..count {
                each[self.slot(bytes_per_second)] += 1;
            }
            each
        }

        /// Idle connections of one core, as they remain after all others have ended.
        fn idle(&mut self, core: usize, count: u64) {
            self.loads.cores[core].given.add(count);
            self.loads.cores[core].open.add(count);
            self.pass(Duration::from_secs(60));
        }

        /// Connections that one core has had for a long time.
        fn heavy(&mut self, core: usize, count: usize, bytes_per_second: u64) {
            let counters = &self.loads.cores[core];
            for _ in 0..count {
                counters.given.add(1);
                counters.open.add(1);
                let counters = Arc::clone(counters);
                let slot = ConnectionSlot {
                    counters,
                    core,
                    is_beyond: false,
                };
                self.carried.push((slot, bytes_per_second));
            }
            self.pass(Duration::from_secs(60));
        }

        fn pass(&mut self, time: Duration) {
            let until = self.now + time;
            while self.now < until {
                let step = (self.turn_end - self.now).min(until - self.now);
                self.carry(step);
                self.now += step;
                if self.now == self.turn_end {
                    self.turn_end += TURN;
                    let heavy = self.carried.iter().filter(|(_, bytes)| *bytes >= HEAVY);
                    heavy.for_each(|(slot, _)| slot.counters.at_work.add(1));
                }
                self.placement.look(self.now);
            }
        }

        // Each connection moves its bytes, or its share of the core's capacity.
        fn carry(&self, time: Duration) {
            for (core, counters) in self.loads.cores.iter().enumerate() {
                let here = self.carried.iter().filter(|(slot, _)| slot.core == core);
                let wanted: f64 = here.map(|(_, bytes)| *bytes as f64).sum();
                let bytes = wanted.min(self.most) * time.as_secs_f64();
                counters.moved_bytes.add(bytes as u64);
            }
        }

        /// The number of heavy connections on each core.
        fn loaded(&self) -> Vec<usize> {
            let mut each = vec![0; self.loads.cores.len()];
            let heavy = self.carried.iter().filter(|(_, bytes)| *bytes > 0);
            heavy.for_each(|(slot, _)| each[slot.core] += 1);
            each
        }
    }

    const HEAVY: u64 = 100_000_000;

    fn spread(each: &[usize]) -> usize {
        let (least, most) = (each.iter().min(), each.iter().max());
        most.zip(least).map_or(0, |(most, least)| most - least)
    }

    #[test]
    fn a_burst_spreads_evenly_before_the_first_byte_and_starts_with_the_own_core() {
        let loads = Loads::new(
            (0..3).map(|cpu| Arc::new(CoreCounters::new(cpu))).collect(),
            16,
        );
        let now = Instant::now();
        let mut placement = Placement::new(&loads, now);
        let slots: Vec<_> = (0..9).map_while(|_| placement.slot(1, now)).collect();
        assert_eq!(slots.first().map(ConnectionSlot::core), Some(1));
        for core in 0..3 {
            let here = slots.iter().filter(|slot| slot.core() == core);
            assert_eq!(here.count(), 3, "core {core}");
        }
    }

    #[test]
    fn heavy_connections_spread_evenly_at_any_arrival_rate() {
        for cores in [2, 3, 8] {
            for count in [4, 8, 16, 40] {
                for pause in [0, 1, 10, 100, 300, 1000, 5000, 60_000] {
                    let mut machine = Machine::new(cores);
                    for _ in 0..count {
                        machine.slot(HEAVY);
                        machine.pass(Duration::from_millis(pause));
                    }
                    let each = machine.loaded();
                    assert!(spread(&each) <= 1, "{count}, {pause} ms apart: {each:?}");
                }
            }
        }
    }

    #[test]
    fn heavy_connections_spread_evenly_over_fully_used_cores() {
        for count in [4, 8, 16, 40] {
            for pause in [0, 10, 300, 5000, 60_000] {
                let mut machine = Machine::new(2);
                machine.most = 1.5 * HEAVY as f64;
                for _ in 0..count {
                    machine.slot(HEAVY);
                    machine.pass(Duration::from_millis(pause));
                }
                let each = machine.loaded();
                assert!(spread(&each) <= 1, "{count}, {pause} ms apart: {each:?}");
            }
        }
    }

    #[test]
    fn idle_connections_hardly_affect_the_placement_of_heavy_ones() {
        for pause in [0, 10, 300, 5000] {
            let mut machine = Machine::new(2);
            machine.idle(0, 1000);
            for _ in 0..40 {
                machine.slot(HEAVY);
                machine.pass(Duration::from_millis(pause));
            }
            let each = machine.loaded();
            // All idle connections weigh 1/32 of the traffic: 1.25 of 40.
            assert!(spread(&each) <= 2, "{pause} ms apart: {each:?}");
        }
    }

    #[test]
    fn a_core_with_heavy_connections_gets_fewer_new_ones() {
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
        assert_eq!(machine.slot(HEAVY), 1);
    }

    #[test]
    fn ended_connections_lose_their_weight() {
        let mut machine = Machine::new(2);
        machine.heavy(0, 4, HEAVY);
        machine.carried.clear();
        machine.pass(20 * MEMORY);
        assert_eq!(machine.burst(10, HEAVY), [5, 5]);
    }

    #[test]
    fn new_connections_that_have_ended_do_not_count() {
        let mut machine = Machine::new(2);
        machine.loads.cores[0].given.add(1000);
        assert_eq!(machine.burst(10, HEAVY), [5, 5]);
    }

    #[test]
    fn accepting_cores_see_new_connections_of_each_other() {
        let machine = Machine::new(2);
        let (now, loads) = (machine.now, &machine.loads);
        let mut both = [Placement::new(loads, now), Placement::new(loads, now)];
        let slots: Vec<_> = (0..20)
            .filter_map(|turn: usize| both[turn % 2].slot(turn % 2, now))
            .collect();
        assert_eq!(slots.iter().filter(|slot| slot.core() == 0).count(), 10);
    }

    #[test]
    fn connections_are_refused_while_all_slots_are_taken() {
        let loads = Loads::new(vec![Arc::new(CoreCounters::new(0))], 2);
        let now = Instant::now();
        let mut placement = Placement::new(&loads, now);
        let (first, _second) = (placement.slot(0, now), placement.slot(0, now));
        assert!(placement.slot(0, now).is_none());
        drop(first);
        assert!(placement.slot(0, now).is_some());
    }

    #[test]
    fn a_full_route_places_on_the_core_with_the_most_unauthenticated_clients() {
        let cores: Vec<_> = (0..3).map(|cpu| Arc::new(CoreCounters::new(cpu))).collect();
        let loads = Loads::new(cores.clone(), 16);
        let now = Instant::now();
        let mut placement = Placement::new(&loads, now);
        cores[2].unauthenticated[0].open.add(1);
        let mut of_full = |not_authenticated: [u64; 3]| {
            let not_authenticated = |core: usize, _: &CoreCounters| not_authenticated[core];
            placement
                .slot_of_full(0, now, not_authenticated)
                .map(|slot| slot.core())
        };
        assert_eq!((of_full([0, 1, 0]), of_full([0; 3])), (Some(1), Some(0)));
        let slots: Vec<_> = (0..16).map_while(|_| placement.slot(0, now)).collect();
        let beyond = slots.iter().filter(|slot| slot.is_beyond());
        assert!(beyond.map(ConnectionSlot::core).eq([2, 2]));
    }

    #[test]
    fn overflow_slots_are_given_after_all_regular_slots() {
        for (max, beyond) in [(16, 2), (10_000, OVERFLOW_MAX)] {
            let loads = Loads::new(vec![Arc::new(CoreCounters::new(0))], max);
            let now = Instant::now();
            let mut placement = Placement::new(&loads, now);
            let slots: Vec<_> = (0..max).map_while(|_| placement.slot(0, now)).collect();
            assert_eq!(slots.len(), max);
            let count = slots.iter().filter(|slot| slot.is_beyond()).count();
            assert_eq!((count, loads.connections_max()), (beyond, max - beyond));
        }
    }

    #[test]
    fn unauthenticated_clients_leave_slots_for_others_on_every_core() {
        let cores = |count| {
            (0..count)
                .map(|cpu| Arc::new(CoreCounters::new(cpu)))
                .collect()
        };
        let loads = Loads::new(cores(2), 1000);
        let places = ClientStage::ALL.map(|stage| 2 * loads.unauthenticated_max(stage));
        assert_eq!(places, [500, 250, 250, 250]);
    }
}
