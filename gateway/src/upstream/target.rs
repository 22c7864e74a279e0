//! The targets of a route, each with the state that it keeps while the gateway runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::passive::PassiveHealth;
use crate::config::{RouteConfig, Target};
use crate::dicom::AeTitle;
use crate::metrics::TargetCounters;

/// A target of a route.
#[derive(Debug)]
pub struct RouteTarget {
    /// The target as configured.
    pub target: Target,
    /// The called AE title of a C-ECHO to this target.
    pub called: AeTitle,
    /// The state, which the next configuration takes over for a target with the same address.
    pub state: Arc<TargetState>,
}

/// The state of a target, shared by all cores.
#[derive(Debug)]
pub struct TargetState {
    /// The numbers that are also metrics.
    pub counters: Arc<TargetCounters>,
    // Locked a few times per new connection and once per probe, never across an await.
    passive: Mutex<PassiveHealth>,
    // Why connections or probes fail now, and since when; locked when that changes.
    trouble: Mutex<Option<TargetTrouble>>,
}

/// Why a target does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetTrouble {
    /// When it was first seen.
    pub since: SystemTime,
    /// The result of the last attempt, as text.
    pub why: String,
}

/// An open connection to a target, counted until it is dropped.
#[derive(Debug)]
pub struct TargetSlot(Arc<TargetState>);

impl TargetState {
    /// A target that nothing is known of, which counts as up.
    pub(super) fn new(route: &RouteConfig, target: &Target) -> Self {
        let counters = TargetCounters::new(route.name.clone(), target.to_string());
        Self {
            counters: Arc::new(counters),
            passive: Mutex::default(),
            trouble: Mutex::default(),
        }
    }

    /// Whether its probes found it down. A target without probe results is up.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.counters.up.get() == 0
    }

    /// Whether it gets no new connections because an operator has set maintenance.
    #[must_use]
    pub fn is_in_maintenance(&self) -> bool {
        self.counters.in_maintenance.get() != 0
    }

    /// Why connections or probes fail now; `None` if the last ones succeeded.
    #[must_use]
    pub fn trouble(&self) -> Option<TargetTrouble> {
        let trouble = self
            .trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        trouble.filter(|_| self.is_down() || self.counters.is_backed_off.get() != 0)
    }

    /// Notes why the target does not work.
    pub(super) fn note_trouble(&self, why: &str) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let since = trouble.take().map(|trouble| trouble.since);
        *trouble = Some(TargetTrouble {
            since: since.unwrap_or_else(SystemTime::now),
            why: why.to_owned(),
        });
    }

    fn forget_trouble(&self) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Sets or ends maintenance. At its end, slow start begins, because the target was probably restarted.
    pub fn set_maintenance(&self, on: bool, now: Instant) {
        if self.is_in_maintenance() && !on {
            self.note_up(now);
        }
        self.counters.in_maintenance.set(on.into());
    }

    /// Counts one more connection; `None` if there are `most` already.
    // LIMIT: `connections` of a target, counted in wardgate_target_limited_total.
    pub(super) fn take_slot(self: &Arc<Self>, most: Option<u32>) -> Option<TargetSlot> {
        let most = most.map_or(u64::MAX, u64::from);
        if self.counters.open.add_up_to(most) {
            return Some(TargetSlot(Arc::clone(self)));
        }
        self.counters.limited.add(1);
        None
    }

    /// Open connections, including those that are being set up.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.counters.open.get()
    }

    /// Whether other targets are tried first because connections to this one failed.
    pub(super) fn is_backed_off(&self, now: Instant) -> bool {
        self.passive().is_backed_off(now)
    }

    /// The share of the target: `passive::FULL_WEIGHT`, or less during its slow start.
    pub(super) fn weight(&self, slow_start: Option<Duration>, now: Instant) -> u64 {
        self.passive().weight(slow_start, now)
    }

    /// Notes that a connection tries the target.
    pub(super) fn note_attempt(&self, now: Instant) {
        self.passive().on_attempt(now);
    }

    /// Notes a connection that failed. `jitter` is any random number. Returns whether to report it.
    pub(super) fn note_failure(&self, now: Instant, jitter: u64) -> bool {
        self.counters.failed.add(1);
        self.counters.is_backed_off.set(1);
        self.passive().on_failure(now, jitter)
    }

    /// Notes a connection that succeeded. If failures were reported, returns the time since the first one.
    pub(super) fn note_success(&self, now: Instant) -> Option<Duration> {
        if self.counters.is_backed_off.get() != 0 && !self.is_down() {
            self.forget_trouble();
        }
        self.counters.is_backed_off.set(0);
        self.passive().on_success(now)
    }

    /// Notes that probes have found the target up after it was down.
    pub(super) fn note_up(&self, now: Instant) {
        self.counters.is_backed_off.set(0);
        self.forget_trouble();
        self.passive().on_up(now);
    }

    fn passive(&self) -> MutexGuard<'_, PassiveHealth> {
        // A panic cannot leave it half changed.
        self.passive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TargetSlot {
    fn drop(&mut self) {
        self.0.counters.open.sub(1);
    }
}
