//! Rules on the documents: links lead somewhere, commands are the real ones, promises have tests.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use crate::source::{Finding, Source};

/// Finds relative links of a document that lead to no file or folder below `root`.
pub(crate) fn dead_links(source: &Source, root: &Path) -> Vec<Finding> {
    if !source.is("md") {
        return Vec::new();
    }
    let text = without_code(&source.text);
    let folder = Path::new(&source.path).parent().unwrap_or(Path::new(""));
    links(&text)
        .filter(|(_, link)| !link.contains("://") && !link.starts_with(['#', '<']))
        .filter(|(_, link)| !link.starts_with("mailto:"))
        .filter_map(|(at, link)| {
            let file = link.split('#').next().unwrap_or_default();
            let found = inside(&folder.join(file)).is_some_and(|path| root.join(path).exists());
            let what = format!("the link {link:?} leads nowhere");
            (!found).then(|| source.finding(at, what))
        })
        .collect()
}

/// Targets of `[text](target)`, `src="target"` and `srcset="target"`.
fn links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"')]
        .into_iter()
        .flat_map(move |(start, end)| {
            text.match_indices(start).filter_map(move |(at, _)| {
                let target = text[at + start.len()..].split(end).next()?;
                // `[text](target "title")` has a title.
                Some((at, target.split(' ').next().unwrap_or(target)))
            })
        })
}

/// The path without `..`; `None` where it leaves the project.
fn inside(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => {}
            Component::ParentDir if clean.pop() => {}
            _ => return None,
        }
    }
    Some(clean)
}

/// The text with fenced blocks and code spans blanked out, position by position.
fn without_code(text: &str) -> String {
    let mut result = String::new();
    let mut fenced = false;
    for line in text.split_inclusive('\n') {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        let mut span = false;
        for c in line.chars() {
            span ^= c == '`';
            let hidden = (fenced || fence || span) && c != '\n';
            if hidden {
                result.extend(std::iter::repeat_n(' ', c.len_utf8()));
            } else {
                result.push(c);
            }
        }
    }
    result
}

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

/// Constants of `limits.rs` that docs/src/reference/bounds.md has no row for.
pub(crate) fn bounds_without_row(limits: &Source, bounds: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, text) in (1..).zip(limits.code.lines()) {
        let name = text
            .strip_prefix("pub const ")
            .and_then(|rest| rest.split(':').next());
        let row = |name: &str| {
            let cell = format!("`{name}`");
            let mut rows = bounds.lines().filter(|line| line.starts_with('|'));
            rows.any(|row| row.contains(&cell))
        };
        if let Some(name) = name.filter(|name| !row(name)) {
            let what = format!("{name} has no row in docs/src/reference/bounds.md");
            findings.push(limits.finding_on_line(line, what));
        }
    }
    findings
}

/// Tests that a document names and nobody wrote.
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
    // The line below a table's head is the one of dashes.
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

const TIERS: [&str; 7] = [
    "simulation",
    "direct",
    "fuzz",
    "network",
    "security",
    "interop",
    "tidy",
];

/// The tier whose sources lie at this path; `unit` for everything else.
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

/// Names of functions that stand under an attribute with `test` in its path.
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
    fn a_dead_link_is_found_wherever_it_stands() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = "[a](Cargo.toml) [b](gone.md#x) [c](https://a.example/) [d](#below)\n\
                    <img src=\"gone.svg\"> `[e](code.md)`\n```\n[f](code.md)\n```\n\
                    [g](../outside.md) [h](tidy.rs \"title\")\n";
        let found = dead_links(&Source::new("a.md", text), root);
        let lines: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "a.md:1: the link \"gone.md#x\" leads nowhere",
                "a.md:6: the link \"../outside.md\" leads nowhere",
                "a.md:2: the link \"gone.svg\" leads nowhere",
            ]
        );
    }

    #[test]
    fn a_readme_without_its_commands_is_found() {
        let good = "```\ncargo demo\n$ cargo xtask test   # why\n```\n";
        assert_eq!(missing_commands(good), [""; 0]);
        let bad = "cargo demo-x and `cargo xtask test`\n";
        assert_eq!(missing_commands(bad).len(), 2);
    }

    #[test]
    fn a_bound_without_a_row_is_found() {
        let text = "//! Bounds.\npub const A_MAX: u8 = 1;\npub const B_MAX: u8 = 2;\n";
        let limits = Source::new("gateway/src/limits.rs", text);
        let found = bounds_without_row(&limits, "About `B_MAX`.\n| x | `A_MAX` | y |\n");
        let lines: Vec<_> = found.iter().map(ToString::to_string).collect();
        let expected = "gateway/src/limits.rs:3: B_MAX has no row in docs/src/reference/bounds.md";
        assert_eq!(lines, [expected]);
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
    fn a_promise_whose_test_nobody_wrote_is_found() {
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
