//! What the files in `/etc` say, so that values last longer than until the next start of the host.

use std::fmt::Write as _;
use std::path::Path;

use crate::files::OurFile;
use crate::goal::Goal;
use crate::host::Host;
use crate::place::Place;
use crate::record::Record;
use crate::service;
use crate::setting::{Setting, Source};

/// The texts of our files for these recorded values; nothing where a file is not needed.
pub(crate) fn texts(
    host: &Host,
    goal: &Goal,
    program: &Path,
    settings: &[Setting],
    record: &Record,
) -> [(OurFile, Option<String>); 3] {
    let has_service = service::is_installed(host);
    let boot = boot_unit(goal, program).filter(|_| has_service && record.needs_boot());
    let limits = unit_lines(settings);
    let drop_in = drop_in(&limits, boot.is_some()).filter(|_| has_service);
    [
        (OurFile::Sysctl, sysctls(record)),
        (OurFile::BootUnit, boot),
        (OurFile::DropIn, drop_in),
    ]
}

const HEADER: &str = "# Written by `wardgate tune apply`. `wardgate tune undo` removes this file and restores the values.\n";

fn sysctls(record: &Record) -> Option<String> {
    let mut text = HEADER.to_owned();
    for value in &record.values {
        if let Place::Sysctl { name } = &value.place {
            let words = value.after.split_whitespace().collect::<Vec<_>>();
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name} = {}", words.join(" "));
        }
    }
    (text != HEADER).then_some(text)
}

fn unit_lines(settings: &[Setting]) -> String {
    let mut lines = String::new();
    for setting in settings {
        if let Source::Unit {
            key,
            now: Ok(_),
            before: Some(before),
            least,
        } = &setting.source
            && before < least
        {
            let _ = writeln!(lines, "{key}={least}");
        }
    }
    lines
}

fn drop_in(limits: &str, has_boot_unit: bool) -> Option<String> {
    let mut text = HEADER.to_owned();
    if has_boot_unit {
        text.push_str("[Unit]\nWants=wardgate-tune.service\nAfter=wardgate-tune.service\n");
    }
    if !limits.is_empty() {
        text.push_str("[Service]\n");
        text.push_str(limits);
    }
    (text != HEADER).then_some(text)
}

/// The unit that applies the settings again; nothing if the program's path would need quoting.
fn boot_unit(goal: &Goal, program: &Path) -> Option<String> {
    let program = program.to_str().filter(|path| {
        let good = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
        path.starts_with('/') && path.chars().all(good)
    })?;
    let arguments = goal.arguments().join(" ");
    Some(format!(
        "{HEADER}[Unit]\n\
         Description=Host settings of wardgate that are lost at each start of the host\n\
         Wants=network-online.target\n\
         After=network-online.target systemd-sysctl.service\n\
         Before=wardgate.service\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         TimeoutStartSec=2min\n\
         ExecStart={program} tune apply --yes {arguments}\n"
    ))
}
