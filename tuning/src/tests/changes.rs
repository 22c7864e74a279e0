//! `apply` and `undo` on the fixture machine.

use std::path::Path;

use super::fixture::{Fixture, PROGRAM};
use crate::finding::Verdict;
use crate::{Goal, Options, settings};

/// Settings that are compared and differ.
fn differing(fixture: &Fixture) -> Vec<String> {
    let report = crate::check(&fixture.host(), &fixture.goal());
    let findings = report.settings.into_iter();
    let differing = findings.filter(|row| matches!(row.verdict, Verdict::Differs | Verdict::Minor));
    differing.map(|row| row.setting).collect()
}

#[test]
fn apply_and_undo_leave_identical_trees_routes_and_cards() {
    let fixture = Fixture::new();
    let (tree, model) = (fixture.tree(), fixture.model.borrow().clone());
    let before = differing(&fixture);
    assert!(before.len() > 30, "{before:?}");

    let applied = fixture.apply();
    assert_eq!(
        applied.not_applicable,
        [],
        "everything of this machine can be changed"
    );
    assert_eq!(differing(&fixture), [""; 0], "apply reaches the goal");
    assert_ne!(fixture.tree(), tree);
    assert_ne!(*fixture.model.borrow(), model);

    let undone = fixture.undo();
    assert_eq!(
        (undone.left.as_slice(), undone.failed.as_slice()),
        (&[][..], &[][..])
    );
    assert_eq!(
        fixture.tree(),
        tree,
        "files, modes and folders are those from before"
    );
    assert_eq!(*fixture.model.borrow(), model);
    assert_eq!(differing(&fixture), before);
}

#[test]
fn each_value_is_compared_changed_and_restored_on_its_own() {
    let first = Fixture::new();
    let changes: Vec<_> = settings::all(&first.host(), &first.goal())
        .iter()
        .flat_map(|setting| setting.changes(&first.host()))
        .collect();
    assert!(changes.len() > 40, "{}", changes.len());
    for change in changes {
        // A tuned machine whose record is gone, on which this one value is as it was before.
        let fixture = Fixture::new();
        fixture.apply();
        fixture.remove("var/lib/wardgate-tune/tune.json");
        change
            .place
            .write(&fixture.host(), &change.before)
            .expect("the value can be written");
        let (tree, model) = (fixture.tree(), fixture.model.borrow().clone());
        assert_eq!(
            differing(&fixture),
            std::slice::from_ref(&change.setting),
            "{:?}",
            change.place
        );

        let applied = fixture.apply();
        let changed: Vec<_> = applied
            .changed
            .iter()
            .map(|(name, ..)| name.as_str())
            .collect();
        assert_eq!(changed, [change.setting.as_str()], "{:?}", change.place);
        assert_eq!(differing(&fixture), [""; 0], "{:?}", change.place);
        let now = change
            .place
            .read(&fixture.host())
            .expect("the value can be read");
        assert!(
            change.place.same(&now, &change.after),
            "{:?}: {now}",
            change.place
        );

        fixture.undo();
        let now = change
            .place
            .read(&fixture.host())
            .expect("the value can be read");
        assert_eq!(now, change.before, "{:?}", change.place);
        assert_eq!(*fixture.model.borrow(), model, "{:?}", change.place);
        let after = fixture.tree();
        for (path, content) in &tree {
            // The kernel shows the choice in brackets; our own files of the first run were there before.
            let is_choice = path.to_string_lossy().contains("transparent_hugepage");
            assert!(
                is_choice || after.get(path) == Some(content),
                "{}",
                path.display()
            );
        }
    }
}

#[test]
fn a_second_apply_changes_nothing_and_keeps_the_first_record() {
    let fixture = Fixture::new();
    let tree = fixture.tree();
    fixture.apply();
    let (applied, record) = (
        fixture.tree(),
        fixture.read("var/lib/wardgate-tune/tune.json"),
    );
    let again = fixture.apply();
    assert!(again.is_empty(), "{again:?}");
    assert_eq!(fixture.read("var/lib/wardgate-tune/tune.json"), record);
    assert_eq!(fixture.tree(), applied);

    // A line that is ten times as long needs larger buffers.
    let options = Options {
        round_trip: Some("200ms".parse().expect("a time")),
        ..Options::default()
    };
    let goal = Goal::new(&fixture.host(), options);
    let more = crate::apply(&fixture.host(), &goal, Path::new(PROGRAM)).expect("a record");
    assert_eq!(more.changed.len(), 4, "{more:?}");
    assert_eq!(fixture.read("proc/sys/net/core/rmem_max"), "500170752\n");
    let conf = fixture.read("etc/sysctl.d/90-wardgate.conf");
    assert!(conf.contains("net.core.rmem_max = 500170752\n"), "{conf}");

    fixture.undo();
    assert_eq!(fixture.tree(), tree);
}

#[test]
fn after_a_start_of_the_host_apply_sets_what_was_lost_and_undo_restores_the_first_values() {
    let fixture = Fixture::new();
    let tree = fixture.tree();
    fixture.apply();
    for cpu in 0..4 {
        fixture.write(
            &format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"),
            "schedutil\n",
        );
    }
    let changed = fixture.apply().changed;
    let expected = (
        "CPU governor".to_owned(),
        "schedutil".to_owned(),
        "performance".to_owned(),
    );
    assert_eq!(changed, vec![expected; 4]);
    fixture.undo();
    assert_eq!(fixture.tree(), tree);
}

#[test]
fn a_value_that_was_changed_since_is_reported_and_left() {
    let fixture = Fixture::new();
    fixture.apply();
    fixture.write("proc/sys/net/core/somaxconn", "9999\n");
    fixture.write(
        "etc/sysctl.d/90-wardgate.conf",
        "net.core.somaxconn = 9999\n",
    );
    let undone = fixture.undo();
    let left: Vec<_> = undone.left.iter().map(|left| left.what.as_str()).collect();
    let conf = fixture.path("etc/sysctl.d/90-wardgate.conf");
    assert_eq!(
        left,
        [
            "net.core.somaxconn",
            conf.to_str().expect("a path of ASCII")
        ]
    );
    assert!(undone.left[0].why.contains("\"9999\""), "{:?}", undone.left);
    assert_eq!(fixture.read("proc/sys/net/core/somaxconn"), "9999\n");
    assert!(conf.exists());
    assert_eq!(fixture.read("proc/sys/net/core/rmem_max"), "212992\n");
    assert!(!fixture.path("var/lib/wardgate-tune").exists());
}

#[test]
fn a_file_that_was_there_before_comes_back_with_its_mode() {
    use std::os::unix::fs::PermissionsExt as _;
    let fixture = Fixture::new();
    let conf = "etc/sysctl.d/90-wardgate.conf";
    fixture.write(conf, "# of the administrator\n");
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(fixture.path(conf), mode).expect("the owner may");
    let tree = fixture.tree();
    fixture.apply();
    assert!(fixture.read(conf).contains("net.core.somaxconn = 4096\n"));
    fixture.undo();
    assert_eq!(fixture.tree(), tree);
}

#[test]
fn a_file_that_is_masked_is_left_alone() {
    let fixture = Fixture::new();
    let conf = fixture.path("etc/sysctl.d/90-wardgate.conf");
    std::os::unix::fs::symlink("/dev/null", &conf).expect("a link can be made");
    let tree = fixture.tree();
    let applied = fixture.apply();
    let expected = (
        conf.display().to_string(),
        "it is not a regular file".to_owned(),
    );
    assert_eq!(applied.not_applicable, [expected]);
    assert!(conf.is_symlink());
    fixture.undo();
    assert_eq!(fixture.tree(), tree);
}

#[test]
fn limits_of_the_service_and_the_values_without_sysctl_survive_a_start_of_the_host() {
    let fixture = Fixture::new();
    fixture.apply();
    let drop_in = fixture.read("etc/systemd/system/wardgate.service.d/90-tune.conf");
    let lines: Vec<_> = drop_in.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "[Unit]",
            "Wants=wardgate-tune.service",
            "After=wardgate-tune.service",
            "[Service]",
            "LimitNOFILE=65536",
            "LimitMEMLOCK=67108864"
        ]
    );
    let unit = fixture.read("etc/systemd/system/wardgate-tune.service");
    let start = "ExecStart=/usr/bin/wardgate tune apply --yes --profile=10g --wan=10g --rtt=20ms\n";
    assert!(unit.ends_with(start), "{unit}");
}

#[test]
fn sysctls_alone_need_no_unit_that_applies_them_again() {
    let fixture = Fixture::new();
    fixture.apply();
    let files = [
        "var/lib/wardgate-tune/tune.json",
        "etc/sysctl.d/90-wardgate.conf",
        "etc/systemd/system/wardgate-tune.service",
        "etc/systemd/system/wardgate.service.d/90-tune.conf",
    ];
    files.iter().for_each(|file| fixture.remove(file));
    fixture.write("proc/sys/net/core/somaxconn", "128\n");
    fixture.apply();
    let is_there = files.map(|file| fixture.path(file).exists());
    assert_eq!(is_there, [true, true, false, true]);
    let drop_in = fixture.read(files[3]);
    assert!(!drop_in.contains("[Unit]"), "{drop_in}");
    let conf = fixture.read(files[1]);
    assert_eq!(
        conf.lines().skip(1).collect::<Vec<_>>(),
        ["net.core.somaxconn = 4096"]
    );
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
    let applied = crate::apply(&fixture.host(), &fixture.goal(), program).expect("a record");
    let (_, why) = &applied.not_applicable[0];
    assert!(
        why.starts_with("this program is not the installed one"),
        "{why}"
    );
    assert!(
        !fixture
            .path("etc/systemd/system/wardgate-tune.service")
            .exists()
    );
}

#[test]
fn the_plan_names_what_apply_changes_and_changes_nothing() {
    let fixture = Fixture::new();
    let tree = fixture.tree();
    let plan =
        crate::plan(&fixture.host(), &fixture.goal(), Path::new(PROGRAM)).expect("no record");
    assert_eq!(fixture.tree(), tree);
    assert_eq!(plan, fixture.apply());
}
