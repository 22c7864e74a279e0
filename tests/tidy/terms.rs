//! The rule on words: documents use the terms of the field, not those that the project once coined for itself.

use crate::source::{Finding, Source};

/// A word or phrase that is not used, and what to write.
const COINED: [(&str, &str); 21] = [
    ("octet", "byte"),
    ("octets", "bytes"),
    ("to be had", "available"),
    ("came to nothing", "failed"),
    ("comes to nothing", "fails"),
    ("is for nothing", "has no effect"),
    ("whoever", "a noun: the client, the peer, the sender"),
    ("stranger", "unauthenticated client"),
    ("strangers", "unauthenticated clients"),
    ("mend", "fix"),
    ("heed", "process"),
    ("homeward", "to the client"),
    ("onward", "to the target"),
    ("near side", "plain side, or this site"),
    ("far side", "TLS side, or the other site"),
    ("near end", "this end"),
    ("far end", "the other end"),
    ("far gateway", "the other gateway"),
    ("memory node", "NUMA node"),
    ("memory nodes", "NUMA nodes"),
    ("words of our own", "protocol-level rejections"),
];

/// Finds coined words in documents and in the annotated configuration.
///
/// Code spans are left out, because they quote names; so are generated pages, which quote their sources.
pub(crate) fn coined(source: &Source) -> Vec<Finding> {
    let is_text = source.is("md") || source.path == "packaging/etc/wardgate.toml";
    let is_quoted =
        source.text.starts_with("<!-- Generated from ") || source.path.starts_with("tests/data/");
    if !is_text || is_quoted {
        return Vec::new();
    }
    let text = without_spans(&source.text).to_lowercase();
    let found = COINED.iter().flat_map(|(word, instead)| {
        let places = text
            .match_indices(word)
            .filter(|(at, _)| is_whole(&text, *at, word.len()));
        let what = move |(at, _)| (at, format!("{word:?}: write {instead:?}"));
        places.map(what).collect::<Vec<_>>()
    });
    found.map(|(at, what)| source.finding(at, what)).collect()
}

fn is_whole(text: &str, at: usize, len: usize) -> bool {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '-');
    !part(text[..at].chars().next_back()) && !part(text[at + len..].chars().next())
}

/// The text with code spans blanked out, and line ends as spaces; each byte keeps its position.
fn without_spans(text: &str) -> String {
    let mut span = false;
    let blank = |c: char| {
        span ^= c == '`';
        match c {
            '\n' => " ".to_owned(),
            _ if span || !c.is_ascii() => " ".repeat(c.len_utf8()),
            _ => c.to_string(),
        }
    };
    text.chars().map(blank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coined_word_is_found_also_across_a_line_end() {
        let text =
            "One octet – and a far\nside.\nNone is to be had.\n`far_side` Mended octet-stream\n";
        let found = coined(&Source::new("a.md", text));
        let lines: Vec<_> = found.iter().map(ToString::to_string).collect();
        let expected = [
            "a.md:1: \"octet\": write \"byte\"",
            "a.md:3: \"to be had\": write \"available\"",
            "a.md:1: \"far side\": write \"TLS side, or the other site\"",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn quotations_are_left_alone() {
        let quoted = "`one octet` and `octet`\n";
        assert_eq!(coined(&Source::new("a.md", quoted)), []);
        assert_eq!(coined(&Source::new("tests/data/a.md", "octet")), []);
        let generated = "<!-- Generated from a by `b`. -->\noctet\n";
        assert_eq!(coined(&Source::new("a.md", generated)), []);
    }
}
