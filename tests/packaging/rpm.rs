//! The .rpm: its scripts, and what it leaves.
//!
//! No userland of RHEL is at hand, so the packages are installed into a tree of Debian, with scripts, and
//! without the dependencies; once into a booted tree. SELinux and dnf are not tested.

use std::path::Path;

use wardgate_tests::tier::Need;
use wardgate_tests::{Outcome, Program};

use crate::built::rpm;
use crate::machine::Machine;
use crate::ready;
use crate::tree::{SYSCTL_FILE, Suite, Tree};

#[test]
fn rpm_installs_with_its_scripts_and_leaves_only_what_the_operator_wrote() {
    if !ready(&[]) {
        return;
    }
    let tree = Tree::of(Suite::Bookworm);
    // The database, which would be new otherwise.
    run(&tree, &["--initdb"]).expect_success();
    let before = tree.snapshot();
    let text = run(&tree, &["-i", "--nodeps", path(&rpm())])
        .expect_success()
        .text();
    assert!(
        text.contains("wardgate setup") && text.contains("wardgate pair"),
        "{text}"
    );
    let modes = "stat -c '%a %U:%G' /etc/wardgate /etc/wardgate/pki; wardgate --version";
    let modes = tree.script(modes).expect_success().text();
    assert!(
        modes.starts_with("750 root:wardgate\n750 root:wardgate\nwardgate "),
        "{modes}"
    );

    let configuration = "/etc/wardgate/wardgate.toml";
    tree.write(configuration, "# Written by the operator.\n");
    tree.write("/etc/wardgate/pki/site.key", "a key");
    run(&tree, &["-U", "--nodeps", "--replacepkgs", path(&rpm())]).expect_success();
    assert_eq!(tree.read(configuration), "# Written by the operator.\n");

    run(&tree, &["-e", "wardgate"]).expect_success();
    let mut left = tree.snapshot().since(&before);
    // The user stays, as is the custom of this format; RHEL has the folders of man pages and licences already.
    let of_others = [
        "~ /etc/",
        "+ /etc/sub",
        "+ /usr/share/man/man",
        "+ /usr/share/licenses",
    ];
    left.retain(|line| !of_others.iter().any(|start| line.starts_with(start)));
    let expected = [
        "+ /etc/wardgate",
        "+ /etc/wardgate/pki",
        "+ /etc/wardgate/pki/site.key",
        "+ /etc/wardgate/wardgate.toml.rpmsave",
    ];
    assert_eq!(left, expected);
}

/// The kernel's settings are files of the test that lie over those of this machine.
#[test]
fn rpm_allows_io_uring_that_is_off_and_restores_it_when_it_is_removed() {
    if !ready(&[]) {
        return;
    }
    let tree = Tree::with_kernel(Suite::Bookworm, "2", "-1");
    run(&tree, &["--initdb"]).expect_success();
    let within = |arguments: &str| {
        let script = format!(
            "mount -t proc proc \"$0/proc\"; mount --bind \"$0/tmp/kernel\" \"$0/proc/sys/kernel\"; \
             rpm --root \"$0\" --dbpath /var/lib/rpm {arguments}"
        );
        let program = Program::new("unshare").args(["--mount", "--propagation=private"]);
        let outcome = program.args(["sh", "-ec", &script]).arg(tree.root()).run();
        outcome.expect_success().text()
    };
    let text = within(&format!("-i --nodeps '{}'", path(&rpm())));
    assert!(text.contains("2 means off for everyone"), "{text}");
    let group = tree.script("getent group wardgate | cut -d: -f3").text();
    assert_eq!(tree.kernel(), ["1", group.trim()]);
    // The new version's scripts run before the old one's at an upgrade, which must not undo the setting.
    within(&format!("-U --nodeps --replacepkgs '{}'", path(&rpm())));
    assert_eq!(tree.kernel(), ["1", group.trim()]);
    within("-e wardgate");
    assert_eq!(tree.kernel(), ["2", "-1"]);
    assert!(!tree.path(SYSCTL_FILE).exists());
}

/// Brings this machine's rpm with its libraries, because the tree of Debian has none.
#[test]
fn rpm_upgrade_restarts_the_service_unless_the_new_version_would_not_start() {
    if !ready(&[Need::Program("nsenter"), Need::Program("ldd")]) {
        return;
    }
    let tree = Tree::of(Suite::Bookworm);
    let copy = "mkdir \"$0/opt/rpm\"
        program=$(command -v rpm)
        cp -L \"$program\" $(ldd \"$program\" | grep -o '/[^ ]*') \"$0/opt/rpm/\"
        cp -a /usr/lib/rpm \"$0/usr/lib/\"";
    let copy = Program::new("sh").args(["-ec", copy]).arg(tree.root());
    copy.run().expect_success();
    tree.take(&rpm(), "/var/wardgate.rpm");
    let machine = Machine::boot(tree);
    let rpm_there = |arguments: &str| {
        let loader = "/opt/rpm/ld-linux-x86-64.so.2 --library-path /opt/rpm /opt/rpm/rpm";
        let command = format!("{loader} --dbpath /var/lib/rpm --nodeps {arguments}");
        machine.run(&command).expect_success().text()
    };
    let text = rpm_there("-i /var/wardgate.rpm");
    assert!(
        text.contains("wardgate setup") && text.contains("wardgate pair"),
        "{text}"
    );
    let configuration = "/etc/wardgate/wardgate.toml";
    let route = "[[route]]\nname = \"a\"\nmode = \"passthrough\"\nprotocol = \"dicom\"\nlisten = \"127.0.0.1:104\"\n\
                 targets = [\"127.0.0.1:2762\"]\n";
    machine.tree.write(configuration, route);
    machine.run("systemctl start wardgate").expect_success();
    let upgrade = || rpm_there("-U --replacepkgs /var/wardgate.rpm");

    let before = machine.property("wardgate", "MainPID");
    machine.tree.write(configuration, "[gateway]\n");
    let text = upgrade();
    assert!(text.contains("was not restarted"), "{text}");
    assert_eq!(machine.property("wardgate", "MainPID"), before);

    machine.tree.write(configuration, route);
    let text = upgrade();
    assert!(text.contains("wardgate: the new version runs"), "{text}");
    assert_ne!(machine.property("wardgate", "MainPID"), before);
    assert_eq!(machine.property("wardgate", "ActiveState"), "active");

    rpm_there("-e wardgate");
    assert_eq!(machine.property("wardgate", "ActiveState"), "inactive");
}

/// The symbol versions that rpm found in the programs, by its own reading.
#[test]
fn no_package_needs_a_newer_glibc_than_2_35() {
    if !ready(&[]) {
        return;
    }
    let requires = Program::new("rpm")
        .args(["-qp", "--requires", path(&rpm())])
        .run();
    let requires = requires.expect_success().text();
    let versions = requires.split("(GLIBC_2.").skip(1);
    let minors: Vec<u32> = versions
        .filter_map(|rest| rest.split([')', '.']).next()?.parse().ok())
        .collect();
    let newest = minors.iter().max().expect("the program uses the C library");
    assert!(*newest <= 35, "{requires}");
}

/// rpm of this machine on the tree. Scripts run in the tree.
fn run(tree: &Tree, arguments: &[&str]) -> Outcome {
    Program::new("rpm")
        .arg("--root")
        .arg(tree.root())
        // Debian's rpm keeps the packages of each user in the user's own folder.
        .args(["--dbpath", "/var/lib/rpm"])
        .args(arguments)
        .run()
}

fn path(file: &Path) -> &str {
    file.to_str().expect("the target folder has a plain name")
}
