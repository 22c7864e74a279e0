//! Finds words and phrases of the project's former dialect in comments, messages and function names.
//!
//! CONTRIBUTING.md asks for plain English with the terms of the field. The rule covers the files that have
//! been rewritten; `REWRITTEN` lists them.

use crate::source::{Finding, Source};

/// Files, and folders with a final `/`, whose sentences have been rewritten. Add a folder after its rewrite.
const REWRITTEN: [&str; 18] = [
    ".ci/",
    "gateway/src/admin/",
    "gateway/src/audit/",
    "gateway/src/buffers/",
    "gateway/src/cli/",
    "gateway/src/control/",
    "gateway/src/lib.rs",
    "gateway/src/main.rs",
    "gateway/src/measure/",
    "gateway/src/metrics/",
    "gateway/src/observe.rs",
    "gateway/src/route/",
    "gateway/src/stream_kind.rs",
    "gateway/src/supervisor/",
    "gateway/src/sys/",
    "gateway/src/upstream/",
    "gateway/src/uring/",
    "gateway/src/worker/",
];

/// Phrases of the former dialect, each with the plain words. A phrase matches whole words in any case; a
/// phrase that begins with `^` matches at the beginning of a sentence only.
const DIALECT: &[(&str, &str)] = &[
    ("octet", "byte"),
    ("octets", "bytes"),
    ("tells", "reports, logs, returns or distinguishes"),
    ("told", "reported, logged, returned or distinguished"),
    ("stranger", "unauthenticated client"),
    ("strangers", "unauthenticated clients"),
    ("goodbye", "close_notify or closing sequence"),
    ("farewell", "close_notify or closing sequence"),
    ("last word", "the name of the message"),
    ("last words", "the name of the message"),
    ("words of our own", "the name of the message"),
    ("whoever", "a noun: the client, the peer, the sender"),
    ("whomever", "a noun: the client, the peer, the sender"),
    ("nobody", "a noun: no client, no reader, no connection"),
    ("somebody", "a noun: a client, a reader, a connection"),
    ("anybody", "a noun: any client, any reader, any connection"),
    ("everybody", "a noun: every client, every user"),
    ("^who", "a noun: the client, the peer, the sender"),
    ("^whom", "a noun: the client, the peer, the sender"),
    ("comes to nothing", "fails"),
    ("came to nothing", "failed"),
    ("come to nothing", "fail"),
    ("to be had", "available"),
    ("be had", "be available"),
    ("for nothing", "without effect"),
    ("of no use", "unusable"),
    ("for want of", "because there is no"),
    ("mend", "fix"),
    ("mends", "fixes"),
    ("heed", "process or obey"),
    ("heeded", "processed or obeyed"),
    ("seat", "slot"),
    ("seats", "slots"),
    ("seated", "placed"),
    ("full house", "all slots taken"),
    ("onward", "to the target"),
    ("homeward", "to the client"),
    ("far side", "TLS side or peer"),
    ("far end", "TLS peer"),
    ("near side", "plain side"),
    ("memory node", "NUMA node"),
    ("memory nodes", "NUMA nodes"),
    ("end in order", "end cleanly"),
    ("ends in order", "ends cleanly"),
    ("ended in order", "ended cleanly"),
    ("closed in order", "closed cleanly"),
    ("finished in order", "finished cleanly"),
    ("hears", "receives"),
    ("hears of", "is notified of"),
    ("chats", "exchanges messages"),
    ("chatter", "short messages"),
    ("speaks up", "warns"),
    ("anew", "again"),
    ("ere", "before"),
];

/// Finds phrases of the dialect in the comments, strings and function names of rewritten files.
pub(crate) fn dialect(source: &Source) -> Vec<Finding> {
    if !REWRITTEN.iter().any(|part| covers(part, &source.path)) || !source.is("rs") {
        return Vec::new();
    }
    let (words, names) = (prose(source), function_names(source));
    let mut findings = Vec::new();
    for (phrase, plain) in DIALECT {
        let in_names = matches(&names, phrase);
        // A method may keep a name of two words for as long as other files call it.
        let in_names = in_names.into_iter().filter(|_| !phrase.contains(' '));
        for at in matches(&words, phrase).into_iter().chain(in_names) {
            let phrase = phrase.trim_start_matches('^');
            findings.push(source.finding(at, format!("\"{phrase}\": write {plain}")));
        }
    }
    findings
}

fn covers(part: &str, path: &str) -> bool {
    match part.ends_with('/') {
        true => path.starts_with(part),
        false => path == part,
    }
}

/// A word of a sentence or of a name.
struct Word {
    at: usize,
    text: String,
    begins_sentence: bool,
}

/// The words of all comments and strings, without code in backticks.
fn prose(source: &Source) -> Vec<Word> {
    let (text, code) = (source.text.as_bytes(), source.code.as_bytes());
    let mut words: Vec<Word> = Vec::new();
    let (mut begins_sentence, mut is_quoted_code) = (true, false);
    for (at, (&byte, &code)) in text.iter().zip(code).enumerate() {
        let is_code = byte == code && !byte.is_ascii_whitespace();
        if is_code {
            (begins_sentence, is_quoted_code) = (true, false);
            continue;
        }
        match byte {
            b'`' => is_quoted_code = !is_quoted_code,
            _ if is_quoted_code => {}
            b'.' | b'?' | b'"' => begins_sentence = true,
            _ if byte.is_ascii_alphanumeric() || b"_'".contains(&byte) => {
                let letter = char::from(byte.to_ascii_lowercase());
                match words.last_mut() {
                    Some(word) if word.at + word.text.len() == at => word.text.push(letter),
                    _ => {
                        words.push(Word {
                            at,
                            text: letter.to_string(),
                            begins_sentence,
                        });
                        begins_sentence = false;
                    }
                }
            }
            _ => {}
        }
    }
    words
}

/// The words of the names of all functions.
fn function_names(source: &Source) -> Vec<Word> {
    let mut words = Vec::new();
    for at in source.words("fn") {
        let start = at + "fn ".len();
        let rest = source.code.get(start..).unwrap_or_default();
        let is_name = |c: char| c == '_' || c.is_ascii_alphanumeric();
        let name = rest.split(|c| !is_name(c)).next().unwrap_or_default();
        let mut part_at = start;
        for (index, part) in name.split('_').enumerate() {
            words.push(Word {
                at: part_at,
                text: part.to_ascii_lowercase(),
                begins_sentence: index == 0,
            });
            part_at += part.len() + 1;
        }
    }
    words
}

/// Where the words of `phrase` follow each other.
fn matches(words: &[Word], phrase: &str) -> Vec<usize> {
    let (at_beginning, phrase) = match phrase.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, phrase),
    };
    let wanted: Vec<&str> = phrase.split(' ').collect();
    words
        .windows(wanted.len())
        .filter(|window| window[0].begins_sentence || !at_beginning)
        .filter(|window| {
            window
                .iter()
                .map(|word| word.text.as_str())
                .eq(wanted.iter().copied())
        })
        .map(|window| window[0].at)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        dialect(&Source::new("gateway/src/worker/a.rs", text)).len()
    }

    #[test]
    fn words_of_the_dialect_are_found_in_comments_strings_and_names() {
        for text in [
            "// One octet.\n",
            "/// What a program Tells another.\n",
            "//! The handshake came\n//! to nothing.\n",
            "let text = \"the connection ended in order\";",
            "// It waits. Who sends nothing is reset.\n",
            "fn a_stranger_is_refused() {}",
            "fn who_sends_nothing_is_reset() {}",
            "fn read() {} // no pipe is to be had, so it copies\n",
        ] {
            assert!(found(text) > 0, "{text}");
        }
    }

    #[test]
    fn code_and_plain_words_are_left_alone() {
        for text in [
            "let octets = told(seat);",
            "// Calls `told` and `last_words`.\n",
            "// The peer, who has closed, reads the bytes in order.\n",
            "fn read() -> usize { told.octets }",
            "/// The targets, in the order in which they are tried.\n",
        ] {
            assert_eq!(found(text), 0, "{text}");
        }
    }

    #[test]
    fn only_rewritten_files_are_searched() {
        let text = "// One octet.\n";
        for path in ["gateway/src/main.rs", ".ci/xtask/src/main.rs"] {
            assert_eq!(dialect(&Source::new(path, text)).len(), 1, "{path}");
        }
        for path in ["tests/tidy/language.rs", "gateway/src/main.rs.md"] {
            assert_eq!(dialect(&Source::new(path, text)).len(), 0, "{path}");
        }
    }
}
