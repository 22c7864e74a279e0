//! Rules on single files: their opening, their length, and forbidden content.

use crate::source::{Finding, Source};

/// The number of lines beyond which a file usually covers two subjects.
const LINES_MAX: usize = 600;

/// Finds notes of unfinished work.
pub(crate) fn unfinished(source: &Source) -> Vec<Finding> {
    // Built from parts, so that this file does not find itself.
    let notes = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    let mut findings = Vec::new();
    for note in notes {
        for (at, _) in source.text.match_indices(note) {
            let around = source.text.as_bytes();
            let joined = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
            let before = at.checked_sub(1).and_then(|i| around.get(i));
            if !joined(before) && !joined(around.get(at + note.len())) {
                let what = format!("{note}: finish it, or state the condition for its removal");
                findings.push(source.finding(at, what));
            }
        }
    }
    for name in ["todo", "unimplemented"] {
        let calls = source.words(name);
        let calls = calls.filter(|at| source.code[at + name.len()..].starts_with('!'));
        findings.extend(calls.map(|at| source.finding(at, format!("{name}! is unfinished work"))));
    }
    findings
}

/// Finds `allow` and `expect` attributes without a reason.
pub(crate) fn allow_without_reason(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in ["allow", "expect"] {
        for at in source.words(name) {
            let attribute = &source.code[at..];
            let end = attribute.find(']').unwrap_or(attribute.len());
            if is_attribute(&source.code[..at]) && !attribute[..end].contains("reason") {
                findings.push(source.finding(at, format!("{name} without a reason")));
            }
        }
    }
    findings
}

/// Whether the code before a name ends in `#[...`, or in a `cfg_attr` of one line.
fn is_attribute(before: &str) -> bool {
    let start = before.rfind(['\n', ';', '}']).map_or(0, |at| at + 1);
    let line = before[start..].trim();
    line.ends_with("#[") || line.ends_with("#![") || line.contains("cfg_attr(")
}

/// Finds files that are too long for one subject.
pub(crate) fn too_long(source: &Source) -> Option<Finding> {
    let ours = ["rs", "md", "toml", "sh", "py"]
        .iter()
        .any(|e| source.is(e));
    // A generated page is as long as its source, to which this rule applies.
    let is_generated = source.text.starts_with("<!-- Generated from ");
    let lines = source.text.lines().count();
    let what = format!("{lines} lines; a file has at most {LINES_MAX}");
    (ours && !is_generated && lines > LINES_MAX).then(|| source.finding_on_line(lines, what))
}

/// Finds Rust files that do not begin with a description of their purpose.
pub(crate) fn without_opening(source: &Source) -> Option<Finding> {
    let opens = source
        .text
        .strip_prefix("//! ")
        .is_some_and(|rest| !rest.starts_with('\n'));
    let what = "a file opens with `//!` and what it is for";
    (source.is("rs") && !opens).then(|| source.finding_on_line(1, what))
}

/// Finds paths of the author's machine.
pub(crate) fn machine_paths(source: &Source) -> Vec<Finding> {
    let paths = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/Us", "ers/"),
    ];
    let mut findings = Vec::new();
    for path in paths {
        for (at, _) in source.text.match_indices(path) {
            // `artwork/x` and `https://host/home/` are not absolute paths.
            let before = source.text[..at].chars().next_back();
            if !before.is_some_and(|c| c.is_alphanumeric() || "-_.~".contains(c)) {
                findings.push(source.finding(at, format!("{path} is a path of one machine")));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rust(text: &str) -> Source {
        Source::new("gateway/src/a.rs", text)
    }

    #[test]
    fn unfinished_work_is_found() {
        let note = concat!("// TO", "DO: later");
        assert_eq!(unfinished(&rust(note)).len(), 1);
        assert_eq!(
            unfinished(&Source::new("README.md", concat!("FIX", "ME"))).len(),
            1
        );
        assert_eq!(
            unfinished(&rust("fn f() { todo!() }\nunimplemented!(\"x\")")).len(),
            2
        );
        assert_eq!(
            unfinished(&rust("let todo = 1; // todo! is a macro")).len(),
            0
        );
        assert_eq!(
            unfinished(&Source::new("Cargo.toml", "todo = \"warn\"")).len(),
            0
        );
    }

    #[test]
    fn an_allow_without_a_reason_is_found() {
        for text in [
            "#[allow(dead_code)]",
            "#![allow(clippy::x)]",
            "#[expect(clippy::x)] // reason",
            "#[cfg_attr(test, allow(clippy::x))]",
        ] {
            assert_eq!(allow_without_reason(&rust(text)).len(), 1, "{text}");
        }
        for text in [
            "#[allow(dead_code, reason = \"why\")]",
            "#[expect(\n    clippy::x,\n    reason = \"why\"\n)]",
            "value.expect(\"why\")",
            "// #[allow(dead_code)]",
            "route.allow(peer)",
        ] {
            assert_eq!(allow_without_reason(&rust(text)).len(), 0, "{text}");
        }
    }

    #[test]
    fn a_file_of_601_lines_is_found() {
        assert!(too_long(&rust(&"x\n".repeat(600))).is_none());
        assert!(too_long(&rust(&"x\n".repeat(601))).is_some());
        assert!(too_long(&Source::new("tests/data/a.txt", &"x\n".repeat(601))).is_none());
    }

    #[test]
    fn a_file_without_an_opening_is_found() {
        for text in ["use std::fs;", "// A comment.\n", "//!\n//! Late.", ""] {
            assert!(without_opening(&rust(text)).is_some(), "{text:?}");
        }
        assert!(without_opening(&rust("//! What it is for.\n")).is_none());
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        for path in [concat!("cd /wo", "rk/x"), concat!("\"/ho", "me/me/x\"")] {
            assert_eq!(machine_paths(&rust(path)).len(), 1, "{path}");
        }
        let other = concat!("artwo", "rk/x.png https://a.example/ho", "me/");
        assert_eq!(machine_paths(&rust(other)).len(), 0);
    }
}
