//! From text to a TOML table: lines of positions, and syntax errors in words.

use std::borrow::Cow;
use std::ops::Range;

use toml::de::{DeTable, Error};

use super::problem::{Problem, Problems, quoted};

/// Where the lines of a text begin.
pub(super) struct Lines {
    /// Offsets of the first bytes of lines, ascending; the first is 0.
    starts: Vec<usize>,
    end: usize,
}

impl Lines {
    /// Finds the lines of `text`.
    pub(super) fn of(text: &str) -> Self {
        let after_newlines = text.match_indices('\n').map(|(at, _)| at.saturating_add(1));
        Self {
            starts: std::iter::once(0).chain(after_newlines).collect(),
            end: text.len(),
        }
    }

    /// The line, from 1, that holds the byte at `offset`.
    pub(super) fn at(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    /// The bytes of the line that holds the byte at `offset`, without its newline.
    fn range_at(&self, offset: usize) -> Option<Range<usize>> {
        let line = self.at(offset);
        let start = *self.starts.get(line.checked_sub(1)?)?;
        let next = self
            .starts
            .get(line)
            .map_or(self.end, |next| next.saturating_sub(1));
        Some(start..next)
    }
}

/// Tells of a certificate or key given in place of a configuration, and repeats nothing of it: it
/// may be secret.
pub(super) fn pem(text: &str, lines: &Lines) -> Option<Problem> {
    let at = text.find("-----BEGIN ")?;
    Some(Problem {
        line: Some(lines.at(at)),
        text: "this is a file of certificates or keys in PEM; name the configuration file"
            .to_owned(),
    })
}

/// Tells of lines that hold a key alone, and gives the text without them.
///
/// The TOML parser builds nothing of what comes after such a line.
pub(super) fn without_bare_keys<'i>(
    text: &'i str,
    lines: &Lines,
    problems: &mut Problems,
) -> Cow<'i, str> {
    let mut text = Cow::Borrowed(text);
    for _ in 0..BARE_KEY_PASSES_MAX {
        let (_, errors) = DeTable::parse_recoverable(&text);
        let is_bare = |error: &Error| error.message().starts_with(BARE_KEY);
        let bare = errors.into_iter().filter(is_bare);
        let bare: Vec<_> = bare
            .filter_map(|error| lines.range_at(error.span()?.start))
            .collect();
        if bare.is_empty() {
            break;
        }
        for range in bare {
            let found = text.get(range.clone()).unwrap_or_default().trim();
            let text_of = format!(
                "not TOML: {BARE_KEY} at {}; write key = value",
                quoted(found)
            );
            problems.syntax(Some(lines.at(range.start)), text_of);
            blank(text.to_mut(), range);
        }
    }
    text
}

/// Each pass parses the file once, and nearly always finds all such lines at once.
const BARE_KEY_PASSES_MAX: usize = 8;

const BARE_KEY: &str = "key with no value";

/// Overwrites with as many spaces, so that all else stays where it is.
fn blank(text: &mut String, range: Range<usize>) {
    let spaces = " ".repeat(range.len());
    text.replace_range(range, &spaces);
}

/// Reads as much of `text` as is TOML and tells what is not.
pub(super) fn parse<'i>(text: &'i str, lines: &Lines, problems: &mut Problems) -> DeTable<'i> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let span = error.span();
        let line = span.as_ref().map(|span| lines.at(span.start));
        let range = span.as_ref().and_then(|span| lines.range_at(span.start));
        let written = range.and_then(|range| text.get(range)).unwrap_or_default();
        let sentence = match written.find(TYPOGRAPHIC) {
            Some(_) => typographic(written),
            None => sentence(error.message(), text, span),
        };
        problems.syntax(line, sentence);
    }
    table.into_inner()
}

/// Quotes that word processors and messengers write in place of straight ones.
const TYPOGRAPHIC: [char; 12] = [
    '\u{201c}', '\u{201d}', '\u{201e}', '\u{201f}', '\u{2018}', '\u{2019}', '\u{201a}', '\u{201b}',
    '\u{ab}', '\u{bb}', '\u{2033}', '\u{ff02}',
];

fn typographic(line: &str) -> String {
    let straight = line.trim().replace(TYPOGRAPHIC, "\"");
    format!(
        "not TOML: typographic quotes, as word processors write them; write straight ones: {}",
        printable(&straight)
    )
}

// What a line holds is text of anybody's, and may be long.
fn printable(line: &str) -> String {
    let shown = line.chars().filter(|c| !c.is_control());
    shown.take(SHOWN_LINE_CHARS_MAX).collect()
}

/// A line of a configuration has fewer.
const SHOWN_LINE_CHARS_MAX: usize = 120;

/// Says in words what the TOML parser found, with a remedy where there is one that fits.
fn sentence(message: &str, text: &str, span: Option<Range<usize>>) -> String {
    let found = span.and_then(|span| Some((span.start, text.get(span)?)));
    if message == "duplicate key" {
        return duplicate(text, found);
    }
    let word = found
        .map(|(start, _)| word_at(text, start))
        .unwrap_or_default();
    if word.is_empty() && message.starts_with("string values must be quoted") {
        return "not TOML: key with no value behind its equals sign; write one".to_owned();
    }
    let at = match word {
        "" => String::new(),
        word => format!(" at {}", quoted(word)),
    };
    // What the parser expected is told in the words of the remedy, if there is one.
    let (head, _) = message.split_once(", expected ").unwrap_or((message, ""));
    match remedy(head) {
        Some(remedy) => format!("not TOML: {head}{at}; {remedy}"),
        None => format!("not TOML: {message}{at}"),
    }
}

/// The word of `text` that the byte at `offset` belongs to.
fn word_at(text: &str, offset: usize) -> &str {
    let is_end =
        |c: char| c.is_whitespace() || matches!(c, '=' | ',' | '[' | ']' | '{' | '}' | '#');
    let Some((before, after)) = text.split_at_checked(offset) else {
        return "";
    };
    let start = before.rfind(is_end).map_or(0, |at| at.saturating_add(1));
    let length = after.find(is_end).unwrap_or(after.len());
    let word = text.get(start..offset.saturating_add(length));
    word.unwrap_or_default().trim()
}

fn duplicate(text: &str, source: Option<(usize, &str)>) -> String {
    let Some((start, key)) = source else {
        return "not TOML: a key is written twice; keep one".to_owned();
    };
    let before = text.get(..start).unwrap_or_default();
    let line = before.rsplit('\n').next().unwrap_or_default().trim_start();
    if line.starts_with("[[") {
        return format!(
            "table {} comes after a single one of this name or a table in it; begin each route \
             with [[route]], and put its [route.identity] and [route.timeouts] below it",
            quoted(&format!("[[{key}]]"))
        );
    }
    match line.strip_prefix('[') {
        Some(parents) => format!(
            "table {} is written twice; join the two",
            quoted(&format!("[{parents}{key}]"))
        ),
        None => format!(
            "key {} is written twice in one table; keep one",
            quoted(key)
        ),
    }
}

fn remedy(message: &str) -> Option<&'static str> {
    Some(match message {
        "string values must be quoted" => "put the value in double quotes",
        "missing value" | "missing value for key" => "write a value behind the equals sign",
        "unclosed table" => "close the header with \"]\"",
        "unclosed array table" => "close the header with \"]]\"",
        "unclosed array" => "close the list with \"]\"",
        "unclosed inline table" => "close the table with \"}\"",
        "missing comma between array elements" => {
            "put a comma between elements, and \"]\" behind the last"
        }
        "missing comma between key-value pairs" => {
            "put a comma between keys, and \"}\" behind the last"
        }
        "invalid basic string" => "close the string with a double quote on the same line",
        "invalid literal string" => "close the string with a single quote on the same line",
        "invalid float"
        | "invalid integer number"
        | "invalid date-time"
        | "unexpected leading zero" => "addresses, names and durations stand in double quotes",
        "invalid boolean" => "write true or false",
        _ => return None,
    })
}
