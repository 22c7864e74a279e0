//! The types of PDUs (PS3.8 section 9.3.1).

use std::fmt;

/// What a PDU is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PduType {
    /// Asks for an association.
    AssociateRq = 0x01,
    /// Accepts it.
    AssociateAc = 0x02,
    /// Rejects it.
    AssociateRj = 0x03,
    /// P-DATA-TF: holds commands and data sets, or parts of them.
    Data = 0x04,
    /// Asks for the release of the association.
    ReleaseRq = 0x05,
    /// Releases it.
    ReleaseRp = 0x06,
    /// A-ABORT: breaks the association off.
    Abort = 0x07,
}

impl PduType {
    /// All that the standard has.
    pub const ALL: [Self; 7] = [
        Self::AssociateRq,
        Self::AssociateAc,
        Self::AssociateRj,
        Self::Data,
        Self::ReleaseRq,
        Self::ReleaseRp,
        Self::Abort,
    ];

    /// The type that a PDU begins with; `None` where the standard has none of this number.
    #[must_use]
    pub fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.byte() == byte)
    }

    /// The byte that a PDU of this type begins with.
    #[must_use]
    pub const fn byte(self) -> u8 {
        self as u8
    }

    /// Its name in the standard.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AssociateRq => "A-ASSOCIATE-RQ",
            Self::AssociateAc => "A-ASSOCIATE-AC",
            Self::AssociateRj => "A-ASSOCIATE-RJ",
            Self::Data => "P-DATA-TF",
            Self::ReleaseRq => "A-RELEASE-RQ",
            Self::ReleaseRp => "A-RELEASE-RP",
            Self::Abort => "A-ABORT",
        }
    }
}

impl fmt::Display for PduType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_the_numbers_1_to_7_and_no_other() {
        let known: Vec<_> = (0..=u8::MAX).filter_map(PduType::of).collect();
        assert_eq!(known, PduType::ALL);
        assert_eq!(PduType::ALL.map(PduType::byte), [1, 2, 3, 4, 5, 6, 7]);
    }
}
