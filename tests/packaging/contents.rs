//! Which files the packages hold, and for which machines they are.

use wardgate_tests::Program;

use crate::built::{VERSION, deb, packages, rpm};
use crate::ready;

/// What both formats hold at the same place.
const EVERYWHERE: [&str; 35] = [
    "/usr/bin/wardgate",
    "/usr/lib/systemd/system/wardgate.service",
    "/usr/lib/systemd/system/wardgate-pair-renew.timer",
    "/usr/lib/sysusers.d/wardgate.conf",
    "/usr/lib/tmpfiles.d/wardgate.conf",
    "/usr/lib/firewalld/services/wardgate.xml",
    "/etc/wardgate/wardgate.toml",
    "/usr/share/doc/wardgate/examples/grafana/wardgate.json",
    "/usr/share/doc/wardgate/examples/prometheus/prometheus.yml",
    "/usr/share/doc/wardgate/examples/prometheus/wardgate.rules.yml",
    "/usr/share/doc/wardgate/examples/wardgate.toml",
    "/usr/share/doc/wardgate/examples/nagios/wardgate.cfg",
    "/usr/share/doc/wardgate/examples/snmp/wardgate.conf",
    "/usr/share/doc/wardgate/examples/zabbix/wardgate.conf",
    "/usr/share/doc/wardgate/examples/zabbix/wardgate.yaml",
    "/usr/share/doc/wardgate/examples/keepalived/keepalived.conf",
    "/usr/share/doc/wardgate/examples/keepalived/90-wardgate-pair.conf",
    "/usr/share/doc/wardgate/examples/bird/bird.conf",
    "/usr/share/doc/wardgate/examples/ha/director.conf",
    "/usr/share/doc/wardgate/examples/ha/ansible/playbook.yml",
    "/usr/libexec/wardgate/track",
    "/usr/libexec/wardgate/vrrp-left",
    "/usr/libexec/wardgate/bird-watch",
    "/usr/share/doc/wardgate/html/index.html",
    "/usr/share/doc/wardgate/html/guide/two-sites.html",
    "/usr/share/doc/wardgate/THIRD-PARTY-LICENSES.gz",
    "/usr/share/doc/wardgate/sbom.cdx.json.gz",
    "/usr/share/man/man1/wardgate.1.gz",
    "/usr/share/man/man1/wardgate-check.1.gz",
    "/usr/share/man/man1/wardgate-pair.1.gz",
    "/usr/share/man/man1/wardgate-pki-issue.1.gz",
    "/usr/share/man/man1/wardgate-tune-undo.1.gz",
    "/usr/share/man/man5/wardgate.toml.5.gz",
    "/usr/share/bash-completion/completions/wardgate",
    "/usr/share/fish/vendor_completions.d/wardgate.fish",
];

const OF_DEB: [&str; 6] = [
    "/usr/share/zsh/vendor-completions/_wardgate",
    "/etc/ufw/applications.d/wardgate",
    "/etc/apparmor.d/wardgate",
    "/usr/share/doc/wardgate/copyright",
    "/usr/share/doc/wardgate/changelog.gz",
    "/usr/share/doc-base/wardgate",
];

const OF_RPM: [&str; 4] = [
    "/usr/share/zsh/site-functions/_wardgate",
    "/usr/share/licenses/wardgate/LICENSE-MIT",
    "/usr/share/licenses/wardgate/LICENSE-APACHE",
    "/usr/share/doc/wardgate/CHANGELOG.md",
];

const OF_TOOLS: [&str; 5] = [
    "/usr/bin/wardgate-bench",
    "/usr/bin/wardgate-demo",
    "/usr/share/doc/wardgate-tools/THIRD-PARTY-LICENSES.gz",
    "/usr/share/doc/wardgate-tools/sbom.cdx.json.gz",
    "/usr/share/man/man1/wardgate-bench.1.gz",
];

fn printed(program: &str, arguments: &[&str], file: &std::path::Path) -> String {
    let program = Program::new(program).args(arguments).arg(file);
    program.run().expect_success().text()
}

fn assert_holds(listing: &str, files: &[&str]) {
    let has = |file: &str| {
        let mut lines = listing.lines();
        lines.any(|line| line == file || line.ends_with(&format!(" .{file}")))
    };
    let missing: Vec<_> = files.iter().filter(|file| !has(file)).collect();
    assert!(missing.is_empty(), "{missing:?} not in {listing}");
}

#[test]
fn both_formats_hold_the_service_its_manual_and_its_origin() {
    if !ready(&[]) {
        return;
    }
    let tools = packages().join(format!("wardgate-tools_{VERSION}_amd64.deb"));
    let of_deb = printed("dpkg-deb", &["-c"], &deb());
    assert_holds(&of_deb, &[EVERYWHERE.as_slice(), &OF_DEB].concat());
    assert_holds(&printed("dpkg-deb", &["-c"], &tools), &OF_TOOLS);
    let tools = packages().join(format!("wardgate-tools-{VERSION}.x86_64.rpm"));
    let of_rpm = printed("rpm", &["-qlp"], &rpm());
    assert_holds(&of_rpm, &[EVERYWHERE.as_slice(), &OF_RPM].concat());
    assert_holds(&printed("rpm", &["-qlp"], &tools), &OF_TOOLS);
    // The gateway's package has no program that only tests or measures.
    assert!(!of_deb.contains("bin/wardgate-"), "{of_deb}");
    assert!(!of_rpm.contains("bin/wardgate-"), "{of_rpm}");
}

/// dpkg and rpm refuse a package of another architecture, and name both.
#[test]
fn packages_are_for_x86_64_only() {
    if !ready(&[]) {
        return;
    }
    let architecture = printed("dpkg-deb", &["-f"], &deb());
    assert!(
        architecture.contains("\nArchitecture: amd64\n"),
        "{architecture}"
    );
    assert_eq!(
        printed("rpm", &["-qp", "--qf", "%{ARCH}"], &rpm()),
        "x86_64"
    );
}
