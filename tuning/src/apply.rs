//! Changes what differs: the record first, then the values, then the files that keep them.

use std::path::Path;

use crate::files::{self, OurFile};
use crate::goal::Goal;
use crate::host::{Host, reason};
use crate::kept;
use crate::record::{Lock, Record, RecordError, Written};
use crate::service;
use crate::setting::Change;
use crate::settings;

/// What `apply` did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Settings that were changed: the name, the value before and the value after.
    pub changed: Vec<(String, String, String)>,
    /// Files that were written or removed, with their full paths.
    pub files: Vec<String>,
    /// What could not be changed, with the reason. This is not an error: the rest was changed.
    pub not_applicable: Vec<(String, String)>,
}

impl Applied {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.files.is_empty()
    }
}

/// What [`apply`] would change, without changing it.
///
/// # Errors
/// The record of an earlier run cannot be read.
pub fn plan(host: &Host, goal: &Goal, program: &Path) -> Result<Applied, RecordError> {
    let mut record = Record::load(host)?.unwrap_or_else(Record::new);
    let settings = settings::all(host, goal);
    let mut planned = Applied::default();
    for change in settings.iter().flat_map(|setting| setting.changes(host)) {
        record.add(&change);
        planned
            .changed
            .push((change.setting, change.before, change.after));
    }
    let texts = kept::texts(host, goal, program, &settings, &record);
    let has_unit = texts
        .iter()
        .any(|(file, text)| *file == OurFile::BootUnit && text.is_some());
    for (file, text) in texts {
        let is_written = record.files.iter().any(|written| written.file == file);
        match (file.read(host), text) {
            (Ok(Some(now)), Some(text)) if now.text == text => {}
            (Ok(_), None) if !is_written => {}
            (Ok(None), None) => {}
            (Ok(_), _) => planned
                .files
                .push(host.path(file.path()).display().to_string()),
            (Err(reason), _) => {
                let path = host.path(file.path()).display().to_string();
                planned.not_applicable.push((path, reason.0));
            }
        }
    }
    planned
        .not_applicable
        .extend(lost_at_boot(host, &record, has_unit));
    Ok(planned)
}

/// A remark if values last only until the next start of the host, because there is no unit that applies them again.
fn lost_at_boot(host: &Host, record: &Record, has_unit: bool) -> Option<(String, String)> {
    let why = match service::is_installed(host) {
        false => "wardgate.service is not installed",
        true => {
            "this program is not the installed one, or its path has characters that a unit would have to quote"
        }
    };
    let why = format!(
        "{why}, so only sysctls last longer than until the next start of the host; run `wardgate tune apply` again \
         when that has changed"
    );
    (record.needs_boot() && !has_unit).then(|| ("keeping the values".to_owned(), why))
}

/// Changes every setting that differs from the goal, and keeps the changes after the next start of the host.
///
/// `program` is the path of `wardgate`, for the unit that applies the settings again. The previous values are
/// in the record before the first value changes. A second call keeps the values that the first one recorded.
///
/// # Errors
/// The record cannot be read or written. If it could not be written before the first change, nothing was changed.
pub fn apply(host: &Host, goal: &Goal, program: &Path) -> Result<Applied, RecordError> {
    let (_lock, made) = Lock::take(host)?;
    let known = Record::load(host)?;
    let mut record = known.unwrap_or_else(Record::new);
    record.folders.extend(made);
    let settings = settings::all(host, goal);
    let changes: Vec<Change> = settings
        .iter()
        .flat_map(|setting| setting.changes(host))
        .collect();
    let known = record.clone();
    for change in &changes {
        record.add(change);
    }
    record.save(host)?;

    let mut applied = Applied::default();
    for change in changes {
        match write(host, &change) {
            Ok(after) => {
                record.add(&Change {
                    after: after.clone(),
                    ..change.clone()
                });
                applied.changed.push((change.setting, change.before, after));
            }
            Err(reason) => {
                forget(&mut record, &known, &change);
                applied.not_applicable.push((change.setting, reason));
            }
        }
    }
    let texts = kept::texts(host, goal, program, &settings, &record);
    let has_unit = texts
        .iter()
        .any(|(file, text)| *file == OurFile::BootUnit && text.is_some());
    for (file, text) in texts {
        let path = host.path(file.path()).display().to_string();
        match write_file(host, &mut record, file, text)? {
            Ok(true) => applied.files.push(path),
            Ok(false) => {}
            Err(reason) => applied.not_applicable.push((path, reason)),
        }
    }
    applied
        .not_applicable
        .extend(lost_at_boot(host, &record, has_unit));
    if record.is_empty() {
        record.remove(host)?;
    } else {
        record.save(host)?;
    }
    Ok(applied)
}

/// Writes a value and returns what the kernel made of it.
fn write(host: &Host, change: &Change) -> Result<String, String> {
    change
        .place
        .write(host, &change.after)
        .map_err(|reason| reason.0)?;
    let now = change.place.read(host).map_err(|reason| reason.0)?;
    if change.place.same(&now, &change.before) {
        return Err("the driver or the kernel kept its value".to_owned());
    }
    Ok(now)
}

/// Takes a change back out of the record that had no effect.
fn forget(record: &mut Record, known: &Record, change: &Change) {
    let before = known
        .values
        .iter()
        .find(|value| value.place == change.place);
    match before {
        Some(before) => {
            let own = record
                .values
                .iter_mut()
                .find(|value| value.place == change.place);
            if let Some(own) = own {
                own.after.clone_from(&before.after);
            }
        }
        None => record.values.retain(|value| value.place != change.place),
    }
}

/// Brings one of our files to this text, or removes it; the record is saved before the file changes.
///
/// The outer error is one of the record; the inner one is the reason that the file was left alone.
fn write_file(
    host: &Host,
    record: &mut Record,
    file: OurFile,
    text: Option<String>,
) -> Result<Result<bool, String>, RecordError> {
    let now = match file.read(host) {
        Ok(now) => now,
        Err(reason) => return Ok(Err(reason.0)),
    };
    let known = record.files.iter().position(|written| written.file == file);
    let is_same = now.as_ref().map(|now| &now.text) == text.as_ref();
    match known.and_then(|at| record.files.get_mut(at)) {
        _ if is_same => return Ok(Ok(false)),
        None if text.is_none() => return Ok(Ok(false)),
        None => {
            let after = text.clone().unwrap_or_default();
            record.files.push(Written {
                file,
                before: now.clone(),
                after,
            });
        }
        Some(written) => {
            if now.as_ref().is_some_and(|now| now.text != written.after) {
                return Ok(Err("it was changed since the last `tune apply`".to_owned()));
            }
            written.after = text.clone().unwrap_or_default();
        }
    }
    record.save(host)?;
    let before = record.files.iter().find(|written| written.file == file);
    let before = before.and_then(|written| written.before.clone());
    let done = match &text {
        Some(text) => files::write(host, file.path(), text, now.as_ref()).map(|made| {
            record.folders.extend(made);
        }),
        None => restore(host, file, before.as_ref()),
    };
    if text.is_none() && done.is_ok() {
        record.files.retain(|written| written.file != file);
    }
    Ok(done.map(|()| true).map_err(|error| reason(&error)))
}

/// Brings a file back to what it was.
pub(crate) fn restore(
    host: &Host,
    file: OurFile,
    before: Option<&files::Saved>,
) -> std::io::Result<()> {
    match before {
        Some(saved) => files::write(host, file.path(), &saved.text, Some(saved)).map(drop),
        None => files::remove(host, file.path()),
    }
}
