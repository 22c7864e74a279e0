//! Counts all conversations of a route while they run.
//!
//! An MLLP connection may stay open for months, so every event is counted at once; only unanswered messages
//! are counted when the connection ends. The cost is a few additions for each message and none for a byte.
//! The names of counters come only from this program; the type of a message is not one of them.

use std::time::Duration;

use super::Code;
use crate::measure::{Counter, Times};

/// The counters of a route.
#[derive(Debug, Default)]
pub struct ConversationCounters {
    /// Complete messages.
    pub messages: Counter,
    /// Bytes of their texts.
    pub message_bytes: Counter,
    // In the order of `Code::ALL`.
    acknowledgements: [Counter; Code::ALL.len()],
    others: Counter,
    /// Times from the end of a message to its first acknowledgement.
    pub answers: Times,
    /// Messages without an acknowledgement at the end of their connection.
    pub unanswered: Counter,
    /// Frames longer than any message should be.
    pub oversize: Counter,
    /// Conversations that were no longer followed because of bytes outside of MLLP, and continued.
    pub not_followed: Counter,
}

impl ConversationCounters {
    /// Every acknowledgement code with its count; the last is the count of acknowledgements without a known
    /// code.
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
