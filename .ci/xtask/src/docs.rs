//! The book in `docs`: pages that are generated from other files of the project, and its build by mdBook.
//!
//! A generated page is committed, so that it can be read without a build. A test fails when it differs from
//! what its source gives.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::steps::must;
use crate::{Workspace, bounds, messages, tiers};

/// A page, what it is made from, and how.
struct Generated {
    page: &'static str,
    source: &'static str,
    make: Make,
}

/// How a page is made.
enum Make {
    /// From the text of its source.
    Text(fn(&str) -> String),
    /// From several files below the root of the project.
    Root(fn(&Path) -> anyhow::Result<String>),
}

const GENERATED: [Generated; 4] = [
    Generated {
        page: "docs/src/reference/bounds.md",
        source: bounds::SOURCE,
        make: Make::Root(bounds::page),
    },
    Generated {
        page: "docs/src/reference/configuration.md",
        source: "packaging/etc/wardgate.toml",
        make: Make::Text(configuration),
    },
    Generated {
        page: "docs/src/reference/metrics.md",
        source: "tests/data/metrics.expected",
        make: Make::Text(metrics),
    },
    Generated {
        page: "docs/src/reference/messages.md",
        source: messages::SOURCE,
        make: Make::Root(messages::page),
    },
];

/// Writes the generated pages and builds the book where mdBook is installed.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    for generated in &GENERATED {
        let page = workspace.source(generated.page);
        fs::write(&page, generated.text(&workspace.source("."))?)
            .with_context(|| format!("cannot write {}", page.display()))?;
    }
    build(workspace)
}

/// Builds the book, or says that it does not.
pub(crate) fn build(workspace: &Workspace) -> anyhow::Result<()> {
    let Some(program) = mdbook(workspace) else {
        anyhow::ensure!(!tiers::requires("book"), "mdbook is not installed");
        println!("SKIPPED book: mdbook is not installed; `cargo xtask test` installs it");
        return Ok(());
    };
    let mut command = Command::new(program);
    command.arg("build").arg(workspace.source("docs"));
    must(command.arg("--dest-dir").arg(workspace.product("book")))?;
    println!("{}", workspace.product("book/index.html").display());
    Ok(())
}

/// The mdBook that `.ci/requirements.txt` installs, or the one in PATH.
pub(crate) fn mdbook(workspace: &Workspace) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).map(|folder| folder.join("mdbook"));
    std::iter::once(workspace.product("python/bin/mdbook"))
        .chain(folders)
        .find(|program| program.exists())
}

impl Generated {
    /// The page as its source below `root` gives it.
    fn text(&self, root: &Path) -> anyhow::Result<String> {
        let page = match self.make {
            Make::Text(make) => make(
                &fs::read_to_string(root.join(self.source))
                    .with_context(|| format!("cannot read {}", self.source))?,
            ),
            Make::Root(make) => make(root)?,
        };
        let note = format!(
            "<!-- Generated from {} by `cargo xtask docs`: change that source, not this page. -->\n\n",
            self.source
        );
        Ok(note + &page)
    }
}

/// The annotated configuration: a section for each table, an entry for each key.
fn configuration(toml: &str) -> String {
    let mut page = String::from(
        "# Configuration\n\nThis page is made from the file `packaging/etc/wardgate.toml`, from which a configuration can start.\n",
    );
    let mut section = None;
    for block in toml.split("\n\n") {
        let lines = block.lines().filter(|line| !line.starts_with("# ---"));
        let (prose, settings): (Vec<&str>, Vec<&str>) = lines.partition(|line| is_prose(line));
        if block.contains("# ---") {
            section = Some(prose);
            continue;
        }
        match settings[..] {
            [] => page += &paragraphs(&prose),
            [table] if table.starts_with('[') => {
                let _ = write!(page, "\n## `{table}`\n");
                page += &paragraphs(&section.take().unwrap_or_default());
                page += &paragraphs(&prose);
            }
            _ => {
                if !prose.is_empty() {
                    let _ = write!(page, "\n### {}\n", names(&settings));
                    page += &paragraphs(&prose);
                }
                page += &fence(&settings);
            }
        }
    }
    page
}

/// Whether a line of the annotated file is text: `# text`, where `#key = 1` is a key.
fn is_prose(line: &str) -> bool {
    line == "#" || line.starts_with("# ")
}

/// The table or the keys that a block is about: `` `[route.health]` `` or `` `a`, `b` ``.
fn names(settings: &[&str]) -> String {
    let mut settings = settings.iter().map(|line| line.trim_start_matches('#'));
    let name = |line: &str| {
        let key = line.split(" =").next().unwrap_or(line);
        format!("`{key}`")
    };
    match settings.clone().next() {
        Some(table) if table.starts_with('[') => name(table),
        _ => {
            let names: Vec<_> = settings.by_ref().map(name).collect();
            names.join(", ")
        }
    }
}

/// Text without its `# `; lines that are indented further are examples.
fn paragraphs(prose: &[&str]) -> String {
    let lines = prose.iter().map(|line| line.trim_start_matches('#'));
    let lines: Vec<_> = lines
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    let mut text = String::new();
    for part in lines.chunk_by(|a, b| is_example(a) == is_example(b)) {
        if part.first().is_some_and(|line| is_example(line)) {
            let example: Vec<_> = part.iter().map(|line| line.trim_start()).collect();
            text += &fence(&example);
        } else {
            let _ = write!(text, "\n{}\n", part.join("\n"));
        }
    }
    text
}

fn is_example(line: &str) -> bool {
    line.starts_with(' ')
}

fn fence(lines: &[&str]) -> String {
    format!("\n```toml\n{}\n```\n", lines.join("\n"))
}

/// Labels whose values are names of the site, not words of the program.
const FREE_LABELS: [&str; 6] = ["route", "peer", "target", "cpu", "version", "le"];

/// A row for each metric, from the lines `# HELP`, `# TYPE` and `# UNIT` and the rows of the golden list.
fn metrics(exposition: &str) -> String {
    let mut page = String::from(
        "# Metrics\n\nAll metrics of `/metrics`, in the order in which the gateway writes them. A counter has the suffix \
         `_total`, a histogram the suffixes `_bucket` (with the label `le`), `_sum` and `_count`. Rows of unusual results, versions, \
         suites, groups and of unusual responses appear with their first event. [Logs and \
         metrics](../guide/logs-and-metrics.md#metrics) explains the labels and suggests alerts.\n\n\
         | metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n",
    );
    for family in families(exposition) {
        let Family {
            name,
            kind,
            unit,
            help,
            ..
        } = family;
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let (unit, help) = (unit.unwrap_or("-"), help.replace('|', "\\|"));
        let labels = family.labels();
        let _ = writeln!(
            page,
            "| `{name}{suffix}` | {kind} | {unit} | {labels} | {help} |"
        );
    }
    page
}

/// A family of metrics in the golden list.
#[derive(Default)]
struct Family<'t> {
    name: &'t str,
    kind: &'t str,
    unit: Option<&'t str>,
    help: &'t str,
    rows: Vec<&'t str>,
}

fn families(exposition: &str) -> Vec<Family<'_>> {
    let mut families: Vec<Family> = Vec::new();
    for line in exposition.lines() {
        let words: Vec<_> = line.splitn(4, ' ').collect();
        match (words.as_slice(), families.last_mut()) {
            (["#", "HELP", name, help], _) => families.push(Family {
                name,
                help,
                ..Family::default()
            }),
            (["#", "TYPE", _, kind], Some(family)) => family.kind = kind,
            (["#", "UNIT", _, unit], Some(family)) => family.unit = Some(unit),
            (_, Some(family)) => family.rows.push(line),
            (_, None) => {}
        }
    }
    families
}

impl Family<'_> {
    /// `` `route`, `result` (`good` `refused`) ``: the values of a label where they are words of the program.
    fn labels(&self) -> String {
        let mut known: Vec<(&str, Vec<&str>)> = Vec::new();
        let labels = self.rows.iter().filter_map(|row| row.split_once('{'));
        let labels = labels.flat_map(|(_, rest)| rest.trim_end_matches('}').split("\","));
        for (label, value) in labels.filter_map(|one| one.split_once("=\"")) {
            let value = value.trim_end_matches('"');
            let at = known.iter().position(|(name, _)| *name == label);
            let at = at.unwrap_or_else(|| {
                known.push((label, Vec::new()));
                known.len() - 1
            });
            let values = &mut known[at].1;
            if !FREE_LABELS.contains(&label) && !values.contains(&value) {
                values.push(value);
            }
        }
        let each = known.iter().map(|(label, values)| match values[..] {
            [] => format!("`{label}`"),
            _ => format!("`{label}` (`{}`)", values.join("` `")),
        });
        let each: Vec<_> = each.collect();
        match each.is_empty() {
            true => "-".to_owned(),
            false => each.join(", "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    #[test]
    fn generated_pages_are_what_their_sources_give() {
        for generated in &GENERATED {
            let expected = generated.text(&root()).expect("the source is there");
            let page = fs::read_to_string(root().join(generated.page)).expect("the page is there");
            let same = page == expected;
            assert!(same, "{} is stale: run `cargo xtask docs`", generated.page);
        }
    }

    #[test]
    fn every_key_of_the_annotated_file_is_on_its_page() {
        let toml = fs::read_to_string(root().join("packaging/etc/wardgate.toml"));
        let toml = toml.expect("the file is there");
        let page = configuration(&toml);
        for line in toml
            .lines()
            .filter(|line| line.contains(" = ") && !is_prose(line))
        {
            assert!(page.lines().any(|of_page| of_page == line), "{line}");
        }
    }

    #[test]
    fn a_key_becomes_an_entry_with_its_text_and_its_default() {
        let toml =
            "# Top.\n\n# ---\n# The process.\n\n[gateway]\n\n# Why.\n#   a = 2\n#a = 1\n#b = 2\n";
        let page = configuration(toml);
        let expected = "\n\nTop.\n\n## `[gateway]`\n\nThe process.\n\n### `a`, `b`\n\nWhy.\n\n```toml\na = 2\n```\n\n\
                        ```toml\n#a = 1\n#b = 2\n```\n";
        let (_, rest) = page.split_once("can start.").expect("the opening");
        assert_eq!(rest, expected);
    }

    #[test]
    fn a_metric_becomes_a_row_with_its_type_unit_labels_and_help() {
        let page = metrics(
            "# HELP a_bytes Things | done.\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\n\
             a_bytes_total{route=\"x\",how=\"well\"}\na_bytes_total{route=\"x\",how=\"badly\"}\n\
             # HELP b Is it.\n# TYPE b gauge\nb\n",
        );
        assert!(
            page.ends_with(
                "| `a_bytes_total` | counter | bytes | `route`, `how` (`well` `badly`) | Things \\| done. |\n\
                 | `b` | gauge | - | - | Is it. |\n"
            ),
            "{page}"
        );
    }
}
