//! Whether a target is there, as its probes have told.
//!
//! Pure: no socket, no clock.

use std::time::{Duration, Instant};

/// A target's state between probes.
///
/// A target that nothing is known of counts as up: a probe only ever takes away.
#[derive(Debug)]
pub struct Health {
    rise: u32,
    fall: u32,
    // Since when it is down.
    down: Option<Instant>,
    // Probes in a row that speak against the state it is in.
    against: u32,
}

/// A change that an operator should hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// It does not answer any more; why the last probe failed.
    Down(String),
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
    pub fn is_up(&self) -> bool {
        self.down.is_none()
    }

    /// Notes a good probe.
    pub fn on_success(&mut self, now: Instant) -> Option<Transition> {
        let Some(since) = self.down else {
            self.against = 0;
            return None;
        };
        self.against = self.against.saturating_add(1);
        if self.against < self.rise {
            return None;
        }
        (self.down, self.against) = (None, 0);
        Some(Transition::Up(now.saturating_duration_since(since)))
    }

    /// Notes a bad probe, and why it was bad.
    pub fn on_failure(&mut self, now: Instant, why: String) -> Option<Transition> {
        if self.down.is_some() {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        if self.against < self.fall {
            return None;
        }
        (self.down, self.against) = (Some(now), 0);
        Some(Transition::Down(why))
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
