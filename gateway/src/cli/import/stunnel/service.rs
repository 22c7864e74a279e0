//! A service of stunnel: the lines that count, and the keys of its route.

use std::collections::BTreeMap;

use super::super::address::ProtocolGuess;
use super::super::draft::ModeDraft;
use super::super::report::{ImportClass, ImportReport};
use super::lines::OptionLine;

/// Options that a service may have several times; of all others the last one counts.
const SEVERAL: [&str; 9] = [
    "connect",
    "checkhost",
    "checkip",
    "checkemail",
    "socket",
    "options",
    "config",
    "ocspflag",
    "protocolheader",
];

/// What is known of a service.
pub(super) struct Service<'a> {
    /// The lines that count, defaults first.
    pub(super) lines: Vec<&'a OptionLine>,
    pub(super) mode: ModeDraft,
    pub(super) protocol: ProtocolGuess,
    pub(super) keys: BTreeMap<&'static str, String>,
    pub(super) timeouts: BTreeMap<&'static str, String>,
    pub(super) keepalive: BTreeMap<&'static str, String>,
}

impl<'a> Service<'a> {
    /// The last line with this option.
    pub(super) fn last(&self, name: &str) -> Option<&'a OptionLine> {
        self.lines.iter().rev().find(|line| line.is(name)).copied()
    }

    /// All lines with this option.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &'a OptionLine> {
        self.lines.iter().filter(move |line| line.is(name)).copied()
    }
}

/// The lines that count. Lines that a later one replaces are reported.
pub(super) fn effective<'a>(
    defaults: &[&'a OptionLine],
    own: &[&'a OptionLine],
    report: &mut ImportReport,
) -> Vec<&'a OptionLine> {
    let mut lines: Vec<&OptionLine> = Vec::new();
    let all = defaults.iter().map(|line| (line, false));
    for (line, is_own) in all.chain(own.iter().map(|line| (line, true))) {
        if !SEVERAL.contains(&line.name()) {
            let earlier = lines.iter().position(|earlier| earlier.is(line.name()));
            if let Some(earlier) = earlier.map(|at| lines.remove(at)) {
                let is_duplicate = !is_own || own.iter().any(|one| one.place == earlier.place);
                if is_duplicate {
                    let sentence = format!("stunnel uses line {} instead", line.place.line);
                    report.add(
                        &earlier.place,
                        &earlier.text,
                        ImportClass::Carried,
                        sentence,
                    );
                }
            }
        }
        lines.push(line);
    }
    lines
}
