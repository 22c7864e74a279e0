//! The drain of one route, as a state machine with the time as an argument.

use std::time::{Duration, Instant};

/// The drain of a route: connections get until `deadline` to end by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteDrain {
    deadline: Instant,
    is_past: bool,
}

/// What is to be done with the connections of a draining route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainStep {
    /// Wait: connections may end by themselves.
    Wait,
    /// Reset the connections that are left. Asked for once.
    Reset,
    /// Wait for the connections that are being reset.
    WaitForReset,
    /// No connection is left.
    Drained,
}

impl RouteDrain {
    /// A drain that begins at `now` and resets after `limit` what is left.
    #[must_use]
    pub fn begin(now: Instant, limit: Duration) -> Self {
        // A time that the clock cannot represent never comes.
        let far = || now + Duration::from_secs(u32::MAX.into());
        Self {
            deadline: now.checked_add(limit).unwrap_or_else(far),
            is_past: false,
        }
    }

    /// What is to be done at `now`, with `open` connections left.
    pub fn step(&mut self, now: Instant, open: u32) -> DrainStep {
        if open == 0 {
            return DrainStep::Drained;
        }
        match (now >= self.deadline, self.is_past) {
            (false, false) => DrainStep::Wait,
            (_, true) => DrainStep::WaitForReset,
            (true, false) => {
                self.is_past = true;
                DrainStep::Reset
            }
        }
    }

    /// Ends the time for connections to end by themselves.
    pub fn hurry(&mut self, now: Instant) {
        self.deadline = self.deadline.min(now);
    }

    /// The time until connections that are left are reset.
    #[must_use]
    pub fn left(&self, now: Instant) -> Duration {
        self.deadline.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_are_left_at_the_deadline_are_reset_once() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut drain = RouteDrain::begin(start, Duration::from_secs(10));
        assert_eq!(drain.step(at(1), 3), DrainStep::Wait);
        assert_eq!(drain.left(at(4)), Duration::from_secs(6));
        assert_eq!(drain.step(at(10), 2), DrainStep::Reset);
        assert_eq!(drain.step(at(11), 2), DrainStep::WaitForReset);
        assert_eq!(drain.step(at(11), 0), DrainStep::Drained);
        assert_eq!(drain.left(at(11)), Duration::ZERO);
    }

    #[test]
    fn a_second_signal_ends_the_wait() {
        let start = Instant::now();
        let mut drain = RouteDrain::begin(start, Duration::MAX);
        assert_eq!(drain.step(start, 1), DrainStep::Wait);
        drain.hurry(start);
        assert_eq!(drain.step(start, 1), DrainStep::Reset);
    }

    #[test]
    fn a_route_without_connections_is_drained_at_once() {
        let start = Instant::now();
        let mut drain = RouteDrain::begin(start, Duration::from_secs(300));
        assert_eq!(drain.step(start, 0), DrainStep::Drained);
    }
}
