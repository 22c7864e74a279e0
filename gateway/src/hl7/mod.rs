//! Observes MLLP frames (HL7's Minimal Lower Layer Protocol) as they pass.
//!
//! Pure: no socket, no clock. The module reads only the segments MSH and MSA, and keeps of these two segments
//! only the type of a message and the code of an acknowledgement. It does not validate the content of a
//! frame.

mod code;
mod conversation;
mod counts;
mod frame;
mod head;
mod kind;
pub mod limits;
mod pending;
mod probe;
mod start;
mod summary;

pub use code::{Code, Codes};
pub use conversation::{Conversation, MllpVerdict};
pub use counts::ConversationCounters;
pub use kind::{MessageType, MessageTypes};
pub use probe::{NoAcknowledgement, Reply, question};
pub use start::{Start, kind_of, start};
pub use summary::{ConversationSummary, MllpRole, NotMllp, Unanswered};

/// Bytes that programs put around frames and that have no meaning: CR, LF and NUL.
fn is_junk(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | 0)
}
