//! Restores what `apply` changed, and nothing else.

use std::time::Instant;

use crate::apply::restore;
use crate::host::{Host, reason};
use crate::limits::ROUTE_WAIT;
use crate::place::Place;
use crate::record::{Lock, Record, RecordError, Value, Written};
use crate::steering::Steering;
use crate::turn::Turn;

/// What `undo` did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Undone {
    /// Settings and files that are as they were before `apply`.
    pub restored: Vec<String>,
    /// What was changed by others since, or is gone. It was left alone, and is not in the record any more.
    pub left: Vec<Left>,
    /// What could not be restored. It stays in the record, so that `undo` can be repeated.
    pub failed: Vec<Left>,
}

/// A setting or file that `undo` did not restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The name of the setting, or the path of the file.
    pub what: String,
    /// Why.
    pub why: String,
}

/// What happened to one place or file.
enum Outcome {
    Restored,
    Left(String),
    Failed(String),
}

/// Restores the values and files that `apply` recorded, where they are still what `apply` wrote; nothing if there is no
/// record.
///
/// # Errors
/// The record cannot be read, is not trusted, or cannot be written.
pub fn undo(host: &Host) -> Result<Option<Undone>, RecordError> {
    if Record::load(host)?.is_none() {
        return Ok(None);
    }
    let (_lock, _) = Lock::take(host)?;
    let Some(mut record) = Record::load(host)? else {
        return Ok(None);
    };
    let mut undone = Undone::default();
    // In the order of `apply`, whatever order several of them recorded.
    record.values.sort_by_key(|value| value.place.turn());
    let links = record.values.iter().filter(|value| {
        let now = value.place.read(host);
        value.place.turn() == Turn::Link
            && now.is_ok_and(|now| !value.place.same(&now, &value.before))
    });
    let links: Vec<Place> = links.map(|value| value.place.clone()).collect();
    let mut steering = Some(Steering::of(host, links.iter()));
    // A link that is down for a moment may take routes with it.
    let routes = record.values.iter().filter(|value| {
        let is_route = value.place.turn() == Turn::Routes;
        is_route && !links.is_empty() && value.place.read(host).is_ok()
    });
    let routes: Vec<Place> = routes.map(|value| value.place.clone()).collect();
    let until = Instant::now() + ROUTE_WAIT;
    record.values.retain(|value| {
        if value.place.turn() > Turn::Link
            && let Some(steering) = steering.take()
        {
            steering.put_back(host);
        }
        let what = value.setting.clone();
        if routes.contains(&value.place) && !value.place.await_route(host, until) {
            let why = "the route has not come back since the link was down".to_owned();
            return undone.note(what, Outcome::Failed(why));
        }
        undone.note(what, restore_value(host, value))
    });
    if let Some(steering) = steering {
        steering.put_back(host);
    }
    record.files.retain(|written| {
        let what = host.path(written.file.path()).display().to_string();
        undone.note(what, restore_file(host, written))
    });
    if record.is_empty() {
        record.remove(host)?;
    } else {
        record.save(host)?;
    }
    Ok(Some(undone))
}

impl Undone {
    /// Notes an outcome, and returns whether it must stay in the record.
    fn note(&mut self, what: String, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Restored => {
                if !self.restored.contains(&what) {
                    self.restored.push(what);
                }
                false
            }
            Outcome::Left(why) => {
                self.left.push(Left { what, why });
                false
            }
            Outcome::Failed(why) => {
                self.failed.push(Left { what, why });
                true
            }
        }
    }
}

fn restore_value(host: &Host, value: &Value) -> Outcome {
    let place = &value.place;
    if !place.is_ours() {
        return Outcome::Left(
            "the record names a place that is not one of this program".to_owned(),
        );
    }
    let now = match place.read(host) {
        Ok(now) => now,
        Err(reason) => return Outcome::Left(format!("it is gone: {reason}")),
    };
    if place.same(&now, &value.before) {
        return Outcome::Restored;
    }
    if !place.same(&now, &value.after) {
        let (after, before) = (&value.after, &value.before);
        return Outcome::Left(format!(
            "it is {now:?}, but `tune apply` wrote {after:?}: it was changed since. Before `tune apply`, it was {before:?}"
        ));
    }
    if let Err(reason) = place.write(host, &value.before) {
        return Outcome::Failed(reason.0);
    }
    match place.read(host) {
        Ok(now) if place.same(&now, &value.before) => Outcome::Restored,
        Ok(now) => Outcome::Failed(format!(
            "it is {now:?} after {:?} was written",
            value.before
        )),
        Err(reason) => Outcome::Failed(reason.0),
    }
}

fn restore_file(host: &Host, written: &Written) -> Outcome {
    let now = match written.file.read(host) {
        Ok(now) => now,
        Err(reason) => return Outcome::Left(reason.0),
    };
    if now == written.before {
        return Outcome::Restored;
    }
    match now {
        Some(now) if now.text == written.after => {
            match restore(host, written.file, written.before.as_ref()) {
                Ok(()) => Outcome::Restored,
                Err(error) => Outcome::Failed(reason(&error)),
            }
        }
        Some(_) => Outcome::Left("it was changed since `tune apply` wrote it".to_owned()),
        None => Outcome::Left("it was removed since `tune apply` wrote it".to_owned()),
    }
}
