//! Targets for single called AE titles: `[[route.ae]]`.

use std::collections::HashMap;

use super::file;
use super::list::{self, is_listed, shown};
use super::problem::Problems;
use super::targets::{Expected, targets};
use super::{Located, Target};
use crate::config::limits::AE_TITLES_MAX;
use crate::dicom::AeTitle;

/// A table, with the parts that are readable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByTitle {
    /// The titles; never empty.
    pub called: Vec<AeTitle>,
    /// Where associations with them go; 1 to `limits::TARGETS_MAX`.
    pub targets: Vec<Target>,
}

/// A table as far as it could be read.
pub(super) struct TitleTable {
    called: Vec<Located<AeTitle>>,
    pub(super) targets: Vec<Located<Target>>,
}

/// Reads the tables.
pub(super) fn resolve(
    route: &file::Route,
    expected: &Expected<'_>,
    problems: &mut Problems,
) -> Vec<TitleTable> {
    let Some(tables) = route.ae.value() else {
        return Vec::new();
    };
    if tables.value.is_empty() {
        let text = format!("{}ae is an empty list; remove it", route.scope);
        problems.wrong(tables.line, text);
    }
    // LIMIT: `AE_TITLES_MAX`. Each table has at least one title.
    if let Some(beyond) = tables.value.get(AE_TITLES_MAX) {
        let text = format!(
            "{}more than {AE_TITLES_MAX} tables [[route.ae]]; split the route",
            route.scope
        );
        problems.wrong(beyond.line, text);
        return Vec::new();
    }
    let tables = tables.value.iter();
    tables
        .map(|written| table(written, expected, problems))
        .collect()
}

fn table(written: &file::Ae, expected: &Expected<'_>, problems: &mut Problems) -> TitleTable {
    let file::Ae { scope, line, .. } = written;
    for (key, is_absent, remedy) in [
        ("called", written.called.is_absent(), CALLED_REMEDY),
        ("targets", written.targets.is_absent(), TARGETS_REMEDY),
    ] {
        if is_absent {
            let text = format!("{scope}{key} is missing; write {remedy}");
            problems.missing(Some(*line), text);
        }
    }
    let called = written.called.value();
    let called = called.map(|list| list::titles(scope, "called", list, problems));
    let listed = written.targets.value();
    let listed = listed.map(|list| targets(scope, list, expected, problems));
    TitleTable {
        called: called.unwrap_or_default(),
        targets: listed.unwrap_or_default(),
    }
}

const CALLED_REMEDY: &str = "the AE titles that go to these targets: called = [\"ARCHIVE\"]";
const TARGETS_REMEDY: &str =
    "the addresses for associations with these titles: targets = [\"10.20.0.9:104\"]";

/// Checks the tables together with each other and with the other keys of their route.
pub(super) fn check(
    route: &file::Route,
    tables: &[TitleTable],
    called: Option<&[Located<AeTitle>]>,
    problems: &mut Problems,
) {
    let mut lines = HashMap::new();
    for title in tables.iter().flat_map(|table| &table.called) {
        check_title(route, title, called, &mut lines, problems);
    }
    // LIMIT: `AE_TITLES_MAX`.
    if lines.len() > AE_TITLES_MAX {
        let text = format!(
            "{}the tables [[route.ae]] have {} titles, and {AE_TITLES_MAX} is the maximum; split the \
             route",
            route.scope,
            lines.len()
        );
        problems.wrong(route.line, text);
    }
    if !tables.is_empty() && route.targets.is_absent() {
        refuse_without_target(route, &lines, called.unwrap_or_default(), problems);
    }
}

fn check_title(
    route: &file::Route,
    title: &Located<AeTitle>,
    called: Option<&[Located<AeTitle>]>,
    lines: &mut HashMap<AeTitle, usize>,
    problems: &mut Problems,
) {
    let scope = format!("{}[[route.ae]]: ", route.scope);
    let shown = shown(title.value);
    if let Some(first) = lines.get(&title.value) {
        let text = format!(
            "{scope}called {shown} is in the table of line {first} already; a title has one list of \
             targets, so remove one"
        );
        problems.wrong(title.line, text);
        return;
    }
    lines.insert(title.value, title.line);
    if !is_listed(called, title.value) {
        let text = format!(
            "{scope}called {shown} is not in called_ae, which must list all titles that may be called; add it \
             there, or remove it here"
        );
        problems.wrong(title.line, text);
    }
}

/// Reports titles that are allowed in `called_ae` but have no target.
fn refuse_without_target(
    route: &file::Route,
    lines: &HashMap<AeTitle, usize>,
    called: &[Located<AeTitle>],
    problems: &mut Problems,
) {
    for title in called {
        if !lines.contains_key(&title.value) {
            let text = format!(
                "{}called_ae {} has no targets: it is in no [[route.ae]], and the route has no targets for \
                    other titles; add one of the two",
                route.scope,
                shown(title.value)
            );
            problems.wrong(title.line, text);
        }
    }
}

/// A resolved table.
pub(super) fn meant(table: &TitleTable) -> ByTitle {
    ByTitle {
        called: table.called.iter().map(|title| title.value).collect(),
        targets: list::values(table.targets.clone()),
    }
}
