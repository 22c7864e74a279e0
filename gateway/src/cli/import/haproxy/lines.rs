//! Splits a configuration of HAProxy into sections, lines and words (HAProxy's configuration manual, section 2).

use super::super::report::{LinePlace, MASKED, without_passwords};

/// A section with its lines.
#[derive(Debug)]
pub(super) struct ProxySection {
    pub(super) header: WordLine,
    pub(super) lines: Vec<WordLine>,
}

/// A line that is neither empty nor a comment.
#[derive(Debug)]
pub(super) struct WordLine {
    pub(super) place: LinePlace,
    /// As written, without comment and secrets.
    pub(super) text: String,
    pub(super) words: Vec<String>,
    /// Why the words are not what HAProxy would read, if they are not.
    pub(super) doubt: Option<&'static str>,
}

impl WordLine {
    /// A word; empty if there is none.
    pub(super) fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", String::as_str)
    }

    /// Whether the line begins with these words.
    pub(super) fn begins(&self, words: &[&str]) -> bool {
        words
            .iter()
            .enumerate()
            .all(|(at, word)| self.word(at) == *word)
    }
}

/// Words that begin a section.
const SECTIONS: [&str; 17] = [
    "global",
    "defaults",
    "frontend",
    "backend",
    "listen",
    "peers",
    "resolvers",
    "userlist",
    "mailers",
    "program",
    "ring",
    "cache",
    "http-errors",
    "log-forward",
    "fcgi-app",
    "crt-store",
    "acme",
];

/// The sections of the file, and lines that are in none.
pub(super) fn sections(text: &str) -> (Vec<ProxySection>, Vec<WordLine>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut sections: Vec<ProxySection> = Vec::new();
    let mut outside = Vec::new();
    for (number, written) in text.lines().enumerate() {
        let place = LinePlace {
            file: None,
            line: number.saturating_add(1),
        };
        let Some(line) = read(written, place) else {
            continue;
        };
        if SECTIONS.contains(&line.word(0)) {
            let lines = Vec::new();
            sections.push(ProxySection {
                header: line,
                lines,
            });
        } else if let Some(section) = sections.last_mut() {
            section.lines.push(line);
        } else {
            outside.push(line);
        }
    }
    (sections, outside)
}

/// Reads a line; `None` if it has no words.
fn read(written: &str, place: LinePlace) -> Option<WordLine> {
    let (words, doubt, end) = words(written);
    if words.is_empty() && doubt.is_none() {
        return None;
    }
    let doubt = doubt.or_else(|| {
        let is_condition = words.first().is_some_and(|word| word.starts_with('.'));
        is_condition.then_some(
            "conditions of the file are not evaluated: all lines between them are imported, so remove those that do not \
             apply, and import again",
        )
    });
    let text = shown(written.get(..end).unwrap_or(written), &words);
    Some(WordLine {
        place,
        text,
        words,
        doubt,
    })
}

/// The words of a line: blanks separate them outside quotes, a backslash takes the next character as it is, and `#`
/// begins a comment. Returns also a doubt about them, and where the comment begins.
fn words(written: &str) -> (Vec<String>, Option<&'static str>, usize) {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut doubt = None;
    let mut end = written.len();
    let mut rest = written.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => match rest.next() {
                Some((_, escaped)) => word.get_or_insert_default().push(escaped),
                None => doubt = Some("the line ends with a backslash, and HAProxy joins no lines"),
            },
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (_, Some(open)) if c == open => quote = None,
            ('#', None) => {
                end = at;
                break;
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            ('$', Some('"')) if rest.peek().is_some_and(|(_, next)| is_name(*next)) => {
                doubt = Some(
                    "the value is in a variable of HAProxy's environment; write it in its place, and import again",
                );
                word.get_or_insert_default().push(c);
            }
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        doubt = Some("a quote is not closed on this line");
    }
    words.extend(word);
    (words, doubt, end)
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphabetic() || matches!(c, '_' | '{')
}

/// The line without secrets.
fn shown(written: &str, words: &[String]) -> String {
    let kept = match words.first().map_or("", String::as_str) {
        // The user and the password of the statistics; a string that a probe sends may log in.
        "stats" if words.get(1).is_some_and(|word| word == "auth") => 2,
        "tcp-check" | "http-check" => 2,
        "setenv" | "presetenv" | "user" => 2,
        "option" if words.get(1).is_some_and(|word| word == "httpchk") => 2,
        "http-request" | "http-response" => 3,
        _ => match words.iter().position(|word| word == "ca-sign-pass") {
            Some(at) => at.saturating_add(1),
            None => return without_passwords(written.trim()),
        },
    };
    if words.len() <= kept {
        return words.join(" ");
    }
    let kept: Vec<_> = words.iter().take(kept).map(String::as_str).collect();
    format!("{} {MASKED}", kept.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_at_blanks_outside_quotes_and_before_comments() {
        let cases: [(&str, &[&str]); 6] = [
            ("bind :104 name a # b", &["bind", ":104", "name", "a"]),
            (r"log a\ b\#c", &["log", "a b#c"]),
            (r#"crt "/a b.pem" x"#, &["crt", "/a b.pem", "x"]),
            (r#"crt '/a\b' """#, &["crt", r"/a\b", ""]),
            ("# only", &[]),
            (r#"a"b"'c'"#, &["abc"]),
        ];
        for (written, expected) in cases {
            let (words, doubt, _) = words(written);
            let expected: Vec<String> = expected.iter().map(|&word| word.to_owned()).collect();
            assert_eq!((words, doubt), (expected, None));
        }
        for doubtful in [
            r#"bind "${ADDRESS}:1""#,
            r#"crt "a"#,
            "bind :1 \\",
            r#"a "$B""#,
        ] {
            assert!(words(doubtful).1.is_some(), "{doubtful}");
        }
        assert!(words(r#"a "$1" $B '$C'"#).1.is_none());
    }

    #[test]
    fn secrets_and_comments_are_not_shown() {
        let cases = [
            ("stats auth admin:pw", "stats auth (removed)"),
            (
                "bind :1 ssl ca-sign-pass pw crt a",
                "bind :1 ssl ca-sign-pass (removed)",
            ),
            ("user pat password pw", "user pat (removed)"),
            ("user haproxy", "user haproxy"),
            ("tcp-check send AUTH\\ pw", "tcp-check send (removed)"),
            (
                "option httpchk GET / HTTP/1.1\\r\\nAuthorization:\\ pw",
                "option httpchk (removed)",
            ),
            ("bind :1 # the password is pw", "bind :1"),
        ];
        for (written, expected) in cases {
            let line = read(
                written,
                LinePlace {
                    file: None,
                    line: 1,
                },
            )
            .expect("it has words");
            assert_eq!(line.text, expected);
        }
    }
}
