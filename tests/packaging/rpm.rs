//! The .rpm: its scripts, and what it leaves.
//!
//! No userland of RHEL is at hand, so the packages are installed into a tree of Debian, with scripts, and
//! without the dependencies. SELinux and dnf are not tested.

use std::path::Path;

use wardgate_tests::{Outcome, Program};

use crate::built::rpm;
use crate::ready;
use crate::tree::{Suite, Tree};

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
    assert!(text.contains("systemctl enable --now wardgate"), "{text}");
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
