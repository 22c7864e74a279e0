//! Chooses among the targets of a list, for the connections of all cores.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::passive::FULL_WEIGHT;
use super::target::{RouteTarget, TargetSlot};
use crate::config::{Balance, RouteConfig, Target};

/// The targets of a route, or of one of its `[[route.ae]]` tables.
#[derive(Debug)]
pub struct TargetList {
    balance: Balance,
    slow_start: Option<Duration>,
    targets: Vec<Arc<RouteTarget>>,
    // Locked once per attempt, never across an await.
    turns: Mutex<Turns>,
}

/// Whose turn it is: each target has a position, which advances when the target is chosen; the target with the
/// lowest position is next. A target in slow start advances faster, so its turn comes less often.
#[derive(Debug, Default)]
struct Turns {
    // The position of the target that was chosen last. A target that was not available for some time continues
    // here, so that it does not get all connections until it has caught up.
    position: u64,
    chosen: u64,
    // By the index of the target.
    of: Vec<Turn>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Turn {
    position: u64,
    // When the target was chosen last, as a number of choices. Of equal targets, the one that has waited for
    // longest is chosen.
    chosen: u64,
}

/// Groups of targets; an earlier group is tried first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rank {
    /// Nothing speaks against the target.
    Good,
    /// Recent connections to it failed, or got no answer.
    BackedOff,
    /// Its probes found it down. A probe may be wrong, so the target is tried too.
    Down,
}

/// The choices for one connection.
#[derive(Debug)]
pub(super) struct Choice<'r> {
    list: &'r TargetList,
    // The targets that this connection has not tried, by index.
    left: Vec<(usize, &'r Arc<RouteTarget>)>,
    // Those that had all their connections.
    full: Vec<&'r Arc<RouteTarget>>,
}

/// A chosen target. Its connection is counted already.
#[derive(Debug)]
pub(super) struct Chosen<'r> {
    pub(super) target: &'r Arc<RouteTarget>,
    pub(super) slot: TargetSlot,
}

impl TargetList {
    /// `targets`, each with the state that it has in `all`, which has each address.
    pub(super) fn new(route: &RouteConfig, targets: &[Target], all: &[Arc<RouteTarget>]) -> Self {
        let of_target = |target: &Target| {
            let known = all.iter().find(|one| one.target.has_address_of(target))?;
            if known.target == *target {
                return Some(Arc::clone(known));
            }
            // The address is in another list, where another peer must answer.
            Some(Arc::new(RouteTarget {
                target: target.clone(),
                called: known.called,
                state: Arc::clone(&known.state),
            }))
        };
        let targets: Vec<_> = targets.iter().filter_map(of_target).collect();
        let turns = Turns {
            of: vec![Turn::default(); targets.len()],
            ..Turns::default()
        };
        Self {
            balance: route.balance,
            slow_start: route.health.as_ref().and_then(|health| health.slow_start),
            targets,
            turns: Mutex::new(turns),
        }
    }

    /// The choices for a new connection.
    pub(super) fn choice(&self) -> Choice<'_> {
        Choice {
            list: self,
            left: self.targets.iter().enumerate().collect(),
            full: Vec::new(),
        }
    }

    /// Counts a connection to the best of `candidates` that has a free slot, and returns the target's position
    /// in `candidates`. Also returns the positions of better ones that are full.
    fn take(
        &self,
        candidates: &[(usize, &Arc<RouteTarget>)],
        balance: Balance,
        now: Instant,
    ) -> (Option<(usize, TargetSlot)>, Vec<usize>) {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let weighted = candidates.iter().enumerate().map(|(at, (index, target))| {
            let weight = target.state.weight(self.slow_start, now).max(1);
            let turn = turns.of.get(*index).copied().unwrap_or_default();
            let position = turn.position.max(turns.position);
            let open = target.state.open();
            let key = match balance {
                Balance::Priority => (0, 0),
                Balance::RoundRobin => (position, turn.chosen),
                Balance::LeastConnections => {
                    // With full weights, the order of the numbers of connections.
                    let with_it = open.saturating_add(1).saturating_mul(FULL_WEIGHT);
                    (with_it / weight, turn.chosen)
                }
            };
            (key, at, position, weight)
        });
        let mut sorted: Vec<_> = weighted.collect();
        sorted.sort();
        let mut full = Vec::new();
        for (_, at, position, weight) in sorted {
            let Some((index, target)) = candidates.get(at) else {
                continue;
            };
            let Some(slot) = target.state.take_slot(target.target.connections) else {
                full.push(at);
                continue;
            };
            if balance != Balance::Priority {
                turns.advance(*index, position, weight);
            }
            return (Some((at, slot)), full);
        }
        (None, full)
    }
}

impl Turns {
    fn advance(&mut self, index: usize, position: u64, weight: u64) {
        self.position = position;
        self.chosen = self.chosen.saturating_add(1);
        if let Some(turn) = self.of.get_mut(index) {
            turn.position = position.saturating_add(FULL_WEIGHT * FULL_WEIGHT / weight);
            turn.chosen = self.chosen;
        }
    }
}

impl<'r> Choice<'r> {
    /// Chooses the next target, and counts the connection to it. `is_silent` returns whether the addresses of a
    /// target did not answer recently.
    pub(super) fn next(
        &mut self,
        now: Instant,
        is_silent: impl Fn(&Target) -> bool,
    ) -> Option<Chosen<'r>> {
        let ranked = self.left.iter().map(|(index, target)| {
            let state = &target.state;
            let rank = match () {
                () if state.is_in_maintenance() => None,
                () if state.is_down() => Some(Rank::Down),
                () if state.is_backed_off(now) || is_silent(&target.target) => {
                    Some(Rank::BackedOff)
                }
                () => Some(Rank::Good),
            };
            (rank, (*index, *target))
        });
        let ranked: Vec<_> = ranked.collect();
        for rank in [Rank::Good, Rank::BackedOff, Rank::Down] {
            let of_rank = ranked.iter().filter(|(its, _)| *its == Some(rank));
            let candidates: Vec<_> = of_rank.map(|(_, one)| *one).collect();
            // Targets that probably do not work are tried in their order.
            let balance = match rank {
                Rank::Good => self.list.balance,
                Rank::BackedOff | Rank::Down => Balance::Priority,
            };
            let (taken, full) = self.list.take(&candidates, balance, now);
            let full = full.iter().filter_map(|at| candidates.get(*at));
            for (index, target) in full {
                self.left.retain(|(left, _)| left != index);
                self.full.push(target);
            }
            let taken = taken.and_then(|(at, slot)| Some((candidates.get(at)?, slot)));
            if let Some(((index, target), slot)) = taken {
                self.left.retain(|(left, _)| left != index);
                target.state.note_attempt(now);
                return Some(Chosen { target, slot });
            }
        }
        None
    }

    /// The number of targets that can still be chosen.
    pub(super) fn left(&self) -> usize {
        let left = self.left.iter();
        left.filter(|(_, target)| !target.state.is_in_maintenance())
            .count()
    }

    /// Whether the list has more than one target.
    pub(super) fn has_others(&self) -> bool {
        self.list.targets.len() > 1
    }

    /// Whether a target was passed over because it had its maximum of connections.
    pub(super) fn is_full(&self) -> bool {
        !self.full.is_empty()
    }

    /// Why targets were passed over, as sentences.
    pub(super) fn reasons(&self) -> impl Iterator<Item = String> {
        let full = self.full.iter().map(|target| {
            let (target, most) = (&target.target, target.target.connections.unwrap_or(0));
            format!(
                "target {target} has its maximum of {most} open connections (connections in `targets`)"
            )
        });
        let left = self.left.iter().map(|(_, target)| target);
        let resting = left.filter(|target| target.state.is_in_maintenance());
        full.chain(resting.map(|target| format!("target {} is in maintenance", target.target)))
    }
}
