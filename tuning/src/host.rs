//! A host: a root folder with `/proc`, `/sys` and `/etc`, and the programs that are run.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::cpus::CpuList;
use crate::limits::FILE_BYTES_MAX;
use crate::programs::{Installed, Programs};

/// A host whose settings are read and changed.
pub struct Host {
    root: PathBuf,
    programs: Box<dyn Programs>,
}

/// Why there is no value: a sentence for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoValue(pub(crate) String);

impl fmt::Display for NoValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Host {
    /// The machine that this program runs on.
    #[must_use]
    pub fn running() -> Self {
        Self::below("/", Installed)
    }

    /// A host whose files are below a folder.
    pub fn below(root: impl Into<PathBuf>, programs: impl Programs + 'static) -> Self {
        Self {
            root: root.into(),
            programs: Box::new(programs),
        }
    }

    /// Runs a program of the host.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Result<String, NoValue> {
        let outcome = self.programs.run(program, arguments);
        outcome.map_err(|error| NoValue(error.to_string()))
    }

    /// The path of a file on this machine.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Reads a text file, without the white space at its end.
    pub(crate) fn read(&self, path: &str) -> Result<String, NoValue> {
        let bytes = self.bytes(path).map_err(|error| NoValue(reason(&error)))?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.trim_end().to_owned())
    }

    /// Reads a file up to [`FILE_BYTES_MAX`].
    pub(crate) fn bytes(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(self.path(path))?;
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes a value to a file of the kernel, which takes it in one piece. The file must exist.
    pub(crate) fn write(&self, path: &str, value: &str) -> Result<(), NoValue> {
        let mut options = OpenOptions::new();
        let file = options.write(true).truncate(true).open(self.path(path));
        let written = file.and_then(|mut file| file.write_all(format!("{value}\n").as_bytes()));
        written.map_err(|error| NoValue(reason(&error)))
    }

    /// Whether no user may write the file, root included: the kernel shows the value only.
    pub(crate) fn is_read_only(&self, path: &str) -> bool {
        let metadata = fs::metadata(self.path(path));
        metadata.is_ok_and(|metadata| metadata.permissions().mode() & 0o222 == 0)
    }

    /// The names in a folder, in ascending order with numbers by value; empty if there is no such folder.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(path)) else {
            return Vec::new();
        };
        let names = entries.flatten().map(|entry| entry.file_name());
        let mut names: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
        names.sort_by_key(|name| (trailing_number(name), name.clone()));
        names
    }

    /// The numbers of entries that are named `prefix` and a number, in ascending order.
    pub(crate) fn numbered(&self, path: &str, prefix: &str) -> Vec<usize> {
        let names = self.names(path);
        let numbers = names.iter().filter_map(|name| name.strip_prefix(prefix));
        numbers.filter_map(|number| number.parse().ok()).collect()
    }

    /// Whether there is a file or folder.
    pub(crate) fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// The CPUs that run.
    pub(crate) fn online(&self) -> CpuList {
        let list = self.read("sys/devices/system/cpu/online");
        let list = list.ok().and_then(|text| text.parse().ok());
        list.unwrap_or_else(|| CpuList::from_iter([0]))
    }

    /// Whether the machine is virtual: the CPU reports a hypervisor.
    pub(crate) fn is_virtual(&self) -> bool {
        let cpus = self.read("proc/cpuinfo").unwrap_or_default();
        let flags = cpus.lines().find(|line| line.starts_with("flags"));
        flags.is_some_and(|line| line.split_whitespace().any(|flag| flag == "hypervisor"))
    }

    /// Whether a process of this name runs.
    pub(crate) fn has_process(&self, name: &str) -> bool {
        let processes = self.numbered("proc", "");
        let mut names = processes
            .iter()
            .map(|process| self.read(&format!("proc/{process}/comm")));
        names.any(|comm| comm.is_ok_and(|comm| comm == name))
    }

    /// The root folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }
}

fn trailing_number(name: &str) -> u64 {
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.parse().unwrap_or(u64::MAX)
}

/// An error of the system as a reason that a setting does not apply.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "this kernel does not have it".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied; root may be needed".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => {
            "the file system is read-only (a container?)".to_owned()
        }
        io::ErrorKind::InvalidInput => "the kernel refuses the value".to_owned(),
        io::ErrorKind::Unsupported => "the driver does not support it".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::NoPrograms;

    #[test]
    fn an_error_of_the_system_becomes_a_reason() {
        // EPERM, EACCES, EROFS, EINVAL, ENOENT, EOPNOTSUPP, EIO.
        for (number, expected) in [
            (1, "permission denied; root may be needed"),
            (13, "permission denied; root may be needed"),
            (30, "the file system is read-only (a container?)"),
            (22, "the kernel refuses the value"),
            (2, "this kernel does not have it"),
            (95, "the driver does not support it"),
            (5, "Input/output error (os error 5)"),
        ] {
            assert_eq!(reason(&io::Error::from_raw_os_error(number)), expected);
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_not_made_by_a_write() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let host = Host::below(folder.path(), NoPrograms);
        assert!(host.write("proc/sys/vm/x", "1").is_err());
        assert!(host.write("x", "1").is_err());
        assert!(!host.exists("x"));
    }
}
