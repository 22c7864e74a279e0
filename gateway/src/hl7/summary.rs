//! What is told of a conversation.

use std::fmt;
use std::time::Duration;

use super::code::Codes;
use super::kind::MessageTypes;
use crate::measure::Latencies;
use crate::stream_kind::StreamKind;

/// The side of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Who connected, and sends messages.
    Sender,
    /// Who was connected to, and acknowledges them.
    Receiver,
}

impl Role {
    /// The other side.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Sender => Self::Receiver,
            Self::Receiver => Self::Sender,
        }
    }
}

/// Why bytes are not MLLP. No byte of them is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NotMllp {
    /// What this side sent first is of another protocol.
    #[error("the {0} sent {1}, not HL7 in MLLP frames; {remedy}", remedy = .1.remedy())]
    Foreign(Role, StreamKind),
    /// This side sent something else than CR, LF or NUL outside of a frame.
    #[error("octets of the {0} stand outside of any frame")]
    OutsideOfFrames(Role),
    /// This side sent more CR, LF and NUL between two frames than anybody needs.
    #[error("the {0} sends junk without end and no frame")]
    NoFrame(Role),
}

/// What passed in a conversation: counts and times, and nothing of any message but its type.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConversationSummary {
    /// Messages of the sender that came whole, by their type. Acknowledgements that the sender
    /// gives to the receiver's answers (enhanced mode, MLLP release 2) are none.
    pub messages: MessageTypes,
    /// Octets of their texts.
    pub message_bytes: u64,
    /// Acknowledgements of the receiver that came whole, by their code.
    pub acknowledgements: Codes,
    /// Octets of their texts.
    pub acknowledgement_bytes: u64,
    /// Times from the end of a message to the end of its first acknowledgement.
    pub latencies: Latencies,
    /// Messages whose time was not taken, because too many waited before them.
    pub untimed: u64,
    /// Acknowledgements that came while no message waited for one.
    pub unasked: u64,
    /// What was not acknowledged in the end.
    pub unanswered: Unanswered,
    /// Octets of CR, LF and NUL between the frames of both sides.
    pub junk_bytes: u64,
    /// Frames of both sides that were longer than any message should be, the last one included
    /// where it was cut.
    pub oversize: u64,
    /// Who ended a message with FS alone, without the CR that belongs behind it, where that was seen: its receiver
    /// waits for the end of this message. `None` also where that was taken before the end.
    pub ended_without_cr: Option<Role>,
    /// Why the rest of the conversation was not looked at, or was ended.
    pub not_followed: Option<NotMllp>,
}

/// Messages that the sender was told nothing about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unanswered {
    /// Messages that came whole.
    pub messages: u64,
    /// How long the first of them has waited, where that is known.
    pub waited: Option<Duration>,
    /// Whether a further message had begun that has no end.
    pub is_cut: bool,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sender => "sender",
            Self::Receiver => "receiver",
        })
    }
}
