//! AE titles: the names of DICOM applications.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// An application entity title: 1 to 16 bytes, without the spaces and NULs around it.
///
/// PS3.5 table 6.2-1 allows printable ASCII without the backslash. Titles from the network may hold any byte,
/// so such bytes are kept for comparison and shown escaped. Titles are case-sensitive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AeTitle {
    // Bytes after `length` are 0.
    bytes: [u8; 16],
    length: u8,
}

/// Why a text is not an AE title.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidAeTitle {
    /// Only spaces.
    #[error("an AE title has at least one character other than a space")]
    Empty,
    /// More than 16.
    #[error("an AE title has at most 16 characters")]
    Long,
    /// A character outside of printable ASCII, or a backslash.
    #[error("an AE title has only printable ASCII characters, and no backslash")]
    Character,
}

impl AeTitle {
    /// Reads the field of an A-ASSOCIATE PDU (PS3.8 table 9-11); `None` if it holds only padding.
    #[must_use]
    pub fn from_field(field: &[u8; 16]) -> Option<Self> {
        Self::trimmed(field)
    }

    fn trimmed(field: &[u8]) -> Option<Self> {
        let is_padding = |byte: &u8| matches!(byte, b' ' | 0);
        let start = field.iter().position(|byte| !is_padding(byte))?;
        let end = field.iter().rposition(|byte| !is_padding(byte))?;
        let kept = field.get(start..=end)?;
        let mut bytes = [0; 16];
        bytes.get_mut(..kept.len())?.copy_from_slice(kept);
        let length = u8::try_from(kept.len()).ok()?;
        Some(Self { bytes, length })
    }

    /// The field of an A-ASSOCIATE PDU, padded with spaces.
    #[must_use]
    pub(crate) fn to_field(self) -> [u8; 16] {
        let mut field = [b' '; 16];
        for (there, byte) in field.iter_mut().zip(self.bytes()) {
            *there = *byte;
        }
        field
    }

    /// Whether the title has illegal bytes: some receivers stop at such a byte, or read it as a space, and
    /// then read another title.
    #[must_use]
    pub fn is_odd(&self) -> bool {
        let is_good = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'\\';
        !self.bytes().iter().all(is_good)
    }

    /// Whether the titles differ only in case, which some receivers ignore.
    #[must_use]
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.bytes().eq_ignore_ascii_case(other.bytes())
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or(&[])
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
            .all(|byte| matches!(byte, b' '..=b'~') && byte != b'\\')
        {
            return Err(InvalidAeTitle::Character);
        }
        Self::trimmed(text.as_bytes()).ok_or(InvalidAeTitle::Long)
    }
}

impl fmt::Display for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bytes().escape_ascii())
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
    fn padding_is_ignored() {
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
    fn texts_that_are_not_titles() {
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
    fn titles_that_some_receivers_read_differently_are_known() {
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
    fn illegal_bytes_are_shown_escaped() {
        let odd = AeTitle::from_field(b"A\n\xffB            ").expect("a title");
        assert_eq!(odd.to_string(), "A\\n\\xffB");
    }
}
