//! Messages that wait for their acknowledgement.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::limits::MLLP_PENDING_MAX;

/// When each of them ended, in their order. Those behind the bound are a number.
#[derive(Debug, Default)]
pub(super) struct Pending {
    timed: VecDeque<Instant>,
    untimed: u64,
}

/// Whom an acknowledgement was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answered {
    /// A message that has waited for this long.
    After(Duration),
    /// A message whose time was not taken.
    Untimed,
    /// Nobody.
    Nobody,
}

impl Pending {
    /// A message has ended; whether its time is taken.
    pub(super) fn add(&mut self, now: Instant) -> bool {
        // LIMIT: MLLP_PENDING_MAX, counted in `ConversationSummary::untimed`.
        let is_timed = self.untimed == 0 && self.timed.len() < MLLP_PENDING_MAX;
        if is_timed {
            self.timed.push_back(now);
        } else {
            self.untimed = self.untimed.saturating_add(1);
        }
        is_timed
    }

    /// The first of them is acknowledged.
    pub(super) fn answer(&mut self, now: Instant) -> Answered {
        if let Some(ended) = self.timed.pop_front() {
            self.shrink();
            return Answered::After(now.saturating_duration_since(ended));
        }
        match self.untimed.checked_sub(1) {
            Some(untimed) => {
                self.untimed = untimed;
                Answered::Untimed
            }
            None => Answered::Nobody,
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.untimed.saturating_add(self.timed.len() as u64)
    }

    /// How long the first has waited.
    pub(super) fn waited(&self, now: Instant) -> Option<Duration> {
        let first = self.timed.front()?;
        Some(now.saturating_duration_since(*first))
    }

    // After a burst the room of one is given back; a few messages have room at no further cost.
    fn shrink(&mut self) {
        if self.timed.is_empty() && self.timed.capacity() > FEW {
            self.timed = VecDeque::new();
        }
    }
}

/// Messages under way for which room stays: more than a sender who waits for each answer has.
const FEW: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_answered_in_their_order() {
        let (start, step) = (Instant::now(), Duration::from_millis(1));
        let mut pending = Pending::default();
        assert_eq!(pending.answer(start), Answered::Nobody);
        assert!(pending.add(start));
        assert!(pending.add(start + step));
        assert_eq!(pending.waited(start + step), Some(step));
        assert_eq!(pending.answer(start + 3 * step), Answered::After(3 * step));
        assert_eq!(pending.answer(start + 3 * step), Answered::After(2 * step));
        assert_eq!((pending.count(), pending.waited(start)), (0, None));
    }

    /// Who comes when the bound is reached is counted; who comes behind these must not be taken for
    /// one of them, though there is room again.
    #[test]
    fn order_stands_beyond_the_bound() {
        let now = Instant::now();
        let mut pending = Pending::default();
        let timed = (0..MLLP_PENDING_MAX + 3)
            .filter(|_| pending.add(now))
            .count();
        assert_eq!(timed, MLLP_PENDING_MAX);
        assert_eq!(pending.answer(now), Answered::After(Duration::ZERO));
        assert!(!pending.add(now));
        for _ in 1..MLLP_PENDING_MAX {
            assert_eq!(pending.answer(now), Answered::After(Duration::ZERO));
        }
        for left in (0..4).rev() {
            assert_eq!(pending.answer(now), Answered::Untimed);
            assert_eq!(pending.count(), left);
        }
        assert_eq!(pending.answer(now), Answered::Nobody);
        assert!(pending.add(now));
    }

    #[test]
    fn the_room_of_a_burst_is_given_back() {
        let now = Instant::now();
        let mut pending = Pending::default();
        for _ in 0..100 {
            pending.add(now);
        }
        while pending.count() > 0 {
            pending.answer(now);
        }
        assert!(pending.timed.capacity() <= FEW);
    }
}
