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
