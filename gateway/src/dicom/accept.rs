//! The PDU that accepts an association (PS3.8 section 9.3.3).

use std::fmt;

use super::items::{Items, Malformed};
use super::request::{FIXED, USER_INFORMATION};
use super::user_information::UserInformation;
use crate::dicom::limits::CONTEXTS_MAX;

/// A presentation context with its result.
const CONTEXT: u8 = 0x21;

/// An A-ASSOCIATE-AC. Its AE titles have no meaning and need not be those of the request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AssociateAc {
    /// The result of each proposed context, up to `CONTEXTS_MAX`.
    pub(super) results: Vec<(u8, ContextResult)>,
    /// The user information of the acceptor.
    pub(super) user: UserInformation,
}

/// The result of a presentation context (PS3.8 table 9-18).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContextResult {
    /// The context is accepted.
    Accepted,
    /// The application rejects the context.
    UserRejection,
    /// Rejected without a reason.
    NoReason,
    /// The SOP class is not supported.
    AbstractSyntax,
    /// None of the transfer syntaxes is supported.
    TransferSyntaxes,
    /// A number that is not in the standard.
    Other(u8),
    /// The acceptor gave no result.
    Unanswered,
}

impl AssociateAc {
    /// Reads the body of a complete PDU.
    pub(super) fn read_body(body: &[u8]) -> Result<Self, Malformed> {
        let (_, items) = body.split_at_checked(FIXED).ok_or(Malformed)?;
        let mut read = Self::default();
        for item in Items::new(items) {
            match item? {
                (CONTEXT, value) => {
                    let [id, _, result, _] = *value.first_chunk().ok_or(Malformed)?;
                    if read.results.len() < CONTEXTS_MAX {
                        read.results.push((id, ContextResult::of(result)));
                    }
                }
                (USER_INFORMATION, value) => read.user = UserInformation::read(value)?,
                _ => {}
            }
        }
        Ok(read)
    }
}

impl ContextResult {
    fn of(byte: u8) -> Self {
        match byte {
            0 => Self::Accepted,
            1 => Self::UserRejection,
            2 => Self::NoReason,
            3 => Self::AbstractSyntax,
            4 => Self::TransferSyntaxes,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for ContextResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted => f.write_str("acceptance"),
            Self::UserRejection => f.write_str("user-rejection"),
            Self::NoReason => f.write_str("no-reason"),
            Self::AbstractSyntax => f.write_str("abstract-syntax-not-supported"),
            Self::TransferSyntaxes => f.write_str("transfer-syntaxes-not-supported"),
            Self::Other(result) => write!(f, "result {result}"),
            Self::Unanswered => f.write_str("not answered"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::made;
    use super::*;

    #[test]
    fn results_and_limits_are_read() {
        let bytes = made::accept(&[(1, 0), (3, 3), (5, 9)]);
        let read = AssociateAc::read_body(&bytes[6..]).expect("an acceptance");
        let results = [
            (1, ContextResult::Accepted),
            (3, ContextResult::AbstractSyntax),
            (5, ContextResult::Other(9)),
        ];
        assert_eq!(read.results, results);
        assert_eq!(read.user.pdu_length_max, 16_384);
    }

    #[test]
    fn impossible_lengths_are_malformed() {
        let bytes = made::accept(&[(1, 0)]);
        let body = &bytes[6..];
        assert!(AssociateAc::read_body(&body[..body.len() - 1]).is_err());
        assert!(AssociateAc::read_body(&body[..60]).is_err());
        let short = [&[0; 68][..], &made::item(0x21, &[1, 0, 0])].concat();
        assert!(AssociateAc::read_body(&short).is_err());
    }
}
