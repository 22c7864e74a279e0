//! Lists: how many elements they may have, and none of them twice.

use super::problem::{Problems, quoted};
use super::{Located, PeerName, Target};
use super::{address, peer};
use crate::dicom::AeTitle;
use crate::limits::{AE_TITLES_MAX, PEERS_MAX, TARGETS_MAX};

/// Elements of a list that are compared with each other: as many as the longest one may have.
const COMPARED_MAX: usize = if PEERS_MAX > AE_TITLES_MAX {
    PEERS_MAX
} else {
    AE_TITLES_MAX
};

/// A list that a key may hold.
pub(super) struct List<'a> {
    /// What its messages begin with: `route "ct-to-region": `.
    pub(super) scope: &'a str,
    /// The key that it stands under.
    pub(super) key: &'a str,
    /// What one of its elements is called.
    pub(super) noun: &'a str,
    /// The most elements that it may have.
    pub(super) max: usize,
    /// What is wrong with an empty one; the end of a sentence.
    pub(super) empty: &'a str,
    /// What to do about one that is too long.
    pub(super) long: &'a str,
}

impl List<'_> {
    /// Reads each element and tells of those that are there already.
    pub(super) fn read<T: PartialEq>(
        &self,
        written: &Located<Vec<Located<String>>>,
        read: impl Fn(&str) -> Result<T, String>,
        problems: &mut Problems,
    ) -> Vec<Located<T>> {
        self.check_length(written.value.len(), written.line, problems);
        let mut elements: Vec<Located<T>> = Vec::new();
        // Each is compared with all before: a list that is far too long is not read to its end.
        for text in written.value.iter().take(COMPARED_MAX) {
            let read = read(&text.value);
            let read = problems.accept(self.scope, self.noun, text, read);
            if let Some(element) =
                read.and_then(|value| self.once(text, value, &elements, problems))
            {
                elements.push(element);
            }
        }
        elements
    }

    fn check_length(&self, count: usize, line: usize, problems: &mut Problems) {
        let Self {
            scope,
            key,
            max,
            empty,
            long,
            ..
        } = self;
        if count == 0 {
            problems.wrong(line, format!("{scope}{key} {empty}"));
        } else if count > *max {
            let text = format!("{scope}{key} has {count} elements, and {max} are the most; {long}");
            problems.wrong(line, text);
        }
    }

    /// An element, unless it is among those `before` it.
    fn once<T: PartialEq>(
        &self,
        text: &Located<String>,
        value: T,
        before: &[Located<T>],
        problems: &mut Problems,
    ) -> Option<Located<T>> {
        let line = text.line;
        let Some(first) = before.iter().find(|element| element.value == value) else {
            return Some(Located { value, line });
        };
        let shown = quoted(&text.value);
        let text = format!(
            "{}{} {shown} stands on line {} already; remove one",
            self.scope, self.noun, first.line
        );
        problems.wrong(line, text);
        None
    }
}

/// Reads `targets`.
pub(super) fn targets(
    scope: &str,
    written: &Located<Vec<Located<String>>>,
    problems: &mut Problems,
) -> Vec<Located<Target>> {
    // LIMIT: `TARGETS_MAX`.
    let list = List {
        scope,
        key: "targets",
        noun: "target",
        max: TARGETS_MAX,
        empty: "is empty; name at least one host and port",
        long: "they are tried in order while an application waits, so leave some out",
    };
    list.read(written, address::target, problems)
}

/// Reads `peers`.
pub(super) fn peers(
    scope: &str,
    written: &Located<Vec<Located<String>>>,
    problems: &mut Problems,
) -> Vec<PeerName> {
    // LIMIT: `PEERS_MAX`.
    let list = List {
        scope,
        key: "peers",
        noun: "peer",
        max: PEERS_MAX,
        empty: "is empty, and being signed by a trusted CA alone is never enough; name at least \
                one peer",
        long: "split the route",
    };
    values(list.read(written, peer::peer, problems))
}

/// Reads AE titles that stand under `key`.
pub(super) fn titles(
    scope: &str,
    key: &str,
    written: &Located<Vec<Located<String>>>,
    problems: &mut Problems,
) -> Vec<Located<AeTitle>> {
    // LIMIT: `AE_TITLES_MAX`.
    let list = List {
        scope,
        key,
        noun: key,
        max: AE_TITLES_MAX,
        empty: "is empty; name at least one AE title, or remove it",
        long: "split the route",
    };
    list.read(written, title, problems)
}

/// Reads an AE title; fails with the end of a sentence.
pub(super) fn title(text: &str) -> Result<AeTitle, String> {
    text.parse().map_err(|reason| {
        format!("is no title: {reason}; write it as the application has it in its own settings")
    })
}

/// The elements without their lines.
pub(super) fn values<T>(elements: Vec<Located<T>>) -> Vec<T> {
    elements.into_iter().map(|element| element.value).collect()
}
