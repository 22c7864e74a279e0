//! Network cards: interrupts by name, disciplines of the kernel, and drivers that forget.

use std::fs;

use super::fixture::Fixture;
use crate::finding::{Finding, Verdict};

fn finding(fixture: &Fixture, setting: &str) -> Finding {
    let report = crate::check(&fixture.host(), &fixture.goal());
    let mut rows = report.settings.into_iter();
    rows.find(|row| row.setting == setting).expect(setting)
}

fn affinity(number: u32) -> String {
    format!("proc/irq/{number}/smp_affinity_list")
}

/// Gives the card's interrupts other numbers, and its old ones to a disk.
fn renumber(fixture: &Fixture, by: u32) {
    for number in 40..43 {
        for file in ["proc/irq/{}/smp_affinity_list", "sys/kernel/irq/{}/actions"] {
            let (from, to) = (number.to_string(), (number + by).to_string());
            let text = fixture.read(&file.replace("{}", &from));
            fixture.write(&file.replace("{}", &to), &text);
        }
        let of =
            |number: u32| fixture.path(&format!("sys/class/net/eth0/device/msi_irqs/{number}"));
        fs::rename(of(number), of(number + by)).expect("it can be renamed");
        fixture.write(&format!("sys/kernel/irq/{number}/actions"), "nvme0q1\n");
    }
}

#[test]
fn an_interrupt_with_another_number_is_restored_and_that_of_another_device_is_not_touched() {
    let fixture = Fixture::new();
    fixture.apply();
    assert_eq!(fixture.read(&affinity(41)), "1\n");
    renumber(&fixture, 20);
    let undone = fixture.undo();
    assert!(undone.left.is_empty(), "{:?}", undone.left);
    for number in 60..63 {
        assert_eq!(fixture.read(&affinity(number)), "0-3\n");
    }
    // The disk's interrupts have by chance what `apply` wrote to the card's.
    let of_disk = [40, 41, 42].map(|number| fixture.read(&affinity(number)));
    assert_eq!(of_disk, ["0\n", "1\n", "2\n"]);
}

#[test]
fn a_card_that_is_another_device_now_keeps_its_interrupts() {
    let fixture = Fixture::new();
    let net = fixture.path("sys/class/net/eth0");
    let device = |name: &str| {
        fs::rename(net.join("device"), net.join(name)).expect("it can be renamed");
        std::os::unix::fs::symlink(name, net.join("device")).expect("a link can be made");
    };
    device("0000:03:00.0");
    fixture.apply();
    fs::remove_file(net.join("device")).expect("it is a link");
    fs::rename(net.join("0000:03:00.0"), net.join("device")).expect("it can be renamed");
    device("0000:05:00.0");
    let undone = fixture.undo();
    let left: Vec<_> = undone.left.iter().map(|left| left.what.as_str()).collect();
    assert_eq!(left, ["eth0 interrupts"; 3]);
    assert!(
        undone.left[0]
            .why
            .contains("is not the device 0000:03:00.0"),
        "{:?}",
        undone.left
    );
    assert_eq!(fixture.read(&affinity(41)), "1\n");
}

#[test]
fn interrupts_that_no_driver_uses_or_whose_name_is_not_single_are_left_alone() {
    let fixture = Fixture::new();
    fixture.write("sys/kernel/irq/40/actions", "\n");
    fixture.write("sys/kernel/irq/41/actions", "eth0\n");
    let reason = finding(&fixture, "eth0 interrupts").reason;
    assert_eq!(
        reason.as_deref(),
        Some("the card has no interrupts of its own")
    );
}

#[test]
fn what_a_driver_forgets_when_its_rings_change_is_set_again() {
    let fixture = Fixture::new();
    // As wanted, so that `apply` has no reason to change it.
    fixture.write(&affinity(40), "0\n");
    fixture.model.borrow_mut().forgets = true;
    let (tree, model) = (fixture.tree(), fixture.model.borrow().clone());
    fixture.apply();
    let now = [40, 41, 42].map(|number| fixture.read(&affinity(number)));
    assert_eq!(now, ["0\n", "1\n", "2\n"]);
    let undone = fixture.undo();
    assert_eq!(
        (undone.left.len(), undone.failed.len()),
        (0, 0),
        "{undone:?}"
    );
    assert_eq!(fixture.tree(), tree);
    assert_eq!(*fixture.model.borrow(), model);
}

#[test]
fn routes_are_written_last_and_one_that_is_lost_with_the_link_is_waited_for() {
    let fixture = Fixture::new();
    let (tree, model) = (fixture.tree(), fixture.model.borrow().routes.clone());
    fixture.model.borrow_mut().link_down = 2;
    let changed = fixture.apply().changed;
    let at = |name: &str| changed.iter().position(|(known, ..)| known == name);
    let order = [
        "net.core.somaxconn",
        "eth0 ring rx",
        "eth0 interrupts",
        "eth0 IPv4 route default",
    ];
    let order = order.map(|name| at(name).expect(name));
    assert!(order.is_sorted(), "{changed:?}");
    let undone = fixture.undo();
    assert_eq!(
        (undone.left.len(), undone.failed.len()),
        (0, 0),
        "{undone:?}"
    );
    assert_eq!(fixture.tree(), tree);
    assert_eq!(fixture.model.borrow().routes, model);
}

#[test]
fn a_discipline_that_is_not_the_kernels_is_not_touched() {
    for shown in [
        "qdisc htb 1: root refcnt 3 r2q 10 default 0x10\n",
        "qdisc noqueue 0: root refcnt 2 \n",
    ] {
        let fixture = Fixture::new();
        fixture.model.borrow_mut().qdisc = shown.to_owned();
        let found = finding(&fixture, "eth0 queueing discipline");
        assert_eq!(found.verdict, Verdict::NotApplicable, "{found:?}");
        fixture.apply();
        assert_eq!(fixture.model.borrow().qdisc, shown);
    }
    // A network namespace, and a host without the program.
    let fixture = Fixture::new();
    fixture.remove("proc/sys/net/core/default_qdisc");
    let reason = finding(&fixture, "eth0 queueing discipline").reason;
    assert_eq!(reason.as_deref(), Some("this kernel does not have it"));
    let fixture = Fixture::new();
    fixture.model.borrow_mut().missing = vec!["tc"];
    let reason = finding(&fixture, "eth0 queueing discipline").reason;
    assert_eq!(
        reason.as_deref(),
        Some("the program \"tc\" is not installed")
    );
}

#[test]
fn a_discipline_is_restored_though_the_default_was_another_one_already() {
    let fixture = Fixture::new();
    fixture.write("proc/sys/net/core/default_qdisc", "fq_codel\n");
    let (tree, model) = (fixture.tree(), fixture.model.borrow().clone());
    let changed = fixture.apply().changed;
    let expected = ["eth0 queueing discipline", "pfifo_fast", "fq_codel"].map(str::to_owned);
    assert!(changed.contains(&expected.into()), "{changed:?}");
    assert_eq!(
        fixture.read("proc/sys/net/core/default_qdisc"),
        "fq_codel\n"
    );
    fixture.undo();
    assert_eq!(fixture.tree(), tree);
    assert_eq!(*fixture.model.borrow(), model);
}
