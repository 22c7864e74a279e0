//! Reads the configuration of stunnel (stunnel(8), version 5) and drafts a route for each of its services.

mod lines;
mod process;
mod route;
mod service;
mod tls;

use std::collections::HashSet;

use super::draft::NewConfig;
use super::report::{ImportClass, ImportReport};
use super::{ImportContext, Include};
use crate::cli::limits::IMPORT_ROUTES_MAX;
use lines::{Kind, OptionLine};

/// Imports the text of a configuration. `include` returns the files of a folder.
pub(super) fn import(
    text: &str,
    context: &ImportContext,
    include: Include<'_>,
) -> (NewConfig, ImportReport) {
    let mut report = ImportReport::default();
    let mut draft = NewConfig::default();
    let lines = lines::all(text, include, &mut report);
    let first_section = lines
        .iter()
        .position(|line| matches!(line.kind, Kind::Section(_)));
    let (head, sections) = lines.split_at(first_section.unwrap_or(lines.len()));
    // What stands before the first section is of the process, or a default of all services.
    let mut defaults = Vec::new();
    for line in head {
        if !process::report(line, &mut report) {
            defaults.push(line);
        }
    }
    if sections.is_empty() && defaults.iter().any(|line| line.is("accept")) {
        route::import(None, &defaults, &[], &mut draft, context, &mut report);
    }
    for part in sections.chunk_by(|_, next| !matches!(next.kind, Kind::Section(_))) {
        let Some((header, own)) = part.split_first() else {
            continue;
        };
        let own: Vec<_> = own
            .iter()
            .filter(|line| !process::has(line) || !process::report(line, &mut report))
            .collect();
        // LIMIT: IMPORT_ROUTES_MAX.
        if draft.routes.len() >= IMPORT_ROUTES_MAX {
            let sentence = format!(
                "{IMPORT_ROUTES_MAX} routes are written at most; import the other services from a file of their own"
            );
            report.add(
                &header.place,
                &header.text,
                ImportClass::NotCarried,
                sentence,
            );
            continue;
        }
        route::import(
            Some(header),
            &defaults,
            &own,
            &mut draft,
            context,
            &mut report,
        );
    }
    // Every line is reported: here are those that no service uses.
    let of_services: HashSet<&str> = sections.iter().map(OptionLine::name).collect();
    let is_replaced = |line: &&OptionLine| of_services.contains(line.name());
    for line in head.iter().filter(is_replaced) {
        if !report.mentions(&line.place) {
            let sentence = "the services have values of their own";
            report.add(&line.place, &line.text, ImportClass::Carried, sentence);
        }
    }
    for line in &lines {
        if !report.mentions(&line.place) {
            let sentence = "no service that is carried uses this line";
            report.add(&line.place, &line.text, ImportClass::NotCarried, sentence);
        }
    }
    (draft, report)
}

/// `yes` or `no`, as stunnel reads them.
fn is_yes(line: &OptionLine) -> bool {
    line.value().eq_ignore_ascii_case("yes")
}
