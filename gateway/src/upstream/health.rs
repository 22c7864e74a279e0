//! Whether a target is there, as its probes have told.
//!
//! Pure: no socket, no clock.

use std::time::{Duration, Instant};

use crate::limits::CAUSE_CHANGES_AFTER;

/// A target's state between probes.
///
/// A target that nothing is known of counts as up: a probe only ever takes away.
#[derive(Debug)]
pub struct Health {
    rise: u32,
    fall: u32,
    down: Option<Down>,
    // Probes in a row that speak against the state it is in.
    against: u32,
}

/// What is known of a target that is down.
#[derive(Debug)]
struct Down {
    since: Instant,
    // The cause that was told.
    told: String,
    // The last probe's cause, and how many probes in a row had it.
    last: String,
    run: u32,
}

/// A change that an operator should hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// It does not answer any more; why the last probe failed.
    Down(String),
    /// It does not answer still, for another reason than was told, which stays.
    StillDown(String),
    /// It answers again, after so long.
    Up(Duration),
}

impl Health {
    /// Up, and down after `fall` bad probes in a row, then up again after `rise` good ones.
    #[must_use]
    pub fn new(rise: u32, fall: u32) -> Self {
        Self {
            rise,
            fall,
            down: None,
            against: 0,
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
            told: why.clone(),
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
        if self.last == self.told || self.run < CAUSE_CHANGES_AFTER {
            return None;
        }
        self.told.clone_from(&self.last);
        Some(Transition::StillDown(self.told.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_unknown_target_is_up() {
        let mut health = Health::new(1, 1);
        assert!(health.is_up());
        assert_eq!(
            health.on_success(Instant::now()),
            None,
            "nothing has changed"
        );
        assert!(health.is_up());
    }

    #[test]
    fn it_falls_after_so_many_and_rises_after_so_many_in_a_row() {
        let start = Instant::now();
        let mut health = Health::new(2, 3);
        let why = |number: u32| format!("reason {number}");
        for number in 1..=2 {
            assert_eq!(health.on_failure(start, why(number)), None);
        }
        assert_eq!(health.on_success(start), None);
        for number in 3..=4 {
            assert_eq!(health.on_failure(start, why(number)), None, "counted anew");
        }
        assert!(health.is_up());
        let down = health.on_failure(start, why(5));
        assert_eq!(down, Some(Transition::Down(why(5))));
        assert!(!health.is_up());
        assert_eq!(health.on_failure(start, why(6)), None, "told once");
        assert_eq!(health.on_success(start), None);
        assert_eq!(health.on_failure(start, why(7)), None);
        assert_eq!(health.on_success(start), None, "counted anew");
        let up = health.on_success(start + 9 * SECOND);
        assert_eq!(up, Some(Transition::Up(9 * SECOND)));
        assert!(health.is_up());
    }

    #[test]
    fn another_cause_is_told_once_it_stays() {
        let now = Instant::now();
        let mut health = Health::new(2, 1);
        let mut fail = |why: &str| health.on_failure(now, why.to_owned());
        assert_eq!(fail("refused"), Some(Transition::Down("refused".into())));
        for _ in 0..20 {
            for why in ["title", "title", "refused", "time"] {
                assert_eq!(fail(why), None, "it comes and goes");
            }
        }
        assert_eq!(fail("title"), None);
        assert_eq!(fail("title"), None);
        let still = Transition::StillDown("title".into());
        assert_eq!(fail("title"), Some(still));
        for _ in 0..20 {
            assert_eq!(fail("title"), None, "told once");
        }
    }

    #[test]
    fn a_clock_that_goes_back_does_no_harm() {
        let later = Instant::now() + 60 * SECOND;
        let mut health = Health::new(1, 1);
        health.on_failure(later, String::new());
        let up = health.on_success(later.checked_sub(SECOND).expect("a minute behind us"));
        assert_eq!(up, Some(Transition::Up(Duration::ZERO)));
    }

    /// A generator of our own (xorshift64), so that a seed replays.
    struct Coins(u64);

    impl Coins {
        fn toss(&mut self) -> bool {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0.is_multiple_of(3)
        }
    }

    /// Beside the definition: down exactly where the last `fall` probes that were all bad came after
    /// the last `rise` that were all good.
    #[test]
    fn any_course_of_probes_ends_where_the_definition_says() {
        for seed in 1..=200 {
            let mut coins = Coins(seed);
            let (rise, fall) = (1 + seed % 4, 1 + seed / 4 % 4);
            let mut health = Health::new(rise as u32, fall as u32);
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
                let told = match good {
                    true => health.on_success(now),
                    false => health.on_failure(now, String::new()),
                };
                assert_eq!(health.is_up(), is_up, "seed {seed}, turn {turn}");
                assert_eq!(told.is_some(), before != is_up, "seed {seed}, turn {turn}");
            }
        }
    }
}
