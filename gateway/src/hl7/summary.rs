//! The summary of a conversation, for the log and the metrics.

use std::fmt;
use std::time::Duration;

use super::code::Codes;
use super::kind::MessageTypes;
use crate::measure::Latencies;
use crate::stream_kind::StreamKind;

/// The side of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MllpRole {
    /// The side that sends messages; usually the side that opened the connection.
    Sender,
    /// The side that acknowledges messages.
    Receiver,
}

impl MllpRole {
    /// The other side.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Sender => Self::Receiver,
            Self::Receiver => Self::Sender,
        }
    }
}

/// Why bytes are not MLLP. The text shows none of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NotMllp {
    /// The first bytes of this side are of another protocol.
    #[error("the {0} sent {1}, not HL7 in MLLP frames; {remedy}", remedy = .1.remedy())]
    Foreign(MllpRole, StreamKind),
    /// This side sent a byte other than CR, LF or NUL outside of a frame.
    #[error("bytes of the {0} are outside of any frame")]
    OutsideOfFrames(MllpRole),
    /// This side sent more CR, LF and NUL between two frames than `MLLP_JUNK_MAX`.
    #[error("the {0} sends only junk and no frame")]
    NoFrame(MllpRole),
}

/// The counts and times of a conversation. Of a message, only its type is kept.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConversationSummary {
    /// Complete messages of the sender, by type. Without the sender's acknowledgements of the receiver's
    /// answers (enhanced mode, MLLP release 2).
    pub messages: MessageTypes,
    /// Bytes of their texts.
    pub message_bytes: u64,
    /// Complete acknowledgements of the receiver, by code.
    pub acknowledgements: Codes,
    /// Bytes of their texts.
    pub acknowledgement_bytes: u64,
    /// Times from the end of a message to the end of its first acknowledgement.
    pub latencies: Latencies,
    /// Messages whose time was not recorded, because too many messages waited before them.
    pub untimed: u64,
    /// Acknowledgements that came while no message waited.
    pub unasked: u64,
    /// Messages without an acknowledgement at the end.
    pub unanswered: Unanswered,
    /// Bytes of CR, LF and NUL between the frames of both sides.
    pub junk_bytes: u64,
    /// Frames of both sides that were longer than any message should be, including a last frame that was cut
    /// off.
    pub oversize: u64,
    /// The side that ended a message with FS only, without the required CR: its receiver still waits for the
    /// end of the message. `None` also if this was reported before the end.
    pub ended_without_cr: Option<MllpRole>,
    /// Why the rest of the conversation was not read, or was ended.
    pub not_followed: Option<NotMllp>,
}

/// Messages whose sender got no acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unanswered {
    /// Complete messages.
    pub messages: u64,
    /// How long the first of them has waited, if known.
    pub waited: Option<Duration>,
    /// Whether a further message had begun but not ended.
    pub is_cut: bool,
}

impl fmt::Display for MllpRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sender => "sender",
            Self::Receiver => "receiver",
        })
    }
}
