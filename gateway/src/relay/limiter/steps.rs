//! Decides which handshake may take its next step, and when.
//!
//! A step is a computation that nothing interrupts: a key exchange and a signature, or the check of a
//! certificate chain. Between two steps, the other tasks of the core get their turn. All steps together have
//! a share of the core's time, which depends on the time that payload takes: all of it while no payload
//! moves, and 1/20 (`STEPS_SHARE`) when payload takes about an eighth of the core or more. The address that
//! was served least comes first, so a legitimate client does not wait behind a flood from another address.
//!
//! Pure: times come in as arguments.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use crate::client_source::Source;
use crate::relay::limits::{STEPS_BURST, STEPS_DEBT_MAX, STEPS_SHARE};

/// The tasks that wait for a step, and the time that steps may take. `W` is the handle by which the caller
/// reaches a waiting connection.
#[derive(Debug)]
pub(super) struct StepQueue<W> {
    // INVARIANT: each source has at least one waiting task.
    sources: HashMap<Source, Waiting<W>>,
    // INVARIANT: one entry for each source.
    order: BTreeSet<SourceRank>,
    arrivals: u64,
    // The served time of the source that had the last turn: a source that comes back begins there, without
    // credit or debt.
    served: u64,
    budget: Budget,
}

// Served time in nanoseconds, then the first arrival.
type SourceRank = (u64, u64, Source);

#[derive(Debug)]
struct Waiting<W> {
    served: u64,
    // By arrival.
    waiters: BTreeMap<u64, W>,
}

/// A place in the queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueuePosition {
    source: Source,
    arrival: u64,
}

/// The next action of the queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum QueueAction<W> {
    /// This task takes its step.
    Step(Source, W),
    /// The share is used up for this time.
    Wait(Duration),
    /// No task waits.
    Nobody,
}

impl<W> StepQueue<W> {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            sources: HashMap::new(),
            order: BTreeSet::new(),
            arrivals: 0,
            served: 0,
            budget: Budget::new(now),
        }
    }

    /// Adds a task to the queue.
    pub(super) fn enqueue(&mut self, source: Source, waiter: W) -> QueuePosition {
        let arrival = self.arrivals;
        self.arrivals = arrival.wrapping_add(1);
        let served = self.served;
        self.change(source, served, |waiting| {
            waiting.waiters.insert(arrival, waiter);
        });
        QueuePosition { source, arrival }
    }

    /// Removes a task that no longer waits.
    pub(super) fn remove(&mut self, turn: QueuePosition) {
        let QueuePosition { source, arrival } = turn;
        if self.sources.contains_key(&source) {
            self.change(source, 0, |waiting| waiting.waiters.remove(&arrival));
        }
    }

    /// Whether a step may begin without waiting.
    pub(super) fn may_begin(&mut self, now: Instant) -> bool {
        self.order.is_empty() && self.budget.wait(now).is_none()
    }

    /// The next task, if it is time. `relayed` is how long the core has moved payload since the last call.
    pub(super) fn next(&mut self, now: Instant, relayed: Duration) -> QueueAction<W> {
        self.budget.note_relayed(now, relayed);
        let Some((_, _, source)) = self.order.first().copied() else {
            return QueueAction::Nobody;
        };
        if let Some(wait) = self.budget.wait(now) {
            return QueueAction::Wait(wait);
        }
        let (served, waiter) = self.change(source, 0, |waiting| {
            (waiting.served, waiting.waiters.pop_first())
        });
        self.served = served;
        match waiter {
            Some((_, waiter)) => QueueAction::Step(source, waiter),
            None => QueueAction::Nobody,
        }
    }

    /// A step of `source` that is over now has taken `cost` of the core's time.
    pub(super) fn done(&mut self, source: Source, cost: Duration, now: Instant) {
        self.budget.charge(cost, now);
        if self.sources.contains_key(&source) {
            let cost = u64::try_from(cost.as_nanos()).unwrap_or(u64::MAX);
            self.change(source, 0, |waiting| {
                waiting.served = waiting.served.saturating_add(cost);
            });
        }
    }

    // Every change of a source goes through this function, so that its rank stays correct. A new source
    // begins with `served`.
    fn change<R>(
        &mut self,
        source: Source,
        served: u64,
        change: impl FnOnce(&mut Waiting<W>) -> R,
    ) -> R {
        let waiting = self.sources.entry(source).or_insert_with(|| Waiting {
            served,
            waiters: BTreeMap::new(),
        });
        let rank = |waiting: &Waiting<W>| {
            let first = *waiting.waiters.first_key_value()?.0;
            Some((waiting.served, first, source))
        };
        if let Some(rank) = rank(waiting) {
            self.order.remove(&rank);
        }
        let outcome = change(waiting);
        match rank(waiting) {
            Some(rank) => {
                self.order.insert(rank);
            }
            None => {
                self.sources.remove(&source);
            }
        }
        outcome
    }
}

/// The time budget of steps next to payload.
#[derive(Debug)]
struct Budget {
    // The seconds that may be used now; negative after a step that took longer.
    credit: f64,
    refilled: Instant,
    // The seconds of the recent past, and those of them in which payload moved. A long time without records
    // counts as a short time without payload.
    recent: f64,
    relayed: f64,
    noted: Instant,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self {
            credit: STEPS_BURST.as_secs_f64(),
            refilled: now,
            recent: MEMORY.as_secs_f64(),
            relayed: 0.0,
            noted: now,
        }
    }

    fn charge(&mut self, cost: Duration, now: Instant) {
        self.refill(now);
        let least = -STEPS_DEBT_MAX.as_secs_f64();
        self.credit = (self.credit - cost.as_secs_f64()).max(least);
    }

    fn note_relayed(&mut self, now: Instant, relayed: Duration) {
        let passed = now.saturating_duration_since(self.noted).min(MEMORY);
        let passed = passed.as_secs_f64();
        self.noted = now;
        let kept = (-passed / MEMORY.as_secs_f64()).exp();
        self.recent = self.recent * kept + passed;
        self.relayed = self.relayed * kept + relayed.as_secs_f64();
    }

    // How long until a step may begin; `None` means now.
    fn wait(&mut self, now: Instant) -> Option<Duration> {
        let share = self.refill(now);
        (self.credit <= 0.0).then(|| Duration::from_secs_f64(-self.credit / share).max(WAIT_MIN))
    }

    // Adds the time that has become available, and returns the share.
    fn refill(&mut self, now: Instant) -> f64 {
        let share = self.share();
        let passed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.refilled = now;
        self.credit = (self.credit + passed * share).min(STEPS_BURST.as_secs_f64());
        share
    }

    // The whole time if no payload moves, `STEPS_SHARE` if payload takes an eighth or more.
    fn share(&self) -> f64 {
        let relayed = self.relayed / self.recent.max(f64::MIN_POSITIVE);
        (1.0 - STEEPNESS * relayed).clamp(1.0 / f64::from(STEPS_SHARE), 1.0)
    }
}

/// The time after which the past is forgotten to a third: some hundred turns of bulk.
const MEMORY: Duration = Duration::from_millis(20);

/// The resolution of timers.
const WAIT_MIN: Duration = Duration::from_millis(1);

// If payload takes an eighth of the core's time, its share is protected in full.
const STEEPNESS: f64 = 8.0;

#[cfg(test)]
mod tests;
