//! The class of each way in which a connection can end: the field `error.type` of its log line.

use super::event::{CloseReason, Deadline};
use crate::tls::{NotAccepted, RefusalClass};

impl CloseReason {
    /// The class, the same in all versions of the program. `None` if nothing failed.
    #[must_use]
    pub fn error_type(&self) -> Option<&'static str> {
        Some(match self {
            Self::Complete | Self::AtRest | Self::Empty => return None,
            Self::Unfinished => "association_unfinished",
            Self::Reset(_) => "connection_reset",
            Self::Truncated => "tls_truncated",
            Self::Handshake(class, _) => match class {
                RefusalClass::Unknown => "handshake_failed",
                RefusalClass::Revoked => "peer_revoked",
                RefusalClass::NotListed => "peer_not_listed",
                RefusalClass::Unacceptable => "peer_certificate_refused",
            },
            Self::Unreachable(_) => "target_unreachable",
            Self::Deadline(deadline) => match deadline {
                Deadline::Handshake => "handshake_timeout",
                Deadline::FirstByte => "first_byte_timeout",
                Deadline::Idle => "idle_timeout",
                Deadline::AssociationIdle => "association_idle_timeout",
                Deadline::HalfClosed => "half_closed_timeout",
            },
            Self::Stalled(_) => "stall_timeout",
            Self::Unanswered(_) => "target_closed_unanswered",
            Self::SourceNotAllowed => "source_not_allowed",
            Self::Illegal(_) => "wrong_protocol",
            Self::Forbidden(_) => "rule_violated",
            Self::Protocol(_) => "tls_record_invalid",
            Self::Limit(_) => "limit_reached",
            Self::Drained => "drain_timeout",
            Self::EndedByCommand => "ended_by_command",
            Self::PeerNotAccepted(fault) => match fault {
                NotAccepted::Expired => "peer_expired",
                NotAccepted::NotListed => "peer_no_longer_listed",
                NotAccepted::NotTrusted => "peer_no_longer_trusted",
                NotAccepted::Revoked(_) => "peer_revoked",
                NotAccepted::NoList => "peer_without_revocation_list",
            },
            Self::Internal(_) => "internal_error",
        })
    }
}
