//! Follows both directions of an MLLP connection and counts the messages and acknowledgements.

use crate::strictness::Strictness;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::code::Code;
use super::counts::ConversationCounters;
use super::frame::{Frame, FrameReader, Stray};
use super::is_junk;
use super::pending::{AnsweredMessage, PendingMessages};
use super::start::kind_of;
use super::summary::{ConversationSummary, MllpRole, NotMllp, Unanswered};

/// Which side sends the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Roles {
    // The side that opened the connection.
    AsConnected,
    // Either side; no side has sent a frame yet.
    Undecided,
    // Either side; the side that opened the connection sent the first frame.
    Same,
    // Either side; the side that accepted the connection sent the first frame.
    Swapped,
}

/// What to do with observed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum MllpVerdict {
    /// Forward the bytes.
    Pass,
    /// Do not forward these bytes, and end the connection. Only with `Strictness::Strict`, or before the
    /// first frame.
    End(NotMllp),
}

/// A conversation between a sender of messages and their receiver.
///
/// Acknowledgements are assigned to messages in the order of the messages (HL7 v2.5.1 section 2.9: the
/// receiver answers each message). The type keeps no byte of a text after a call, except those of the field
/// that it reads.
pub struct Conversation {
    strictness: Strictness,
    sender: FrameReader,
    receiver: FrameReader,
    pending: PendingMessages,
    roles: Roles,
    // Set when a side did not begin with a frame where a frame is required: no further byte passes.
    refused: Option<NotMllp>,
    // Whether the receiver acknowledges twice: first that it stored the message, later the result.
    acknowledges_twice: bool,
    is_lack_of_cr_taken: bool,
    record: ConversationSummary,
    // The counts of the route; each event is added at once.
    counts: Option<Arc<ConversationCounters>>,
}

impl Conversation {
    /// A conversation without any bytes yet.
    #[must_use]
    pub fn new(strictness: Strictness) -> Self {
        Self {
            strictness,
            sender: FrameReader::new(),
            receiver: FrameReader::new(),
            pending: PendingMessages::default(),
            roles: Roles::AsConnected,
            refused: None,
            acknowledges_twice: false,
            is_lack_of_cr_taken: false,
            record: ConversationSummary::default(),
            counts: None,
        }
    }

    /// Also counts into `counts`, the counts of the route, if there are any.
    #[must_use]
    pub fn counted(mut self, counts: Option<Arc<ConversationCounters>>) -> Self {
        self.counts = counts;
        self
    }

    /// The same conversation, but either side may send the first message; that side is then the sender. The
    /// bytes of each side must begin with a frame even with `Strictness::Lenient`, because no other code has
    /// checked them before.
    #[must_use]
    pub fn begun_by_either(mut self) -> Self {
        self.roles = Roles::Undecided;
        self
    }

    /// Reads the next bytes of one side, which pass at `now`. `by` is `MllpRole::Sender` for the side that opened
    /// the connection.
    pub fn observe(&mut self, by: MllpRole, bytes: &[u8], now: Instant) -> MllpVerdict {
        let by = self.role_of(by, bytes);
        if self.record.not_followed.is_none()
            && let Err(stray) = self.follow(by, bytes, now)
        {
            let has_begun = self.reader(by).has_begun();
            let why = match stray {
                Stray::Byte if !has_begun => foreign(by, bytes),
                Stray::Byte => NotMllp::OutsideOfFrames(by),
                Stray::Junk => NotMllp::NoFrame(by),
            };
            self.refused = Some(why).filter(|_| self.roles != Roles::AsConnected && !has_begun);
            self.give_up(why);
        }
        match (self.strictness, self.record.not_followed) {
            (_, Some(why)) if self.refused.is_some() => MllpVerdict::End(why),
            (Strictness::Strict, Some(why)) => MllpVerdict::End(why),
            _ => MllpVerdict::Pass,
        }
    }

    // Decides which side sends the messages, if this is open: the side that sends the first frame.
    fn role_of(&mut self, by: MllpRole, bytes: &[u8]) -> MllpRole {
        if self.roles == Roles::Undecided && !bytes.iter().all(|byte| is_junk(*byte)) {
            self.roles = match by {
                MllpRole::Sender => Roles::Same,
                MllpRole::Receiver => Roles::Swapped,
            };
        }
        match self.roles {
            Roles::Swapped => by.other(),
            Roles::AsConnected | Roles::Undecided | Roles::Same => by,
        }
    }

    fn reader(&self, by: MllpRole) -> &FrameReader {
        match by {
            MllpRole::Sender => &self.sender,
            MllpRole::Receiver => &self.receiver,
        }
    }

    /// The counts until now; `unanswered` is set at the end.
    #[must_use]
    pub fn so_far(&self) -> &ConversationSummary {
        &self.record
    }

    /// The messages without an acknowledgement until now. Empty if the conversation is no longer followed.
    #[must_use]
    pub fn unanswered(&self, now: Instant) -> Unanswered {
        Unanswered {
            messages: self.pending.count(),
            waited: self.pending.waited(now),
            is_cut: self.sender.is_within() && self.is_known(),
        }
    }

    /// How long the first message has waited for an acknowledgement. `None` if no message is complete yet, or
    /// if a message was acknowledged.
    #[must_use]
    pub fn first_waits(&self, now: Instant) -> Option<Duration> {
        let is_first = self.record.acknowledgements.total() == 0;
        self.pending.waited(now).filter(|_| is_first)
    }

    /// Whether a side ended a message with FS only, without the required CR. If nothing followed yet, the CR
    /// may still be in transit. False after `take_lack_of_cr`.
    #[must_use]
    pub fn lacks_cr(&self) -> bool {
        !self.is_lack_of_cr_taken && (self.sender.lacks_cr() || self.receiver.lacks_cr())
    }

    /// Returns the side that ended a message without CR, once for each conversation.
    pub fn take_lack_of_cr(&mut self) -> Option<MllpRole> {
        if !self.lacks_cr() {
            return None;
        }
        self.is_lack_of_cr_taken = true;
        let mut both = [MllpRole::Sender, MllpRole::Receiver].into_iter();
        both.find(|by| self.reader(*by).lacks_cr())
    }

    /// Whether nothing is outstanding: all messages have ended and are acknowledged. False if the
    /// conversation is no longer followed, and if acknowledgements come twice, because the second may take
    /// long.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let is_within = self.sender.is_within() || self.receiver.is_within();
        let is_clear = self.record.not_followed.is_none() && !self.acknowledges_twice;
        is_clear && !is_within && self.pending.count() == 0
    }

    /// Ends the conversation and returns its summary.
    #[must_use]
    pub fn finish(mut self, now: Instant) -> ConversationSummary {
        self.record.unanswered = self.unanswered(now);
        self.record.ended_without_cr = self.take_lack_of_cr();
        self.with_counters(|counts| counts.unanswered.add(self.record.unanswered.messages));
        self.record
    }

    fn follow(&mut self, by: MllpRole, mut bytes: &[u8], now: Instant) -> Result<(), Stray> {
        loop {
            let read = match by {
                MllpRole::Sender => self.sender.next(&mut bytes),
                MllpRole::Receiver => self.receiver.next(&mut bytes),
            };
            let both = [&self.sender, &self.receiver];
            self.record.junk_bytes = both.map(FrameReader::junk_bytes).iter().sum();
            self.note_oversize(both.map(FrameReader::oversize).iter().sum());
            match (read?, by) {
                (None, _) => return Ok(()),
                (Some(frame), MllpRole::Sender) => self.message(&frame, now),
                (Some(frame), MllpRole::Receiver) => self.acknowledgement(&frame, now),
            }
        }
    }

    fn note_oversize(&mut self, frames: u64) {
        let more = frames.saturating_sub(self.record.oversize);
        if more > 0 {
            self.record.oversize = frames;
            self.with_counters(|counts| counts.oversize.add(more));
        }
    }

    fn message(&mut self, frame: &Frame, now: Instant) {
        // The sender's acknowledgement of an answer is not answered itself.
        if frame.fields.code.is_some_and(Code::is_commit) {
            return;
        }
        self.record.messages.count(frame.fields.kind);
        self.record.message_bytes = self.record.message_bytes.saturating_add(frame.bytes);
        self.with_counters(|counts| counts.message(frame.bytes));
        if !self.pending.add(now) {
            self.record.untimed += 1;
        }
    }

    fn acknowledgement(&mut self, frame: &Frame, now: Instant) {
        let code = frame.fields.code;
        self.record.acknowledgements.count(code);
        let bytes = &mut self.record.acknowledgement_bytes;
        *bytes = bytes.saturating_add(frame.bytes);
        self.with_counters(|counts| counts.acknowledgement(code));
        // The result of a message comes later, and not necessarily in the order of the messages.
        if self.acknowledges_twice && !code.is_some_and(Code::is_commit) {
            return;
        }
        self.acknowledges_twice |= matches!(code, Some(Code::CommitAccept | Code::Ack));
        match self.pending.answer(now) {
            AnsweredMessage::After(time) => {
                self.record.latencies.note(time);
                self.with_counters(|counts| counts.answered(time));
            }
            AnsweredMessage::Untimed => {}
            AnsweredMessage::Nobody => self.record.unasked += 1,
        }
    }

    fn give_up(&mut self, why: NotMllp) {
        self.record.not_followed = Some(why);
        if self.strictness == Strictness::Lenient {
            self.with_counters(|counts| counts.not_followed.add(1));
        }
        if !self.is_known() {
            self.pending = PendingMessages::default();
        }
    }

    fn with_counters(&self, what: impl FnOnce(&ConversationCounters)) {
        if let Some(counts) = &self.counts {
            what(counts);
        }
    }

    // Whether the number of messages in transit is correct: not if further bytes pass without being read.
    fn is_known(&self) -> bool {
        self.strictness == Strictness::Strict || self.record.not_followed.is_none()
    }
}

// Why the first bytes of a side are not a frame.
fn foreign(by: MllpRole, bytes: &[u8]) -> NotMllp {
    match kind_of(bytes) {
        Some(kind) => NotMllp::Foreign(by, kind),
        None => NotMllp::OutsideOfFrames(by),
    }
}

impl fmt::Debug for Conversation {
    // The readers may hold parts of a message, which must not be shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation")
            .field("manner", &self.strictness)
            .field("pending", &self.pending)
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
