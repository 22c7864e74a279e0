//! io_uring, pipes, huge pages and clocks.

use super::sysctl;
use crate::goal::Goal;
use crate::host::Host;
use crate::place::{HugePages, Place};
use crate::setting::Importance::{Matters, Minor};
use crate::setting::{Setting, Source};
use crate::want::Want;

/// The group of the service, as the package makes it.
const GROUP: &str = "wardgate";

/// Whether the service may use io_uring. The group comes first: with value 1 it must be right.
pub(super) fn ring(host: &Host) -> Vec<Setting> {
    let mut disabled = sysctl(
        "kernel.io_uring_disabled",
        Want::OneOf(vec!["1", "0"]),
        Matters,
        "the gateway does not start without io_uring; 0 allows it for all users, 1 for one group, 2 for none",
        "which programs may use io_uring",
    );
    let mut group = sysctl(
        "kernel.io_uring_group",
        Want::Exactly(String::new()),
        Matters,
        "the group that may use io_uring while kernel.io_uring_disabled is 1: that of the service",
        "a group that was allowed before is not any more",
    );
    let gid = group_id(host);
    match host.read("proc/sys/kernel/io_uring_disabled").as_deref() {
        Err(_) => {
            let reason = "this kernel does not restrict io_uring".to_owned();
            disabled.source = Source::Absent(reason.clone());
            group.source = Source::Absent(reason);
        }
        Ok("0") => {
            let reason = "every user may use io_uring, so the group has no effect";
            group.source = Source::Absent(reason.to_owned());
        }
        Ok("1") if of_other_group(host, gid.as_deref()) => {
            let reason = "another group may use io_uring: make the service's user its member, with usermod -a -G";
            group.source = Source::Absent(reason.to_owned());
        }
        Ok(_) => match gid {
            Some(gid) => {
                let place = Place::Sysctl {
                    name: group.name.clone(),
                };
                group.source = Source::Places(vec![(place, Want::Exactly(gid))]);
            }
            None => {
                let reason =
                    format!("there is no group {GROUP:?}; create the service's user first");
                group.source = Source::Absent(reason);
            }
        },
    }
    vec![group, disabled]
}

/// Whether io_uring is allowed to a group that is not the service's. Its programs would lose it.
fn of_other_group(host: &Host, own: Option<&str>) -> bool {
    let group = host
        .read("proc/sys/kernel/io_uring_group")
        .unwrap_or_default();
    !matches!(group.trim(), "" | "-1") && Some(group.trim()) != own
}

/// The number of the service's group, from `/etc/group`.
fn group_id(host: &Host) -> Option<String> {
    let groups = host.read("etc/group").ok()?;
    let mut lines = groups
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    let line = lines.find(|fields| fields.first() == Some(&GROUP))?;
    let gid: u32 = line.get(2)?.parse().ok()?;
    Some(gid.to_string())
}

/// Pipes and huge pages.
pub(super) fn memory(goal: &Goal) -> Vec<Setting> {
    let pages = |choice, words: &[&'static str], name: &str, why: &str| Setting {
        name: format!("transparent huge pages: {name}"),
        why: why.to_owned(),
        affects: "memory of all programs",
        importance: Minor,
        source: Source::Places(vec![(
            Place::HugePages { choice },
            Want::OneOf(words.to_vec()),
        )]),
    };
    vec![
        sysctl(
            "fs.pipe-user-pages-soft",
            Want::AtLeastOrNone(goal.values().pipe_pages),
            Minor,
            "pages that the pipes of one user may hold; beyond it, passthrough routes copy bytes: 16384 is enough for \
             four cores",
            "locked memory that each user can bind in pipes",
        ),
        pages(
            HugePages::Enabled,
            &["madvise", "never"],
            "enabled",
            "with \"always\" the kernel moves memory into huge pages at any time, and a message waits for that",
        ),
        pages(
            HugePages::Defrag,
            &["madvise", "defer+madvise", "defer", "never"],
            "defrag",
            "with \"always\" a program that needs memory waits until the kernel has made room for a huge page",
        ),
    ]
}

/// Clock source and time synchronisation: reported only.
pub(super) fn clocks(host: &Host) -> Vec<Setting> {
    let file = "sys/devices/system/clocksource/clocksource0/current_clocksource";
    let source = match host.read(file) {
        Ok(now) => Source::Report {
            now,
            wanted: Some("tsc, or that of the hypervisor".to_owned()),
        },
        Err(reason) => Source::Absent(reason.0),
    };
    let clock = Setting {
        name: "clock source".to_owned(),
        why: "reading hpet or acpi_pm costs a microsecond each time; the kernel leaves tsc only if it is not reliable, so \
              it is not changed here"
            .to_owned(),
        affects: "every program that reads the time",
        importance: Minor,
        source,
    };
    let synchronisation = Setting {
        name: "time synchronisation".to_owned(),
        why: "a wrong clock makes good certificates expired or not yet valid; install chrony if nothing is found".to_owned(),
        affects: "certificates, logs and audit messages",
        importance: Minor,
        source: Source::Report {
            now: synchronised_by(host),
            wanted: Some("a running service".to_owned()),
        },
    };
    vec![clock, synchronisation]
}

fn synchronised_by(host: &Host) -> String {
    const PROGRAMS: [&str; 5] = ["chronyd", "systemd-timesyn", "ntpd", "openntpd", "ptp4l"];
    if host.exists("run/systemd/timesync/synchronized") {
        return "synchronised by systemd-timesyncd".to_owned();
    }
    let found = PROGRAMS.into_iter().find(|name| host.has_process(name));
    found.map_or_else(
        || "no service was found".to_owned(),
        |name| format!("{name} runs"),
    )
}
