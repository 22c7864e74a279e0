//! Changes what differs: the record first, then the values, then the files that keep them.

use std::path::Path;
use std::time::Instant;

use crate::files::{self, OurFile};
use crate::goal::Goal;
use crate::host::{Host, reason};
use crate::limits::ROUTE_WAIT;
use crate::place::is_card_name;
use crate::record::{Lock, Record, RecordError, Written};
use crate::service;
use crate::setting::{Change, Setting};
use crate::settings;
use crate::steering::Steering;
use crate::turn::{BootStage, Turn};
use crate::{kept, later};

/// What `apply` did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Settings that were changed: the name, the value before and the value after.
    pub changed: Vec<(String, String, String)>,
    /// Files that were written or removed, with their full paths.
    pub files: Vec<String>,
    /// Settings that a file of the administrator sets to another value at each start of the host.
    pub overridden: Vec<(String, String)>,
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

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The record cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The host is not as it was when the plan was shown.
    #[error("{0}; nothing was changed, run `wardgate tune apply` again to see what differs now")]
    Changed(String),
}

/// What [`apply`] would change, without changing it.
///
/// # Errors
/// The record of an earlier run cannot be read.
pub fn plan(host: &Host, goal: &Goal, program: &Path) -> Result<Applied, RecordError> {
    let record = Record::load(host)?.unwrap_or_else(Record::new);
    Ok(planned(host, goal, program, record))
}

fn planned(host: &Host, goal: &Goal, program: &Path, mut record: Record) -> Applied {
    let settings = settings::all(host, goal);
    let mut planned = Applied::default();
    for change in changes(host, &settings) {
        record.add(&change);
        planned
            .changed
            .push((change.setting, change.before, change.after));
    }
    let texts = kept::texts(host, goal, program, &settings, &record);
    let has_unit = has_unit(&texts);
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
    planned.remark(host, goal, &settings, lost_at_boot(host, &record, has_unit));
    planned
}

/// What would have to be written, in the order of writing.
fn changes(host: &Host, settings: &[Setting]) -> Vec<Change> {
    let changes = settings.iter().flat_map(|setting| setting.changes(host));
    let mut changes: Vec<Change> = changes.collect();
    changes.sort_by_key(|change| change.place.turn());
    changes
}

fn has_unit(texts: &[(OurFile, Option<String>)]) -> bool {
    let mut files = texts.iter().filter(|(_, text)| text.is_some());
    files.any(|(file, _)| *file == OurFile::BootUnit || *file == OurFile::LinkUnit)
}

impl Applied {
    /// Adds what an administrator should know, besides what was changed.
    fn remark(
        &mut self,
        host: &Host,
        goal: &Goal,
        settings: &[Setting],
        lost: Option<(String, String)>,
    ) {
        let unnamed = goal.cards.iter().filter(|card| !is_card_name(card));
        let unnamed = unnamed.map(|card| {
            let why = "this program gives no name with such characters to other programs";
            (format!("network card {card:?}"), why.to_owned())
        });
        self.not_applicable.extend(unnamed.chain(lost));
        let later = later::assignments(host);
        let later = settings.iter().filter_map(|setting| {
            let sentence = setting.overridden(&later)?;
            Some((setting.name.clone(), sentence))
        });
        self.overridden.extend(later);
    }

    /// The first difference from a plan that was shown before.
    fn difference(&self, shown: &Self) -> Option<String> {
        let new = |change: &&(String, String, String)| !shown.changed.contains(change);
        if let Some((setting, now, _)) = self.changed.iter().find(new) {
            return Some(format!(
                "{setting} has changed meanwhile: it is {now:?} now"
            ));
        }
        let old = |change: &&(String, String, String)| !self.changed.contains(change);
        if let Some((setting, ..)) = shown.changed.iter().find(old) {
            return Some(format!(
                "{setting} has changed meanwhile: it is as wanted now"
            ));
        }
        let files = shown.files.iter().chain(&self.files);
        let mut files =
            files.filter(|file| shown.files.contains(file) != self.files.contains(file));
        let file = files.next()?;
        Some(format!("{file} has changed meanwhile"))
    }
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
    (record.needs_boot(host) && !has_unit).then(|| ("keeping the values".to_owned(), why))
}

/// Changes every setting that differs from the goal, and keeps the changes after the next start of the host.
///
/// `program` is the path of `wardgate`, for the units that apply the settings again. `shown` is the plan that an
/// administrator has agreed to. The previous values are in the record before the first value changes. A second call
/// keeps the values that the first one recorded.
///
/// # Errors
/// The record cannot be read or written, or the host has changed since the plan was shown. If the record could not be
/// written before the first change, nothing was changed.
pub fn apply(
    host: &Host,
    goal: &Goal,
    program: &Path,
    shown: Option<&Applied>,
) -> Result<Applied, ApplyError> {
    let (_lock, made) = Lock::take(host)?;
    let mut record = Record::load(host)?.unwrap_or_else(Record::new);
    record.folders.extend(made);
    let changed = shown.and_then(|shown| {
        let now = planned(host, goal, program, record.clone());
        now.difference(shown)
    });
    if let Some(changed) = changed {
        if record.is_empty() {
            record.remove(host)?;
        }
        return Err(ApplyError::Changed(changed));
    }
    let mut applied = change_values(host, goal, &mut record, |_| true)?;
    let settings = settings::all(host, goal);
    let texts = kept::texts(host, goal, program, &settings, &record);
    let has_unit = has_unit(&texts);
    for (file, text) in texts {
        let path = host.path(file.path()).display().to_string();
        match write_file(host, &mut record, file, text)? {
            Ok(true) => applied.files.push(path),
            Ok(false) => {}
            Err(reason) => applied.not_applicable.push((path, reason)),
        }
    }
    applied.remark(host, goal, &settings, lost_at_boot(host, &record, has_unit));
    finish(host, &record)?;
    Ok(applied)
}

/// Changes the values of one stage, and no file.
///
/// # Errors
/// The record cannot be read or written.
pub fn apply_at_boot(host: &Host, goal: &Goal, stage: BootStage) -> Result<Applied, RecordError> {
    let (_lock, made) = Lock::take(host)?;
    let mut record = Record::load(host)?.unwrap_or_else(Record::new);
    record.folders.extend(made);
    let applied = change_values(host, goal, &mut record, |change| {
        change.place.stage(host) == Some(stage)
    })?;
    finish(host, &record)?;
    Ok(applied)
}

fn finish(host: &Host, record: &Record) -> Result<(), RecordError> {
    if record.is_empty() {
        record.remove(host)
    } else {
        record.save(host)
    }
}

/// Writes what differs and is selected, turn by turn. The record is saved before each turn.
fn change_values(
    host: &Host,
    goal: &Goal,
    record: &mut Record,
    is_selected: impl Fn(&Change) -> bool,
) -> Result<Applied, RecordError> {
    let mut applied = Applied::default();
    let first = changes(host, &settings::all(host, goal));
    let mut link_changed = false;
    for turn in Turn::ALL {
        let of_turn = match turn {
            // The driver may have forgotten more than what differed before.
            Turn::Rest if link_changed => changes(host, &settings::all(host, goal)),
            // A route that was lost with the link is set again by others.
            _ => first.clone(),
        };
        let of_turn: Vec<Change> = of_turn
            .into_iter()
            .filter(|change| change.place.turn() == turn && is_selected(change))
            .collect();
        if of_turn.is_empty() {
            continue;
        }
        let known = record.clone();
        of_turn.iter().for_each(|change| record.add(change));
        record.save(host)?;
        let links = of_turn.iter().filter(|_| turn == Turn::Link);
        let steering = Steering::of(host, links.map(|change| &change.place));
        let routes = Instant::now() + ROUTE_WAIT;
        for change in of_turn {
            if link_changed {
                // One that does not come back is reported by the write.
                let _ = change.place.await_route(host, routes);
            }
            match write(host, &change) {
                Ok(after) => {
                    record.add(&Change {
                        after: after.clone(),
                        ..change.clone()
                    });
                    applied.changed.push((change.setting, change.before, after));
                    link_changed |= turn == Turn::Link;
                }
                Err(reason) => {
                    forget(record, &known, &change);
                    applied.not_applicable.push((change.setting, reason));
                }
            }
        }
        steering.put_back(host);
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
