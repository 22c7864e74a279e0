//! The project's files for the rules: path, text, and for Rust the code alone.

use std::fmt;
use std::fs;
use std::path::Path;

/// One file of the project.
pub(crate) struct Source {
    /// Path from the root of the workspace, separated by `/`.
    pub(crate) path: String,
    /// The text of the file.
    pub(crate) text: String,
    /// The text with comments, strings and characters blanked out, position by position.
    pub(crate) code: String,
}

/// The position of a violation, and its description.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

impl Source {
    /// A file with this path and text, also for the self-tests of the rules.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = if is(path, "rs") {
            blank(text)
        } else {
            String::new()
        };
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code,
        }
    }

    /// Whether the file name has this extension: `is("rs")`.
    pub(crate) fn is(&self, extension: &str) -> bool {
        is(&self.path, extension)
    }

    /// A finding at a byte position of this file.
    pub(crate) fn finding(&self, position: usize, what: impl Into<String>) -> Finding {
        let before = self.text.bytes().take(position);
        self.finding_on_line(1 + before.filter(|&b| b == b'\n').count(), what)
    }

    /// A finding on a line of this file, from 1.
    pub(crate) fn finding_on_line(&self, line: usize, what: impl Into<String>) -> Finding {
        Finding {
            path: self.path.clone(),
            line,
            what: what.into(),
        }
    }

    /// The positions of `word` in the code as a whole identifier.
    pub(crate) fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        let bytes = self.code.as_bytes();
        let part = |at: Option<usize>| at.and_then(|i| bytes.get(i)).is_some_and(|&b| is_word(b));
        self.code
            .match_indices(word)
            .map(|(at, _)| at)
            .filter(move |&at| !part(at.checked_sub(1)) && !part(Some(at + word.len())))
    }
}

/// Whether a byte may be part of an identifier.
pub(crate) fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

fn is(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|e| e == extension)
}

/// Reads every text file of the project: sources, manifests, documents, scripts.
pub(crate) fn all(root: &Path) -> Vec<Source> {
    let mut sources = Vec::new();
    walk(root, "", &mut sources);
    assert!(
        sources.iter().any(|s| s.path == "gateway/src/lib.rs"),
        "no sources found in {}",
        root.display()
    );
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

fn walk(folder: &Path, prefix: &str, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("a folder of the project can be read") {
        let entry = entry.expect("a folder of the project can be read");
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if entry.path().is_dir() {
            if !["target", ".git"].contains(&name.as_str()) {
                walk(&entry.path(), &format!("{path}/"), sources);
            }
        } else if is_text(&name) {
            let bytes = fs::read(entry.path()).expect("a file of the project can be read");
            sources.push(Source::new(&path, &String::from_utf8_lossy(&bytes)));
        }
    }
}

fn is_text(name: &str) -> bool {
    const EXTENSIONS: [&str; 10] = [
        "rs", "md", "toml", "txt", "svg", "sh", "py", "json", "cfg", "service",
    ];
    name == "run" || EXTENSIONS.iter().any(|extension| is(name, extension))
}

/// Blanks comments, strings and character literals; newlines stay, so positions and lines stay the same.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = at + literal(bytes, at).max(1);
        if end > at + 1 {
            for byte in &mut code[at..end] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
        }
        at = end;
    }
    // A literal is blanked whole, so no character is cut in two.
    String::from_utf8(code).expect("blanking keeps the text valid")
}

/// The length of the comment, string or character that begins here; 0 if there is none.
fn literal(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let previous_is_word = at > 0 && is_word(bytes[at - 1]);
    match rest {
        [b'/', b'/', ..] => until(rest, 2, b"\n").saturating_sub(1),
        [b'/', b'*', ..] => block_comment(rest),
        [b'"', ..] => string(rest),
        [b'r', b'"' | b'#', ..] if !previous_is_word => raw_string(rest),
        [b'b', b'r', ..] if !previous_is_word => match raw_string(&rest[1..]) {
            0 => 0,
            length => length + 1,
        },
        [b'\'', ..] => character(rest),
        _ => 0,
    }
}

/// The bytes up to and including the first `end` at or after `from`, or all of them.
fn until(bytes: &[u8], from: usize, end: &[u8]) -> usize {
    let found = bytes.get(from..).and_then(|rest| {
        rest.windows(end.len())
            .position(|window| window == end)
            .map(|position| from + position + end.len())
    });
    // One past the end, so that the caller can always remove the terminator.
    found.unwrap_or(bytes.len() + usize::from(end == b"\n"))
}

fn block_comment(bytes: &[u8]) -> usize {
    let (mut at, mut depth) = (2, 1);
    while depth > 0 && at < bytes.len() {
        let step = match &bytes[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                2
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                2
            }
            _ => 1,
        };
        at += step;
    }
    at
}

fn string(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// `r"..."` or `r##"..."##`; `r#name` is an identifier.
fn raw_string(bytes: &[u8]) -> usize {
    let hashes = bytes[1..].iter().take_while(|&&b| b == b'#').count();
    if bytes.get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let end = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    until(bytes, 2 + hashes, &end)
}

/// `'x'`, `'\n'`, `'\u{1F600}'`; a lifetime has no second quote where a character would.
fn character(bytes: &[u8]) -> usize {
    if bytes.get(1) == Some(&b'\\') {
        return until(bytes, 3, b"'");
    }
    let text = &bytes[1..bytes.len().min(6)];
    let first = match text.first() {
        Some(b) if *b >= 0xF0 => 4,
        Some(b) if *b >= 0xE0 => 3,
        Some(b) if *b >= 0xC0 => 2,
        _ => 1,
    };
    if text.get(first) == Some(&b'\'') {
        first + 2
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_code_stays_in_place() {
        let cases = [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("a\"b", c)"#, "f(      , c)"),
            (r##"f(r#"a"b"#, c)"##, "f(        , c)"),
            (r#"f(br"a", r"b")"#, "f(     ,     )"),
            ("f('x', '\\'', 'é')", "f(   ,     ,     )"),
            ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
            ("let r#type = 1;", "let r#type = 1;"),
            ("// last", "       "),
        ];
        for (text, code) in cases {
            assert_eq!(blank(text), code, "{text}");
        }
    }

    #[test]
    fn words_are_whole_identifiers_of_the_code() {
        let source = Source::new("a.rs", "io io_uring // io\n\"io\" xio io;");
        assert_eq!(source.words("io").collect::<Vec<_>>(), [0, 27]);
    }

    #[test]
    fn a_finding_names_the_line_of_its_position() {
        let source = Source::new("a.rs", "one\ntwo\nthree");
        assert_eq!(source.finding(8, "x").to_string(), "a.rs:3: x");
        assert_eq!(source.finding(7, "x").to_string(), "a.rs:2: x");
    }
}
