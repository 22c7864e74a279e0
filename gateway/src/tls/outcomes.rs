//! Results of sealing and opening, shared by rustls's record layer (`session`) and the gateway's own
//! (`record`).

use rustls::{AlertDescription, Error};

/// Why opening stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// All whole records were opened; more bytes must be received.
    NeedBytes,
    /// There is as much payload as one turn handles; send it and open again.
    Full,
    /// The peer has sent close_notify: no payload will follow.
    Closed,
}

/// Why sealing failed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// rustls refused.
    #[error(transparent)]
    Tls(#[from] Error),
    /// TLS 1.2 has no key update: 2^24 records end the connection (RFC 8446 section 5.5).
    #[error(
        "the record limit of a TLS 1.2 key is reached; use TLS 1.3 to move this much at a time"
    )]
    Exhausted,
    /// The caller provided too little room, or payload before the end of the handshake.
    #[error("no room for the record, or the handshake is not complete")]
    Misused,
}

/// What is wrong with a record, or with a call of the record layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not protected, or of a type that is not allowed at this point (RFC 8446 section 5).
    #[error("record of an unexpected type ({0})")]
    Type(u8),
    /// Longer than section 5.2 allows, sealed or opened.
    #[error("record is longer than TLS allows")]
    Oversized,
    /// Forged, damaged, replayed, out of order, or under another key (section 5.2).
    #[error("record does not authenticate (bad_record_mac)")]
    Mac,
    /// Only zeros, without a content type (section 5.4).
    #[error("record without a content type")]
    NoContent,
    /// 2^64 records were protected: a sequence number must not wrap (section 5.3).
    #[error("the sequence numbers are exhausted")]
    SequenceEnd,
    /// The caller provided less room than the record needs.
    #[error("no room for the record")]
    NoRoom,
    /// The cipher refused to encrypt.
    #[error("the cipher failed")]
    Cipher,
}

impl RecordError {
    /// The alert for the peer (RFC 8446 section 6.2).
    #[must_use]
    pub fn alert(self) -> AlertDescription {
        match self {
            Self::Type(_) | Self::NoContent => AlertDescription::UnexpectedMessage,
            Self::Oversized => AlertDescription::RecordOverflow,
            Self::Mac => AlertDescription::BadRecordMac,
            Self::SequenceEnd | Self::NoRoom | Self::Cipher => AlertDescription::InternalError,
        }
    }
}
