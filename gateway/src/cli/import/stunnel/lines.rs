//! Splits a configuration of stunnel into its lines, with those of included files.

use std::sync::Arc;

use super::super::Include;
use super::super::report::{ImportClass, ImportReport, LinePlace, MASKED, without_passwords};
use crate::cli::limits::IMPORT_LINES_MAX;

/// A line that is neither empty nor a comment.
#[derive(Debug)]
pub(super) struct OptionLine {
    pub(super) place: LinePlace,
    /// As written, without secrets.
    pub(super) text: String,
    pub(super) kind: Kind,
}

/// What a line is.
#[derive(Debug)]
pub(super) enum Kind {
    /// `[name]`.
    Section(String),
    /// `name = value`, the name in lowercase: stunnel ignores its case.
    Option { name: String, value: String },
}

impl OptionLine {
    /// The name of the option in lowercase; empty for the header of a section.
    pub(super) fn name(&self) -> &str {
        match &self.kind {
            Kind::Option { name, .. } => name,
            Kind::Section(_) => "",
        }
    }

    /// The value of the option, or the name of the section.
    pub(super) fn value(&self) -> &str {
        match &self.kind {
            Kind::Option { value, .. } => value,
            Kind::Section(name) => name,
        }
    }

    /// Whether it is this option; `name` in lowercase.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name() == name
    }
}

/// Options whose value is a secret or names one.
const SECRETS: [&str; 6] = [
    "psksecrets",
    "pskidentity",
    "protocolpassword",
    "protocolusername",
    "ticketkeysecret",
    "ticketmacsecret",
];

/// The lines of `text` and of the files that it includes. Lines that stunnel itself would refuse are reported.
pub(super) fn all(text: &str, include: Include<'_>, report: &mut ImportReport) -> Vec<OptionLine> {
    let mut lines = Vec::new();
    add(text, None, Some(include), &mut lines, report);
    lines
}

fn add(
    text: &str,
    file: Option<&Arc<str>>,
    include: Option<Include<'_>>,
    lines: &mut Vec<OptionLine>,
    report: &mut ImportReport,
) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (number, written) in text.lines().enumerate() {
        let place = LinePlace {
            file: file.cloned(),
            line: number.saturating_add(1),
        };
        let written = written.trim();
        if written.is_empty() || written.starts_with([';', '#']) {
            continue;
        }
        let Some((kind, text)) = read(written) else {
            let sentence =
                "stunnel does not read this line either: an option is NAME = VALUE on one line";
            report.add(&place, written, ImportClass::NotCarried, sentence);
            continue;
        };
        let line = OptionLine { place, text, kind };
        match include {
            Some(include) if line.is("include") => included(&line, include, lines, report),
            None if line.is("include") => {
                let sentence = "a file that is included does not include others here; import that folder's files \
                    on their own";
                report.add(&line.place, &line.text, ImportClass::NotCarried, sentence);
            }
            _ => lines.push(line),
        }
    }
}

/// Reads a line, and masks its secrets.
fn read(written: &str) -> Option<(Kind, String)> {
    let section = written
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if let Some(name) = section {
        return Some((Kind::Section(name.trim().to_owned()), written.to_owned()));
    }
    let (name, value) = written.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let lower = name.to_ascii_lowercase();
    let is_secret = SECRETS.contains(&lower.as_str());
    let shown = if is_secret && !value.is_empty() {
        MASKED.to_owned()
    } else {
        without_passwords(value)
    };
    let text = format!("{name} = {shown}");
    let value = value.to_owned();
    Some((Kind::Option { name: lower, value }, text))
}

fn included(
    line: &OptionLine,
    include: Include<'_>,
    lines: &mut Vec<OptionLine>,
    report: &mut ImportReport,
) {
    let files = match include(line.value()) {
        Ok(files) => files,
        Err(reason) => {
            report.add(&line.place, &line.text, ImportClass::NotCarried, reason);
            return;
        }
    };
    let mut count = 0_usize;
    for (name, text) in files {
        // LIMIT: IMPORT_LINES_MAX.
        if lines.len().saturating_add(text.lines().count()) > IMPORT_LINES_MAX {
            let sentence = format!(
                "{name} is left out: {IMPORT_LINES_MAX} lines are read at most; import it on its own"
            );
            report.add(&line.place, &line.text, ImportClass::NotCarried, sentence);
            continue;
        }
        count = count.saturating_add(1);
        add(&text, Some(&name.into()), None, lines, report);
    }
    let sentence = format!("{count} included files are read; one wardgate.toml holds all routes");
    report.add(&line.place, &line.text, ImportClass::Carried, sentence);
}
