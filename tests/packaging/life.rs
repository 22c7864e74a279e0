//! The .deb from installation to purge.

use std::fs;

use crate::built::{VERSION, deb, deb_of, packages};
use crate::ready;
use crate::tree::{SYSCTL_FILE, Suite, Tree};

const CONFIGURATION: &str = "/etc/wardgate/wardgate.toml";
/// What an operator wrote.
const EDITED: &str = "# Written by the operator.\n[gateway]\n";

#[test]
fn debian_12_is_as_before_after_install_upgrade_remove_and_purge() {
    lives_and_leaves_nothing(Suite::Bookworm);
}

#[test]
fn debian_13_is_as_before_after_install_upgrade_remove_and_purge() {
    lives_and_leaves_nothing(Suite::Trixie);
}

/// Where only Debian's mirror can be reached, this is Debian 13 again.
#[test]
fn ubuntu_24_04_if_its_mirror_answers_is_as_before_after_install_upgrade_remove_and_purge() {
    let suite = if Suite::Noble.is_available() {
        Suite::Noble
    } else {
        eprintln!("the mirror of Ubuntu does not answer; using Debian 13");
        Suite::Trixie
    };
    lives_and_leaves_nothing(suite);
}

fn lives_and_leaves_nothing(suite: Suite) {
    if !ready(&[]) {
        return;
    }
    let (_folder, older) = deb_of("0.0.9-1", |_| ());
    let tree = Tree::of(suite);
    let before = tree.snapshot();
    tree.take(&older, "/tmp/older.deb");
    tree.take(&deb(), "/tmp/wardgate.deb");

    let text = tree
        .script("dpkg -i /tmp/older.deb")
        .expect_success()
        .text();
    assert!(
        text.contains("wardgate setup") && text.contains("wardgate pair"),
        "{text}"
    );
    tree.script("wardgate --version && getent passwd wardgate")
        .expect_success();
    let enabled = tree.path("/etc/systemd/system/multi-user.target.wants/wardgate.service");
    assert!(
        !enabled.is_symlink(),
        "it would start without a configuration"
    );
    let modes = "stat -c '%a %U:%G' /etc/wardgate /etc/wardgate/pki /etc/wardgate/wardgate.toml";
    let modes = tree.script(modes).expect_success().text();
    assert_eq!(
        modes,
        "750 root:wardgate\n750 root:wardgate\n644 root:root\n"
    );

    // The configuration of the package has not changed, so dpkg has nothing to ask.
    tree.write(CONFIGURATION, EDITED);
    tree.write("/etc/wardgate/pki/site.key", "a key");
    let text = tree
        .script("dpkg -i /tmp/wardgate.deb")
        .expect_success()
        .text();
    assert!(!text.contains("systemctl enable"), "an upgrade: {text}");
    assert_eq!(tree.read(CONFIGURATION), EDITED);
    let status = tree.script("dpkg-query -W -f '${Version}' wardgate").text();
    assert_eq!(status, VERSION);

    tree.script("dpkg --remove wardgate").expect_success();
    assert_eq!(tree.read(CONFIGURATION), EDITED);
    assert_eq!(tree.read("/etc/wardgate/pki/site.key"), "a key");
    assert!(!tree.path("/usr/bin/wardgate").exists());

    tree.script("dpkg --purge wardgate").expect_success();
    assert_eq!(tree.snapshot().since(&before), [""; 0]);
}

#[test]
fn demonstration_of_the_tools_package_runs_on_debian_13() {
    if !ready(&[]) {
        return;
    }
    let tree = Tree::of(Suite::Trixie);
    let tools = packages().join(format!("wardgate-tools_{VERSION}_amd64.deb"));
    tree.take(&tools, "/tmp/tools.deb");
    tree.script("dpkg -i /tmp/tools.deb").expect_success();
    let demo = tree.script("wardgate-bench --version && wardgate-demo --size 4MiB");
    let text = demo.expect_success().text();
    assert!(text.contains("All checks passed."), "{text}");
}

#[test]
fn upgrade_with_a_changed_conffile_keeps_what_the_operator_wrote() {
    if !ready(&[]) {
        return;
    }
    let (_folder, older) = deb_of("0.0.9-1", |tree| {
        let file = tree.join("etc/wardgate/wardgate.toml");
        fs::write(file, "# An older text.\n").expect("the tree can be written");
    });
    let tree = Tree::of(Suite::Bookworm);
    tree.take(&older, "/tmp/older.deb");
    tree.take(&deb(), "/tmp/wardgate.deb");

    // Nobody has edited it: the new text replaces the old one.
    tree.script("dpkg -i /tmp/older.deb && dpkg -i /tmp/wardgate.deb")
        .expect_success();
    let new = tree.read(CONFIGURATION);
    assert!(new.contains("[gateway]"), "{new}");

    tree.script("dpkg --purge wardgate && dpkg -i /tmp/older.deb")
        .expect_success();
    tree.write(CONFIGURATION, EDITED);
    tree.script("dpkg --force-confdef --force-confold -i /tmp/wardgate.deb")
        .expect_success();
    assert_eq!(tree.read(CONFIGURATION), EDITED);
    assert_eq!(tree.read("/etc/wardgate/wardgate.toml.dpkg-dist"), new);
    tree.script("dpkg --purge wardgate").expect_success();
    assert!(!tree.path("/etc/wardgate").exists());
}

/// The kernel's settings are files of the test that lie over those of this machine.
#[test]
fn io_uring_that_is_off_is_allowed_to_the_service_and_off_again_after_purge() {
    if !ready(&[]) {
        return;
    }
    for before in ["2", "1"] {
        let tree = with_kernel(before, "-1");
        let text = tree
            .script(&within("dpkg -i /tmp/wardgate.deb"))
            .expect_success()
            .text();
        let says = format!("kernel.io_uring_disabled is {before}; 2 means off for everyone");
        assert!(text.contains(&says), "{text}");
        let group = tree.script("getent group wardgate | cut -d: -f3").text();
        assert_eq!(tree.kernel(), ["1", group.trim()]);
        let file = tree.read(SYSCTL_FILE);
        let line = format!("\nkernel.io_uring_group = {group}");
        assert!(file.contains(&line), "{file}");

        tree.script(&within("dpkg --purge wardgate"))
            .expect_success();
        assert_eq!(tree.kernel(), [before, "-1"]);
        assert!(!tree.path(SYSCTL_FILE).exists());
    }
}

#[test]
fn io_uring_settings_that_serve_or_belong_to_another_group_are_not_changed() {
    if !ready(&[]) {
        return;
    }
    for (disabled, group, says) in [
        ("0", "-1", ""),
        ("1", "7", "allows io_uring to the group 7 only"),
    ] {
        let tree = with_kernel(disabled, group);
        let text = tree
            .script(&within("dpkg -i /tmp/wardgate.deb"))
            .expect_success()
            .text();
        assert!(text.contains(says), "{text}");
        assert_eq!(tree.kernel(), [disabled, group]);
        assert!(!tree.path(SYSCTL_FILE).exists());
    }
}

#[test]
fn an_old_kernel_is_explained_at_installation() {
    if !ready(&[]) {
        return;
    }
    let tree = with_kernel("0", "-1");
    tree.write(
        "/usr/local/bin/uname",
        "#!/bin/sh\necho 5.15.0-91-generic\n",
    );
    let install =
        "chmod +x /usr/local/bin/uname; PATH=/usr/local/bin:$PATH dpkg -i /tmp/wardgate.deb";
    let text = tree.script(&within(install)).expect_success().text();
    let says = "this kernel is 5.15.0-91-generic, and wardgate needs Linux 6.1 or later";
    assert!(text.contains(says), "{text}");
}

/// A tree with the package beside it, and what the kernel would report about io_uring.
fn with_kernel(disabled: &str, group: &str) -> Tree {
    let tree = Tree::with_kernel(Suite::Bookworm, disabled, group);
    tree.take(&deb(), "/tmp/wardgate.deb");
    tree
}

/// A script that sees the kernel of the tree.
fn within(script: &str) -> String {
    format!("mount --bind /tmp/kernel /proc/sys/kernel; {script}")
}
