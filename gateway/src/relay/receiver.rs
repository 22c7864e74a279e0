//! Decides whether the receiver of sent bytes is slow, stalled or gone.
//!
//! `TCP_USER_TIMEOUT` detects a peer that is gone, but also ends a peer that is alive and does not read: its
//! receive window is closed, and it answers each window probe. So the gateway removes the timeout from a
//! socket while the window of its peer is closed, and detects a dead peer here.
//!
//! Pure: no socket, no clock.

use std::time::{Duration, Instant};

use crate::uring::SendQueue;

/// One of the two receivers of a connection.
#[derive(Debug)]
pub(super) struct Receiver {
    // The acknowledged bytes, and when this number was last seen to change.
    acked: u64,
    since: Instant,
    // The window was closed at some time, and the receiver has not acknowledged all bytes since.
    is_slow: bool,
    // When an unanswered attempt to reach the receiver was first seen, and its number.
    unanswered: Option<(Instant, u32)>,
}

/// How long a receiver may make no progress.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// `timeouts.user`: without an answer.
    pub(super) user: Duration,
    /// `timeouts.stall`: with a closed window, although the receiver answers.
    pub(super) stall: Option<Duration>,
}

impl Limits {
    /// The interval of checks that misses neither limit by much.
    pub(super) fn look_every(self) -> Duration {
        self.stall.unwrap_or(self.user).min(self.user) / 4
    }
}

/// The state of a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeliveryState {
    /// All sent bytes are acknowledged.
    Done,
    /// The bytes are in transit; the kernel watches them.
    Busy,
    /// The receiver answers, but its window is or was closed.
    Slow,
    /// The receiver did not read for longer than `stall`, although it answers.
    Stalled,
    /// The receiver no longer answers.
    Gone,
}

impl Receiver {
    /// A receiver that has acknowledged all sent bytes, as far as is known.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            acked: 0,
            since: now,
            is_slow: false,
            unanswered: None,
        }
    }

    /// Whether the window was closed and bytes are still unacknowledged: `TCP_USER_TIMEOUT` must not end the
    /// connection.
    pub(super) fn is_slow(&self) -> bool {
        self.is_slow
    }

    /// Updates the state from the kernel's data. The caller checks about four times within each limit.
    pub(super) fn look(
        &mut self,
        queue: &SendQueue,
        limits: Limits,
        now: Instant,
    ) -> DeliveryState {
        if queue.is_empty() {
            *self = Self {
                acked: queue.acked,
                ..Self::new(now)
            };
            return DeliveryState::Done;
        }
        if queue.acked != self.acked {
            (self.acked, self.since, self.unanswered) = (queue.acked, now, None);
        }
        let is_closed = queue.is_closed();
        self.is_slow |= is_closed;
        if !self.is_slow {
            return DeliveryState::Busy;
        }
        if self.is_unanswered(queue, limits.user, now) {
            return DeliveryState::Gone;
        }
        let stands = now.saturating_duration_since(self.since);
        match limits.stall {
            Some(stall) if is_closed && stands >= stall => DeliveryState::Stalled,
            _ => DeliveryState::Slow,
        }
    }

    // Attempts continue at growing intervals of up to two minutes, and each may get lost. So at least two
    // attempts must be unanswered, and the first of them for `limit`.
    fn is_unanswered(&mut self, queue: &SendQueue, limit: Duration, now: Instant) -> bool {
        let Some(number) = queue.unanswered else {
            self.unanswered = None;
            return false;
        };
        let (since, first) = *self.unanswered.get_or_insert((now, number));
        number > first && now.saturating_duration_since(since) >= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LIMITS: Limits = Limits {
        user: Duration::from_secs(40),
        stall: None,
    };

    /// Checks every ten seconds from `from` to `to`, in seconds, and returns the last state.
    fn looks(
        receiver: &mut Receiver,
        (start, from, to): (Instant, u32, u32),
        limits: Limits,
        queue: impl Fn(u32) -> SendQueue,
    ) -> DeliveryState {
        let mut state = DeliveryState::Done;
        for second in (from..=to).step_by(10) {
            state = receiver.look(&queue(second), limits, start + second * SECOND);
            if matches!(state, DeliveryState::Stalled | DeliveryState::Gone) {
                break;
            }
        }
        state
    }

    fn closed(acked: u64, unanswered: Option<u32>) -> SendQueue {
        SendQueue {
            acked,
            in_flight: 0,
            in_flight_bytes: 0,
            unsent: 1000,
            window: 0,
            unanswered,
            has_ended: false,
        }
    }

    fn in_flight(acked: u64, unanswered: Option<u32>) -> SendQueue {
        SendQueue {
            in_flight: 3,
            window: 5000,
            ..closed(acked, unanswered)
        }
    }

    #[test]
    fn a_receiver_that_answers_with_a_closed_window_is_slow_forever() {
        let start = Instant::now();
        let mut receiver = Receiver::new(start);
        let day = (start, 0, 86_400);
        let state = looks(&mut receiver, day, LIMITS, |_| closed(10, None));
        assert_eq!(state, DeliveryState::Slow);
        let now = start + 86_410 * SECOND;
        assert_eq!(
            receiver.look(&SendQueue::default(), LIMITS, now),
            DeliveryState::Done
        );
        // From here on, the kernel watches again.
        let state = receiver.look(&in_flight(20, None), LIMITS, now + SECOND);
        assert_eq!(state, DeliveryState::Busy);
    }

    #[test]
    fn a_receiver_that_stalls_too_long_is_ended_unless_it_reads() {
        let start = Instant::now();
        let limits = Limits {
            stall: Some(Duration::from_secs(60)),
            ..LIMITS
        };
        let mut receiver = Receiver::new(start);
        let minutes = (start, 0, 600);
        let reads = |second: u32| closed(u64::from(second / 50), None);
        assert_eq!(
            looks(&mut receiver, minutes, limits, reads),
            DeliveryState::Slow
        );
        let then = (start, 610, 1200);
        let state = looks(&mut receiver, then, limits, |_| closed(99, None));
        assert_eq!(state, DeliveryState::Stalled);
    }

    #[test]
    fn a_receiver_that_vanishes_behind_a_closed_window_is_gone() {
        let start = Instant::now();
        let mut receiver = Receiver::new(start);
        let probes = |second: u32| closed(10, (second >= 100).then(|| 1 + (second - 100) / 30));
        assert_eq!(
            looks(&mut receiver, (start, 0, 130), LIMITS, probes),
            DeliveryState::Slow
        );
        assert_eq!(
            looks(&mut receiver, (start, 140, 140), LIMITS, probes),
            DeliveryState::Gone
        );
    }

    #[test]
    fn one_lost_probe_does_not_mean_that_the_receiver_is_gone() {
        let start = Instant::now();
        let mut receiver = Receiver::new(start);
        // Probes are now two minutes apart, and every third is lost.
        let probes = |second: u32| closed(10, (second / 120 % 3 == 2).then_some(1));
        let state = looks(&mut receiver, (start, 0, 36_000), LIMITS, probes);
        assert_eq!(state, DeliveryState::Slow);
    }

    #[test]
    fn a_receiver_that_vanishes_after_it_was_slow_is_gone() {
        let start = Instant::now();
        let mut receiver = Receiver::new(start);
        receiver.look(&closed(10, None), LIMITS, start);
        let repeats = |second: u32| in_flight(20, Some(second / 20));
        assert_eq!(
            looks(&mut receiver, (start, 10, 40), LIMITS, repeats),
            DeliveryState::Slow
        );
        assert_eq!(
            looks(&mut receiver, (start, 50, 50), LIMITS, repeats),
            DeliveryState::Gone
        );
    }

    // Bytes that were dropped while the window was closed are retransmitted only some time after it has
    // opened.
    #[test]
    fn a_window_that_opens_after_long_gives_time_to_send_again() {
        let start = Instant::now();
        let mut receiver = Receiver::new(start);
        let hour = (start, 0, 3600);
        assert_eq!(
            looks(&mut receiver, hour, LIMITS, |_| closed(10, None)),
            DeliveryState::Slow
        );
        let then = (start, 3610, 3700);
        let state = looks(&mut receiver, then, LIMITS, |_| in_flight(10, None));
        assert_eq!(state, DeliveryState::Slow);
    }

    #[test]
    fn bytes_in_transit_to_an_open_window_are_left_to_the_kernel() {
        let start = Instant::now();
        let mut receiver = Receiver::new(start);
        let hour = (start, 0, 3600);
        let state = looks(&mut receiver, hour, LIMITS, |_| in_flight(10, Some(9)));
        assert_eq!(state, DeliveryState::Busy);
    }
}
