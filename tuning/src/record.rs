//! The record of what `apply` changed: `/var/lib/wardgate-tune/tune.json`.
//!
//! The record is written before a value is changed. It keeps the first value of each place, however often `apply`
//! runs. Its folder may belong to the service's user, so the record is read only if root (or the user who runs this
//! program) owns it and no other user can write to it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use rustix::fs::OFlags;
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

use crate::files::{self, OurFile, Saved};
use crate::host::Host;
use crate::limits::RECORD_BYTES_MAX;
use crate::place::Place;
use crate::setting::Change;
use crate::turn::BootStage;

const FOLDER: &str = "var/lib/wardgate-tune";
const FILE: &str = "var/lib/wardgate-tune/tune.json";
const VERSION: u32 = 1;

/// What `apply` changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    version: u32,
    pub(crate) values: Vec<Value>,
    pub(crate) files: Vec<Written>,
    /// Folders that were made, below the root, in that order.
    pub(crate) folders: Vec<String>,
}

/// A value before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Value {
    pub(crate) setting: String,
    pub(crate) place: Place,
    pub(crate) before: String,
    pub(crate) after: String,
}

/// A file before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Written {
    pub(crate) file: OurFile,
    pub(crate) before: Option<Saved>,
    pub(crate) after: String,
}

/// Why the record could not be read or written. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file or its folder could not be read or written.
    #[error("cannot {act} {path}: {cause}; run this command as root")]
    File {
        /// What was tried.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// The file is not trusted.
    #[error(
        "{path} is not used: it belongs to user {owner}, or other users can write to it, so its values may be false; \
         find out who changed it, or remove it: then nothing is restored"
    )]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// The file is not a record.
    #[error("{path} is not a record of this version of `wardgate tune`: {cause}")]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// Another process holds the record.
    #[error("another `wardgate tune` runs at this moment; try again when it has ended")]
    Busy,
}

/// Holds other processes off until it is dropped.
pub(crate) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a child that another thread has forked, and that has not yet started its program,
        // still has the file open for a moment. An error means that there is no lock.
        let _ = self.0.unlock();
    }
}

impl Record {
    pub(crate) fn new() -> Self {
        Self {
            version: VERSION,
            values: Vec::new(),
            files: Vec::new(),
            folders: Vec::new(),
        }
    }

    /// Reads the record; nothing if there is none.
    pub(crate) fn load(host: &Host) -> Result<Option<Self>, RecordError> {
        let path = host.path(FILE);
        let fail = |cause| RecordError::File {
            act: "read",
            path: path.clone(),
            cause,
        };
        // A FIFO in its place must not hold the command.
        let no_link = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let file = match OpenOptions::new()
            .read(true)
            .custom_flags(no_link)
            .open(&path)
        {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(fail)?,
        };
        let metadata = file.metadata().map_err(fail)?;
        let owner = metadata.uid();
        let is_owned = owner == 0 || owner == geteuid().as_raw();
        if !is_owned || !metadata.is_file() || metadata.mode() & 0o022 != 0 {
            return Err(RecordError::Untrusted { path, owner });
        }
        let mut text = String::new();
        let mut bounded = file.take(RECORD_BYTES_MAX);
        bounded.read_to_string(&mut text).map_err(fail)?;
        let form = |cause: String| RecordError::Form {
            path: path.clone(),
            cause,
        };
        let record: Self = serde_json::from_str(&text).map_err(|error| form(error.to_string()))?;
        match record.version {
            VERSION => Ok(Some(record)),
            other => Err(form(format!("it has version {other}"))),
        }
    }

    /// Writes the record whole, readable by its owner only.
    pub(crate) fn save(&self, host: &Host) -> Result<(), RecordError> {
        let path = host.path(FILE);
        let saved = serde_json::to_vec_pretty(self)
            .map_err(io::Error::from)
            .and_then(|bytes| {
                // A temporary file has mode 0600.
                let mut file = tempfile::NamedTempFile::new_in(host.path(FOLDER))?;
                file.write_all(&bytes)?;
                file.write_all(b"\n")?;
                file.as_file().sync_all()?;
                file.persist(&path)?;
                File::open(host.path(FOLDER))?.sync_all()
            });
        saved.map_err(|cause| RecordError::File {
            act: "write",
            path,
            cause,
        })
    }

    /// Removes the record and the folders that were made.
    pub(crate) fn remove(&self, host: &Host) -> Result<(), RecordError> {
        let removed = match files::remove(host, FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        removed.map_err(|cause| RecordError::File {
            act: "remove",
            path: host.path(FILE),
            cause,
        })?;
        for folder in self
            .folders
            .iter()
            .rev()
            .filter(|folder| may_be_made(folder))
        {
            // A folder that holds other files by now stays.
            let _ = std::fs::remove_dir(host.path(folder));
        }
        Ok(())
    }

    /// Adds a change, or the new value of one that is known: its first value stays.
    pub(crate) fn add(&mut self, change: &Change) {
        match self
            .values
            .iter_mut()
            .find(|value| value.place == change.place)
        {
            Some(value) => value.after.clone_from(&change.after),
            None => self.values.push(Value {
                setting: change.setting.clone(),
                place: change.place.clone(),
                before: change.before.clone(),
                after: change.after.clone(),
            }),
        }
    }

    /// Whether a value is recorded that a unit writes in this stage.
    pub(crate) fn has(&self, host: &Host, stage: BootStage) -> bool {
        let mut stages = self.values.iter().map(|value| value.place.stage(host));
        stages.any(|of_value| of_value == Some(stage))
    }

    /// Whether values are recorded that sysctl.d does not hold.
    pub(crate) fn needs_boot(&self, host: &Host) -> bool {
        self.has(host, BootStage::BeforeNetwork) || self.has(host, BootStage::AfterNetwork)
    }

    /// Whether there is nothing to undo.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty() && self.files.is_empty()
    }
}

/// Whether a folder is one of those that this program makes.
fn may_be_made(folder: &str) -> bool {
    let files = OurFile::ALL.iter().map(|file| file.path()).chain([FILE]);
    files.into_iter().any(|file| {
        let rest = file.strip_prefix(folder);
        rest.is_some_and(|rest| rest.starts_with('/'))
    })
}

impl Lock {
    /// Makes the folder of the record if it is missing, and holds other processes off.
    ///
    /// Returns the folders that were made.
    pub(crate) fn take(host: &Host) -> Result<(Self, Vec<String>), RecordError> {
        let fail = |cause| RecordError::File {
            act: "use",
            path: host.path(FOLDER),
            cause,
        };
        let made = files::make_folders(host, FILE).map_err(fail)?;
        let folder = File::open(host.path(FOLDER)).map_err(fail)?;
        match folder.try_lock() {
            Ok(()) => Ok((Self(folder), made)),
            Err(std::fs::TryLockError::WouldBlock) => Err(RecordError::Busy),
            Err(std::fs::TryLockError::Error(cause)) => Err(fail(cause)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::NoPrograms;

    #[test]
    fn the_lock_ends_when_it_is_dropped_even_if_a_child_has_the_file_open() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let host = Host::below(folder.path(), NoPrograms);
        let (lock, _) = Lock::take(&host).expect("it is free");
        assert!(matches!(Lock::take(&host), Err(RecordError::Busy)));
        let of_a_child = lock.0.try_clone().expect("a descriptor is free");
        drop(lock);
        assert!(Lock::take(&host).is_ok());
        drop(of_a_child);
    }
}
