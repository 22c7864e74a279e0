//! Lists: the maximum number of elements, and no element twice.

use super::Located;
use super::problem::{Problems, quoted};
use crate::config::limits::{AE_TITLES_MAX, PEERS_MAX};
use crate::dicom::AeTitle;

/// The elements of a list that are compared with each other: the maximum length of the longest list.
const COMPARED_MAX: usize = if PEERS_MAX > AE_TITLES_MAX {
    PEERS_MAX
} else {
    AE_TITLES_MAX
};

/// The properties of a list under a key.
pub(super) struct List<'a> {
    /// The beginning of its messages: `route "ct-to-region": `.
    pub(super) scope: &'a str,
    /// The key of the list.
    pub(super) key: &'a str,
    /// The noun for one of its elements.
    pub(super) noun: &'a str,
    /// The maximum number of elements.
    pub(super) max: usize,
    /// The problem with an empty list; the end of a sentence.
    pub(super) empty: &'a str,
    /// The advice for a list that is too long.
    pub(super) long: &'a str,
}

impl List<'_> {
    /// Reads each element and reports duplicates.
    pub(super) fn read<T: PartialEq>(
        &self,
        written: &Located<Vec<Located<String>>>,
        read: impl Fn(&str) -> Result<T, String>,
        problems: &mut Problems,
    ) -> Vec<Located<T>> {
        let read = self.read_elements(written, |text| text, read, problems);
        read.into_iter().map(|(_, element)| element).collect()
    }

    /// Reads each element from its `text`; returns the elements that are readable, each with its written
    /// form.
    pub(super) fn read_elements<'w, E, T: PartialEq>(
        &self,
        written: &'w Located<Vec<E>>,
        text: impl Fn(&E) -> &Located<String>,
        read: impl Fn(&str) -> Result<T, String>,
        problems: &mut Problems,
    ) -> Vec<(&'w E, Located<T>)> {
        self.check_length(written.value.len(), written.line, problems);
        let mut elements: Vec<(&E, Located<T>)> = Vec::new();
        // Each element is compared with all before it, so reading a list that is far too long stops early.
        for element in written.value.iter().take(COMPARED_MAX) {
            let text = text(element);
            let read = read(&text.value);
            let read = problems.accept(self.scope, self.noun, text, read);
            if let Some(value) = read.and_then(|value| self.once(text, value, &elements, problems))
            {
                elements.push((element, value));
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
            let text =
                format!("{scope}{key} has {count} elements, and {max} is the maximum; {long}");
            problems.wrong(line, text);
        }
    }

    /// Returns an element unless it is among those `before` it.
    fn once<E, T: PartialEq>(
        &self,
        text: &Located<String>,
        value: T,
        before: &[(E, Located<T>)],
        problems: &mut Problems,
    ) -> Option<Located<T>> {
        let line = text.line;
        let Some((_, first)) = before.iter().find(|(_, element)| element.value == value) else {
            return Some(Located { value, line });
        };
        let shown = quoted(&text.value);
        let text = format!(
            "{}{} {shown} duplicates line {}; remove one",
            self.scope, self.noun, first.line
        );
        problems.wrong(line, text);
        None
    }
}

/// Reads the AE titles under `key`.
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

/// Reads an AE title. An error is the end of a sentence.
pub(super) fn title(text: &str) -> Result<AeTitle, String> {
    text.parse().map_err(|reason| {
        format!(
            "is not a valid AE title: {reason}; write the title from the application's own settings"
        )
    })
}

/// The elements without their lines.
pub(super) fn values<T>(elements: Vec<Located<T>>) -> Vec<T> {
    elements.into_iter().map(|element| element.value).collect()
}

/// Whether `title` is in a list that there may not be.
pub(super) fn is_listed(list: Option<&[Located<AeTitle>]>, title: AeTitle) -> bool {
    list.is_none_or(|list| list.iter().any(|listed| listed.value == title))
}

/// An AE title as written, for a message.
pub(super) fn read_title(
    scope: &str,
    noun: &str,
    text: &Located<String>,
    problems: &mut Problems,
) -> Option<Located<AeTitle>> {
    let value = problems.accept(scope, noun, text, title(&text.value))?;
    let line = text.line;
    Some(Located { value, line })
}

/// A title in quotes; it escapes what has to be by itself.
pub(super) fn shown(title: AeTitle) -> String {
    format!("\"{title}\"")
}
