//! What is wrong with a configuration, gathered so that all of it is told at once.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;

use super::Located;
use super::written::Written;
use crate::limits::CONFIG_PROBLEMS_MAX;

/// Something wrong with a configuration, in a sentence that says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, from 1; `None` where no line is to blame.
    pub line: Option<usize>,
    /// `route "ct-to-region": unknown key "target"; did you mean "targets"?`
    pub text: String,
}

impl Problem {
    /// The problem with its place before it: `wardgate.toml:22: route "ct": unknown key ...`.
    ///
    /// `file` is shown as the operator wrote it.
    pub fn display<'a>(&'a self, file: &'a Path) -> impl fmt::Display + 'a {
        fmt::from_fn(move |f| {
            write!(f, "{}:", file.display())?;
            if let Some(line) = self.line {
                write!(f, "{line}:")?;
            }
            write!(f, " {}", self.text)
        })
    }
}

/// The problems found so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    syntax: Vec<Problem>,
    wrong: Vec<Problem>,
    missing: Vec<Problem>,
}

impl Problems {
    /// The text at `line` is not TOML.
    pub(super) fn syntax(&mut self, line: Option<usize>, text: String) {
        self.syntax.push(Problem { line, text });
    }

    /// Something written at `line` is wrong.
    pub(super) fn wrong(&mut self, line: usize, text: String) {
        let line = Some(line);
        self.wrong.push(Problem { line, text });
    }

    /// Something is not there that must be.
    pub(super) fn missing(&mut self, line: Option<usize>, text: String) {
        self.missing.push(Problem { line, text });
    }

    /// Gives the value that `written` was read to, or keeps the reason why it could not be.
    ///
    /// The reason is the end of a sentence: `route "ct": listen "10.0.0.1"` + ` ` + `has no port`.
    pub(super) fn accept<T>(
        &mut self,
        scope: &str,
        key: &str,
        written: &Located<String>,
        read: Result<T, String>,
    ) -> Option<T> {
        read.map_err(|reason| {
            let value = quoted(&written.value);
            self.wrong(written.line, format!("{scope}{key} {value} {reason}"));
        })
        .ok()
    }

    /// Gives a number from 1 to `max`, if one is written.
    pub(super) fn accept_number(
        &mut self,
        scope: &str,
        key: &str,
        written: &Written<i64>,
        max: u64,
    ) -> Option<u64> {
        let Located { value, line } = *written.value()?;
        let read = u64::try_from(value).ok();
        let read = read.filter(|number| (1..=max).contains(number));
        if read.is_none() {
            let text =
                format!("{scope}{key} {value} is out of range; write a number from 1 to {max}");
            self.wrong(line, text);
        }
        read
    }

    /// Whether nothing was found.
    pub(super) fn is_empty(&self) -> bool {
        self.syntax.is_empty() && self.wrong.is_empty() && self.missing.is_empty()
    }

    /// All problems in the order of the file.
    ///
    /// Where the text is not TOML, what seems to be missing may only not have been understood, and
    /// a value on a line with such an error is not what the operator wrote: neither is told.
    pub(super) fn into_sorted(self) -> Vec<Problem> {
        let mut all = self.syntax;
        all.sort_by_key(|problem| problem.line);
        // The first error of a line causes those that follow on it.
        all.dedup_by_key(|problem| problem.line);
        let spoilt: HashSet<_> = all.iter().map(|problem| problem.line).collect();
        if spoilt.is_empty() {
            all.extend(self.missing);
        }
        let told = |problem: &Problem| !spoilt.contains(&problem.line);
        all.extend(self.wrong.into_iter().filter(told));
        all.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
        shorten(&mut all);
        all
    }
}

/// LIMIT: `CONFIG_PROBLEMS_MAX`; a file of another kind would give one problem for each of its
/// lines.
fn shorten(problems: &mut Vec<Problem>) {
    let Some(more @ 1..) = problems.len().checked_sub(CONFIG_PROBLEMS_MAX) else {
        return;
    };
    problems.truncate(CONFIG_PROBLEMS_MAX);
    problems.push(Problem {
        line: None,
        text: format!("and {more} more problems; fix these first"),
    });
}

/// Characters of a value that a message repeats; more would hide the message.
const QUOTED_CHARS_MAX: usize = 100;

/// A value as configured, in quotes, without control characters and not endless.
pub(super) fn quoted(value: &str) -> String {
    match value.char_indices().nth(QUOTED_CHARS_MAX) {
        None => format!("{value:?}"),
        Some((end, _)) => format!("{:?}...", value.get(..end).unwrap_or_default()),
    }
}
