//! The class of each way in which a connection can end: the field `error.type` of its log line.

use super::event::{CloseReason, Deadline};
use super::messages::{self, LogMessage};
use crate::tls::{NotAccepted, RefusalClass};

impl CloseReason {
    /// The kind of the failure. `None` if nothing failed.
    #[must_use]
    pub fn failure(&self) -> Option<&'static LogMessage> {
        Some(match self {
            Self::Complete | Self::AtRest | Self::Empty => return None,
            Self::Unfinished => &messages::ASSOCIATION_UNFINISHED,
            Self::Reset(_) => &messages::CONNECTION_RESET,
            Self::Truncated => &messages::TLS_TRUNCATED,
            Self::Handshake(class, _) => match class {
                RefusalClass::Unknown => &messages::HANDSHAKE_FAILED,
                RefusalClass::Revoked => &messages::PEER_REVOKED,
                RefusalClass::NotListed => &messages::PEER_NOT_LISTED,
                RefusalClass::Unacceptable => &messages::PEER_CERTIFICATE_REFUSED,
            },
            Self::Unreachable(_) => &messages::TARGET_UNREACHABLE,
            Self::Deadline(deadline) => match deadline {
                Deadline::Handshake => &messages::HANDSHAKE_TIMEOUT,
                Deadline::FirstByte => &messages::FIRST_BYTE_TIMEOUT,
                Deadline::Idle => &messages::IDLE_TIMEOUT,
                Deadline::AssociationIdle => &messages::ASSOCIATION_IDLE_TIMEOUT,
                Deadline::HalfClosed => &messages::HALF_CLOSED_TIMEOUT,
            },
            Self::Stalled(_) => &messages::STALL_TIMEOUT,
            Self::Unanswered(_) => &messages::TARGET_CLOSED_UNANSWERED,
            Self::SourceNotAllowed => &messages::SOURCE_NOT_ALLOWED,
            Self::ProxyNotListed => &messages::PROXY_NOT_LISTED,
            Self::CarriedNotAllowed => &messages::CARRIED_NOT_ALLOWED,
            Self::Illegal(_) => &messages::WRONG_PROTOCOL,
            Self::Forbidden(_) => &messages::RULE_VIOLATED,
            Self::Protocol(_) => &messages::TLS_RECORD_INVALID,
            Self::Limit(_) => &messages::LIMIT_REACHED,
            Self::Drained => &messages::DRAIN_TIMEOUT,
            Self::EndedByCommand => &messages::ENDED_BY_COMMAND,
            Self::PeerNotAccepted(fault) => match fault {
                NotAccepted::Expired => &messages::PEER_EXPIRED,
                NotAccepted::NotListed => &messages::PEER_NO_LONGER_LISTED,
                NotAccepted::NotTrusted => &messages::PEER_NO_LONGER_TRUSTED,
                NotAccepted::Revoked(_) => &messages::PEER_NOW_REVOKED,
                NotAccepted::NoList => &messages::PEER_WITHOUT_REVOCATION_LIST,
            },
            Self::Internal(_) => &messages::INTERNAL_ERROR,
        })
    }
}
