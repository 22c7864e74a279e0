//! `wardgate tune apply` on a machine that is started again.
//!
//! Sysctls of the network are those of the machine's own namespace, which is new at each start. Files of the tree stand in
//! for what belongs to the whole kernel (huge pages, network cards), and scripts for `ip` and `ethtool`: their state
//! is in `/run`, which is empty after a start.

use std::fs;

use wardgate_tests::tier::Need;

use crate::built::deb;
use crate::machine::Machine;
use crate::ready;
use crate::tree::{Suite, Tree};

const HUGE_PAGES: &str = "sys/kernel/mm/transparent_hugepage/enabled";
const CARDS: &str = "sys/class/net";
/// What the kernel shows at each start.
const AT_START: &str = "[always] madvise never\n";

/// A card whose rings hold 512 packets at each start. A change notes which parts of the boot had been reached.
const ETHTOOL: &str = r#"#!/bin/sh
ring() { cat /run/ring-$1 2>/dev/null || echo 512; }
case $1 in
-g) printf 'Pre-set maximums:\nRX:\t4096\nTX:\t4096\nCurrent hardware settings:\nRX:\t%s\nTX:\t%s\n' $(ring rx) $(ring tx) ;;
-G) echo $4 >/run/ring-$3
    echo "ring $3, network: $(systemctl is-active network-pre.target)" >>/run/order ;;
*) echo 'Operation not supported' >&2; exit 1 ;;
esac
"#;

/// One route, which has no metrics at each start.
const IP: &str = r#"#!/bin/sh
test $1 = -4 || exit 0
case $3 in
show) cat /run/route 2>/dev/null || echo 'default via 192.0.2.1 dev eth0 proto static' ;;
change) shift 3; echo "$*" >/run/route
    echo "route, network: $(systemctl is-active network-online.target)" >>/run/order ;;
esac
"#;

/// The values, in one text.
fn values(machine: &Machine) -> String {
    let script = format!(
        "cat /{HUGE_PAGES}; sysctl() {{ cat /proc/sys/net/$1 | tr '\\t' ' '; }}
        sysctl ipv4/tcp_rmem; sysctl ipv4/tcp_slow_start_after_idle
        ethtool -g eth0 | tail -n 2 | tr '\\t' ' '; ip -4 route show"
    );
    machine.run(&script).expect_success().text()
}

const UNTUNED: &str = "\
[always] madvise never
4096 131072 6291456
1
RX: 512
TX: 512
default via 192.0.2.1 dev eth0 proto static
";

const TUNED: &str = "\
madvise
4096 131072 16777216
0
RX: 1024
TX: 1024
default via 192.0.2.1 dev eth0 proto static initcwnd 32 initrwnd 32
";

/// A tree with the package, a card, and programs for it.
fn tree() -> Tree {
    let tree = Tree::of(Suite::Bookworm);
    tree.take(&deb(), "/var/wardgate.deb");
    for (path, text) in [
        (format!("{CARDS}/eth0/operstate"), "up\n"),
        (format!("{CARDS}/eth0/device/vendor"), "0x8086\n"),
        (HUGE_PAGES.to_owned(), AT_START),
        ("list".to_owned(), &format!("{HUGE_PAGES}\n{CARDS}\n")),
    ] {
        let path = format!("/var/stand-in/{path}");
        let folder = tree.path(&path);
        fs::create_dir_all(folder.parent().expect("it is in a folder")).expect("there is room");
        tree.write(&path, text);
    }
    // No program reports devices in this machine, so the wait for the card ends at this limit.
    let limit = "/etc/systemd/system.conf.d/test.conf";
    fs::create_dir_all(tree.path("/etc/systemd/system.conf.d")).expect("there is room");
    tree.write(limit, "[Manager]\nDefaultDeviceTimeoutSec=1s\n");
    for (name, script) in [("ethtool", ETHTOOL), ("ip", IP)] {
        tree.write(&format!("/usr/sbin/{name}"), script);
        tree.script(&format!("chmod 755 /usr/sbin/{name}"))
            .expect_success();
    }
    tree
}

#[test]
fn tuned_settings_are_there_again_after_a_start_of_the_host_and_undo_leaves_no_unit() {
    if !ready(&[Need::Program("nsenter")]) {
        return;
    }
    let mut machine = Machine::boot(tree());
    machine.run("dpkg -i /var/wardgate.deb").expect_success();
    let start = "sysctl() { echo \"$2\" >/proc/sys/net/$1; }
        sysctl ipv4/tcp_rmem '4096 131072 6291456'; sysctl ipv4/tcp_slow_start_after_idle 1";
    machine.run(start).expect_success();
    assert_eq!(values(&machine), UNTUNED);
    // The second start of the machine starts the service too, which makes its state folder.
    let etc = "find /etc -type f | sort; ls /var/lib | grep -vx wardgate | sort
        find /var/lib/wardgate -mindepth 1 2>/dev/null | grep -vx /var/lib/wardgate/state";
    let before = machine.run(etc).text();

    let apply = "wardgate tune apply --yes --profile vm";
    let text = machine.run(apply).expect_success().text();
    assert_eq!(values(&machine), TUNED, "{text}");
    machine
        .run("systemctl enable wardgate; systemctl daemon-reload")
        .text();

    machine
        .tree
        .write(&format!("/var/stand-in/{HUGE_PAGES}"), AT_START);
    machine.boot_again();
    assert_eq!(values(&machine), TUNED);
    // Rings first, before the network is configured; routes last, when it is there.
    let order = machine.run("cat /run/order").expect_success().text();
    assert_eq!(
        order,
        "ring rx, network: inactive\nring tx, network: inactive\nroute, network: active\n"
    );
    for unit in ["wardgate-tune-link", "wardgate-tune"] {
        assert_eq!(machine.property(unit, "Result"), "success", "{unit}");
        assert_eq!(machine.property(unit, "ActiveState"), "active", "{unit}");
    }

    let text = machine.run("wardgate tune undo").expect_success().text();
    assert_eq!(
        values(&machine).replacen("always", "[always] madvise never", 1),
        UNTUNED,
        "{text}"
    );
    assert_eq!(machine.run(etc).text(), before);
    machine
        .tree
        .write(&format!("/var/stand-in/{HUGE_PAGES}"), AT_START);
    machine.boot_again();
    machine.run(start).expect_success();
    assert_eq!(values(&machine), UNTUNED);
}
