//! Files that set sysctls after the file of `wardgate tune`, and therefore decide at each start of the host.

use std::collections::BTreeMap;

use crate::files::OurFile;
use crate::host::Host;

/// Folders of sysctl.d(5), the most important first: a file hides those of the same name in the folders after it.
const FOLDERS: [&str; 5] = [
    "etc/sysctl.d",
    "run/sysctl.d",
    "usr/local/lib/sysctl.d",
    "usr/lib/sysctl.d",
    "lib/sysctl.d",
];

/// Read by `sysctl --system`, after all folders. Some distributions link it from `/etc/sysctl.d` too.
const LAST: &str = "etc/sysctl.conf";

/// An assignment that is read after ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Later {
    pub(crate) value: String,
    path: String,
}

impl Later {
    /// What happens, and what to do.
    pub(crate) fn sentence(&self) -> String {
        let Self { value, path } = self;
        let when = match path == LAST {
            true => "whenever `sysctl --system` runs",
            false => "at each start of the host",
        };
        let own = OurFile::Sysctl.path();
        format!(
            "/{path} sets it to {value:?} {when}, because it is read after /{own}; remove the line from /{path}"
        )
    }
}

/// The last assignment of each sysctl in the files that are read after ours, by the dotted name.
pub(crate) fn assignments(host: &Host) -> BTreeMap<String, Later> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for folder in FOLDERS {
        for name in host.names(folder) {
            let path = format!("{folder}/{name}");
            files.entry(name).or_insert(path);
        }
    }
    let own = OurFile::Sysctl.path();
    let later = files
        .into_iter()
        .filter(|(name, _)| name.ends_with(".conf") && Some(name.as_str()) > own.rsplit('/').next())
        .map(|(_, path)| path);
    let mut found = BTreeMap::new();
    for path in later.chain([LAST.to_owned()]) {
        let text = host.read(&path).unwrap_or_default();
        for (name, value) in text.lines().filter_map(assignment) {
            let path = path.clone();
            found.insert(name, Later { value, path });
        }
    }
    found
}

/// `net.core.somaxconn = 128`, where slashes may stand for the dots, and `-` before the name hides errors.
fn assignment(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    if line.starts_with(['#', ';']) {
        return None;
    }
    let (name, value) = line.split_once('=')?;
    let name = name.trim_start_matches('-').trim().replace('/', ".");
    let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read_as_systemd_reads_them() {
        let of = |line| assignment(line).map(|(name, value)| format!("{name}={value}"));
        for (line, expected) in [
            ("net.core.somaxconn = 128", Some("net.core.somaxconn=128")),
            ("-net/core/somaxconn=128", Some("net.core.somaxconn=128")),
            (
                "net.ipv4.tcp_rmem = 1\t2  3 ",
                Some("net.ipv4.tcp_rmem=1 2 3"),
            ),
            ("# net.core.somaxconn = 128", None),
            ("; net.core.somaxconn = 128", None),
            ("net.core.somaxconn", None),
            ("", None),
        ] {
            assert_eq!(of(line).as_deref(), expected, "{line}");
        }
    }
}
