//! The state of a target, up or down, derived from its probes.
//!
//! Pure: no socket, no clock.

use std::time::{Duration, Instant};

use crate::upstream::limits::CAUSE_CHANGES_AFTER;

/// A target's state between probes.
///
/// A target without probe results counts as up, because probes must only remove targets that fail.
#[derive(Debug)]
pub(super) struct TargetHealth {
    rise: u32,
    fall: u32,
    down: Option<Down>,
    // Probes in a row that contradict the current state.
    against: u32,
}

/// The details of a target that is down.
#[derive(Debug)]
struct Down {
    since: Instant,
    // The reported cause.
    reported: String,
    // The last probe's cause, and how many probes in a row had it.
    last: String,
    run: u32,
}

/// A state change to report to the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// The target is down; why the last probe failed.
    Down(String),
    /// The target is still down, now for another reason than the reported one.
    StillDown(String),
    /// The target is up again, after this time.
    Up(Duration),
}

impl TargetHealth {
    /// Starts as up; changes to down after `fall` failed probes in a row, and back to up after `rise`
    /// successful ones.
    #[must_use]
    pub(super) fn new(rise: u32, fall: u32) -> Self {
        Self {
            rise,
            fall,
            down: None,
            against: 0,
        }
    }

    /// The state of a target that earlier probes found down, after a change of its route.
    #[must_use]
    pub(super) fn down(rise: u32, fall: u32, now: Instant) -> Self {
        let down = Down {
            since: now,
            reported: String::new(),
            last: String::new(),
            run: 0,
        };
        Self {
            down: Some(down),
            ..Self::new(rise, fall)
        }
    }

    /// Whether it counts as there.
    #[must_use]
    pub(super) fn is_up(&self) -> bool {
        self.down.is_none()
    }

    /// Notes a good probe.
    pub(super) fn on_success(&mut self, now: Instant) -> Option<Transition> {
        let Some(down) = &self.down else {
            self.against = 0;
            return None;
        };
        self.against = self.against.saturating_add(1);
        if self.against < self.rise {
            return None;
        }
        let after = now.saturating_duration_since(down.since);
        (self.down, self.against) = (None, 0);
        Some(Transition::Up(after))
    }

    /// Notes a bad probe, and why it was bad.
    pub(super) fn on_failure(&mut self, now: Instant, why: String) -> Option<Transition> {
        if let Some(down) = &mut self.down {
            self.against = 0;
            return down.on_failure(why);
        }
        self.against = self.against.saturating_add(1);
        if self.against < self.fall {
            return None;
        }
        self.against = 0;
        self.down = Some(Down {
            since: now,
            reported: why.clone(),
            last: why.clone(),
            run: 1,
        });
        Some(Transition::Down(why))
    }
}

impl Down {
    fn on_failure(&mut self, why: String) -> Option<Transition> {
        self.run = match why == self.last {
            true => self.run.saturating_add(1),
            false => 1,
        };
        self.last = why;
        if self.last == self.reported || self.run < CAUSE_CHANGES_AFTER {
            return None;
        }
        self.reported.clone_from(&self.last);
        Some(Transition::StillDown(self.reported.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_target_that_was_down_stays_down_until_enough_probes_are_good() {
        let now = Instant::now();
        let mut health = TargetHealth::down(2, 3, now);
        assert!(!health.is_up());
        assert_eq!(health.on_failure(now, "refused".into()), None);
        assert!(!health.is_up(), "one bad probe more");
        assert_eq!(health.on_success(now + SECOND), None);
        assert!(!health.is_up(), "one good probe of two");
        let up = health.on_success(now + 2 * SECOND);
        assert_eq!(up, Some(Transition::Up(2 * SECOND)));
    }

    #[test]
    fn an_unknown_target_is_up() {
        let mut health = TargetHealth::new(1, 1);
        assert!(health.is_up());
        assert_eq!(
            health.on_success(Instant::now()),
            None,
            "nothing has changed"
        );
        assert!(health.is_up());
    }

    #[test]
    fn a_target_goes_down_after_fall_failures_and_up_after_rise_successes() {
        let start = Instant::now();
        let mut health = TargetHealth::new(2, 3);
        let why = |number: u32| format!("reason {number}");
        for number in 1..=2 {
            assert_eq!(health.on_failure(start, why(number)), None);
        }
        assert_eq!(health.on_success(start), None);
        for number in 3..=4 {
            assert_eq!(
                health.on_failure(start, why(number)),
                None,
                "the count restarts"
            );
        }
        assert!(health.is_up());
        let down = health.on_failure(start, why(5));
        assert_eq!(down, Some(Transition::Down(why(5))));
        assert!(!health.is_up());
        assert_eq!(health.on_failure(start, why(6)), None, "reported once");
        assert_eq!(health.on_success(start), None);
        assert_eq!(health.on_failure(start, why(7)), None);
        assert_eq!(health.on_success(start), None, "the count restarts");
        let up = health.on_success(start + 9 * SECOND);
        assert_eq!(up, Some(Transition::Up(9 * SECOND)));
        assert!(health.is_up());
    }

    #[test]
    fn another_cause_is_reported_when_it_persists() {
        let now = Instant::now();
        let mut health = TargetHealth::new(2, 1);
        let mut fail = |why: &str| health.on_failure(now, why.to_owned());
        assert_eq!(fail("refused"), Some(Transition::Down("refused".into())));
        for _ in 0..20 {
            for why in ["title", "title", "refused", "time"] {
                assert_eq!(fail(why), None, "it changes");
            }
        }
        assert_eq!(fail("title"), None);
        assert_eq!(fail("title"), None);
        let still = Transition::StillDown("title".into());
        assert_eq!(fail("title"), Some(still));
        for _ in 0..20 {
            assert_eq!(fail("title"), None, "reported once");
        }
    }

    #[test]
    fn a_clock_that_steps_back_is_harmless() {
        let later = Instant::now() + 60 * SECOND;
        let mut health = TargetHealth::new(1, 1);
        health.on_failure(later, String::new());
        let up = health.on_success(later.checked_sub(SECOND).expect("a minute behind us"));
        assert_eq!(up, Some(Transition::Up(Duration::ZERO)));
    }

    /// A deterministic generator (xorshift64), so that a seed reproduces a run.
    struct Coins(u64);

    impl Coins {
        fn toss(&mut self) -> bool {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0.is_multiple_of(3)
        }
    }

    /// The definition for comparison: down exactly if the last `fall` consecutive failures came after the
    /// last `rise` consecutive successes.
    #[test]
    fn any_sequence_of_probes_gives_the_state_of_the_definition() {
        for seed in 1..=200 {
            let mut coins = Coins(seed);
            let (rise, fall) = (1 + seed % 4, 1 + seed / 4 % 4);
            let mut health = TargetHealth::new(rise as u32, fall as u32);
            let (mut is_up, mut run, mut last) = (true, 0, None);
            for turn in 0..500_u64 {
                let good = coins.toss();
                run = if last == Some(good) { run + 1 } else { 1 };
                last = Some(good);
                let before = is_up;
                is_up = match good {
                    true => is_up || run >= rise,
                    false => is_up && run < fall,
                };
                let now = Instant::now();
                let transition = match good {
                    true => health.on_success(now),
                    false => health.on_failure(now, String::new()),
                };
                assert_eq!(health.is_up(), is_up, "seed {seed}, turn {turn}");
                assert_eq!(
                    transition.is_some(),
                    before != is_up,
                    "seed {seed}, turn {turn}"
                );
            }
        }
    }
}
