//! The codes of acknowledgements, and how often each code was sent.

use std::fmt;

/// The code of an acknowledgement: MSA-1 (HL7 table 0008), or the single byte of MLLP release 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// AA: the application accepted the message.
    ApplicationAccept,
    /// AE: the application found an error in the message.
    ApplicationError,
    /// AR: the application rejected the message.
    ApplicationReject,
    /// CA: the receiver stored the message (enhanced mode); the application may send its own answer later.
    CommitAccept,
    /// CE: the receiver did not store the message, because of an error.
    CommitError,
    /// CR: the receiver did not store the message, because it rejected the message.
    CommitReject,
    /// The byte 06H: the receiver stored the frame (MLLP release 2).
    Ack,
    /// The byte 15H: the receiver did not store the frame (MLLP release 2).
    Nak,
}

impl Code {
    /// All codes, in the order of the type.
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

    /// The name of the code, as in MSA-1: `AA`.
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
        // ACK and NAK (MLLP release 2) are not in a segment; their names are longer than MSA-1.
        Self::ALL
            .into_iter()
            .find(is_named)
            .filter(|code| !code.is_byte())
    }

    /// Reads the single byte of a commit acknowledgement (MLLP release 2).
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x06 => Some(Self::Ack),
            0x15 => Some(Self::Nak),
            _ => None,
        }
    }

    /// Whether the code reports only that the message was stored; the answer of the application is separate.
    pub(super) fn is_commit(self) -> bool {
        use Code::{Ack, CommitAccept, CommitError, CommitReject, Nak};
        matches!(self, CommitAccept | CommitError | CommitReject | Ack | Nak)
    }

    fn is_byte(self) -> bool {
        matches!(self, Self::Ack | Self::Nak)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Counts of acknowledgements by their code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Codes {
    // In the order of `Code::ALL`.
    known: [u64; Code::ALL.len()],
    other: u64,
}

impl Codes {
    /// How often this code was sent.
    #[must_use]
    pub fn of(&self, code: Code) -> u64 {
        self.each()
            .find(|(this, _)| *this == code)
            .map_or(0, |(_, count)| count)
    }

    /// Acknowledgements without a known code.
    #[must_use]
    pub fn other(&self) -> u64 {
        self.other
    }

    /// All acknowledgements.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.known.iter().sum::<u64>().saturating_add(self.other)
    }

    /// Every code with its count, codes with count 0 included.
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
