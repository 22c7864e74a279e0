//! Converts text to a TOML table, with the lines of positions and readable syntax errors.

use std::borrow::Cow;
use std::ops::Range;

use toml::de::{DeTable, Error};

use super::problem::{Problem, Problems, quoted};

/// The positions at which the lines of a text begin.
pub(super) struct Lines {
    /// The offsets of the first byte of each line, ascending; the first is 0.
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

    /// The line, from 1, with the byte at `offset`.
    pub(super) fn at(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    /// The range of the line with the byte at `offset`, without its newline.
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

/// Reports a certificate or key file in place of a configuration. The message repeats none of the text, which
/// may be secret.
pub(super) fn pem(text: &str, lines: &Lines) -> Option<Problem> {
    let at = text.find("-----BEGIN ")?;
    Some(Problem {
        line: Some(lines.at(at)),
        text:
            "this is a file of certificates or keys in PEM; give the path of the configuration file"
                .to_owned(),
    })
}

/// Reports lines that hold only a key, and returns the text without these lines.
///
/// The TOML parser drops all text after such a line.
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

/// Each pass parses the file once; one pass nearly always finds all such lines.
const BARE_KEY_PASSES_MAX: usize = 8;

const BARE_KEY: &str = "key with no value";

/// Overwrites the range with spaces of the same length, so that all positions stay the same.
fn blank(text: &mut String, range: Range<usize>) {
    let spaces = " ".repeat(range.len());
    text.replace_range(range, &spaces);
}

/// Parses the parts of `text` that are TOML and reports the others.
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
        "not TOML: typographic quotes, as word processors write them; write straight quotes: {}",
        printable(&straight)
    )
}

// The line may hold any text of any length.
fn printable(line: &str) -> String {
    let shown = line.chars().filter(|c| !c.is_control());
    shown.take(SHOWN_LINE_CHARS_MAX).collect()
}

/// The longest line that is shown. Lines of a configuration are shorter.
const SHOWN_LINE_CHARS_MAX: usize = 120;

/// Describes the error of the TOML parser, with advice if it is known.
fn sentence(message: &str, text: &str, span: Option<Range<usize>>) -> String {
    let found = span.and_then(|span| Some((span.start, text.get(span)?)));
    if message == "duplicate key" {
        return duplicate(text, found);
    }
    let word = found
        .map(|(start, _)| word_at(text, start))
        .unwrap_or_default();
    if word.is_empty() && message.starts_with("string values must be quoted") {
        return "not TOML: key with no value after its equals sign; write a value".to_owned();
    }
    let at = match word {
        "" => String::new(),
        word => format!(" at {}", quoted(word)),
    };
    // If there is advice, it includes what the parser expected.
    let (head, _) = message.split_once(", expected ").unwrap_or((message, ""));
    match remedy(head) {
        Some(remedy) => format!("not TOML: {head}{at}; {remedy}"),
        None => format!("not TOML: {message}{at}"),
    }
}

/// The word of `text` with the byte at `offset`.
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
            "table {} comes after a table of this name in single brackets, or after a table in it; begin each route \
             with [[route]], and put its [route.identity] and [route.timeouts] below it",
            quoted(&format!("[[{key}]]"))
        );
    }
    match line.strip_prefix('[') {
        Some(parents) => format!(
            "table {} is written twice; merge the two",
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
        "missing value" | "missing value for key" => "write a value after the equals sign",
        "unclosed table" => "close the header with \"]\"",
        "unclosed array table" => "close the header with \"]]\"",
        "unclosed array" => "close the list with \"]\"",
        "unclosed inline table" => "close the table with \"}\"",
        "missing comma between array elements" => {
            "put a comma between elements, and \"]\" after the last"
        }
        "missing comma between key-value pairs" => {
            "put a comma between keys, and \"}\" after the last"
        }
        "invalid basic string" => "close the string with a double quote on the same line",
        "invalid literal string" => "close the string with a single quote on the same line",
        "invalid float"
        | "invalid integer number"
        | "invalid date-time"
        | "unexpected leading zero" => "write addresses, names and durations in double quotes",
        "invalid boolean" => "write true or false",
        _ => return None,
    })
}
