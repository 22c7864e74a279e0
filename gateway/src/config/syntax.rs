//! From text to a TOML table: lines of positions, and syntax errors in words.

use toml::de::DeTable;

use super::problem::{Problems, quoted};

/// Where the lines of a text begin.
pub(super) struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    /// Finds the lines of `text`.
    pub(super) fn of(text: &str) -> Self {
        let after_newlines = text.match_indices('\n').map(|(at, _)| at.saturating_add(1));
        Self {
            starts: std::iter::once(0).chain(after_newlines).collect(),
        }
    }

    /// The line, from 1, that holds the byte at `offset`.
    pub(super) fn at(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }
}

/// Reads as much of `text` as is TOML and tells what is not.
pub(super) fn parse<'i>(text: &'i str, lines: &Lines, problems: &mut Problems) -> DeTable<'i> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let span = error.span();
        let line = span.as_ref().map(|span| lines.at(span.start));
        let source = span.and_then(|span| Some((span.start, text.get(span)?)));
        problems.syntax(line, sentence(error.message(), text, source));
    }
    table.into_inner()
}

/// Says in words what the TOML parser found, with a remedy where there is one that fits.
fn sentence(message: &str, text: &str, source: Option<(usize, &str)>) -> String {
    let found = source.map(|(_, found)| found).unwrap_or_default();
    if message == "duplicate key" {
        return duplicate(text, source);
    }
    let found = match found.trim() {
        "" => String::new(),
        found => format!(" at {}", quoted(found)),
    };
    let remedy = remedy(message);
    format!("not TOML: {message}{found}{remedy}")
}

fn duplicate(text: &str, source: Option<(usize, &str)>) -> String {
    let Some((start, key)) = source else {
        return "not TOML: a key is written twice; keep one".to_owned();
    };
    let before = text.get(..start).unwrap_or_default();
    let line = before.rsplit('\n').next().unwrap_or_default().trim_start();
    if line.starts_with("[[") {
        return format!(
            "table [[{key}]] comes after [{key}] or a table in it; begin each route with [[route]], and put its \
             [route.identity] and [route.timeouts] below it"
        );
    }
    match line.strip_prefix('[') {
        Some(parents) => format!("table [{parents}{key}] is written twice; join the two"),
        None => format!(
            "key {} is written twice in one table; keep one",
            quoted(key)
        ),
    }
}

fn remedy(message: &str) -> &'static str {
    match message {
        "string values must be quoted" => "; put the value in double quotes",
        "missing value" | "missing value for key" => "; write a value behind the equals sign",
        "key with no value" => "; write key = value",
        "unclosed table" => "; close the header with \"]\"",
        "unclosed array table" => "; close the header with \"]]\"",
        "unclosed array" => "; close the list with \"]\"",
        "unclosed inline table" => "; close the table with \"}\"",
        "missing comma between array elements" | "missing comma between key-value pairs" => {
            "; separate them with commas"
        }
        message if message.starts_with("invalid basic string") => {
            "; close the string with a double quote on the same line"
        }
        _ => "",
    }
}
