//! SOP classes with their names.

use std::fmt;
use std::sync::LazyLock;

/// The SOP classes of PS3.6 table A-1, including retired ones: a line with UID and name for each, sorted by
/// UID as text. A test of `wardgate-demo` compares the list with the `dicom-dictionary-std` crate, which
/// would add seventy times as much text and a calendar to the gateway.
const TABLE: &str = include_str!("sop_classes.txt");

static KNOWN: LazyLock<Vec<StandardClass>> = LazyLock::new(|| {
    let rows = TABLE.lines().filter_map(|line| line.split_once(' '));
    rows.map(|(uid, name)| StandardClass { uid, name })
        .collect()
});

/// An SOP class of the standard.
#[derive(Clone, Copy)]
struct StandardClass {
    uid: &'static str,
    name: &'static str,
}

fn known(uid: &str) -> Option<StandardClass> {
    let found = KNOWN.binary_search_by_key(&uid, |known| known.uid);
    found.ok().and_then(|at| KNOWN.get(at)).copied()
}

/// The maximum characters of a UID (PS3.5 section 9.1).
const UID_CHARS_MAX: usize = 64;

/// An SOP class: one of the standard, or another well-formed UID.
///
/// The type cannot hold anything else, so text that is in its place by mistake is not kept.
#[derive(Clone)]
pub struct SopClass(UidKind);

#[derive(Clone)]
enum UidKind {
    Known(StandardClass),
    Other(Box<str>),
}

impl SopClass {
    /// Reads a UID from an item or element; `None` if it is not well-formed.
    ///
    /// One NUL of padding is legal in an element (PS3.5 section 9.1). Applications in use send more, and
    /// spaces.
    #[must_use]
    pub fn from_field(field: &[u8]) -> Option<Self> {
        let is_padding = |byte: &u8| matches!(byte, b' ' | 0);
        let end = field.iter().rposition(|byte| !is_padding(byte))?;
        let uid = str::from_utf8(field.get(..=end)?).ok()?;
        let is_uid = |byte: u8| matches!(byte, b'0'..=b'9' | b'.');
        if uid.len() > UID_CHARS_MAX || !uid.bytes().all(is_uid) {
            return None;
        }
        let known = known(uid).map(UidKind::Known);
        Some(Self(known.unwrap_or_else(|| UidKind::Other(uid.into()))))
    }

    /// Its UID.
    #[must_use]
    pub fn uid(&self) -> &str {
        match &self.0 {
            UidKind::Known(known) => known.uid,
            UidKind::Other(uid) => uid,
        }
    }

    /// Its name in PS3.6 table A-1; `None` if it is not listed there, for example for a vendor's class.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        match &self.0 {
            UidKind::Known(known) => Some(known.name),
            UidKind::Other(_) => None,
        }
    }
}

impl PartialEq for SopClass {
    fn eq(&self, other: &Self) -> bool {
        self.uid() == other.uid()
    }
}

impl Eq for SopClass {}

/// The name, or the UID of a class without a name.
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
    fn every_line_of_the_table_is_found_by_its_uid() {
        let lines: Vec<_> = TABLE.lines().collect();
        assert_eq!(KNOWN.len(), lines.len(), "a line has no name");
        for line in lines {
            let (uid, name) = line.split_once(' ').expect("UID and name");
            let found = SopClass::from_field(uid.as_bytes()).expect("a well-formed UID");
            assert_eq!(found.name(), Some(name), "{uid} is not in its order");
        }
    }

    #[test]
    fn other_classes_are_shown_by_their_uid() {
        assert_eq!(shown(b"1.2.3.4\0").as_deref(), Some("1.2.3.4"));
    }

    #[test]
    fn text_that_is_not_a_uid_is_not_kept() {
        assert_eq!(shown(b"DOE^JANE"), None);
        assert_eq!(shown(b"1.2.3 4"), None);
        assert_eq!(shown(b"1.2\xff"), None);
        assert_eq!(shown(b""), None);
        assert_eq!(shown(b"\0\0"), None);
        assert_eq!(shown(&[b'1'; 65]), None);
        assert!(shown(&[b'1'; 64]).is_some());
    }
}
