//! Rules on the documents: README is short and shows its commands, promises have tests.

use std::collections::BTreeSet;

use crate::source::{Finding, Source};

/// Commands that a newcomer needs and README.md does not show as a line of their own.
pub(crate) fn missing_commands(readme: &str) -> Vec<&'static str> {
    ["cargo demo", "cargo xtask test"]
        .into_iter()
        .filter(|command| {
            !readme.lines().any(|line| {
                let line = line.trim_start_matches("$ ");
                line == *command
                    || line
                        .strip_prefix(command)
                        .is_some_and(|r| r.starts_with("  "))
            })
        })
        .collect()
}

/// The maximum number of words in README.md, which is one page.
const README_WORDS_MAX: usize = 1000;

/// Finds a README that is longer than a page.
pub(crate) fn long_readme(readme: &Source) -> Vec<Finding> {
    let words = readme.text.split_whitespace().count();
    let what = format!("{words} words; README is one page of at most {README_WORDS_MAX}");
    let finding = (words > README_WORDS_MAX).then(|| readme.finding_on_line(1, what));
    finding.into_iter().collect()
}

/// Messages that the page on troubleshooting shows and the gateway does not write.
///
/// They are in double backquotes there, with `...` for the variable parts. They must be in the golden file of wrong
/// set-ups or in a string of the gateway.
pub(crate) fn unknown_messages(page: &Source, sources: &[Source]) -> Vec<Finding> {
    let known: Vec<String> = sources
        .iter()
        .filter(|source| {
            source.path.starts_with("gateway/src/") || source.path == "tests/data/wrong_setups.md"
        })
        .map(|source| joined_strings(&source.text))
        .collect();
    let is_known = |part: &str| known.iter().any(|text| text.contains(part));
    let mut findings = Vec::new();
    for (line, text) in (1..).zip(page.text.lines()) {
        let messages = text.split("``").skip(1).step_by(2);
        for message in messages {
            let mut parts = message.split("...").map(str::trim);
            if !parts.all(is_known) {
                let what = format!("the gateway has no message {message:?}");
                findings.push(page.finding_on_line(line, what));
            }
        }
    }
    findings
}

/// The text with continued strings joined, and with their quotes unescaped.
fn joined_strings(text: &str) -> String {
    let mut lines = text.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    let whole = lines.fold(first, |whole, line| whole + line.trim_start());
    whole.replace("\\\"", "\"")
}

/// Tests that a document names and that do not exist.
pub(crate) fn promises_without_test(readme: &Source, sources: &[Source]) -> Vec<Finding> {
    let tests: BTreeSet<(&str, &str)> = sources
        .iter()
        .flat_map(|source| {
            let tier = tier(&source.path);
            tests_of(source).into_iter().map(move |name| (tier, name))
        })
        .collect();
    named_tests(&readme.text)
        .filter(|(_, name)| {
            let (tier, rest) = name.split_once("::").unwrap_or((name, ""));
            let test = rest.rsplit("::").next().unwrap_or_default();
            !tests.contains(&(tier, test))
        })
        .map(|(at, name)| readme.finding(at, format!("there is no test {name}")))
        .collect()
}

/// Rows of tables that name no test.
pub(crate) fn rows_without_test(model: &Source) -> Vec<Finding> {
    let lines: Vec<&str> = model.text.lines().collect();
    let is_row = |line: &str| line.starts_with("| ");
    // The line below a table's head consists of dashes.
    let is_head = |at: usize| {
        lines
            .get(at + 1)
            .is_some_and(|next| next.starts_with("|---"))
    };
    let rows = lines.iter().enumerate();
    rows.filter(|(at, line)| is_row(line) && !is_head(*at))
        .filter(|(_, line)| named_tests(line).next().is_none())
        .map(|(at, _)| model.finding_on_line(at + 1, "this row names no test".to_owned()))
        .collect()
}

const TIERS: [&str; 10] = [
    "simulation",
    "direct",
    "fuzz",
    "network",
    "security",
    "allocations",
    "interop",
    "wan",
    "packaging",
    "tidy",
];

/// The tier of the sources at this path; `unit` for everything else.
fn tier(path: &str) -> &str {
    let rest = path.strip_prefix("tests/").unwrap_or_default();
    let name = rest.split(['/', '.']).next().unwrap_or_default();
    if TIERS.contains(&name) { name } else { "unit" }
}

/// Names in backquotes that begin with a tier: `direct::some_test`.
fn named_tests(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices('`').filter_map(|(at, _)| {
        let name = text[at + 1..].split('`').next()?;
        let tier = name.split_once("::")?.0;
        (tier == "unit" || TIERS.contains(&tier)).then_some((at, name))
    })
}

/// The names of functions with an attribute that has `test` in its path.
fn tests_of(source: &Source) -> Vec<&str> {
    let mut names = Vec::new();
    let mut marked = false;
    for line in source.code.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
        }
        let function = line.trim_start_matches("async ").strip_prefix("fn ");
        if let Some(function) = function {
            names.extend(function.split('(').next().filter(|_| marked));
            marked = false;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_readme_without_its_commands_is_found() {
        let good = "```\ncargo demo\n$ cargo xtask test   # why\n```\n";
        assert_eq!(missing_commands(good), [""; 0]);
        let bad = "cargo demo-x and `cargo xtask test`\n";
        assert_eq!(missing_commands(bad).len(), 2);
    }

    #[test]
    fn a_readme_of_more_than_a_page_is_found() {
        let readme = |words: usize| Source::new("README.md", &"word ".repeat(words));
        assert_eq!(long_readme(&readme(README_WORDS_MAX)), []);
        assert_eq!(long_readme(&readme(README_WORDS_MAX + 1)).len(), 1);
    }

    #[test]
    fn a_message_that_the_gateway_does_not_write_is_found() {
        let code = "f(\"key {name} is \\\n     \\\"open\\\" to all\")";
        let sources = [Source::new("gateway/src/a.rs", code)];
        let page = "| ``key ... is \"open\" to all`` | ``key ... is closed`` | `gone` |\n";
        let found = unknown_messages(&Source::new("a.md", page), &sources);
        let lines: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            ["a.md:1: the gateway has no message \"key ... is closed\""]
        );
    }

    #[test]
    fn a_row_of_the_threat_model_without_a_test_is_found() {
        let text = "| who | test |\n|---|---|\n| a | `direct::held` |\n| b | `std::fs` |\n";
        let found = rows_without_test(&Source::new("docs/src/design/threat-model.md", text));
        let lines: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            ["docs/src/design/threat-model.md:4: this row names no test"]
        );
    }

    #[test]
    fn a_promise_with_a_missing_test_is_found() {
        let readme = Source::new(
            "README.md",
            "| a | `direct::held` |\n| b | `network::held` `direct::wan::there` `std::fs` |\n",
        );
        let tests = [
            Source::new(
                "tests/direct/wan.rs",
                "#[test]\nfn there() {}\nfn other() {}",
            ),
            Source::new(
                "tests/direct/main.rs",
                "/// Why.\n#[test]\n#[x]\nfn held() {}",
            ),
        ];
        let found = promises_without_test(&readme, &tests);
        let lines: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["README.md:2: there is no test network::held"]);
    }
}
