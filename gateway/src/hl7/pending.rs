//! Messages that wait for their acknowledgement.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::hl7::limits::MLLP_PENDING_MAX;
use crate::measure::ReachedBound;

/// The times at which the messages ended, in their order. Messages beyond the bound are only counted.
#[derive(Debug, Default)]
pub(super) struct PendingMessages {
    timed: VecDeque<Instant>,
    untimed: u64,
}

/// The message that an acknowledgement belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AnsweredMessage {
    /// A message that has waited for this time.
    After(Duration),
    /// A message without a recorded time.
    Untimed,
    /// No message waits.
    Nobody,
}

impl PendingMessages {
    /// Adds a message that has ended; returns whether its time was recorded.
    pub(super) fn add(&mut self, now: Instant) -> bool {
        // LIMIT: MLLP_PENDING_MAX, counted in `ConversationSummary::untimed`.
        let is_timed = self.untimed == 0 && self.timed.len() < MLLP_PENDING_MAX;
        if is_timed {
            self.timed.push_back(now);
        } else {
            ReachedBound::MllpPending.note();
            self.untimed = self.untimed.saturating_add(1);
        }
        is_timed
    }

    /// The first message is acknowledged.
    pub(super) fn answer(&mut self, now: Instant) -> AnsweredMessage {
        if let Some(ended) = self.timed.pop_front() {
            self.shrink();
            return AnsweredMessage::After(now.saturating_duration_since(ended));
        }
        match self.untimed.checked_sub(1) {
            Some(untimed) => {
                self.untimed = untimed;
                AnsweredMessage::Untimed
            }
            None => AnsweredMessage::Nobody,
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.untimed.saturating_add(self.timed.len() as u64)
    }

    /// How long the first message has waited.
    pub(super) fn waited(&self, now: Instant) -> Option<Duration> {
        let first = self.timed.front()?;
        Some(now.saturating_duration_since(*first))
    }

    // After a burst, the memory is released. Memory for a few messages stays.
    fn shrink(&mut self) {
        if self.timed.is_empty() && self.timed.capacity() > FEW {
            self.timed = VecDeque::new();
        }
    }
}

/// The number of messages whose memory stays: more than a sender has in transit that waits for each answer.
const FEW: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_answered_in_their_order() {
        let (start, step) = (Instant::now(), Duration::from_millis(1));
        let mut pending = PendingMessages::default();
        assert_eq!(pending.answer(start), AnsweredMessage::Nobody);
        assert!(pending.add(start));
        assert!(pending.add(start + step));
        assert_eq!(pending.waited(start + step), Some(step));
        assert_eq!(
            pending.answer(start + 3 * step),
            AnsweredMessage::After(3 * step)
        );
        assert_eq!(
            pending.answer(start + 3 * step),
            AnsweredMessage::After(2 * step)
        );
        assert_eq!((pending.count(), pending.waited(start)), (0, None));
    }

    /// Messages at the bound are counted without a time. A later message gets no time while such messages
    /// wait, even if there is room again, because the order would be wrong.
    #[test]
    fn the_order_is_kept_beyond_the_bound() {
        let now = Instant::now();
        let mut pending = PendingMessages::default();
        let timed = (0..MLLP_PENDING_MAX + 3)
            .filter(|_| pending.add(now))
            .count();
        assert_eq!(timed, MLLP_PENDING_MAX);
        assert_eq!(pending.answer(now), AnsweredMessage::After(Duration::ZERO));
        assert!(!pending.add(now));
        for _ in 1..MLLP_PENDING_MAX {
            assert_eq!(pending.answer(now), AnsweredMessage::After(Duration::ZERO));
        }
        for left in (0..4).rev() {
            assert_eq!(pending.answer(now), AnsweredMessage::Untimed);
            assert_eq!(pending.count(), left);
        }
        assert_eq!(pending.answer(now), AnsweredMessage::Nobody);
        assert!(pending.add(now));
    }

    #[test]
    fn the_memory_of_a_burst_is_released() {
        let now = Instant::now();
        let mut pending = PendingMessages::default();
        for _ in 0..100 {
            pending.add(now);
        }
        while pending.count() > 0 {
            pending.answer(now);
        }
        assert!(pending.timed.capacity() <= FEW);
    }
}
