//! Kernels, drivers and users that lack something.

use super::fixture::Fixture;
use crate::finding::{Finding, Verdict};
use crate::{Goal, NoPrograms, Options, Profile};

fn finding(fixture: &Fixture, setting: &str) -> Finding {
    let report = crate::check(&fixture.host(), &fixture.goal());
    let mut found = report
        .settings
        .into_iter()
        .filter(|row| row.setting == setting);
    found
        .next()
        .unwrap_or_else(|| panic!("there is no setting {setting}"))
}

/// The setting of a file that the kernel may lack.
fn setting_of(path: &str) -> Option<String> {
    if let Some(name) = path.strip_prefix("proc/sys/") {
        return Some(name.replace('/', "."));
    }
    let settings = [
        (
            "transparent_hugepage/enabled",
            "transparent huge pages: enabled",
        ),
        (
            "transparent_hugepage/defrag",
            "transparent huge pages: defrag",
        ),
        ("current_clocksource", "clock source"),
        ("cpu/isolated", "isolated CPUs"),
    ];
    let found = settings.into_iter().find(|(end, _)| path.ends_with(end));
    found.map(|(_, setting)| setting.to_owned())
}

#[test]
fn a_kernel_that_lacks_a_file_makes_its_setting_not_applicable_and_the_rest_goes_on() {
    let all = Fixture::new();
    let mut tried = 0;
    for path in all
        .tree()
        .keys()
        .map(|path| path.to_string_lossy().into_owned())
    {
        let Some(setting) = setting_of(&path).filter(|_| all.path(&path).is_file()) else {
            continue;
        };
        if path.contains("tcp_available") || path.ends_with("io_uring_disabled") {
            continue;
        }
        let fixture = Fixture::new();
        fixture.remove(&path);
        let (tree, model) = (fixture.tree(), fixture.model.borrow().clone());
        let found = finding(&fixture, &setting);
        assert_eq!(found.verdict, Verdict::NotApplicable, "{found:?}");
        assert_eq!(
            found.reason.as_deref(),
            Some("this kernel does not have it")
        );
        let changed = fixture.apply().changed;
        assert!(changed.len() > 40 && !changed.iter().any(|(name, ..)| *name == setting));
        fixture.undo();
        assert_eq!(
            (fixture.tree(), fixture.model.borrow().clone()),
            (tree, model),
            "{path}"
        );
        tried += 1;
    }
    assert!(tried >= 20, "{tried}");
}

/// What a host lacks: files and folders, or a command.
enum Lack {
    Path(&'static str),
    Command(&'static str),
}

/// Settings that are not one file with the setting's name, and what makes them not applicable.
const LACKS: [(&str, Lack); 17] = [
    ("eth0 ring rx", Lack::Command("-g")),
    ("eth0 ring tx", Lack::Command("-g")),
    ("eth0 offload rx", Lack::Command("-k")),
    ("eth0 offload tx", Lack::Command("-k")),
    ("eth0 offload sg", Lack::Command("-k")),
    ("eth0 offload tso", Lack::Command("-k")),
    ("eth0 offload gso", Lack::Command("-k")),
    ("eth0 offload gro", Lack::Command("-k")),
    ("eth0 interrupt coalescing", Lack::Command("-c")),
    ("eth0 queueing discipline", Lack::Command("qdisc")),
    ("eth0 queues", Lack::Command("-l")),
    ("eth0 interrupts", Lack::Path("sys/kernel/irq")),
    (
        "eth0 receive packet steering",
        Lack::Path("sys/class/net/eth0/queues"),
    ),
    (
        "eth0 transmit packet steering",
        Lack::Path("sys/class/net/eth0/queues"),
    ),
    (
        "CPU governor",
        Lack::Path("sys/devices/system/cpu/cpu0/cpufreq"),
    ),
    (
        "CPU idle states",
        Lack::Path("sys/devices/system/cpu/cpu0/cpuidle"),
    ),
    (
        "service: descriptors",
        Lack::Path("usr/lib/systemd/system/wardgate.service"),
    ),
];

#[test]
fn a_host_that_lacks_a_card_a_cpu_or_a_service_has_their_settings_not_applicable_and_the_rest_goes_on()
 {
    for (setting, lack) in &LACKS {
        let fixture = Fixture::new();
        match lack {
            Lack::Command(word) => fixture.model.borrow_mut().failing = vec![word],
            Lack::Path(path) if path.ends_with("wardgate.service") => fixture.remove(path),
            Lack::Path(path) => {
                let cpus = (0..4).map(|cpu| path.replace("cpu0", &format!("cpu{cpu}")));
                for path in cpus
                    .map(|path| fixture.path(&path))
                    .filter(|path| path.exists())
                {
                    std::fs::remove_dir_all(path).expect("it can be removed");
                }
            }
        }
        let (tree, model) = (fixture.tree(), fixture.model.borrow().clone());
        let found = finding(&fixture, setting);
        assert_eq!(found.verdict, Verdict::NotApplicable, "{found:?}");
        assert!(found.reason.is_some(), "{found:?}");
        let changed = fixture.apply().changed;
        assert!(changed.len() > 30 && !changed.iter().any(|(name, ..)| name == setting));
        let undone = fixture.undo();
        assert_eq!(
            (undone.left.len(), undone.failed.len()),
            (0, 0),
            "{setting}: {undone:?}"
        );
        assert_eq!(
            (fixture.tree(), fixture.model.borrow().clone()),
            (tree, model),
            "{setting}"
        );
    }
}

#[test]
fn each_setting_has_a_test_of_a_host_that_lacks_it() {
    let fixture = Fixture::new();
    let files: Vec<String> = fixture
        .tree()
        .keys()
        .map(|path| path.to_string_lossy().into_owned())
        .collect();
    let of_files: Vec<String> = files.iter().filter_map(|path| setting_of(path)).collect();
    let report = crate::check(&fixture.host(), &fixture.goal());
    for row in report.settings {
        let name = row.setting.as_str();
        // One answer of the unit for both; routes need `ip`; and a host without a time service is reported.
        let is_other = name.contains(" route ")
            || ["service: locked memory", "time synchronisation"].contains(&name);
        let is_tried = of_files.iter().any(|known| known == name)
            || LACKS.iter().any(|(known, _)| *known == name);
        assert!(is_tried || is_other, "{name}");
    }
}

#[test]
fn an_empty_machine_has_every_setting_not_applicable_or_reported_and_apply_writes_nothing() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let host = crate::Host::below(folder.path(), NoPrograms);
    for profile in Profile::ALL {
        let options = Options {
            profile: Some(profile),
            ..Options::default()
        };
        let goal = Goal::new(&host, options);
        let report = crate::check(&host, &goal);
        for row in &report.settings {
            let is_quiet = matches!(row.verdict, Verdict::NotApplicable | Verdict::Report);
            assert!(is_quiet, "{row:?}");
            assert!(
                row.reason.is_some() || row.verdict == Verdict::Report,
                "{row:?}"
            );
        }
        assert!(!report.differs());
        let applied = crate::apply(
            &host,
            &goal,
            std::path::Path::new("/usr/bin/wardgate"),
            None,
        );
        assert_eq!(
            applied.expect("nothing to record"),
            crate::Applied::default()
        );
        let entries = std::fs::read_dir(folder.path())
            .expect("the folder is there")
            .count();
        assert_eq!(entries, 0);
    }
}

#[test]
fn a_kernel_without_the_switch_does_not_restrict_io_uring() {
    let fixture = Fixture::new();
    fixture.remove("proc/sys/kernel/io_uring_disabled");
    for setting in ["kernel.io_uring_disabled", "kernel.io_uring_group"] {
        let reason = finding(&fixture, setting).reason;
        assert_eq!(
            reason.as_deref(),
            Some("this kernel does not restrict io_uring")
        );
    }
}

#[test]
fn io_uring_is_allowed_for_the_group_of_the_service_before_it_is_switched_on() {
    let fixture = Fixture::new();
    assert_eq!(
        finding(&fixture, "kernel.io_uring_disabled").verdict,
        Verdict::Differs
    );
    let changed = fixture.apply().changed;
    let ring: Vec<_> = changed
        .iter()
        .take(2)
        .map(|(name, before, after)| [name, before, after])
        .collect();
    assert_eq!(
        ring,
        [
            ["kernel.io_uring_group", "-1", "987"],
            ["kernel.io_uring_disabled", "2", "1"]
        ]
    );

    fixture.write("proc/sys/kernel/io_uring_disabled", "0\n");
    assert_eq!(
        finding(&fixture, "kernel.io_uring_disabled").verdict,
        Verdict::Good
    );
    assert_eq!(
        finding(&fixture, "kernel.io_uring_group").verdict,
        Verdict::NotApplicable
    );

    // Programs of another group would lose io_uring.
    fixture.write("proc/sys/kernel/io_uring_disabled", "1\n");
    fixture.write("proc/sys/kernel/io_uring_group", "500\n");
    let reason = finding(&fixture, "kernel.io_uring_group").reason;
    assert!(reason.is_some_and(|reason| reason.starts_with("another group may use io_uring")));
    fixture.write("proc/sys/kernel/io_uring_group", "-1\n");
    fixture.write("etc/group", "root:x:0:\n");
    let reason = finding(&fixture, "kernel.io_uring_group")
        .reason
        .expect("there is no group");
    assert!(reason.contains("no group \"wardgate\""), "{reason}");
}

#[test]
fn values_that_the_kernel_shows_only_are_not_applicable() {
    use std::os::unix::fs::PermissionsExt as _;
    let fixture = Fixture::new();
    let path = "proc/sys/net/core/rmem_max";
    let mode = std::fs::Permissions::from_mode(0o444);
    std::fs::set_permissions(fixture.path(path), mode).expect("the owner may");
    let found = finding(&fixture, "net.core.rmem_max");
    assert_eq!(
        (found.verdict, found.now.as_deref()),
        (Verdict::NotApplicable, Some("212992"))
    );
    fixture.apply();
    assert_eq!(fixture.read(path), "212992\n");
}

#[test]
fn a_value_that_is_no_number_is_not_understood_and_not_changed() {
    let fixture = Fixture::new();
    fixture.write("proc/sys/net/ipv4/tcp_rmem", "a lot\n");
    let found = finding(&fixture, "net.ipv4.tcp_rmem");
    assert_eq!(found.verdict, Verdict::NotApplicable);
    assert_eq!(
        found.reason.as_deref(),
        Some("the present value is not understood")
    );
    fixture.apply();
    assert_eq!(fixture.read("proc/sys/net/ipv4/tcp_rmem"), "a lot\n");
}

#[test]
fn without_the_programs_cards_and_routes_are_not_applicable() {
    let fixture = Fixture::new();
    fixture.model.borrow_mut().missing = vec!["ethtool", "ip"];
    for (setting, program) in [
        ("eth0 ring rx", "ethtool"),
        ("eth0 offload tso", "ethtool"),
        ("eth0 interrupt coalescing", "ethtool"),
        ("eth0 queues", "ethtool"),
        ("routes", "ip"),
    ] {
        let reason = finding(&fixture, setting).reason;
        let expected = format!("the program {program:?} is not installed");
        assert_eq!(reason, Some(expected), "{setting}");
    }
}

#[test]
fn a_driver_that_cannot_is_not_an_error() {
    let fixture = Fixture::new();
    let tree = fixture.tree();
    fixture.model.borrow_mut().failing = vec!["-g", "-C"];
    fixture.model.borrow_mut().features[3].2 = "off [fixed]".to_owned();
    let model = fixture.model.borrow().clone();
    assert_eq!(
        finding(&fixture, "eth0 ring tx").verdict,
        Verdict::NotApplicable
    );
    let fixed = finding(&fixture, "eth0 offload tso").reason;
    assert_eq!(fixed.as_deref(), Some("the card cannot change it: [fixed]"));
    let applied = fixture.apply();
    let refused = (
        "eth0 interrupt coalescing".to_owned(),
        "ethtool: Operation not supported".to_owned(),
    );
    assert_eq!(applied.not_applicable, [refused]);
    let undone = fixture.undo();
    assert_eq!((undone.left.len(), undone.failed.len()), (0, 0));
    assert_eq!(
        (fixture.tree(), fixture.model.borrow().clone()),
        (tree, model)
    );
}

#[test]
fn interrupts_are_left_to_irqbalance_where_it_runs() {
    let fixture = Fixture::new();
    fixture.write("proc/99/comm", "irqbalance\n");
    let reason = finding(&fixture, "eth0 interrupts")
        .reason
        .expect("it runs");
    assert!(reason.contains("irqbalance"), "{reason}");
}

#[test]
fn interrupts_go_to_the_listed_cores_near_the_card() {
    let fixture = Fixture::new();
    fixture.write("sys/class/net/eth0/device/local_cpulist", "2-3\n");
    let options = Options {
        cores: Some("1-3".parse().expect("a list")),
        ..Options::default()
    };
    let goal = Goal::new(&fixture.host(), options);
    let report = crate::check(&fixture.host(), &goal);
    let row = report
        .settings
        .iter()
        .find(|row| row.setting == "eth0 interrupts");
    let wanted = row.and_then(|row| row.wanted.as_deref());
    assert_eq!(wanted, Some("CPU 2 (2), CPU 3 (1)"));
}

#[test]
fn a_virtual_machine_gets_its_profile_and_has_no_governor() {
    let fixture = Fixture::new();
    fixture.write("proc/cpuinfo", "flags\t\t: fpu hypervisor avx2\n");
    for cpu in 0..4 {
        fixture.remove(&format!(
            "sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_available_governors"
        ));
    }
    assert_eq!(fixture.goal().profile, Profile::Vm);
    let governor = finding(&fixture, "CPU governor")
        .reason
        .expect("there is none");
    assert!(
        governor.starts_with("a virtual machine has no"),
        "{governor}"
    );
    let idle = finding(&fixture, "CPU idle states")
        .reason
        .expect("they are left alone");
    assert!(idle.contains("profile vm"), "{idle}");
}

#[test]
fn the_profile_follows_the_fastest_card_that_is_up() {
    let fixture = Fixture::new();
    for (speed, profile) in [
        ("1000", Profile::OneGigabit),
        ("2500", Profile::TenGigabit),
        ("25000", Profile::TwentyFiveGigabit),
        ("40000", Profile::HundredGigabit),
        ("-1", Profile::OneGigabit),
    ] {
        fixture.write("sys/class/net/eth0/speed", &format!("{speed}\n"));
        assert_eq!(fixture.goal().profile, profile, "{speed}");
    }
}

#[test]
fn an_interface_that_does_not_exist_is_named() {
    let fixture = Fixture::new();
    for name in ["eth7", "../eth0", "-K"] {
        let options = Options {
            cards: vec![name.to_owned()],
            ..Options::default()
        };
        let goal = Goal::new(&fixture.host(), options);
        let report = crate::check(&fixture.host(), &goal);
        let row = report
            .settings
            .iter()
            .find(|row| row.setting == name)
            .expect(name);
        assert_eq!(
            row.reason.as_deref(),
            Some("there is no such network interface")
        );
    }
}
