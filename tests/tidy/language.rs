//! Finds words and phrases of the project's former dialect in documents, comments, messages and function names.
//!
//! CONTRIBUTING.md asks for plain English with the terms of the field. The rule covers all documents, and the
//! Rust files that have been rewritten; `REWRITTEN` lists them.

use crate::source::{Finding, Source};

/// Files, and folders with a final `/`, whose sentences have been rewritten. Add a folder after its rewrite.
const REWRITTEN: [&str; 26] = [
    ".ci/",
    "bench/demo/",
    "gateway/src/admin/",
    "gateway/src/audit/",
    "gateway/src/buffers/",
    "gateway/src/cli/",
    "gateway/src/control/",
    "gateway/src/hardening/",
    "gateway/src/lib.rs",
    "gateway/src/main.rs",
    "gateway/src/measure/",
    "gateway/src/metrics/",
    "gateway/src/observe.rs",
    "gateway/src/pairing/",
    "gateway/src/pki/",
    "gateway/src/route/",
    "gateway/src/stream_kind.rs",
    "gateway/src/supervisor/",
    "gateway/src/sys/",
    "gateway/src/thread_sandbox.rs",
    "gateway/src/tls/",
    "gateway/src/upstream/",
    "gateway/src/uring/",
    "gateway/src/worker/",
    "tests/src/bin/soak/",
    "tuning/",
];

/// Folders in `REWRITTEN` whose sentences have not been rewritten yet.
const NOT_YET: [&str; 0] = [];

/// Where a phrase counts. A word of the dialect may be a plain word of English in the other texts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum In {
    /// Comments, strings and function names of rewritten Rust files.
    Code,
    /// Documents and the annotated configuration.
    Documents,
    /// All of these texts.
    All,
}

/// Phrases of the former dialect, where each counts, and the plain words. A phrase matches whole words in any
/// case; a phrase that begins with `^` matches at the beginning of a sentence only.
const DIALECT: &[(&str, In, &str)] = &[
    ("octet", In::All, "byte"),
    ("octets", In::All, "bytes"),
    ("tells", In::Code, "reports, logs, returns or distinguishes"),
    (
        "told",
        In::Code,
        "reported, logged, returned or distinguished",
    ),
    ("stranger", In::All, "unauthenticated client"),
    ("strangers", In::All, "unauthenticated clients"),
    ("goodbye", In::All, "close_notify or closing sequence"),
    ("farewell", In::All, "close_notify or closing sequence"),
    ("last word", In::All, "the name of the message"),
    ("last words", In::All, "the name of the message"),
    ("words of our own", In::All, "the name of the message"),
    ("vouch", In::All, "issue certificates"),
    ("vouches", In::All, "issues certificates"),
    ("vouched", In::All, "issued the certificate"),
    ("vouching", In::All, "issuing certificates"),
    (
        "whoever",
        In::All,
        "a noun: the client, the peer, the sender",
    ),
    (
        "whomever",
        In::All,
        "a noun: the client, the peer, the sender",
    ),
    (
        "nobody",
        In::Code,
        "a noun: no client, no reader, no connection",
    ),
    (
        "somebody",
        In::Code,
        "a noun: a client, a reader, a connection",
    ),
    (
        "anybody",
        In::Code,
        "a noun: any client, any reader, any connection",
    ),
    ("everybody", In::Code, "a noun: every client, every user"),
    ("^who", In::Code, "a noun: the client, the peer, the sender"),
    (
        "^whom",
        In::Code,
        "a noun: the client, the peer, the sender",
    ),
    ("comes to nothing", In::All, "fails"),
    ("came to nothing", In::All, "failed"),
    ("come to nothing", In::All, "fail"),
    ("to be had", In::All, "available"),
    ("be had", In::Code, "be available"),
    ("for nothing", In::All, "without effect"),
    ("of no use", In::All, "unusable"),
    ("for want of", In::All, "because there is no"),
    ("mend", In::All, "fix"),
    ("mends", In::All, "fixes"),
    ("heed", In::All, "process or obey"),
    ("heeded", In::All, "processed or obeyed"),
    ("seat", In::Code, "slot"),
    ("seats", In::Code, "slots"),
    ("seated", In::Code, "placed"),
    ("full house", In::Code, "all slots taken"),
    ("settle", In::Code, "drive or process"),
    ("settles", In::Code, "drives or processes"),
    ("house", In::Code, "site, table or program"),
    ("appetite", In::All, "demand or buffer size"),
    ("talker", In::All, "sender or connection"),
    ("wakeful", In::All, "polling"),
    ("judgement", In::Code, "verification or result"),
    ("judgements", In::Code, "verifications or results"),
    ("title is bound", In::All, "title is restricted to a peer"),
    ("onward", In::All, "to the target"),
    ("homeward", In::All, "to the client"),
    ("far side", In::All, "TLS side, or the other site"),
    ("far end", In::All, "TLS peer, or the other end"),
    ("far gateway", In::All, "the other gateway"),
    ("near side", In::All, "plain side, or this site"),
    ("near end", In::All, "this end"),
    ("memory node", In::All, "NUMA node"),
    ("memory nodes", In::All, "NUMA nodes"),
    ("end in order", In::All, "end cleanly"),
    ("ends in order", In::All, "ends cleanly"),
    ("ended in order", In::All, "ended cleanly"),
    ("closed in order", In::All, "closed cleanly"),
    ("finished in order", In::All, "finished cleanly"),
    ("hears", In::All, "receives"),
    ("hears of", In::All, "is notified of"),
    ("chats", In::All, "exchanges messages"),
    ("chatter", In::All, "short messages"),
    ("speaks up", In::All, "warns"),
    ("anew", In::All, "again"),
    ("ere", In::All, "before"),
];

/// Finds phrases of the dialect in rewritten Rust files, in documents and in the annotated configuration.
///
/// Code in backticks is left out, because it quotes names. So are generated pages and golden files, which quote
/// their sources.
pub(crate) fn dialect(source: &Source) -> Vec<Finding> {
    let Some(place) = place(source) else {
        return Vec::new();
    };
    let (words, names) = match place {
        In::Code => (prose(source), function_names(source)),
        _ => (plain_text(source), Vec::new()),
    };
    let mut findings = Vec::new();
    for (phrase, _, plain) in DIALECT
        .iter()
        .filter(|(_, at, _)| [place, In::All].contains(at))
    {
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

/// The kind of text that a file is, if the rule covers it.
fn place(source: &Source) -> Option<In> {
    let is_quoted =
        source.text.starts_with("<!-- Generated from ") || source.path.starts_with("tests/data/");
    let is_document = source.is("md") || source.path == "packaging/etc/wardgate.toml";
    if is_document {
        return (!is_quoted).then_some(In::Documents);
    }
    let is_in = |parts: &[&str]| parts.iter().any(|part| covers(part, &source.path));
    (source.is("rs") && is_in(&REWRITTEN) && !is_in(&NOT_YET)).then_some(In::Code)
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

/// The words of all comments and strings of a Rust file, without code in backticks.
fn prose(source: &Source) -> Vec<Word> {
    let (text, code) = (source.text.as_bytes(), source.code.as_bytes());
    let is_code = |(byte, code): (&u8, &u8)| byte == code && !byte.is_ascii_whitespace();
    words(&source.text, text.iter().zip(code).map(is_code))
}

/// The words of a document, without code in backticks.
fn plain_text(source: &Source) -> Vec<Word> {
    words(&source.text, std::iter::repeat(false))
}

/// The words of a text. `is_code` marks the bytes that are not prose.
fn words(text: &str, is_code: impl Iterator<Item = bool>) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let (mut begins_sentence, mut is_quoted_code) = (true, false);
    for ((at, byte), is_code) in text.bytes().enumerate().zip(is_code) {
        if is_code {
            (begins_sentence, is_quoted_code) = (true, false);
            continue;
        }
        match byte {
            b'`' => is_quoted_code = !is_quoted_code,
            _ if is_quoted_code => {}
            b'.' | b'?' | b'"' => begins_sentence = true,
            _ if byte.is_ascii_alphanumeric() || b"_'-".contains(&byte) => {
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
    fn words_of_the_dialect_are_found_in_documents_also_across_a_line_end() {
        let text =
            "One octet – and a far\nside.\nNone is to be had.\n`far_side` Mended octet-stream\n";
        let found = dialect(&Source::new("a.md", text));
        let lines: Vec<_> = found.iter().map(ToString::to_string).collect();
        let expected = [
            "a.md:1: \"octet\": write byte",
            "a.md:3: \"to be had\": write available",
            "a.md:1: \"far side\": write TLS side, or the other site",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn each_phrase_counts_in_its_own_texts() {
        let text = "// Nobody is told.\n";
        assert_eq!(found(text), 2);
        assert_eq!(dialect(&Source::new("a.md", text)), []);
    }

    #[test]
    fn quotations_are_left_alone() {
        let quoted = "`one octet` and `octet`\n";
        assert_eq!(dialect(&Source::new("a.md", quoted)), []);
        assert_eq!(dialect(&Source::new("tests/data/a.md", "octet")), []);
        let generated = "<!-- Generated from a by `b`. -->\noctet\n";
        assert_eq!(dialect(&Source::new("a.md", generated)), []);
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
        for path in ["tests/tidy/language.rs", "gateway/src/main.rs.txt"] {
            assert_eq!(dialect(&Source::new(path, text)).len(), 0, "{path}");
        }
    }
}
