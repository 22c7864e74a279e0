//! The units that apply values again when the host starts.

use std::path::Path;

use super::fixture::{Fixture, PROGRAM};
use crate::{BootStage, Goal, Options};

const LINK_UNIT: &str = "etc/systemd/system/wardgate-tune-link.service";
const BOOT_UNIT: &str = "etc/systemd/system/wardgate-tune.service";
const DROP_IN: &str = "etc/systemd/system/wardgate.service.d/90-tune.conf";

/// The lines of a unit that matter here.
fn lines(unit: &str, keys: &[&str]) -> Vec<String> {
    let is_wanted = |line: &&str| keys.iter().any(|key| line.starts_with(&format!("{key}=")));
    unit.lines().filter(is_wanted).map(str::to_owned).collect()
}

#[test]
fn limits_of_the_service_and_the_values_without_sysctl_survive_a_start_of_the_host() {
    let fixture = Fixture::new();
    fixture.apply();
    let drop_in = fixture.read(DROP_IN);
    let of_drop_in: Vec<_> = drop_in.lines().skip(1).collect();
    assert_eq!(
        of_drop_in,
        [
            "[Unit]",
            "Wants=wardgate-tune-link.service wardgate-tune.service",
            "After=wardgate-tune-link.service wardgate-tune.service",
            "[Service]",
            "LimitNOFILE=65536",
            "LimitMEMLOCK=67108864"
        ]
    );
    let keys = [
        "Wants",
        "After",
        "Before",
        "DefaultDependencies",
        "ExecStart",
    ];
    let goal = "--profile=10g --wan=10g --rtt=20ms --interface=eth0";
    let start = format!("ExecStart={PROGRAM} tune apply --yes --at-boot");
    assert_eq!(
        lines(&fixture.read(LINK_UNIT), &keys),
        [
            "DefaultDependencies=no",
            "Wants=network-pre.target sys-subsystem-net-devices-eth0.device",
            "After=local-fs.target systemd-sysctl.service sys-subsystem-net-devices-eth0.device",
            "Before=network-pre.target shutdown.target",
            &format!("{start}=before-network {goal}"),
        ]
    );
    assert_eq!(
        lines(&fixture.read(BOOT_UNIT), &keys),
        [
            "Wants=network-online.target",
            "After=network-online.target systemd-sysctl.service wardgate-tune-link.service",
            "Before=wardgate.service",
            &format!("{start}=after-network {goal}"),
        ]
    );
}

#[test]
fn what_may_take_the_link_down_is_written_before_the_network_and_the_rest_after_it() {
    let fixture = Fixture::new();
    let (tree, model) = (fixture.tree(), fixture.model.borrow().clone());
    fixture.apply();
    // The host starts: files of /etc and /var stay, the rest is as it was.
    for (path, (_, text)) in &tree {
        let path = path.to_string_lossy().into_owned();
        if let Some(text) = text
            && (path.starts_with("proc/") || path.starts_with("sys/"))
        {
            fixture.write(&path, &String::from_utf8_lossy(text));
        }
    }
    *fixture.model.borrow_mut() = model.clone();
    let files = |fixture: &Fixture| {
        let mut files = fixture.tree();
        files.retain(|path, _| path.starts_with("etc"));
        files
    };
    let etc = files(&fixture);
    let stage = |stage| {
        let applied = crate::apply_at_boot(&fixture.host(), &fixture.goal(), stage);
        let applied = applied.expect("the record can be written");
        assert_eq!(files(&fixture), etc, "no file is written");
        let names = applied.changed.into_iter().map(|(name, ..)| name);
        names.collect::<Vec<_>>()
    };
    let before = stage(BootStage::BeforeNetwork);
    let offloads =
        ["rx", "tx", "sg", "tso", "gso", "gro"].map(|name| format!("eth0 offload {name}"));
    let rings = ["eth0 ring rx", "eth0 ring tx"].map(str::to_owned);
    let coalescing = ["eth0 interrupt coalescing".to_owned()];
    let expected = [rings.as_slice(), &offloads, &coalescing].concat();
    assert_eq!(before, expected);
    let after = stage(BootStage::AfterNetwork);
    for name in ["CPU governor", "eth0 interrupts", "eth0 IPv4 route default"] {
        assert!(after.iter().any(|known| known == name), "{after:?}");
    }
    // sysctl.d has them, and a later file may have decided otherwise.
    let is_sysctl = |name: &String| name.starts_with("net.") || name.starts_with("fs.");
    assert!(!after.iter().any(is_sysctl), "{after:?}");
    assert_eq!(stage(BootStage::BeforeNetwork), [""; 0]);
    assert_eq!(stage(BootStage::AfterNetwork), [""; 0]);
    fixture.undo();
    assert_eq!(fixture.tree(), tree);
    assert_eq!(*fixture.model.borrow(), model);
}

#[test]
fn offloads_of_a_card_that_is_made_with_the_network_are_written_after_it() {
    let fixture = Fixture::new();
    let folder = fixture.path("sys/class/net/eth0/device");
    std::fs::remove_dir_all(folder).expect("it can be removed");
    let options = Options {
        cards: vec!["eth0".to_owned()],
        ..Options::default()
    };
    let goal = Goal::new(&fixture.host(), options);
    let applied = crate::apply(&fixture.host(), &goal, Path::new(PROGRAM), None);
    let applied = applied.expect("the record can be written");
    assert!(
        applied
            .changed
            .iter()
            .any(|(name, ..)| name == "eth0 ring rx")
    );
    assert!(!fixture.path(LINK_UNIT).exists());
    assert!(fixture.path(BOOT_UNIT).exists());
    *fixture.model.borrow_mut() = super::model::Model::new();
    fixture.model.borrow_mut().root = fixture.path("");
    let again = crate::apply_at_boot(&fixture.host(), &goal, BootStage::AfterNetwork);
    let again = again.expect("the record can be written").changed;
    assert!(
        again.iter().any(|(name, ..)| name == "eth0 ring rx"),
        "{again:?}"
    );
}

#[test]
fn a_card_whose_name_needs_quoting_is_in_the_units() {
    let fixture = Fixture::new();
    let name = "a\"b%1";
    let net = fixture.path("sys/class/net");
    std::fs::rename(net.join("eth0"), net.join(name)).expect("it can be renamed");
    fixture.apply();
    let unit = fixture.read(BOOT_UNIT);
    assert!(unit.ends_with(" \"--interface=a\\\"b%%1\"\n"), "{unit}");
}

#[test]
fn a_card_whose_name_no_program_gets_is_named_by_check_and_by_apply() {
    let fixture = Fixture::new();
    let net = fixture.path("sys/class/net");
    std::fs::rename(net.join("eth0"), net.join("card\u{e9}")).expect("it can be renamed");
    let report = crate::check(&fixture.host(), &fixture.goal());
    let mut rows = report.settings.iter();
    let row = rows
        .find(|row| row.setting == "card\u{e9}")
        .expect("it is listed");
    let reason = row.reason.as_deref().unwrap_or_default();
    assert!(reason.starts_with("its name has characters"), "{reason}");
    let applied = fixture.apply();
    let (what, _) = &applied.not_applicable[0];
    assert_eq!(what, "network card \"card\u{e9}\"");
    let unit = fixture.read(BOOT_UNIT);
    assert!(!unit.contains("--interface"), "{unit}");
}

#[test]
fn without_the_service_only_sysctls_are_kept_and_apply_says_so() {
    let fixture = Fixture::new();
    fixture.remove("usr/lib/systemd/system/wardgate.service");
    let applied = fixture.apply();
    assert_eq!(applied.files.len(), 1, "{applied:?}");
    let (what, why) = &applied.not_applicable[0];
    assert_eq!(what, "keeping the values");
    assert!(
        why.starts_with("wardgate.service is not installed"),
        "{why}"
    );
    assert!(!fixture.path("etc/systemd").exists());

    let fixture = Fixture::new();
    let program = Path::new("/opt/a folder/wardgate");
    let applied = crate::apply(&fixture.host(), &fixture.goal(), program, None);
    let applied = applied.expect("the record can be written");
    let (_, why) = &applied.not_applicable[0];
    assert!(
        why.starts_with("this program is not the installed one"),
        "{why}"
    );
    assert!(!fixture.path(BOOT_UNIT).exists());
}
