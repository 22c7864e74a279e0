//! `tune apply` and `tune undo` on the real sysctls, routes and offloads of a namespace.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use wardgate_tests::tier::{self, Need};
use wardgate_tuning::{Goal, Host, Installed, Options, Profile, Report, Verdict};

use crate::lab::{Family, Lab, Place};

const PROGRAM: &str = "/usr/bin/wardgate";
/// Settings of the namespace that differ before `apply`.
const DIFFERING: [&str; 6] = [
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_slow_start_after_idle",
    "net.ipv4.tcp_mtu_probing",
    "net.core.somaxconn",
    "wan IPv4 route 198.51.100.0/24",
    "wan offload gro",
];

/// A root whose sysctls are those of the namespace that the thread is in; the rest is a folder of its own.
fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a folder can be made");
    fs::create_dir_all(root.path().join("proc/sys")).expect("a folder can be made");
    fs::create_dir_all(root.path().join("sys/class/net/wan")).expect("a folder can be made");
    fs::create_dir_all(root.path().join("etc")).expect("a folder can be made");
    symlink("/proc/sys/net", root.path().join("proc/sys/net")).expect("a link can be made");
    root
}

fn host(root: &Path) -> Host {
    Host::below(root, Installed)
}

fn goal(host: &Host) -> Goal {
    let options = Options {
        profile: Some(Profile::TenGigabit),
        cards: vec!["wan".to_owned()],
        ..Options::default()
    };
    Goal::new(host, options)
}

/// What the programs of the system show of the namespace.
fn shown(lab: &Lab) -> String {
    let commands = [
        ("sysctl", &["-a", "-r", r"^net\.(core|ipv4\.tcp)"][..]),
        ("ip", &["-4", "route", "show"]),
        ("ip", &["-6", "route", "show"]),
        ("ethtool", &["-k", "wan"]),
    ];
    let outputs = commands.map(|(program, arguments)| {
        let outcome = lab.program(Place::GatewayA, program).args(arguments).run();
        String::from_utf8_lossy(&outcome.expect_success().stdout).into_owned()
    });
    outputs.concat()
}

fn verdict(report: &Report, setting: &str) -> Verdict {
    let mut rows = report.settings.iter();
    let row = rows.find(|row| row.setting == setting);
    row.unwrap_or_else(|| panic!("{setting} is in {report:#?}"))
        .verdict
}

#[test]
fn apply_changes_the_sysctls_routes_and_offloads_of_a_namespace_and_undo_restores_them() {
    if !tier::ready("network", &[Need::Namespaces, Need::Program("ethtool")]) {
        return;
    }
    let lab = Lab::new();
    let run = |program: &str, arguments: &[&str]| {
        let program = lab.program(Place::GatewayA, program);
        program.args(arguments).run().expect_success();
    };
    run(
        "sysctl",
        &[
            "-w",
            "net.core.somaxconn=100",
            "net.ipv4.tcp_rmem=4096 131072 6291456",
        ],
    );
    run(
        "sysctl",
        &[
            "-w",
            "net.ipv4.tcp_slow_start_after_idle=1",
            "net.ipv4.tcp_mtu_probing=0",
        ],
    );
    let gateway = Family::V4.host(Place::GatewayB, "wan");
    let route = [
        "route",
        "add",
        "198.51.100.0/24",
        "via",
        gateway,
        "dev",
        "wan",
        "initcwnd",
        "12",
    ];
    run("ip", &route);
    run("ethtool", &["-K", "wan", "gro", "off"]);

    let root = root();
    let before = shown(&lab);
    let (checked, applied, after) = lab.inside(Place::GatewayA, || {
        let host = host(root.path());
        let goal = goal(&host);
        let checked = wardgate_tuning::check(&host, &goal);
        let applied = wardgate_tuning::apply(&host, &goal, Path::new(PROGRAM), None);
        let applied = applied.expect("the record can be written");
        (checked, applied, wardgate_tuning::check(&host, &goal))
    });
    for setting in DIFFERING {
        let found = verdict(&checked, setting);
        assert!(
            matches!(found, Verdict::Differs | Verdict::Minor),
            "{setting} {found}"
        );
        assert_eq!(
            verdict(&after, setting),
            Verdict::Good,
            "{setting} {applied:#?}"
        );
    }
    assert!(!after.differs(), "{after:#?}");
    let tuned = shown(&lab);
    for line in [
        "net.core.somaxconn = 4096\n",
        "net.ipv4.tcp_rmem = 4096\t131072\t50331648\n",
        "198.51.100.0/24 via 192.0.2.2 dev wan initcwnd 32 initrwnd 32 \n",
        "generic-receive-offload: on\n",
    ] {
        assert!(tuned.contains(line), "{line:?} {tuned}");
    }

    let undone = lab.inside(Place::GatewayA, || {
        wardgate_tuning::undo(&host(root.path()))
    });
    let undone = undone
        .expect("the record can be read")
        .expect("there is a record");
    assert!(
        undone.left.is_empty() && undone.failed.is_empty(),
        "{undone:#?}"
    );
    assert_eq!(shown(&lab), before);
    assert!(!root.path().join("var").exists());
    assert_eq!(
        fs::read_dir(root.path().join("etc"))
            .expect("a folder")
            .count(),
        0
    );
}

#[test]
fn a_queueing_discipline_that_the_kernel_attaches_again_is_as_before() {
    if !tier::ready("network", &[Need::Namespaces, Need::Program("tc")]) {
        return;
    }
    let lab = Lab::new();
    let run = |arguments: &[&str]| {
        let program = lab.program(Place::GatewayA, "ip");
        program.args(arguments).run().expect_success();
    };
    run(&[
        "tuntap",
        "add",
        "mode",
        "tap",
        "multi_queue",
        "name",
        "card",
    ]);
    run(&["link", "set", "card", "up"]);
    let disciplines = || {
        let show = lab.program(Place::GatewayA, "tc");
        let outcome = show.args(["qdisc", "show", "dev", "card"]).run();
        outcome.expect_success().text()
    };
    let before = disciplines();
    assert!(before.starts_with("qdisc mq 0: root"), "{before}");
    // The default belongs to the whole kernel, which a test does not change: a file stands in for it, so the kernel attaches
    // the kind that it attached before.
    let root = tempfile::tempdir().expect("a folder can be made");
    let file = root.path().join("proc/sys/net/core/default_qdisc");
    fs::create_dir_all(file.parent().expect("it is in a folder")).expect("a folder can be made");
    fs::create_dir_all(root.path().join("sys/class/net/card")).expect("a folder can be made");
    fs::write(&file, "pfifo\n").expect("the file can be written");
    let applied = lab.inside(Place::GatewayA, || {
        let host = host(root.path());
        let options = Options {
            cards: vec!["card".to_owned()],
            ..Options::default()
        };
        let goal = Goal::new(&host, options);
        wardgate_tuning::apply(&host, &goal, Path::new(PROGRAM), None)
    });
    let applied = applied.expect("the record can be written");
    let was_tried = (before.contains("qdisc fq"))
        || applied.not_applicable.iter().any(|(name, reason)| {
            name == "card queueing discipline" && reason.contains("kept its value")
        });
    assert!(was_tried, "{applied:#?}");
    assert_eq!(disciplines(), before);
}
