//! The types of messages, and how often each type passed.

use std::fmt;

use crate::hl7::limits::MLLP_TYPES_MAX;
use crate::measure::ReachedBound;

/// The type of a message: code and trigger event of MSH-9, such as `ADT^A01`.
///
/// Both have exactly three characters, so the type cannot hold a name or a patient's number that a shifted
/// field puts into MSH-9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageType {
    code: [u8; 3],
    event: Option<[u8; 3]>,
}

impl MessageType {
    /// Reads the first two components of MSH-9, with `^` between them (HL7 v2.5.1 chapter 2A, data type MSG).
    ///
    /// Acknowledgements may omit the second component.
    pub(super) fn from_field(field: &[u8]) -> Option<Self> {
        let (code, event) = match field.split_at_checked(3)? {
            (code, [] | [b'^']) => (code, None),
            (code, [b'^', event @ ..]) => (code, Some(word(event)?)),
            _ => return None,
        };
        let code = word(code).filter(|[first, ..]| first.is_ascii_uppercase())?;
        Some(Self { code, event })
    }
}

fn word(bytes: &[u8]) -> Option<[u8; 3]> {
    let is_word = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    let word: [u8; 3] = bytes.try_into().ok()?;
    word.iter().all(is_word).then_some(word)
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code.escape_ascii())?;
        match &self.event {
            Some(event) => write!(f, "^{}", event.escape_ascii()),
            None => Ok(()),
        }
    }
}

/// Counts of messages by type: the first `MLLP_TYPES_MAX` types, and all others together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MessageTypes {
    known: Vec<(MessageType, u64)>,
    other: u64,
}

impl MessageTypes {
    /// The number of messages of this type.
    #[must_use]
    pub fn of(&self, kind: MessageType) -> u64 {
        self.each()
            .find(|(this, _)| *this == kind)
            .map_or(0, |(_, count)| count)
    }

    /// Messages without a readable type, and those of types beyond the bound.
    #[must_use]
    pub fn other(&self) -> u64 {
        self.other
    }

    /// All messages.
    #[must_use]
    pub fn total(&self) -> u64 {
        let known = self.known.iter().map(|(_, count)| count).sum::<u64>();
        known.saturating_add(self.other)
    }

    /// Every type with its count, in the order of first appearance.
    pub fn each(&self) -> impl Iterator<Item = (MessageType, u64)> + '_ {
        self.known.iter().copied()
    }

    pub(super) fn count(&mut self, kind: Option<MessageType>) {
        match kind.and_then(|kind| self.place(kind)) {
            Some(count) => *count += 1,
            None => {
                if kind.is_some() {
                    ReachedBound::MllpTypes.note();
                }
                self.other += 1;
            }
        }
    }

    // LIMIT: MLLP_TYPES_MAX, counted as `other`.
    fn place(&mut self, kind: MessageType) -> Option<&mut u64> {
        let at = self.known.iter().position(|(this, _)| *this == kind);
        if at.is_none() && self.known.len() < MLLP_TYPES_MAX {
            self.known.push((kind, 0));
        }
        let at = at.or(self.known.len().checked_sub(1))?;
        let (this, count) = self.known.get_mut(at)?;
        (*this == kind).then_some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(field: &str) -> Option<String> {
        MessageType::from_field(field.as_bytes()).map(|kind| kind.to_string())
    }

    #[test]
    fn types_of_the_field_are_read() {
        for (field, shown) in [
            ("ADT^A01", "ADT^A01"),
            ("ORU^R01", "ORU^R01"),
            ("ZPI^Z99", "ZPI^Z99"),
            ("ACK", "ACK"),
            ("ACK^", "ACK"),
            ("Q01^QRY", "Q01^QRY"),
        ] {
            assert_eq!(read(field).as_deref(), Some(shown), "{field}");
        }
    }

    #[test]
    fn nothing_else_is_kept() {
        for field in [
            "",
            "^",
            "AD",
            "ADT^A",
            "ADT^A011",
            "ADTA",
            "SMITH^JOHN",
            "Lee^Jon",
            "943^476",
            "ADT_A01",
            "ADT^\u{e9}1",
            "AD ^A01",
            "ADT^A01^",
        ] {
            assert_eq!(read(field), None, "{field}");
        }
    }

    #[test]
    fn types_beyond_the_bound_are_counted_together() {
        let mut types = MessageTypes::default();
        let kind = |n: usize| MessageType::from_field(format!("Z{n:02}").as_bytes());
        for n in 0..MLLP_TYPES_MAX + 5 {
            types.count(kind(n));
            types.count(kind(0));
        }
        types.count(None);
        assert_eq!(types.each().count(), MLLP_TYPES_MAX);
        assert_eq!(
            types.of(kind(0).expect("a type")),
            MLLP_TYPES_MAX as u64 + 6
        );
        assert_eq!(types.other(), 6);
        assert_eq!(types.total(), 2 * (MLLP_TYPES_MAX as u64 + 5) + 1);
    }
}
