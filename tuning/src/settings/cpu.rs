//! Frequency, idle states and isolation of CPUs.

use super::places;
use crate::goal::{Goal, Profile};
use crate::host::Host;
use crate::place::Place;
use crate::setting::Importance::{Matters, Minor};
use crate::setting::{Setting, Source};
use crate::want::Want;

const CPUS: &str = "sys/devices/system/cpu";

/// The settings of the CPUs on which workers run.
pub(super) fn all(host: &Host, goal: &Goal) -> Vec<Setting> {
    vec![governor(host, goal), idle(host, goal), isolated(host)]
}

fn governor(host: &Host, goal: &Goal) -> Setting {
    let folder = |cpu: usize| format!("{CPUS}/cpu{cpu}/cpufreq");
    let offers = |cpu: usize| {
        let governors = host.read(&format!("{}/scaling_available_governors", folder(cpu)));
        governors.is_ok_and(|text| text.split_whitespace().any(|word| word == "performance"))
    };
    let cpus = goal.cores.iter().filter(|cpu| offers(*cpu));
    let want = Want::OneOf(vec!["performance"]);
    let found = cpus
        .map(|cpu| (Place::Governor { cpu }, want.clone()))
        .collect();
    let reason = if host.is_virtual() {
        "a virtual machine has no frequency governor: its host decides"
    } else {
        "no CPU offers the governor \"performance\": the firmware decides"
    };
    Setting {
        name: "CPU governor".to_owned(),
        why: "other governors lower the frequency between two messages, and the next one waits until it is up again".to_owned(),
        affects: "power and heat",
        importance: if goal.profile >= Profile::TenGigabit { Matters } else { Minor },
        source: places(found, reason),
    }
}

fn idle(host: &Host, goal: &Goal) -> Setting {
    let mut setting = Setting {
        name: "CPU idle states".to_owned(),
        why: String::new(),
        affects: "power and heat of an idle machine",
        importance: Minor,
        source: Source::Absent(format!(
            "the profile {} leaves idle states to the kernel",
            goal.profile
        )),
    };
    setting.why =
        "a CPU in a deep idle state needs longer to wake up than a message takes".to_owned();
    let Some(most) = goal.values().idle_latency_max else {
        return setting;
    };
    setting.why = format!(
        "{}; states that take more than {most} us to leave are disabled (1)",
        setting.why
    );
    let mut found = Vec::new();
    for cpu in goal.cores.iter() {
        let folder = format!("{CPUS}/cpu{cpu}/cpuidle");
        for state in host.numbered(&folder, "state") {
            let latency = host.read(&format!("{folder}/state{state}/latency"));
            let latency: Option<u64> = latency.ok().and_then(|text| text.parse().ok());
            if latency.is_some_and(|latency| latency > most) {
                found.push((
                    Place::IdleState { cpu, state },
                    Want::Exactly("1".to_owned()),
                ));
            }
        }
    }
    let reason = format!("no idle state takes more than {most} us to leave");
    setting.source = places(found, &reason);
    setting
}

fn isolated(host: &Host) -> Setting {
    let source = match host.read(&format!("{CPUS}/isolated")) {
        Ok(cpus) => Source::Report {
            now: if cpus.is_empty() {
                "none".to_owned()
            } else {
                format!("CPU {cpus}")
            },
            wanted: None,
        },
        Err(reason) => Source::Absent(reason.0),
    };
    Setting {
        name: "isolated CPUs".to_owned(),
        why: "the kernel starts no other program on isolated CPUs; with `busy_poll` list them in `cores`. They are set with \
              isolcpus= on the kernel's command line"
            .to_owned(),
        affects: "all programs: they share the other CPUs",
        importance: Minor,
        source,
    }
}
