//! The state of a target as the connections of clients find it: back-off after failures, and slow start.
//!
//! Pure: no socket, no clock.

use std::time::{Duration, Instant};

use crate::upstream::limits::{
    BACK_OFF_FIRST, BACK_OFF_MAX, BACK_OFF_REPORTED, BACK_OFF_TRIAL, SLOW_START_LEAST,
};

/// The weight of a target that gets its full share.
pub(super) const FULL_WEIGHT: u64 = 256;

/// What connections have found out about a target.
#[derive(Debug, Default)]
pub(super) struct PassiveHealth {
    // Back-offs in a row, and when the first one began.
    failures: u32,
    since: Option<Instant>,
    // The end of the back-off, or of the time in which one connection tries the target after it.
    until: Option<Instant>,
    is_trial: bool,
    // When the target was last found to be back.
    came_up: Option<Instant>,
}

impl PassiveHealth {
    /// Whether other targets are tried first.
    pub(super) fn is_backed_off(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Notes that a connection tries the target. After a back-off one connection does; until it has succeeded
    /// or failed, or `BACK_OFF_TRIAL` has passed, others try other targets first.
    pub(super) fn on_attempt(&mut self, now: Instant) {
        if self.failures > 0 && !self.is_backed_off(now) {
            self.is_trial = true;
            self.until = now.checked_add(BACK_OFF_TRIAL);
        }
    }

    /// Notes a connection that failed. `jitter` is any random number: it shortens the back-off by up to half,
    /// so that gateways do not try again at the same time. Returns whether the failures should be reported.
    pub(super) fn on_failure(&mut self, now: Instant, jitter: u64) -> bool {
        // Connections that began before the back-off, or have no other target, do not lengthen it.
        if self.is_backed_off(now) && !self.is_trial {
            return false;
        }
        // LIMIT: BACK_OFF_MAX.
        let doubled = BACK_OFF_FIRST.saturating_mul(1 << self.failures.min(16));
        let longest = doubled.min(BACK_OFF_MAX);
        let part = u32::try_from(jitter % 128).unwrap_or_default();
        let time = longest - longest * part / 256;
        self.failures = self.failures.saturating_add(1);
        self.since.get_or_insert(now);
        self.is_trial = false;
        self.until = now.checked_add(time);
        self.failures == BACK_OFF_REPORTED
    }

    /// Notes a connection that succeeded. It ends the back-off, and slow start begins. If the failures were
    /// reported, returns the time since the first one.
    pub(super) fn on_success(&mut self, now: Instant) -> Option<Duration> {
        if self.failures == 0 {
            return None;
        }
        let since = self.since.filter(|_| self.failures >= BACK_OFF_REPORTED);
        self.on_up(now);
        since.map(|since| now.saturating_duration_since(since))
    }

    /// Notes that the target has come up.
    pub(super) fn on_up(&mut self, now: Instant) {
        *self = Self {
            came_up: Some(now),
            ..Self::default()
        };
    }

    /// `FULL_WEIGHT`, or less for a target that came up less than `slow_start` ago: the weight grows linearly
    /// from a small part.
    pub(super) fn weight(&self, slow_start: Option<Duration>, now: Instant) -> u64 {
        let (Some(slow_start), Some(came_up)) = (slow_start, self.came_up) else {
            return FULL_WEIGHT;
        };
        let passed = now.saturating_duration_since(came_up);
        if passed >= slow_start {
            return FULL_WEIGHT;
        }
        let part = passed.as_millis() * u128::from(FULL_WEIGHT) / slow_start.as_millis().max(1);
        let part = u64::try_from(part).unwrap_or(FULL_WEIGHT);
        part.clamp(FULL_WEIGHT / SLOW_START_LEAST, FULL_WEIGHT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The length of each back-off of a target that fails whenever it is tried.
    fn back_offs(jitter: u64) -> Vec<Duration> {
        let (mut now, mut health) = (Instant::now(), PassiveHealth::default());
        let mut lengths = Vec::new();
        for _ in 0..40 {
            health.on_attempt(now);
            health.on_failure(now, jitter);
            let begun = now;
            while health.is_backed_off(now) {
                now += Duration::from_millis(1);
            }
            lengths.push(now - begun);
        }
        lengths
    }

    #[test]
    fn the_back_off_doubles_up_to_its_maximum_and_jitter_shortens_it_by_up_to_half() {
        let longest = back_offs(0);
        assert_eq!(longest[..3], [1, 2, 4].map(|times| times * BACK_OFF_FIRST));
        assert_eq!(longest[39], BACK_OFF_MAX);
        let shortest = back_offs(127);
        for (shortest, longest) in shortest.into_iter().zip(longest) {
            assert!(
                shortest < longest && shortest >= longest / 2,
                "{shortest:?}"
            );
        }
    }

    #[test]
    fn one_connection_at_a_time_tries_a_target_after_its_back_off() {
        let (start, mut health) = (Instant::now(), PassiveHealth::default());
        health.on_failure(start, 0);
        let after = start + BACK_OFF_FIRST;
        assert!(!health.is_backed_off(after));
        health.on_attempt(after);
        assert!(
            health.is_backed_off(after),
            "the others wait for the result"
        );
        // A connection whose client has gone has no result.
        assert!(!health.is_backed_off(after + BACK_OFF_TRIAL));
        health.on_failure(after, 0);
        assert!(health.is_backed_off(after + 2 * BACK_OFF_FIRST - SECOND / 100));
        health.on_success(after);
        assert!(!health.is_backed_off(after));
    }

    #[test]
    fn failures_are_reported_when_the_first_trial_fails_and_the_end_if_they_were() {
        let (start, mut health) = (Instant::now(), PassiveHealth::default());
        assert!(!health.on_failure(start, 0), "it may be a restart");
        assert_eq!(health.on_success(start + SECOND), None);
        let mut now = start;
        let mut reports = 0;
        for _ in 0..5 {
            health.on_attempt(now);
            reports += u32::from(health.on_failure(now, 0));
            assert!(!health.on_failure(now, 0), "during the back-off");
            now += BACK_OFF_MAX;
        }
        assert_eq!(reports, 1);
        assert_eq!(health.on_success(now), Some(now - start));
        assert_eq!(health.on_success(now), None);
    }

    #[test]
    fn failures_during_a_back_off_do_not_lengthen_it() {
        let (start, mut health) = (Instant::now(), PassiveHealth::default());
        for _ in 0..100 {
            health.on_attempt(start);
            health.on_failure(start, 0);
        }
        assert!(!health.is_backed_off(start + BACK_OFF_FIRST));
    }

    #[test]
    fn the_share_grows_linearly_after_the_target_has_come_up() {
        let (start, mut health) = (Instant::now(), PassiveHealth::default());
        let slow_start = Some(64 * SECOND);
        assert_eq!(health.weight(slow_start, start), FULL_WEIGHT, "always up");
        health.on_success(start);
        assert_eq!(health.weight(slow_start, start), FULL_WEIGHT, "no change");
        health.on_failure(start, 0);
        health.on_success(start);
        let weights = [0, 16, 32, 64, 99].map(|n| health.weight(slow_start, start + n * SECOND));
        assert_eq!(weights, [FULL_WEIGHT / SLOW_START_LEAST, 64, 128, 256, 256]);
        assert_eq!(health.weight(None, start), FULL_WEIGHT, "off");
    }

    #[test]
    fn a_clock_that_steps_back_is_harmless() {
        let later = Instant::now() + 60 * SECOND;
        let mut health = PassiveHealth::default();
        health.on_up(later);
        let before = later.checked_sub(SECOND).expect("a minute behind us");
        assert!(health.weight(Some(SECOND), before) >= 1);
    }
}
