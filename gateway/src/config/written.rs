//! What stands under a key of the file, before it is judged.

use super::Located;

/// What stands under a key.
#[derive(Debug)]
pub(super) enum Written<T> {
    /// Nothing: the default applies, or the key is missing.
    Absent,
    /// Something that could not be read; its problem is known already.
    Refused,
    /// A value of the type that it must have.
    Value(Located<T>),
}

impl<T> Written<T> {
    /// The value, if there is one that could be read.
    pub(super) fn value(&self) -> Option<&Located<T>> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Refused => None,
        }
    }

    /// Whether nothing is written.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

/// Strings, each with its line.
pub(super) type Texts = Written<Vec<Located<String>>>;

/// Strings under the operator's own words.
pub(super) type Named = Vec<(Located<String>, Texts)>;
