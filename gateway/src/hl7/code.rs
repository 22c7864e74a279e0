//! What an acknowledgement says, and how often each was said.

use std::fmt;

/// The word of an acknowledgement: MSA-1 (HL7 table 0008), or the one octet of MLLP release 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// AA: the application took the message.
    ApplicationAccept,
    /// AE: the application found an error in it.
    ApplicationError,
    /// AR: the application refused it.
    ApplicationReject,
    /// CA: it was stored (enhanced mode), and the application may still say something.
    CommitAccept,
    /// CE: it was not stored, because of an error.
    CommitError,
    /// CR: it was not stored, because it was refused.
    CommitReject,
    /// The octet 06H: the frame was stored (MLLP release 2).
    Ack,
    /// The octet 15H: it was not (MLLP release 2).
    Nak,
}

impl Code {
    /// All of them, in the order of the type.
    pub const ALL: [Self; 8] = [
        Self::ApplicationAccept,
        Self::ApplicationError,
        Self::ApplicationReject,
        Self::CommitAccept,
        Self::CommitError,
        Self::CommitReject,
        Self::Ack,
        Self::Nak,
    ];

    /// Its name, as MSA-1 has it: `AA`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ApplicationAccept => "AA",
            Self::ApplicationError => "AE",
            Self::ApplicationReject => "AR",
            Self::CommitAccept => "CA",
            Self::CommitError => "CE",
            Self::CommitReject => "CR",
            Self::Ack => "ACK",
            Self::Nak => "NAK",
        }
    }

    /// Reads MSA-1.
    pub(super) fn from_field(field: &[u8]) -> Option<Self> {
        let is_named = |code: &Self| code.name().as_bytes() == field;
        // The two of release 2 stand in no segment; their names are longer than MSA-1.
        Self::ALL
            .into_iter()
            .find(is_named)
            .filter(|code| !code.is_octet())
    }

    /// Reads the one octet of a commit acknowledgement (MLLP release 2).
    pub(super) fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            0x06 => Some(Self::Ack),
            0x15 => Some(Self::Nak),
            _ => None,
        }
    }

    /// Whether it tells of storing alone: the application's own answer is another.
    pub(super) fn is_commit(self) -> bool {
        use Code::{Ack, CommitAccept, CommitError, CommitReject, Nak};
        matches!(self, CommitAccept | CommitError | CommitReject | Ack | Nak)
    }

    fn is_octet(self) -> bool {
        matches!(self, Self::Ack | Self::Nak)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Acknowledgements by what they said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Codes {
    // In the order of `Code::ALL`.
    known: [u64; Code::ALL.len()],
    other: u64,
}

impl Codes {
    /// How often this was said.
    #[must_use]
    pub fn of(&self, code: Code) -> u64 {
        self.each()
            .find(|(this, _)| *this == code)
            .map_or(0, |(_, count)| count)
    }

    /// Acknowledgements that held no code that is known.
    #[must_use]
    pub fn other(&self) -> u64 {
        self.other
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.known.iter().sum::<u64>().saturating_add(self.other)
    }

    /// Every code with how often it was said, those that never were included.
    pub fn each(&self) -> impl Iterator<Item = (Code, u64)> + '_ {
        Code::ALL.into_iter().zip(self.known)
    }

    pub(super) fn count(&mut self, code: Option<Code>) {
        let mut counts = Code::ALL.into_iter().zip(&mut self.known);
        let known = counts.find(|(this, _)| Some(*this) == code);
        *known.map_or(&mut self.other, |(_, count)| count) += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn msa_1_knows_six_codes() {
        let known: Vec<_> = ["AA", "AE", "AR", "CA", "CE", "CR"]
            .iter()
            .filter_map(|field| Code::from_field(field.as_bytes()))
            .collect();
        assert_eq!(known, Code::ALL[..6]);
        for field in ["", "A", "aa", "AAA", "ACK", "NAK", "AS"] {
            assert_eq!(Code::from_field(field.as_bytes()), None, "{field}");
        }
    }

    #[test]
    fn codes_are_counted_by_name() {
        let mut codes = Codes::default();
        for code in [Some(Code::ApplicationError), None, Some(Code::Nak), None] {
            codes.count(code);
        }
        assert_eq!(codes.of(Code::ApplicationError), 1);
        assert_eq!(codes.of(Code::ApplicationAccept), 0);
        assert_eq!((codes.other(), codes.total()), (2, 4));
    }
}
