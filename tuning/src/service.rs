//! Limits of the service: descriptors and locked memory, from its unit and the drop-ins.

use crate::files::OurFile;
use crate::host::{Host, NoValue};
use crate::setting::Importance::Matters;
use crate::setting::{Setting, Source};

const UNIT: &str = "wardgate.service";

/// Folders of units, the most important last.
const FOLDERS: [&str; 4] = [
    "lib/systemd/system",
    "usr/lib/systemd/system",
    "run/systemd/system",
    "etc/systemd/system",
];

/// A limit: the key of the unit, systemd's own value if the unit sets none, and the wanted one.
struct Limit {
    name: &'static str,
    key: &'static str,
    default: u64,
    least: u64,
    why: &'static str,
}

const LIMITS: [Limit; 2] = [
    Limit {
        name: "service: descriptors",
        key: "LimitNOFILE",
        default: 524_288,
        least: 65_536,
        why: "a connection needs two descriptors, and more while it is made; wardgate raises its limit to this one",
    },
    Limit {
        name: "service: locked memory",
        key: "LimitMEMLOCK",
        default: 8 << 20,
        least: 64 << 20,
        why: "some kernels count the rings of io_uring against it, and keys are kept out of swap",
    },
];

/// Whether the service is installed.
pub(crate) fn is_installed(host: &Host) -> bool {
    FOLDERS
        .iter()
        .any(|folder| host.exists(&format!("{folder}/{UNIT}")))
}

/// The limits of the service.
pub(crate) fn limits(host: &Host) -> Vec<Setting> {
    let is_installed = is_installed(host);
    let limits = LIMITS.iter().map(|limit| Setting {
        name: limit.name.to_owned(),
        why: limit.why.to_owned(),
        affects: "the service, from its next start",
        importance: Matters,
        source: Source::Unit {
            key: limit.key,
            now: match is_installed {
                true => Ok(limit.of(host, true)),
                false => Err(NoValue(format!("no {UNIT} is installed"))),
            },
            before: limit.of(host, false),
            least: limit.least,
        },
    });
    limits.collect()
}

impl Limit {
    /// The hard limit that systemd would set; nothing is infinity. `with_own` counts our own drop-in too.
    fn of(&self, host: &Host, with_own: bool) -> Option<u64> {
        let mut value = Some(self.default);
        for text in texts(host, with_own) {
            let mut section = "";
            for line in text.lines().map(str::trim) {
                if line.starts_with('[') {
                    section = line;
                }
                let Some((key, written)) = line.split_once('=') else {
                    continue;
                };
                if section == "[Service]" && key.trim() == self.key {
                    let hard = written.rsplit(':').next().unwrap_or_default().trim();
                    value = parse(hard, self.default);
                }
            }
        }
        value
    }
}

/// A limit as systemd writes it: a number, `64M` or `infinity`. An empty one is systemd's own.
fn parse(text: &str, default: u64) -> Option<u64> {
    if text == "infinity" {
        return None;
    }
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let shift = match unit {
        "" => Some(0),
        "K" => Some(10),
        "M" => Some(20),
        "G" => Some(30),
        "T" => Some(40),
        _ => None,
    };
    let number: Option<u64> = number.parse().ok();
    let value = number
        .zip(shift)
        .and_then(|(number, shift)| number.checked_mul(1 << shift));
    Some(value.unwrap_or(default))
}

/// The unit and its drop-ins, in the order in which systemd reads them.
fn texts(host: &Host, with_own: bool) -> Vec<String> {
    let read = |path: String| host.read(&path).ok();
    let mut units = FOLDERS
        .iter()
        .rev()
        .filter_map(|folder| read(format!("{folder}/{UNIT}")));
    let mut texts: Vec<String> = units.next().into_iter().collect();
    let mut drop_ins: Vec<(String, &str)> = Vec::new();
    for folder in FOLDERS {
        for name in host.names(&format!("{folder}/{UNIT}.d")) {
            // A drop-in hides those of the same name in less important folders.
            drop_ins.retain(|(known, _)| *known != name);
            drop_ins.push((name, folder));
        }
    }
    drop_ins.sort();
    let paths = drop_ins
        .into_iter()
        .filter(|(name, _)| name.ends_with(".conf"));
    let paths = paths.map(|(name, folder)| format!("{folder}/{UNIT}.d/{name}"));
    let paths = paths.filter(|path| with_own || path != OurFile::DropIn.path());
    texts.extend(paths.filter_map(read));
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_systemd_writes_them() {
        assert_eq!(parse("65536", 1), Some(65_536));
        assert_eq!(parse("64M", 1), Some(64 << 20));
        assert_eq!(parse("infinity", 1), None);
        assert_eq!(parse("", 7), Some(7));
        assert_eq!(parse("lots", 7), Some(7));
        assert_eq!(parse("99999999999999999999T", 7), Some(7));
    }
}
