//! What passes in MLLP frames (HL7's Minimal Lower Layer Protocol), told from their bytes.
//!
//! Pure: no socket, no clock. Nothing past MSH and MSA is ever looked at, and of these two no more
//! is kept than a message's type and an acknowledgement's code. What a frame holds is not judged.

mod code;
mod conversation;
mod counts;
mod frame;
mod head;
mod kind;
mod pending;
mod probe;
mod start;
mod summary;

pub use code::{Code, Codes};
pub use conversation::{Conversation, Verdict};
pub use counts::Counts;
pub use kind::{MessageType, MessageTypes};
pub use probe::{NoAcknowledgement, Reply, question};
pub use start::{Start, kind_of, start};
pub use summary::{ConversationSummary, NotMllp, Role, Unanswered};

/// Octets that programs put around frames and that nobody misses: CR, LF and NUL.
fn is_junk(octet: u8) -> bool {
    matches!(octet, b'\r' | b'\n' | 0)
}
