//! What an association is about: SOP classes by their name.

use std::fmt;

use dicom_core::dictionary::{UidDictionary as _, UidDictionaryEntryRef};
use dicom_dictionary_std::sop_class::registry;

/// Characters of a UID, at most (PS3.5 section 9.1).
const UID_CHARS_MAX: usize = 64;

/// An SOP class: one that the standard names, or the well-formed UID of another.
///
/// Nothing else fits into it, so text that stands in its place by mistake goes no further.
#[derive(Clone)]
pub struct SopClass(Kind);

#[derive(Clone)]
enum Kind {
    Known(&'static UidDictionaryEntryRef<'static>),
    Other(Box<str>),
}

impl SopClass {
    /// Reads a UID as it stands in an item or element; `None` where it is not well-formed.
    ///
    /// One NUL of padding is legal in an element (PS3.5 section 9.1); in the field there are more, and
    /// spaces.
    #[must_use]
    pub fn from_field(field: &[u8]) -> Option<Self> {
        let is_padding = |octet: &u8| matches!(octet, b' ' | 0);
        let end = field.iter().rposition(|octet| !is_padding(octet))?;
        let uid = str::from_utf8(field.get(..=end)?).ok()?;
        let is_uid = |octet: u8| matches!(octet, b'0'..=b'9' | b'.');
        if uid.len() > UID_CHARS_MAX || !uid.bytes().all(is_uid) {
            return None;
        }
        let known = registry().by_uid(uid).map(Kind::Known);
        Some(Self(known.unwrap_or_else(|| Kind::Other(uid.into()))))
    }

    /// Its UID.
    #[must_use]
    pub fn uid(&self) -> &str {
        match &self.0 {
            Kind::Known(entry) => entry.uid,
            Kind::Other(uid) => uid,
        }
    }

    /// Its name in PS3.6 table A-1; `None` where it is not listed there, as a vendor's own.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        match &self.0 {
            Kind::Known(entry) => Some(entry.name),
            Kind::Other(_) => None,
        }
    }
}

impl PartialEq for SopClass {
    fn eq(&self, other: &Self) -> bool {
        self.uid() == other.uid()
    }
}

impl Eq for SopClass {}

/// The name, or where it has none the UID.
impl fmt::Display for SopClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name().unwrap_or(self.uid()))
    }
}

impl fmt::Debug for SopClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(field: &[u8]) -> Option<String> {
        SopClass::from_field(field).map(|class| class.to_string())
    }

    #[test]
    fn classes_of_the_standard_are_shown_by_name() {
        let ct = Some("CT Image Storage".to_owned());
        assert_eq!(shown(b"1.2.840.10008.5.1.4.1.1.2"), ct);
        assert_eq!(shown(b"1.2.840.10008.5.1.4.1.1.2\0"), ct);
        assert_eq!(shown(b"1.2.840.10008.5.1.4.1.1.2 \0 "), ct);
        assert_eq!(
            shown(b"1.2.840.10008.1.1").as_deref(),
            Some("Verification SOP Class")
        );
    }

    #[test]
    fn other_classes_are_shown_by_their_uid() {
        assert_eq!(shown(b"1.2.3.4\0").as_deref(), Some("1.2.3.4"));
    }

    #[test]
    fn what_is_no_uid_is_not_kept() {
        assert_eq!(shown(b"DOE^JANE"), None);
        assert_eq!(shown(b"1.2.3 4"), None);
        assert_eq!(shown(b"1.2\xff"), None);
        assert_eq!(shown(b""), None);
        assert_eq!(shown(b"\0\0"), None);
        assert_eq!(shown(&[b'1'; 65]), None);
        assert!(shown(&[b'1'; 64]).is_some());
    }
}
