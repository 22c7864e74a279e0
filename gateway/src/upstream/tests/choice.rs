//! Tests which target is chosen, for random sequences of events and for single settings.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ROUTE;
use crate::config::{self, RouteConfig};
use crate::upstream::{RouteTargets, TargetSlot};

/// A route with this balance, and with targets that may have these numbers of connections.
fn route(balance: &str, limits: &[Option<u32>], slow_start: &str) -> Arc<RouteConfig> {
    let targets = limits.iter().enumerate().map(|(index, limit)| {
        let limit = limit.map_or_else(String::new, |limit| format!(", connections = {limit}"));
        format!("{{ address = \"127.0.0.1:{}\"{limit} }}", index + 1)
    });
    let targets: Vec<_> = targets.collect();
    let text = ROUTE.replace("\"gw.region.example:2762\"", &targets.join(", "));
    let text = text
        .replace("\"originate\"", "\"terminate\"")
        .replace("peers =", &format!("balance = \"{balance}\"\npeers ="));
    let text = text + &format!("[route.health]\nprobe = \"connect\"\n{slow_start}\n");
    let config = config::parse(&text, Path::new("wardgate.toml")).expect("a good route");
    config.routes.into_iter().next().expect("one route")
}

/// A deterministic generator (xorshift64), so that a seed reproduces a run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

/// Targets, their open connections, and what is known about them.
struct World {
    targets: RouteTargets,
    limits: Vec<Option<u32>>,
    open: Vec<Vec<TargetSlot>>,
    now: Instant,
    // Connections to each target since the last change of the targets that could be chosen.
    window: Vec<u64>,
    could_be_chosen: Vec<usize>,
}

impl World {
    fn new(balance: &str, limits: Vec<Option<u32>>, slow_start: &str) -> Self {
        let route = route(balance, &limits, slow_start);
        Self {
            targets: RouteTargets::new(&route, &[]),
            open: limits.iter().map(|_| Vec::new()).collect(),
            window: vec![0; limits.len()],
            could_be_chosen: Vec::new(),
            limits,
            now: Instant::now(),
        }
    }

    fn has_room(&self, index: usize) -> bool {
        self.limits[index].is_none_or(|limit| (self.open[index].len() as u32) < limit)
    }

    fn is_good(&self, index: usize) -> bool {
        let state = &self.targets.all[index].state;
        !state.is_in_maintenance() && !state.is_down() && !state.is_backed_off(self.now)
    }

    /// Opens one connection and checks the choice.
    fn connect(&mut self, balance: &str) -> Option<usize> {
        let all = 0..self.limits.len();
        let good: Vec<_> = all
            .filter(|n| self.is_good(*n) && self.has_room(*n))
            .collect();
        if good != self.could_be_chosen {
            self.window.fill(0);
            self.could_be_chosen.clone_from(&good);
        }
        let chosen = self.targets.own.choice().next(self.now, |_| false);
        let Some(chosen) = chosen else {
            assert!(good.is_empty(), "{good:?} could be chosen");
            for index in 0..self.limits.len() {
                let is_resting = self.targets.all[index].state.is_in_maintenance();
                assert!(
                    is_resting || !self.has_room(index),
                    "{index} could be chosen"
                );
            }
            return None;
        };
        let is_it = |index: &usize| self.targets.all[*index].target == chosen.target.target;
        let index = (0..self.limits.len()).find(is_it).expect("one of them");
        assert!(!chosen.target.state.is_in_maintenance(), "{index} rests");
        assert!(self.has_room(index), "{index} is full");
        let fewest = good.iter().map(|n| self.open[*n].len()).min();
        if balance == "least-connections" {
            assert!(fewest.is_none_or(|fewest| self.open[index].len() == fewest));
        }
        self.open[index].push(chosen.slot);
        if good.is_empty() {
            return Some(index);
        }
        assert!(good.contains(&index), "{index} is not among {good:?}");
        self.window[index] += 1;
        if balance == "round-robin" {
            let counts = good.iter().map(|n| self.window[*n]);
            let (most, least) = (counts.clone().max(), counts.min());
            assert!(most <= least.map(|n| n + 1), "{:?}", self.window);
        }
        if balance == "priority" {
            assert_eq!(index, good[0]);
        }
        Some(index)
    }

    /// Something happens to a target.
    fn happen(&mut self, dice: &mut Dice) {
        let index = dice.roll(self.limits.len() as u64) as usize;
        let state = Arc::clone(&self.targets.all[index].state);
        match dice.roll(7) {
            0 => state.counters.up.set(0),
            1 => {
                state.note_up(self.now);
                state.counters.up.set(1);
            }
            2 => drop(state.note_failure(self.now, dice.roll(u64::MAX))),
            3 => drop(state.note_success(self.now)),
            4 => state.set_maintenance(dice.roll(3) == 0, self.now),
            5 => self.now += Duration::from_millis(dice.roll(3000)),
            _ => {
                let open = &mut self.open[index];
                open.truncate(open.len() / 2);
            }
        }
    }
}

#[test]
fn any_sequence_of_events_gives_a_choice_within_the_limits_and_the_balance() {
    for seed in 1..=300 {
        for balance in ["priority", "round-robin", "least-connections"] {
            let mut dice = Dice(seed * 0x9e37_79b9);
            let limits = (0..=dice.roll(4)).map(|_| match dice.roll(2) {
                0 => None,
                _ => Some(1 + dice.roll(9) as u32),
            });
            let mut world = World::new(balance, limits.collect(), "");
            for _ in 0..150 {
                match dice.roll(3) {
                    0 => world.happen(&mut dice),
                    _ => {
                        world.connect(balance);
                    }
                }
                for (target, open) in world.targets.all.iter().zip(&world.open) {
                    assert_eq!(target.state.open(), open.len() as u64, "seed {seed}");
                }
            }
        }
    }
}

/// Shares of 1000 connections, of which each ends at once.
fn shares(balance: &str, slow_start: &str, keep: bool, before: impl Fn(&World)) -> [u64; 3] {
    let mut world = World::new(balance, vec![None; 3], slow_start);
    before(&world);
    let mut counts = [0; 3];
    for _ in 0..1000 {
        let chosen = world.targets.own.choice().next(world.now, |_| false);
        let chosen = chosen.expect("all are up");
        let all = world.targets.all.iter();
        let index = all.clone().position(|one| Arc::ptr_eq(one, chosen.target));
        let index = index.expect("one of them");
        counts[index] += 1;
        if keep {
            world.open[index].push(chosen.slot);
        }
    }
    counts
}

#[test]
fn a_target_in_slow_start_gets_a_growing_share() {
    let slow_start = "slow_start = \"64s\"";
    for (balance, keep) in [("round-robin", false), ("least-connections", true)] {
        let after = |seconds: u64| {
            shares(balance, slow_start, keep, |world| {
                let came_up = world.now.checked_sub(Duration::from_secs(seconds));
                let came_up = came_up.expect("a machine that runs for a minute");
                world.targets.all[1].state.note_up(came_up);
            })
        };
        let [start, half, end] = [0, 32, 64].map(|seconds| after(seconds)[1]);
        // One sixteenth, a half, and all of the share of another target.
        assert!((25..=35).contains(&start), "{balance}: {start} of 1000");
        assert!((195..=205).contains(&half), "{balance}: {half} of 1000");
        assert!((332..=335).contains(&end), "{balance}: {end} of 1000");
    }
}

#[test]
fn a_target_that_comes_back_does_not_get_all_connections() {
    let mut world = World::new("round-robin", vec![None; 2], "");
    world.targets.all[1].state.counters.up.set(0);
    for _ in 0..100 {
        assert_eq!(world.connect("round-robin"), Some(0));
    }
    world.targets.all[1].state.counters.up.set(1);
    let next: Vec<_> = (0..4).map(|_| world.connect("round-robin")).collect();
    assert_eq!(next, [Some(1), Some(0), Some(1), Some(0)]);
}

#[test]
fn cores_share_the_turns_and_the_limits() {
    let world = World::new("round-robin", vec![None, Some(30), None], "");
    let (targets, now) = (&world.targets, world.now);
    let slots: Vec<_> = std::thread::scope(|scope| {
        let connect = || {
            let next = |_| targets.own.choice().next(now, |_| false);
            let chosen = (0..100).filter_map(next);
            chosen.map(|chosen| chosen.slot).collect::<Vec<_>>()
        };
        let cores: Vec<_> = (0..3).map(|_| scope.spawn(connect)).collect();
        let cores = cores.into_iter();
        cores
            .flat_map(|core| core.join().expect("no panic"))
            .collect()
    });
    assert_eq!(slots.len(), 300);
    let open = || [0, 1, 2].map(|index| targets.all[index].state.open());
    assert_eq!(open(), [135, 30, 135]);
    drop(slots);
    assert_eq!(open(), [0; 3]);
}

#[test]
fn the_next_configuration_keeps_the_state_of_a_target_with_the_same_address() {
    let before = World::new("round-robin", vec![None, Some(9)], "");
    before.targets.all[1]
        .state
        .set_maintenance(true, before.now);
    let slot = before.targets.own.choice().next(before.now, |_| false);
    let next = RouteTargets::new(&route("priority", &[None; 3], ""), &before.targets.all);
    let states = next.all.iter().map(|one| {
        let state = &one.state;
        (state.is_in_maintenance(), state.open())
    });
    let states: Vec<_> = states.collect();
    assert_eq!(states, [(false, 1), (true, 0), (false, 0)]);
    drop(slot);
    assert_eq!(next.all[0].state.open(), 0);
}
