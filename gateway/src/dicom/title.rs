//! The names that applications have in DICOM.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// An application entity title: 1 to 16 octets, without the spaces and NULs around it.
///
/// PS3.5 table 6.2-1 allows printable ASCII but the backslash; what comes from the network may hold any
/// octet in the field, so those are kept for comparing and shown escaped. Case counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AeTitle {
    // Octets behind `length` are 0.
    octets: [u8; 16],
    length: u8,
}

/// Why a text is no application entity title.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidAeTitle {
    /// Nothing but spaces.
    #[error("an AE title has at least one character that is no space")]
    Empty,
    /// More than 16.
    #[error("an AE title has at most 16 characters")]
    Long,
    /// Something else than printable ASCII, or a backslash.
    #[error("an AE title has printable ASCII characters but the backslash")]
    Character,
}

impl AeTitle {
    /// Reads the field of an A-ASSOCIATE PDU (PS3.8 table 9-11); `None` where nothing is left of it.
    #[must_use]
    pub fn from_field(field: &[u8; 16]) -> Option<Self> {
        Self::trimmed(field)
    }

    fn trimmed(field: &[u8]) -> Option<Self> {
        let is_padding = |octet: &u8| matches!(octet, b' ' | 0);
        let start = field.iter().position(|octet| !is_padding(octet))?;
        let end = field.iter().rposition(|octet| !is_padding(octet))?;
        let kept = field.get(start..=end)?;
        let mut octets = [0; 16];
        octets.get_mut(..kept.len())?.copy_from_slice(kept);
        let length = u8::try_from(kept.len()).ok()?;
        Some(Self { octets, length })
    }

    /// The field of an A-ASSOCIATE PDU, padded with spaces.
    #[must_use]
    pub(crate) fn to_field(self) -> [u8; 16] {
        let mut field = [b' '; 16];
        for (there, octet) in field.iter_mut().zip(self.octets()) {
            *there = *octet;
        }
        field
    }

    /// Whether it holds what no title may: some receivers stop at such an octet, or take it for a space,
    /// and so read another title.
    #[must_use]
    pub fn is_odd(&self) -> bool {
        let is_good = |octet: &u8| matches!(octet, b' '..=b'~') && *octet != b'\\';
        !self.octets().iter().all(is_good)
    }

    /// Whether it is the other but for upper and lower case, which some receivers do not tell apart.
    #[must_use]
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.octets().eq_ignore_ascii_case(other.octets())
    }

    fn octets(&self) -> &[u8] {
        self.octets.get(..usize::from(self.length)).unwrap_or(&[])
    }
}

impl FromStr for AeTitle {
    type Err = InvalidAeTitle;

    fn from_str(text: &str) -> Result<Self, InvalidAeTitle> {
        let text = text.trim_matches(' ');
        if text.is_empty() {
            return Err(InvalidAeTitle::Empty);
        }
        if !text
            .bytes()
            .all(|octet| matches!(octet, b' '..=b'~') && octet != b'\\')
        {
            return Err(InvalidAeTitle::Character);
        }
        Self::trimmed(text.as_bytes()).ok_or(InvalidAeTitle::Long)
    }
}

impl fmt::Display for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.octets().escape_ascii())
    }
}

impl fmt::Debug for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_does_not_count() {
        let title: AeTitle = "CT_1".parse().expect("a title");
        assert_eq!(AeTitle::from_field(b"  CT_1\0\0        "), Some(title));
        assert_eq!(AeTitle::from_field(b"            \0 \0 "), None);
        assert_eq!(&title.to_field(), b"CT_1            ");
    }

    #[test]
    fn case_counts() {
        assert_ne!("ct".parse::<AeTitle>(), "CT".parse());
    }

    #[test]
    fn texts_that_are_no_titles() {
        assert_eq!("  ".parse::<AeTitle>(), Err(InvalidAeTitle::Empty));
        assert_eq!(
            "A2345678901234567".parse::<AeTitle>(),
            Err(InvalidAeTitle::Long)
        );
        assert_eq!("A\\B".parse::<AeTitle>(), Err(InvalidAeTitle::Character));
        assert_eq!("A\nB".parse::<AeTitle>(), Err(InvalidAeTitle::Character));
        assert!("A234567890123456".parse::<AeTitle>().is_ok());
    }

    #[test]
    fn what_some_take_for_another_title_is_known() {
        let field = |field: &[u8; 16]| AeTitle::from_field(field).expect("a title");
        let title = field(b"CT_A            ");
        assert!(!title.is_odd());
        for odd in [
            b"CT_A\0X          ",
            b"\tCT_A           ",
            b"CT_A\\           ",
        ] {
            assert!(field(odd).is_odd(), "{:?}", field(odd));
        }
        assert!(field(b"ct_a            ").is_like(&title));
        assert!(!field(b"CT_B            ").is_like(&title));
    }

    #[test]
    fn odd_octets_are_shown_escaped() {
        let odd = AeTitle::from_field(b"A\n\xffB            ").expect("a title");
        assert_eq!(odd.to_string(), "A\\n\\xffB");
    }
}
