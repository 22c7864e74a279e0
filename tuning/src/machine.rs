//! Reads the settings from `/proc`, below a root that tests may choose.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A machine whose settings can be read.
#[derive(Debug, Clone)]
pub struct Machine {
    root: PathBuf,
}

/// Why a setting could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The kernel has no such file.
    #[error("this kernel does not have this setting")]
    Missing,
    /// The file exists, but is not readable.
    #[error("cannot read {path}: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// The file does not contain the setting.
    #[error("{path} does not contain this setting")]
    NotNamed {
        /// The file.
        path: PathBuf,
    },
}

impl Machine {
    /// The machine that this program runs on.
    #[must_use]
    pub fn running() -> Self {
        Self::below(Path::new("/"))
    }

    /// A machine whose `proc` is in a folder.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// A sysctl by its dotted name; runs of white space between several values become one space.
    pub(crate) fn sysctl(&self, name: &str) -> Result<String, ReadError> {
        let text = self.read(&format!("proc/sys/{}", name.replace('.', "/")))?;
        Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// The hard limit of a resource of this process, by its name in `/proc/self/limits`.
    ///
    /// A process may raise its soft limit to the hard one itself, so only the hard one matters.
    pub(crate) fn limit(&self, name: &str) -> Result<String, ReadError> {
        const FILE: &str = "proc/self/limits";
        let text = self.read(FILE)?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        // `Max open files            1024                 524288               files`
        let hard = line.and_then(|values| values.split_whitespace().nth(1));
        hard.map(str::to_owned).ok_or_else(|| ReadError::NotNamed {
            path: self.root.join(FILE),
        })
    }

    fn read(&self, path: &str) -> Result<String, ReadError> {
        let path = self.root.join(path);
        fs::read_to_string(&path).map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => ReadError::Missing,
            _ => ReadError::Unreadable { path, cause },
        })
    }
}
