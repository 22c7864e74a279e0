//! Rules on links: each leads to a file and a heading that exist, and the book lists all its pages.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::source::{Finding, Source};

/// The folder of the book's pages.
const BOOK: &str = "docs/src/";

/// Finds relative links of a document that lead to no file or folder below `root`, or to no heading of a page.
///
/// A page of the book may link to pages of the book only: the built book has no other files of the project.
pub(crate) fn dead(source: &Source, root: &Path) -> Vec<Finding> {
    if !source.is("md") {
        return Vec::new();
    }
    let text = without_code(&source.text);
    links(&text)
        .filter(|(_, link)| !link.contains("://") && !link.starts_with('<'))
        .filter(|(_, link)| !link.starts_with("mailto:"))
        .filter_map(|(at, link)| Some(source.finding(at, fault(source, link, root)?)))
        .collect()
}

/// The fault of a relative link, if it has one.
fn fault(source: &Source, link: &str, root: &Path) -> Option<String> {
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let folder = Path::new(&source.path).parent().unwrap_or(Path::new(""));
    let path = match file {
        "" => Some(PathBuf::from(&source.path)),
        _ => inside(&folder.join(file)),
    };
    let Some(path) = path.filter(|path| file.is_empty() || root.join(path).exists()) else {
        return Some(format!("the link {link:?} leads nowhere"));
    };
    if source.path.starts_with(BOOK) && !path.starts_with(BOOK) {
        return Some(format!("the link {link:?} leads out of the book"));
    }
    let found = anchor.is_empty() || anchors(source, &path, root).contains(anchor);
    (!found).then(|| format!("the link {link:?} leads to no heading"))
}

/// The anchors of a page's headings, as mdBook and code hosts make them.
fn anchors(source: &Source, path: &Path, root: &Path) -> BTreeSet<String> {
    let text = match path == Path::new(&source.path) {
        true => source.text.clone(),
        false => fs::read_to_string(root.join(path)).unwrap_or_default(),
    };
    let mut fenced = false;
    let headings = text.lines().filter(|line| {
        fenced ^= line.trim_start().starts_with("```");
        !fenced && line.starts_with('#')
    });
    headings.map(anchor).collect()
}

fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim();
    text.chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            _ => Some(c.to_ascii_lowercase()).filter(|c| c.is_alphanumeric()),
        })
        .collect()
}

/// Pages of the book that its `SUMMARY.md` does not list.
pub(crate) fn unlisted_pages(sources: &[Source]) -> Vec<Finding> {
    let summary = sources
        .iter()
        .find(|source| source.path == format!("{BOOK}SUMMARY.md"));
    let summary = summary.map_or("", |summary| &summary.text);
    let listed: BTreeSet<_> = links(summary).map(|(_, link)| link).collect();
    sources
        .iter()
        .filter_map(|source| Some((source, source.path.strip_prefix(BOOK)?)))
        .filter(|(source, page)| source.is("md") && *page != "SUMMARY.md")
        .filter(|(_, page)| !listed.contains(page))
        .map(|(source, _)| source.finding_on_line(1, "SUMMARY.md does not list this page"))
        .collect()
}

/// Finds files of the sources that a page of the book names in code spans, and that do not exist.
///
/// A path counts from the root or from `gateway/src`, as `relay/seal.rs` does.
pub(crate) fn missing_files(source: &Source, root: &Path) -> Vec<Finding> {
    let is_page = source.path.starts_with(BOOK) && !source.text.starts_with("<!-- Generated from ");
    let text = if is_page { source.text.as_str() } else { "" };
    let spans = text.split('`').skip(1).step_by(2);
    spans
        .filter(|span| is_source_file(span))
        .filter(|span| {
            ![root.join(span), root.join("gateway/src").join(span)]
                .iter()
                .any(|path| path.exists())
        })
        .map(|span| {
            let at = span.as_ptr().addr() - source.text.as_ptr().addr();
            source.finding(at, format!("there is no file {span}"))
        })
        .collect()
}

fn is_source_file(span: &str) -> bool {
    let is_path = span.contains('/') && !span.starts_with(['/', '.']);
    is_path
        && [".rs", ".md", ".expected"]
            .iter()
            .any(|end| span.ends_with(end))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let findings = dead(&Source::new(path, text), root);
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_dead_link_is_found_everywhere() {
        let text = "[a](Cargo.toml) [b](gone.md#x) [c](https://a.example/)\n\
                    <img src=\"gone.svg\"> `[e](code.md)`\n```\n[f](code.md)\n```\n\
                    [g](../outside.md) [h](tidy.rs \"title\")\n";
        let expected = [
            "a.md:1: the link \"gone.md#x\" leads nowhere",
            "a.md:6: the link \"../outside.md\" leads nowhere",
            "a.md:2: the link \"gone.svg\" leads nowhere",
        ];
        assert_eq!(found("a.md", text), expected);
    }

    #[test]
    fn a_link_to_no_heading_is_found_on_its_page_and_on_another() {
        let text = "# One `two`, three\n## Undo_it\n```\n# not one\n```\n[a](#one-two-three) [b](#undo_it) \
                    [c](#not-one)\n[d](README.md#nowhere)\n";
        let expected = [
            "a.md:6: the link \"#not-one\" leads to no heading",
            "a.md:7: the link \"README.md#nowhere\" leads to no heading",
        ];
        assert_eq!(found("a.md", text), expected);
    }

    #[test]
    fn a_page_of_the_book_that_links_out_of_it_is_found() {
        let line = "docs/src/a.md:1: the link \"../../Cargo.toml\" leads out of the book";
        assert_eq!(found("docs/src/a.md", "[a](../../Cargo.toml)\n"), [line]);
    }

    #[test]
    fn a_file_that_does_not_exist_is_found_on_a_page_of_the_book() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let text = "`relay/mod.rs` `tests/tidy.rs` `mod.rs` `/x/a.rs`\n`relay/gone.rs` gone\n";
        let found = missing_files(&Source::new("docs/src/a.md", text), &root);
        let lines: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["docs/src/a.md:2: there is no file relay/gone.rs"]);
    }

    #[test]
    fn a_page_that_the_summary_does_not_list_is_found() {
        let pages = ["docs/src/a.md", "docs/src/b/c.md", "docs/book.toml"];
        let mut sources = Vec::from(pages.map(|path| Source::new(path, "")));
        sources.push(Source::new("docs/src/SUMMARY.md", "- [A](a.md)\n"));
        let found = unlisted_pages(&sources);
        let lines: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            ["docs/src/b/c.md:1: SUMMARY.md does not list this page"]
        );
    }
}
