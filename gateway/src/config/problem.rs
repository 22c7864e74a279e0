//! Problems of a configuration, collected so that all are reported at once.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;

use super::Located;
use super::written::Written;
use crate::config::limits::CONFIG_PROBLEMS_MAX;

/// A problem of a configuration: a sentence that also says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line in the file, from 1; `None` if the problem belongs to no line.
    pub line: Option<usize>,
    /// `route "ct-to-region": unknown key "target"; did you mean "targets"?`
    pub text: String,
}

impl Problem {
    /// The problem with its position before it: `wardgate.toml:22: route "ct": unknown key ...`.
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
    /// Adds a problem with the TOML syntax at `line`.
    pub(super) fn syntax(&mut self, line: Option<usize>, text: String) {
        self.syntax.push(Problem { line, text });
    }

    /// Adds a problem with the value at `line`.
    pub(super) fn wrong(&mut self, line: usize, text: String) {
        let line = Some(line);
        self.wrong.push(Problem { line, text });
    }

    /// Adds a problem with a value that is missing.
    pub(super) fn missing(&mut self, line: Option<usize>, text: String) {
        self.missing.push(Problem { line, text });
    }

    /// Returns the value that was read from `written`, or adds the reason why it is not readable.
    ///
    /// The reason is the end of a sentence: `route "ct": listen "10.0.0.1"` + ` ` + `has no port`.
    pub(super) fn accept<T>(
        &mut self,
        scope: &str,
        key: &str,
        written: &Located<String>,
        read: Result<T, String>,
    ) -> Option<T> {
        // Any text can be a path, so this counts before what was read.
        if let Some(advice) = written.value.strip_prefix(FILL_IN) {
            let text = format!(
                "{scope}{key} is not filled in yet: {}",
                printable(advice.trim())
            );
            self.wrong(written.line, text);
            return None;
        }
        read.map_err(|reason| {
            let value = quoted(&written.value);
            self.wrong(written.line, format!("{scope}{key} {value} {reason}"));
        })
        .ok()
    }

    /// Returns a number from 1 to `max`, if a number is written.
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

    /// Whether there are no problems.
    pub(super) fn is_empty(&self) -> bool {
        self.syntax.is_empty() && self.wrong.is_empty() && self.missing.is_empty()
    }

    /// Returns all problems in the order of the file.
    ///
    /// If the text is not TOML, two kinds of problems are omitted: missing values, because the parser may
    /// have skipped them, and values on a line with a syntax error, because they are not what the operator
    /// wrote.
    pub(super) fn into_sorted(self) -> Vec<Problem> {
        let mut all = self.syntax;
        all.sort_by_key(|problem| problem.line);
        // The first error of a line causes the later errors of that line.
        all.dedup_by_key(|problem| problem.line);
        let spoilt: HashSet<_> = all.iter().map(|problem| problem.line).collect();
        if spoilt.is_empty() {
            all.extend(self.missing);
        }
        let remains = |problem: &Problem| !spoilt.contains(&problem.line);
        all.extend(self.wrong.into_iter().filter(remains));
        all.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
        shorten(&mut all);
        all
    }
}

/// LIMIT: `CONFIG_PROBLEMS_MAX`; a file of another kind would give one problem for each line.
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

/// The beginning of a value that the operator must replace, as `wardgate import` writes it. What follows is the advice.
/// No valid value begins so.
pub const FILL_IN: &str = "FILL-IN:";

/// The maximum characters of the advice of a placeholder.
const ADVICE_CHARS_MAX: usize = 300;

/// The text of a file in a message: shortened and without control characters.
fn printable(text: &str) -> String {
    let shown = text.chars().filter(|c| !c.is_control());
    shown.take(ADVICE_CHARS_MAX).collect()
}

/// The maximum characters of a value in a message; more would hide the message.
const QUOTED_CHARS_MAX: usize = 100;

/// A value as configured, in quotes, shortened and without control characters.
pub(super) fn quoted(value: &str) -> String {
    match value.char_indices().nth(QUOTED_CHARS_MAX) {
        None => format!("{value:?}"),
        Some((end, _)) => format!("{:?}...", value.get(..end).unwrap_or_default()),
    }
}
