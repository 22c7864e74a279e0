//! The PDUs with which the upper layer rejects or aborts: A-ASSOCIATE-RJ and A-ABORT.

use std::fmt;

use super::PduType;

const REJECT: u8 = PduType::AssociateRj.byte();
const ABORT: u8 = PduType::Abort.byte();

/// Why an association was rejected, as in an A-ASSOCIATE-RJ (PS3.8 table 9-21).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rejection {
    /// 1 permanent, 2 transient.
    pub result: u8,
    /// 1 the application, 2 the upper layer (ACSE), 3 the upper layer (presentation).
    pub source: u8,
    /// The meaning depends on the source.
    pub reason: u8,
}

/// Why an association was aborted, as in an A-ABORT (PS3.8 table 9-26).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Abort {
    /// 0 the application, 2 the upper layer.
    pub source: u8,
    /// Only for source 2 (the upper layer); without meaning if the source is the application.
    pub reason: u8,
}

/// A PDU that ends an association.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClosingPdu {
    /// An A-ASSOCIATE-RJ: the reply to a complete request.
    Reject(Rejection),
    /// An A-ABORT. It may be sent only between two PDUs: inside a PDU it would be read as content.
    Abort(Abort),
}

impl ClosingPdu {
    /// The target cannot be reached at the moment. Senders try again later.
    #[must_use]
    pub const fn temporary_congestion() -> Self {
        Self::reject(2, 3, 1)
    }

    /// The number of associations is at the limit, or the gateway is about to stop. Senders try again.
    #[must_use]
    pub const fn local_limit_exceeded() -> Self {
        Self::reject(2, 3, 2)
    }

    /// The called AE title is not allowed here. Senders give up.
    #[must_use]
    pub const fn called_ae_not_recognized() -> Self {
        Self::reject(1, 1, 7)
    }

    /// The calling AE title is not allowed here, or not for this peer. Senders give up.
    #[must_use]
    pub const fn calling_ae_not_recognized() -> Self {
        Self::reject(1, 1, 3)
    }

    /// The request does not offer version 1 of the protocol.
    #[must_use]
    pub(super) const fn protocol_version_not_supported() -> Self {
        Self::reject(1, 2, 2)
    }

    /// A PDU that exists but is not allowed here.
    #[must_use]
    pub(crate) const fn unexpected_pdu() -> Self {
        Self::abort(2, 2)
    }

    /// A PDU of an unknown type.
    #[must_use]
    pub(super) const fn unrecognized_pdu() -> Self {
        Self::abort(2, 1)
    }

    /// A PDU with impossible lengths.
    #[must_use]
    pub(super) const fn invalid_parameter() -> Self {
        Self::abort(2, 6)
    }

    /// The association is lost or must end, for a reason without a number in the standard.
    #[must_use]
    pub const fn aborted() -> Self {
        Self::abort(2, 0)
    }

    const fn reject(result: u8, source: u8, reason: u8) -> Self {
        Self::Reject(Rejection {
            result,
            source,
            reason,
        })
    }

    const fn abort(source: u8, reason: u8) -> Self {
        Self::Abort(Abort { source, reason })
    }

    /// The encoded PDU (PS3.8 sections 9.3.4 and 9.3.8).
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 10] {
        match self {
            Self::Reject(Rejection {
                result,
                source,
                reason,
            }) => [REJECT, 0, 0, 0, 0, 4, 0, result, source, reason],
            Self::Abort(Abort { source, reason }) => [ABORT, 0, 0, 0, 0, 4, 0, 0, source, reason],
        }
    }
}

impl fmt::Display for ClosingPdu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reject(rejection) => rejection.fmt(f),
            Self::Abort(abort) => write!(f, "A-ABORT, {abort}"),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.result {
            1 => f.write_str("rejected-permanent")?,
            2 => f.write_str("rejected-transient")?,
            other => write!(f, "result {other}")?,
        }
        match self.source {
            1 => f.write_str(", service-user")?,
            2 => f.write_str(", service-provider (ACSE)")?,
            3 => f.write_str(", service-provider (presentation)")?,
            other => write!(f, ", source {other}")?,
        }
        let reason = match (self.source, self.reason) {
            (1 | 2, 1) => "no-reason-given",
            (1, 2) => "application-context-name-not-supported",
            (1, 3) => "calling-AE-title-not-recognized",
            (1, 7) => "called-AE-title-not-recognized",
            (2, 2) => "protocol-version-not-supported",
            (3, 1) => "temporary-congestion",
            (3, 2) => "local-limit-exceeded",
            (_, other) => return write!(f, ", reason {other}"),
        };
        write!(f, ", {reason}")
    }
}

impl fmt::Display for Abort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            0 => return f.write_str("service-user"),
            2 => f.write_str("service-provider")?,
            other => write!(f, "source {other}")?,
        }
        let reason = match self.reason {
            0 => "reason-not-specified",
            1 => "unrecognized-PDU",
            2 => "unexpected-PDU",
            4 => "unrecognized-PDU-parameter",
            5 => "unexpected-PDU-parameter",
            6 => "invalid-PDU-parameter-value",
            other => return write!(f, ", reason {other}"),
        };
        write!(f, ", {reason}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_the_numbers_and_terms_of_the_standard() {
        let cases = [
            (
                ClosingPdu::temporary_congestion(),
                [3, 0, 0, 0, 0, 4, 0, 2, 3, 1],
                "rejected-transient, service-provider (presentation), temporary-congestion",
            ),
            (
                ClosingPdu::local_limit_exceeded(),
                [3, 0, 0, 0, 0, 4, 0, 2, 3, 2],
                "rejected-transient, service-provider (presentation), local-limit-exceeded",
            ),
            (
                ClosingPdu::called_ae_not_recognized(),
                [3, 0, 0, 0, 0, 4, 0, 1, 1, 7],
                "rejected-permanent, service-user, called-AE-title-not-recognized",
            ),
            (
                ClosingPdu::calling_ae_not_recognized(),
                [3, 0, 0, 0, 0, 4, 0, 1, 1, 3],
                "rejected-permanent, service-user, calling-AE-title-not-recognized",
            ),
            (
                ClosingPdu::protocol_version_not_supported(),
                [3, 0, 0, 0, 0, 4, 0, 1, 2, 2],
                "rejected-permanent, service-provider (ACSE), protocol-version-not-supported",
            ),
            (
                ClosingPdu::unexpected_pdu(),
                [7, 0, 0, 0, 0, 4, 0, 0, 2, 2],
                "A-ABORT, service-provider, unexpected-PDU",
            ),
            (
                ClosingPdu::unrecognized_pdu(),
                [7, 0, 0, 0, 0, 4, 0, 0, 2, 1],
                "A-ABORT, service-provider, unrecognized-PDU",
            ),
            (
                ClosingPdu::invalid_parameter(),
                [7, 0, 0, 0, 0, 4, 0, 0, 2, 6],
                "A-ABORT, service-provider, invalid-PDU-parameter-value",
            ),
            (
                ClosingPdu::aborted(),
                [7, 0, 0, 0, 0, 4, 0, 0, 2, 0],
                "A-ABORT, service-provider, reason-not-specified",
            ),
        ];
        for (answer, bytes, words) in cases {
            assert_eq!(answer.to_bytes(), bytes, "{words}");
            assert_eq!(answer.to_string(), words);
        }
    }

    #[test]
    fn numbers_without_a_meaning_are_shown_as_numbers() {
        let rejection = Rejection {
            result: 9,
            source: 0,
            reason: 1,
        };
        assert_eq!(rejection.to_string(), "result 9, source 0, reason 1");
        let abort = Abort {
            source: 1,
            reason: 9,
        };
        assert_eq!(abort.to_string(), "source 1, reason 9");
        let abort = Abort {
            source: 0,
            reason: 9,
        };
        assert_eq!(abort.to_string(), "service-user");
    }
}
