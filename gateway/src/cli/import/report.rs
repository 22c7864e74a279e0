//! The report of an import: what became of each line of the other program's configuration.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::json;

use crate::cli::limits::{IMPORT_LINE_CHARS_MAX, IMPORT_SENTENCE_CHARS_MAX};

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ImportClass {
    /// The new configuration does the same, or the service does it in another way.
    Carried,
    /// Wardgate allows less than the line did.
    Stricter,
    /// Wardgate does not do it.
    NotCarried,
}

impl ImportClass {
    /// The word in the report.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Carried => "carried",
            Self::Stricter => "stricter",
            Self::NotCarried => "not carried",
        }
    }
}

/// A line of a configuration that is imported.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LinePlace {
    /// The file that includes this line, if it is not the imported file itself.
    pub file: Option<Arc<str>>,
    /// The line, from 1.
    pub line: usize,
}

/// What became of one line, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LineRemark {
    /// Where the line is.
    pub place: LinePlace,
    /// The line without secrets, shortened and without control characters.
    pub text: String,
    /// What became of it.
    pub class: ImportClass,
    /// The reason, and what to do.
    pub sentence: String,
}

/// Everything that an import reports.
#[derive(Debug, Clone, Default)]
pub struct ImportReport {
    remarks: Vec<LineRemark>,
    /// The same, to find duplicates.
    known: HashSet<LineRemark>,
    places: HashSet<LinePlace>,
}

impl ImportReport {
    /// Adds a remark, unless it is there already: a line that applies to several routes is reported once.
    pub(super) fn add(
        &mut self,
        place: &LinePlace,
        text: &str,
        class: ImportClass,
        sentence: impl Into<String>,
    ) {
        let remark = LineRemark {
            place: place.clone(),
            text: shown(text, IMPORT_LINE_CHARS_MAX),
            class,
            sentence: shown(&sentence.into(), IMPORT_SENTENCE_CHARS_MAX),
        };
        if self.known.insert(remark.clone()) {
            self.places.insert(place.clone());
            self.remarks.push(remark);
        }
    }

    /// The remarks in the order of the lines.
    #[must_use]
    pub fn sorted(&self) -> Vec<&LineRemark> {
        let mut all: Vec<_> = self.remarks.iter().collect();
        all.sort_by_key(|remark| (remark.place.file.clone(), remark.place.line));
        all
    }

    /// Whether a line has a remark.
    #[must_use]
    pub fn mentions(&self, place: &LinePlace) -> bool {
        self.places.contains(place)
    }

    /// The number of remarks of a class.
    #[must_use]
    pub fn count(&self, class: ImportClass) -> usize {
        self.remarks
            .iter()
            .filter(|remark| remark.class == class)
            .count()
    }

    /// The report for a reader. `open` is what remains to be done before `wardgate check` accepts the result.
    #[must_use]
    pub fn text(&self, file: &str, open: &[String]) -> String {
        let mut text = String::new();
        let mut last = None;
        for remark in self.sorted() {
            if last != Some(&remark.place) {
                let name = remark.place.file.as_deref().unwrap_or(file);
                let name = shown(name, IMPORT_SENTENCE_CHARS_MAX);
                text.push_str(&format!("{name}:{}: {}\n", remark.place.line, remark.text));
                last = Some(&remark.place);
            }
            text.push_str(&format!(
                "    {}: {}\n",
                remark.class.word(),
                remark.sentence
            ));
        }
        text.push_str(&format!(
            "{} carried, {} stricter, {} not carried\n",
            self.count(ImportClass::Carried),
            self.count(ImportClass::Stricter),
            self.count(ImportClass::NotCarried)
        ));
        if !open.is_empty() {
            text.push_str("still to do in the new configuration:\n");
            for line in open {
                text.push_str(&format!("    {line}\n"));
            }
        }
        text
    }

    /// The report for a program: one JSON object.
    #[must_use]
    pub fn json(&self, file: &str, open: &[String]) -> String {
        let remarks = self.sorted().into_iter().map(|remark| {
            json!({
                "file": remark.place.file.as_deref().unwrap_or(file),
                "line": remark.place.line,
                "text": remark.text,
                "class": remark.class.word(),
                "sentence": remark.sentence,
            })
        });
        let remarks: Vec<_> = remarks.collect();
        let report = json!({ "version": 1, "remarks": remarks, "open": open });
        format!("{report}\n")
    }
}

/// A text without control characters, shortened: names and paths of the imported file reach a terminal.
fn shown(text: &str, chars_max: usize) -> String {
    let mut shown = String::new();
    for (count, c) in text.trim().chars().enumerate() {
        // LIMIT: IMPORT_LINE_CHARS_MAX or IMPORT_SENTENCE_CHARS_MAX.
        if count == chars_max {
            shown.push_str("...");
            break;
        }
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A path as a word of a command in a sentence: the operator may paste it into a shell.
pub(super) fn shell_word(path: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:=".contains(c);
    if !path.is_empty() && path.chars().all(is_plain) {
        return path.to_owned();
    }
    format!("'{}'", path.replace('\'', "'\\''"))
}

/// What stands in place of a secret.
pub(super) const MASKED: &str = "(removed)";

/// `text` without the password of a URL and without the PIN of a PKCS#11 address.
pub(super) fn without_passwords(text: &str) -> String {
    let mut text = text.to_owned();
    for key in ["pin-value=", "pin-source=", "PIN:"] {
        if let Some((before, after)) = text.split_once(key) {
            let rest = after.find([';', '&', ' ', '?']);
            let rest = rest.and_then(|at| after.get(at..)).unwrap_or_default();
            text = format!("{before}{key}{MASKED}{rest}");
        }
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return text;
    };
    let end = rest.find(['/', ' ']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{MASKED}@{host}{path}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_a_command_is_one_word_of_the_shell() {
        assert_eq!(shell_word("/etc/a-b_1.pem"), "/etc/a-b_1.pem");
        assert_eq!(shell_word("/etc/a b;$(c)"), "'/etc/a b;$(c)'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
    }

    #[test]
    fn control_characters_of_a_file_do_not_reach_the_terminal() {
        let mut report = ImportReport::default();
        let place = LinePlace {
            file: None,
            line: 1,
        };
        report.add(&place, "a\u{1b}[2J", ImportClass::Carried, "b\u{7}\u{9b}");
        let text = report.text("stunnel.conf", &[]);
        assert!(
            text.chars().all(|c| !c.is_control() || c == '\n'),
            "{text:?}"
        );
    }

    #[test]
    fn passwords_and_pins_are_removed_from_a_line() {
        let cases = [
            (
                "cert = pkcs11:token=a;pin-value=1234;id=1",
                "cert = pkcs11:token=a;pin-value=(removed);id=1",
            ),
            (
                "OCSP = http://user:pw@ocsp.region.example/x",
                "OCSP = http://(removed)@ocsp.region.example/x",
            ),
            ("engineCtrl = PIN:1234", "engineCtrl = PIN:(removed)"),
            ("connect = a.example:1", "connect = a.example:1"),
        ];
        for (line, expected) in cases {
            assert_eq!(without_passwords(line), expected);
        }
    }
}
