//! Why a pairing failed.

use std::fmt;
use std::io;

/// Why one side ends the exchange: the one byte of a REJECT frame, with a reason in words behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectCode {
    /// The other side speaks another version of the protocol.
    Version,
    /// Both sides have the same role.
    Role,
    /// The code is wrong.
    WrongCode,
    /// The code is void: used, expired, or too many tries.
    Void,
    /// A frame that does not belong here, or is not well formed.
    Protocol,
    /// The offer is not accepted.
    Offer,
    /// A person, or a problem of this machine, ended the exchange.
    Aborted,
}

impl RejectCode {
    const ALL: [(u8, Self); 7] = [
        (1, Self::Version),
        (2, Self::Role),
        (3, Self::WrongCode),
        (4, Self::Void),
        (5, Self::Protocol),
        (6, Self::Offer),
        (7, Self::Aborted),
    ];

    /// Its byte in a frame.
    #[must_use]
    pub fn byte(self) -> u8 {
        let mut all = Self::ALL.iter();
        all.find(|(_, code)| *code == self)
            .map_or(0, |(byte, _)| *byte)
    }

    /// The code with this byte.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        let mut all = Self::ALL.iter();
        all.find(|(known, _)| *known == byte).map(|(_, code)| *code)
    }
}

impl fmt::Display for RejectCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "the other site has another version of wardgate; install the same version at both sites",
            Self::Role => {
                "both sites have the same role; run `wardgate pair --listen` at one site and `wardgate pair \
                 --connect` at the other"
            }
            Self::WrongCode => "the code is wrong; ask for it again",
            Self::Void => {
                "the code is not valid any more; run `wardgate pair` again at the site that shows the code"
            }
            Self::Protocol => "the other site received what it did not expect",
            Self::Offer => "the other site does not accept what this site sent",
            Self::Aborted => "the other site ended the exchange",
        })
    }
}

/// Why a pairing failed.
#[derive(Debug, thiserror::Error)]
pub enum PairingError {
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// The connection failed, or the deadline passed (`TimedOut`).
    #[error("the connection to the other site failed: {0}")]
    Socket(#[from] io::Error),
    /// The other side closed the connection.
    #[error("the other site closed the connection")]
    Closed,
    /// The other side does not speak this protocol.
    #[error(
        "the other end does not run `wardgate pair`; if a gateway runs there, pair on another port: `wardgate pair \
         --listen` with a free port there, and `wardgate pair --connect` with this port here"
    )]
    NotPairing,
    /// The other side speaks another version.
    #[error(
        "the other site speaks version {0} of the pairing protocol, and this one version 1; install the same version of wardgate at both sites"
    )]
    Version(u8),
    /// Both sides have the same role.
    #[error(
        "both sites have the same role; run `wardgate pair --listen` at one site and `wardgate pair --connect` at \
         the other"
    )]
    SameRole,
    /// The two sides have different codes.
    #[error("the code is wrong")]
    WrongCode,
    /// A frame that does not belong here, or is not well formed.
    #[error("the other site sent what does not belong to the exchange: {0}")]
    Protocol(&'static str),
    /// The other side ended the exchange, with its reason.
    #[error("{code}{}", reason_text(.reason))]
    Rejected {
        /// The reason as a code.
        code: RejectCode,
        /// In words, escaped; empty if there are none.
        reason: String,
    },
    /// What the other side offers is not accepted: a sentence.
    #[error("{0}")]
    Offer(String),
    /// A problem of this machine, or a person said no: a sentence.
    #[error("{0}")]
    Aborted(String),
}

fn reason_text(reason: &str) -> String {
    match reason.is_empty() {
        true => String::new(),
        false => format!(": {reason}"),
    }
}

impl PairingError {
    /// The reason that the other side gets; `None` if it is gone, or has ended the exchange itself.
    #[must_use]
    pub fn reject_code(&self) -> Option<RejectCode> {
        match self {
            Self::Socket(error) if error.kind() == io::ErrorKind::TimedOut => {
                Some(RejectCode::Aborted)
            }
            Self::Socket(_) | Self::Closed | Self::NotPairing | Self::Rejected { .. } => None,
            Self::Random | Self::Aborted(_) => Some(RejectCode::Aborted),
            Self::Version(_) => Some(RejectCode::Version),
            Self::SameRole => Some(RejectCode::Role),
            Self::WrongCode => Some(RejectCode::WrongCode),
            Self::Protocol(_) => Some(RejectCode::Protocol),
            Self::Offer(_) => Some(RejectCode::Offer),
        }
    }
}
