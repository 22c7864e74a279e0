//! What passes in all conversations of a route, counted as it passes.
//!
//! A connection in MLLP may stay for months, so nothing here waits for its end but what was never
//! answered. It costs some additions for each message, none for a byte. What is counted has names of
//! this program alone: no type of a message.

use std::time::Duration;

use super::Code;
use crate::measure::{Counter, Times};

/// The counts of a route.
#[derive(Debug, Default)]
pub struct Counts {
    /// Messages that came whole.
    pub messages: Counter,
    /// Octets of their texts.
    pub message_bytes: Counter,
    // In the order of `Code::ALL`.
    acknowledgements: [Counter; Code::ALL.len()],
    others: Counter,
    /// How long the first acknowledgement took, from the end of the message.
    pub answers: Times,
    /// Messages that were not acknowledged when their connection ended.
    pub unanswered: Counter,
    /// Frames that were longer than any message should be.
    pub oversize: Counter,
    /// Conversations whose bytes could not be followed any more, and went on.
    pub not_followed: Counter,
}

impl Counts {
    /// Every word of acknowledgements with how often it was said, and last what was none of them.
    pub fn acknowledgements(&self) -> impl Iterator<Item = (&'static str, &Counter)> {
        let known = Code::ALL.into_iter().map(Code::name);
        let known = known.zip(&self.acknowledgements);
        known.chain([("other", &self.others)])
    }

    pub(super) fn message(&self, bytes: u64) {
        self.messages.add(1);
        self.message_bytes.add(bytes);
    }

    pub(super) fn acknowledgement(&self, code: Option<Code>) {
        let mut counts = Code::ALL.into_iter().zip(&self.acknowledgements);
        let known = counts.find(|(this, _)| Some(*this) == code);
        known.map_or(&self.others, |(_, count)| count).add(1);
    }

    pub(super) fn answered(&self, after: Duration) {
        self.answers.note(after);
    }
}
