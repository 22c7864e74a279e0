//! What the observer of an association thinks of the bytes that it sees.

use std::fmt;

use thiserror::Error;

use super::{Answer, AssociateRqError, Command, PduType, Role};
use crate::limits::COMMAND_BYTES_MAX;
use crate::stream_kind::StreamKind;

/// What is to happen to the bytes that were seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They may pass.
    Pass,
    /// They must not, and nothing must any more: the association is over.
    End(Reason),
}

/// Why an association is ended that its applications would have gone on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum Reason {
    /// What one side sent is not DICOM, on a route that insists on it.
    #[error("{by} sent {what}")]
    Violation {
        /// Who sent it.
        by: Role,
        /// What is wrong with it.
        what: Violation,
    },
    /// The rules of the route do not list this command.
    #[error("{by} sent {command}, which is not in commands")]
    NotAllowed {
        /// Who sent it.
        by: Role,
        /// What was asked for.
        command: Asked,
    },
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Asked {
    /// One of the standard's commands.
    For(Command),
    /// A Command Field (0000,0100) that the standard does not have.
    Unknown(u16),
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(command) => command.fmt(f),
            Self::Unknown(field) => write!(f, "unknown command {field:#06x}"),
        }
    }
}

/// What is wrong with bytes that should be those of an association.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum Violation {
    /// What comes first is of another protocol.
    #[error("{0}, not DICOM; {remedy}", remedy = .0.remedy())]
    Foreign(StreamKind),
    /// A PDU that has no place here (PS3.8 table 9-10).
    #[error("{0} where it has no place")]
    UnexpectedPdu(PduType),
    /// A PDU of a type that the standard does not have, or no PDU at all.
    #[error("a PDU of unknown type {0:#04x}")]
    UnknownPdu(u8),
    /// A PDU whose length is not one that its type can have.
    #[error("{0} with a length that cannot be")]
    PduLength(PduType),
    /// A presentation data value that is longer than its PDU, or too short to be one.
    #[error("a presentation data value with a length that cannot be")]
    PdvLength,
    /// Something else between the parts of a command set.
    #[error("a command set with something else between its parts")]
    Interleaved,
    /// More than any command needs.
    #[error("a command set of more than {COMMAND_BYTES_MAX} octets")]
    CommandTooLong,
    /// A command set that cannot be read (PS3.7 section 6.3).
    #[error("a command set that cannot be read")]
    Command,
    /// The request that opens the association is none.
    #[error("{0}")]
    Request(AssociateRqError),
    /// An A-ASSOCIATE-AC with lengths that contradict each other.
    #[error("A-ASSOCIATE-AC with lengths that cannot be")]
    Acceptance,
}

impl Reason {
    /// What both sides are told, where a PDU can still be sent.
    #[must_use]
    pub fn answer(&self) -> Answer {
        match self {
            Self::NotAllowed { .. } => Answer::aborted(),
            Self::Violation { what, .. } => match what {
                Violation::UnexpectedPdu(_) => Answer::unexpected_pdu(),
                Violation::UnknownPdu(_) | Violation::Foreign(_) => Answer::unrecognized_pdu(),
                Violation::PduLength(_)
                | Violation::PdvLength
                | Violation::Interleaved
                | Violation::CommandTooLong
                | Violation::Command
                | Violation::Request(_)
                | Violation::Acceptance => Answer::invalid_parameter(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_say_who_did_what_and_what_is_answered() {
        let violation = |what| Reason::Violation {
            by: Role::Acceptor,
            what,
        };
        let cases = [
            (
                violation(Violation::UnexpectedPdu(PduType::Data)),
                "acceptor sent P-DATA-TF where it has no place",
                Answer::unexpected_pdu(),
            ),
            (
                violation(Violation::UnknownPdu(0x48)),
                "acceptor sent a PDU of unknown type 0x48",
                Answer::unrecognized_pdu(),
            ),
            (
                violation(Violation::PdvLength),
                "acceptor sent a presentation data value with a length that cannot be",
                Answer::invalid_parameter(),
            ),
            (
                Reason::NotAllowed {
                    by: Role::Requestor,
                    command: Asked::For(Command::CMove),
                },
                "requestor sent C-MOVE, which is not in commands",
                Answer::aborted(),
            ),
            (
                Reason::NotAllowed {
                    by: Role::Requestor,
                    command: Asked::Unknown(0x7777),
                },
                "requestor sent unknown command 0x7777, which is not in commands",
                Answer::aborted(),
            ),
        ];
        for (reason, words, answer) in cases {
            assert_eq!(reason.to_string(), words);
            assert_eq!(reason.answer(), answer, "{words}");
        }
    }
}
