//! Follows both directions of a connection in MLLP and counts what passes.

use crate::strictness::Strictness;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::code::Code;
use super::counts::Counts;
use super::frame::{Frame, Reader, Stray};
use super::is_junk;
use super::pending::{Answered, Pending};
use super::start::kind_of;
use super::summary::{ConversationSummary, NotMllp, Role, Unanswered};

/// Who sends the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Roles {
    // The side that connected.
    AsConnected,
    // Either side, and nothing has come yet.
    Undecided,
    // Either side, and it was the one that connected.
    Same,
    // Either side, and it was the other one.
    Swapped,
}

/// What is to be done with bytes that were seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// They pass.
    Pass,
    /// They do not, and nothing after them does: strict manner alone.
    End(NotMllp),
}

/// A conversation between a sender of messages and their receiver.
///
/// Acknowledgements are taken for the messages in the order of these (HL7 v2.5.1 section 2.9: the
/// receiver answers each). It keeps no octet of a text longer than a slice, but the field that it
/// reads.
pub struct Conversation {
    strictness: Strictness,
    sender: Reader,
    receiver: Reader,
    pending: Pending,
    roles: Roles,
    // What no further byte may pass for: a side did not begin with a frame where that is asked.
    refused: Option<NotMllp>,
    // Whether the receiver acknowledges twice: that it has a message, and later what came of it.
    acknowledges_twice: bool,
    is_lack_of_cr_taken: bool,
    record: ConversationSummary,
    // Those of the route, which are told of each at once.
    counts: Option<Arc<Counts>>,
}

impl Conversation {
    /// A conversation in which nothing was said yet.
    #[must_use]
    pub fn new(strictness: Strictness) -> Self {
        Self {
            strictness,
            sender: Reader::new(),
            receiver: Reader::new(),
            pending: Pending::default(),
            roles: Roles::AsConnected,
            refused: None,
            acknowledges_twice: false,
            is_lack_of_cr_taken: false,
            record: ConversationSummary::default(),
            counts: None,
        }
    }

    /// Counts what passes into `counts` as well, those of its route, where there are some.
    #[must_use]
    pub fn counted(mut self, counts: Option<Arc<Counts>>) -> Self {
        self.counts = counts;
        self
    }

    /// The same where either side may send the first message, and is the sender then. What each side sends must begin
    /// with a frame in any manner, because nobody has looked at it before.
    #[must_use]
    pub fn begun_by_either(mut self) -> Self {
        self.roles = Roles::Undecided;
        self
    }

    /// Observes the next bytes that one side sent, as they pass at this time. `by` is the sender where that side
    /// connected.
    pub fn observe(&mut self, by: Role, bytes: &[u8], now: Instant) -> Verdict {
        let by = self.role_of(by, bytes);
        if self.record.not_followed.is_none()
            && let Err(stray) = self.follow(by, bytes, now)
        {
            let has_begun = self.reader(by).has_begun();
            let why = match stray {
                Stray::Octet if !has_begun => foreign(by, bytes),
                Stray::Octet => NotMllp::OutsideOfFrames(by),
                Stray::Junk => NotMllp::NoFrame(by),
            };
            self.refused = Some(why).filter(|_| self.roles != Roles::AsConnected && !has_begun);
            self.give_up(why);
        }
        match (self.strictness, self.record.not_followed) {
            (_, Some(why)) if self.refused.is_some() => Verdict::End(why),
            (Strictness::Strict, Some(why)) => Verdict::End(why),
            _ => Verdict::Pass,
        }
    }

    // Decides who sends the messages, where that is open: the side whose first frame comes first.
    fn role_of(&mut self, by: Role, bytes: &[u8]) -> Role {
        if self.roles == Roles::Undecided && !bytes.iter().all(|byte| is_junk(*byte)) {
            self.roles = match by {
                Role::Sender => Roles::Same,
                Role::Receiver => Roles::Swapped,
            };
        }
        match self.roles {
            Roles::Swapped => by.other(),
            Roles::AsConnected | Roles::Undecided | Roles::Same => by,
        }
    }

    fn reader(&self, by: Role) -> &Reader {
        match by {
            Role::Sender => &self.sender,
            Role::Receiver => &self.receiver,
        }
    }

    /// What was counted until now; `unanswered` comes with the end.
    #[must_use]
    pub fn so_far(&self) -> &ConversationSummary {
        &self.record
    }

    /// What was not acknowledged until now. Of a conversation that is no longer followed nobody
    /// knows.
    #[must_use]
    pub fn unanswered(&self, now: Instant) -> Unanswered {
        Unanswered {
            messages: self.pending.count(),
            waited: self.pending.waited(now),
            is_cut: self.sender.is_within() && self.is_known(),
        }
    }

    /// How long the first message has waited for an acknowledgement; `None` where no message has come whole, or one
    /// was acknowledged.
    #[must_use]
    pub fn first_waits(&self, now: Instant) -> Option<Duration> {
        let is_first = self.record.acknowledgements.total() == 0;
        self.pending.waited(now).filter(|_| is_first)
    }

    /// Whether a side ended a message with FS alone, without the CR that belongs behind it; where nothing has come
    /// since, the CR may be under way. False once that was taken.
    #[must_use]
    pub fn lacks_cr(&self) -> bool {
        !self.is_lack_of_cr_taken && (self.sender.lacks_cr() || self.receiver.lacks_cr())
    }

    /// Takes the side that ended a message without CR, once for each conversation.
    pub fn take_lack_of_cr(&mut self) -> Option<Role> {
        if !self.lacks_cr() {
            return None;
        }
        self.is_lack_of_cr_taken = true;
        let mut both = [Role::Sender, Role::Receiver].into_iter();
        both.find(|by| self.reader(*by).lacks_cr())
    }

    /// Whether nothing is outstanding: all that was sent has ended and is acknowledged. False where nobody
    /// knows, and where acknowledgements come twice, since the second may be long in coming.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let is_within = self.sender.is_within() || self.receiver.is_within();
        let is_clear = self.record.not_followed.is_none() && !self.acknowledges_twice;
        is_clear && !is_within && self.pending.count() == 0
    }

    /// The account of the conversation, when it has ended.
    #[must_use]
    pub fn finish(mut self, now: Instant) -> ConversationSummary {
        self.record.unanswered = self.unanswered(now);
        self.record.ended_without_cr = self.take_lack_of_cr();
        self.tell(|counts| counts.unanswered.add(self.record.unanswered.messages));
        self.record
    }

    fn follow(&mut self, by: Role, mut bytes: &[u8], now: Instant) -> Result<(), Stray> {
        loop {
            let read = match by {
                Role::Sender => self.sender.next(&mut bytes),
                Role::Receiver => self.receiver.next(&mut bytes),
            };
            let both = [&self.sender, &self.receiver];
            self.record.junk_bytes = both.map(Reader::junk_bytes).iter().sum();
            self.note_oversize(both.map(Reader::oversize).iter().sum());
            match (read?, by) {
                (None, _) => return Ok(()),
                (Some(frame), Role::Sender) => self.message(&frame, now),
                (Some(frame), Role::Receiver) => self.acknowledgement(&frame, now),
            }
        }
    }

    fn note_oversize(&mut self, frames: u64) {
        let more = frames.saturating_sub(self.record.oversize);
        if more > 0 {
            self.record.oversize = frames;
            self.tell(|counts| counts.oversize.add(more));
        }
    }

    fn message(&mut self, frame: &Frame, now: Instant) {
        // That an answer has arrived is itself not answered.
        if frame.fields.code.is_some_and(Code::is_commit) {
            return;
        }
        self.record.messages.count(frame.fields.kind);
        self.record.message_bytes = self.record.message_bytes.saturating_add(frame.bytes);
        self.tell(|counts| counts.message(frame.bytes));
        if !self.pending.add(now) {
            self.record.untimed += 1;
        }
    }

    fn acknowledgement(&mut self, frame: &Frame, now: Instant) {
        let code = frame.fields.code;
        self.record.acknowledgements.count(code);
        let bytes = &mut self.record.acknowledgement_bytes;
        *bytes = bytes.saturating_add(frame.bytes);
        self.tell(|counts| counts.acknowledgement(code));
        // What came of a message is told later, and maybe not in the order of the messages.
        if self.acknowledges_twice && !code.is_some_and(Code::is_commit) {
            return;
        }
        self.acknowledges_twice |= matches!(code, Some(Code::CommitAccept | Code::Ack));
        match self.pending.answer(now) {
            Answered::After(time) => {
                self.record.latencies.note(time);
                self.tell(|counts| counts.answered(time));
            }
            Answered::Untimed => {}
            Answered::Nobody => self.record.unasked += 1,
        }
    }

    fn give_up(&mut self, why: NotMllp) {
        self.record.not_followed = Some(why);
        if self.strictness == Strictness::Lenient {
            self.tell(|counts| counts.not_followed.add(1));
        }
        if !self.is_known() {
            self.pending = Pending::default();
        }
    }

    fn tell(&self, what: impl FnOnce(&Counts)) {
        if let Some(counts) = &self.counts {
            what(counts);
        }
    }

    // Whether what is known of the messages under way is true: not when further bytes pass unseen.
    fn is_known(&self) -> bool {
        self.strictness == Strictness::Strict || self.record.not_followed.is_none()
    }
}

// Why a side's first bytes are no frame.
fn foreign(by: Role, bytes: &[u8]) -> NotMllp {
    match kind_of(bytes) {
        Some(kind) => NotMllp::Foreign(by, kind),
        None => NotMllp::OutsideOfFrames(by),
    }
}

impl fmt::Debug for Conversation {
    // What a reader is in the middle of is nobody's.
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
