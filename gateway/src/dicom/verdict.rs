//! The verdict of the observer on the bytes of an association.

use std::fmt;

use thiserror::Error;

use super::{AssociateRqError, AssociationRole, ClosingPdu, DimseCommand, PduType};
use crate::dicom::limits::COMMAND_BYTES_MAX;
use crate::stream_kind::StreamKind;

/// What to do with observed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssociationVerdict {
    /// Forward the bytes.
    Pass,
    /// Do not forward these bytes or any later ones: the association is over.
    End(AssociationEndReason),
}

/// Why the gateway ends an association that its applications would have continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum AssociationEndReason {
    /// Bytes of one side are not DICOM, on a strict route.
    #[error("{by} sent {what}")]
    Violation {
        /// The side that sent the bytes.
        by: AssociationRole,
        /// The violation.
        what: Violation,
    },
    /// The rules of the route do not list this command.
    #[error("{by} sent {command}, which is not in commands")]
    NotAllowed {
        /// The side that sent the request.
        by: AssociationRole,
        /// The requested command.
        command: RequestedCommand,
    },
}

/// The command of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestedCommand {
    /// A command of the standard.
    For(DimseCommand),
    /// A Command Field (0000,0100) that is not in the standard.
    Unknown(u16),
}

impl fmt::Display for RequestedCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(command) => command.fmt(f),
            Self::Unknown(field) => write!(f, "unknown command {field:#06x}"),
        }
    }
}

/// How bytes violate the DICOM upper layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum Violation {
    /// The first bytes are of another protocol.
    #[error("{0}, not DICOM; {remedy}", remedy = .0.remedy())]
    Foreign(StreamKind),
    /// A PDU that is not allowed here (PS3.8 table 9-10).
    #[error("{0} where it has no place")]
    UnexpectedPdu(PduType),
    /// A PDU of a type that the standard does not have, or no PDU at all.
    #[error("a PDU of unknown type {0:#04x}")]
    UnknownPdu(u8),
    /// A PDU whose length is not one that its type can have.
    #[error("{0} with a length that cannot be")]
    PduLength(PduType),
    /// A presentation data value that is longer than its PDU, or too short to be one.
    #[error("a presentation data value with an impossible length")]
    PdvLength,
    /// Another element between the fragments of a command set.
    #[error("a command set with other data between its fragments")]
    Interleaved,
    /// More bytes than any command needs.
    #[error("a command set of more than {COMMAND_BYTES_MAX} bytes")]
    CommandTooLong,
    /// A malformed command set (PS3.7 section 6.3).
    #[error("a malformed command set")]
    Command,
    /// The request that opens the association is invalid.
    #[error("{0}")]
    Request(AssociateRqError),
    /// An A-ASSOCIATE-AC with lengths that contradict each other.
    #[error("A-ASSOCIATE-AC with impossible lengths")]
    Acceptance,
}

impl AssociationEndReason {
    /// The PDU that both sides receive, if a PDU can still be sent.
    #[must_use]
    pub fn answer(&self) -> ClosingPdu {
        match self {
            Self::NotAllowed { .. } => ClosingPdu::aborted(),
            Self::Violation { what, .. } => match what {
                Violation::UnexpectedPdu(_) => ClosingPdu::unexpected_pdu(),
                Violation::UnknownPdu(_) | Violation::Foreign(_) => ClosingPdu::unrecognized_pdu(),
                Violation::PduLength(_)
                | Violation::PdvLength
                | Violation::Interleaved
                | Violation::CommandTooLong
                | Violation::Command
                | Violation::Request(_)
                | Violation::Acceptance => ClosingPdu::invalid_parameter(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_name_the_side_the_fault_and_the_reply() {
        let violation = |what| AssociationEndReason::Violation {
            by: AssociationRole::Acceptor,
            what,
        };
        let cases = [
            (
                violation(Violation::UnexpectedPdu(PduType::Data)),
                "acceptor sent P-DATA-TF where it has no place",
                ClosingPdu::unexpected_pdu(),
            ),
            (
                violation(Violation::UnknownPdu(0x48)),
                "acceptor sent a PDU of unknown type 0x48",
                ClosingPdu::unrecognized_pdu(),
            ),
            (
                violation(Violation::PdvLength),
                "acceptor sent a presentation data value with an impossible length",
                ClosingPdu::invalid_parameter(),
            ),
            (
                AssociationEndReason::NotAllowed {
                    by: AssociationRole::Requestor,
                    command: RequestedCommand::For(DimseCommand::CMove),
                },
                "requestor sent C-MOVE, which is not in commands",
                ClosingPdu::aborted(),
            ),
            (
                AssociationEndReason::NotAllowed {
                    by: AssociationRole::Requestor,
                    command: RequestedCommand::Unknown(0x7777),
                },
                "requestor sent unknown command 0x7777, which is not in commands",
                ClosingPdu::aborted(),
            ),
        ];
        for (reason, words, answer) in cases {
            assert_eq!(reason.to_string(), words);
            assert_eq!(reason.answer(), answer, "{words}");
        }
    }
}
