//! The user information of a side when an association is made (PS3.8 section 9.3.2.3, PS3.7 annex D).
//!
//! The user identity (PS3.7 section D.3.3.7), which may be a password or a token, is neither read nor kept:
//! no type here can hold it.

use std::fmt;

use super::items::{Items, Malformed};

/// Sub-items of the user information.
const LENGTH_MAX: u8 = 0x51;
const WINDOW: u8 = 0x53;
const VERSION_NAME: u8 = 0x55;

/// The user information of one side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UserInformation {
    /// The maximum body of P-DATA-TF PDUs that the side accepts, in bytes; 0 is no limit.
    pub pdu_length_max: u32,
    /// The implementation version name, if it has legal characters.
    pub implementation: Option<VersionName>,
    /// The number of operations that may be outstanding at a time; `None` is one in each direction.
    pub window: Option<Window>,
}

/// An asynchronous operations window (PS3.7 section D.3.3.3); 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Operations that it invokes.
    pub invoked: u16,
    /// Operations that it performs.
    pub performed: u16,
}

/// An implementation version name: 1 to 16 printable ASCII characters (PS3.7 section D.3.3.2.3).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VersionName {
    // Bytes after `length` are 0.
    bytes: [u8; 16],
    length: u8,
}

impl UserInformation {
    /// Reads the value of a user information item.
    pub(super) fn read(value: &[u8]) -> Result<Self, Malformed> {
        let mut read = Self::default();
        for item in Items::new(value) {
            match item? {
                (LENGTH_MAX, value) => read.pdu_length_max = u32::from_be_bytes(whole(value)?),
                (WINDOW, value) => read.window = Some(Window::read(value)?),
                (VERSION_NAME, value) => read.implementation = VersionName::read(value),
                _ => {}
            }
        }
        Ok(read)
    }
}

impl Window {
    fn read(value: &[u8]) -> Result<Self, Malformed> {
        let [a, b, c, d] = whole(value)?;
        Ok(Self {
            invoked: u16::from_be_bytes([a, b]),
            performed: u16::from_be_bytes([c, d]),
        })
    }
}

fn whole(value: &[u8]) -> Result<[u8; 4], Malformed> {
    value.try_into().map_err(|_| Malformed)
}

impl VersionName {
    fn read(value: &[u8]) -> Option<Self> {
        let end = value.iter().rposition(|byte| !matches!(byte, b' ' | 0))?;
        let kept = value.get(..=end)?;
        if !kept.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            return None;
        }
        let mut bytes = [0; 16];
        bytes.get_mut(..kept.len())?.copy_from_slice(kept);
        let length = u8::try_from(kept.len()).ok()?;
        Some(Self { bytes, length })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.length));
        str::from_utf8(bytes.unwrap_or(&[])).unwrap_or("")
    }
}

impl fmt::Display for VersionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for VersionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_other_characters_are_not_kept() {
        let shown = |value: &[u8]| VersionName::read(value).map(|name| name.to_string());
        assert_eq!(
            shown(b"OFFIS_DCMTK_367 ").as_deref(),
            Some("OFFIS_DCMTK_367")
        );
        assert_eq!(
            shown(b"PYNETDICOM_304\0").as_deref(),
            Some("PYNETDICOM_304")
        );
        assert_eq!(shown(b"A2345678901234567"), None);
        assert_eq!(shown(b"A\nB"), None);
        assert_eq!(shown(b"A\xe4B"), None);
        assert_eq!(shown(b" \0"), None);
    }

    #[test]
    fn impossible_lengths_are_malformed() {
        assert_eq!(
            UserInformation::read(&[0x51, 0, 0, 3, 0, 0, 1]),
            Err(Malformed)
        );
        assert_eq!(
            UserInformation::read(&[0x53, 0, 0, 5, 0, 0, 0, 1, 2]),
            Err(Malformed)
        );
        assert_eq!(UserInformation::read(&[0x52, 0, 0, 5, 1]), Err(Malformed));
        assert_eq!(UserInformation::read(&[]), Ok(UserInformation::default()));
    }
}
