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
use crate::turn::BootStage;

/// The texts of our files for these recorded values; nothing where a file is not needed.
pub(crate) fn texts(
    host: &Host,
    goal: &Goal,
    program: &Path,
    settings: &[Setting],
    record: &Record,
) -> [(OurFile, Option<String>); 4] {
    let has_service = service::is_installed(host);
    let has = |stage| has_service && record.has(host, stage);
    let link = link_unit(host, goal, program).filter(|_| has(BootStage::BeforeNetwork));
    let boot = boot_unit(goal, program).filter(|_| has(BootStage::AfterNetwork));
    let units = [(&link, LINK_UNIT), (&boot, BOOT_UNIT)].into_iter();
    let units = units.filter_map(|(text, name)| text.as_ref().map(|_| name));
    let units: Vec<&str> = units.collect();
    let drop_in = drop_in(&unit_lines(settings), &units).filter(|_| has_service);
    [
        (OurFile::Sysctl, sysctls(record)),
        (OurFile::LinkUnit, link),
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

fn drop_in(limits: &str, units: &[&str]) -> Option<String> {
    let mut text = HEADER.to_owned();
    if !units.is_empty() {
        let units = units.join(" ");
        let _ = writeln!(text, "[Unit]\nWants={units}\nAfter={units}");
    }
    if !limits.is_empty() {
        text.push_str("[Service]\n");
        text.push_str(limits);
    }
    (text != HEADER).then_some(text)
}

const LINK_UNIT: &str = "wardgate-tune-link.service";
const BOOT_UNIT: &str = "wardgate-tune.service";

/// The unit that applies rings and offloads, before programs configure the network: these changes may take the link
/// down. It waits for the devices of the cards, as `systemd-udevd` reports them. Cards that are made by programs (bonds,
/// VLANs) are not there that early, and have no rings.
fn link_unit(host: &Host, goal: &Goal, program: &Path) -> Option<String> {
    let is_device = |card: &&String| host.exists(&format!("sys/class/net/{card}/device"));
    let cards: Vec<&String> = goal.plain_cards().filter(is_device).collect();
    let devices = cards.iter().map(|card| device_unit(card));
    let devices = devices.collect::<Vec<_>>().join(" ");
    let options = goal.arguments(cards.into_iter());
    let start = exec_start(program, BootStage::BeforeNetwork, &options)?;
    // Without the default dependencies, as other units that come before the network: some distributions have network
    // file systems before basic.target.
    Some(format!(
        "{HEADER}[Unit]\n\
         Description=Rings and offloads of network cards for wardgate, which are lost at each start of the host\n\
         DefaultDependencies=no\n\
         RequiresMountsFor=/usr /var/lib/wardgate-tune\n\
         Wants=network-pre.target {devices}\n\
         After=local-fs.target systemd-sysctl.service {devices}\n\
         Before=network-pre.target shutdown.target\n\
         Conflicts=shutdown.target\n\
         \n\
         {SERVICE}{start}"
    ))
}

/// The unit that applies the rest, once the network is up: routes and interrupts are not there before.
fn boot_unit(goal: &Goal, program: &Path) -> Option<String> {
    let options = goal.arguments(goal.plain_cards());
    let start = exec_start(program, BootStage::AfterNetwork, &options)?;
    Some(format!(
        "{HEADER}[Unit]\n\
         Description=Host settings of wardgate that are lost at each start of the host\n\
         Wants=network-online.target\n\
         After=network-online.target systemd-sysctl.service {LINK_UNIT}\n\
         Before=wardgate.service\n\
         \n\
         {SERVICE}{start}"
    ))
}

const SERVICE: &str = "[Service]\nType=oneshot\nRemainAfterExit=yes\nTimeoutStartSec=2min\n";

/// The line that runs this program; nothing if its path would need quoting.
fn exec_start(program: &Path, stage: BootStage, options: &[String]) -> Option<String> {
    let program = program.to_str().filter(|path| {
        let good = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
        path.starts_with('/') && path.chars().all(good)
    })?;
    let options = options.iter().map(|option| quoted(option));
    let options = options.collect::<Vec<_>>().join(" ");
    let stage = stage.name();
    Some(format!(
        "ExecStart={program} tune apply --yes --at-boot={stage} {options}\n"
    ))
}

/// An argument as systemd.service(5) wants it in `ExecStart=`.
fn quoted(argument: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "=.,-_:@".contains(c);
    if argument.chars().all(is_plain) {
        return argument.to_owned();
    }
    let mut text = "\"".to_owned();
    for c in argument.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            // A specifier and a variable of systemd.
            '%' | '$' => text.extend([c, c]),
            _ => text.push(c),
        }
    }
    text.push('"');
    text
}

/// The unit of a network card's device, whose name is escaped as `systemd-escape` does.
fn device_unit(card: &str) -> String {
    let mut name = "sys-subsystem-net-devices-".to_owned();
    for byte in card.bytes() {
        if byte.is_ascii_alphanumeric() || b":_.".contains(&byte) {
            name.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(name, "\\x{byte:02x}");
        }
    }
    name + ".device"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_cards_are_escaped_for_systemd() {
        assert_eq!(quoted("--interface=enp3s0f0np0"), "--interface=enp3s0f0np0");
        assert_eq!(
            quoted(r#"--interface=a"\%$;#"#),
            r#""--interface=a\"\\%%$$;#""#
        );
        assert_eq!(
            device_unit("eth0.7"),
            "sys-subsystem-net-devices-eth0.7.device"
        );
        assert_eq!(
            device_unit("br-lan%1"),
            r"sys-subsystem-net-devices-br\x2dlan\x251.device"
        );
    }
}
