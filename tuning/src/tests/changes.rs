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
    let report = crate::check(&fixture.host(), &fixture.goal());
    let others = report
        .settings
        .iter()
        .filter(|row| !before.contains(&row.setting));
    let others: Vec<_> = others
        .map(|row| (row.setting.as_str(), row.verdict))
        .collect();
    let reported = [
        "eth0 queues",
        "isolated CPUs",
        "clock source",
        "time synchronisation",
    ];
    assert_eq!(
        others,
        reported.map(|name| (name, Verdict::Report)),
        "each setting that can be changed differs on this machine"
    );

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
    let more = crate::apply(&fixture.host(), &goal, Path::new(PROGRAM), None).expect("a record");
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
fn the_plan_names_what_apply_changes_and_changes_nothing() {
    let fixture = Fixture::new();
    let tree = fixture.tree();
    let plan =
        crate::plan(&fixture.host(), &fixture.goal(), Path::new(PROGRAM)).expect("no record");
    assert_eq!(fixture.tree(), tree);
    assert_eq!(plan, fixture.apply());
}

#[test]
fn a_plan_that_was_agreed_to_is_carried_out_only_on_the_host_that_it_shows() {
    type Meanwhile = fn(&Fixture);
    let cases: [(Meanwhile, &str); 3] = [
        (
            |fixture| fixture.write("proc/sys/net/core/somaxconn", "256\n"),
            "net.core.somaxconn has changed meanwhile: it is \"256\" now",
        ),
        (
            |fixture| fixture.write("proc/sys/net/core/somaxconn", "8192\n"),
            "net.core.somaxconn has changed meanwhile: it is as wanted now",
        ),
        (
            |fixture| fixture.remove("usr/lib/systemd/system/wardgate.service"),
            "wardgate-tune-link.service has changed meanwhile",
        ),
    ];
    for (meanwhile, expected) in cases {
        let fixture = Fixture::new();
        let (host, goal) = (fixture.host(), fixture.goal());
        let plan = crate::plan(&host, &goal, Path::new(PROGRAM)).expect("no record");
        meanwhile(&fixture);
        let tree = fixture.tree();
        let refused = crate::apply(&host, &goal, Path::new(PROGRAM), Some(&plan));
        let refused = refused.expect_err("the host is another").to_string();
        assert!(refused.contains(expected), "{refused}");
        assert_eq!(fixture.tree(), tree);
    }
    let fixture = Fixture::new();
    let (host, goal) = (fixture.host(), fixture.goal());
    let plan = crate::plan(&host, &goal, Path::new(PROGRAM)).expect("no record");
    let applied = crate::apply(&host, &goal, Path::new(PROGRAM), Some(&plan));
    assert_eq!(applied.expect("nothing has changed"), plan);
}

#[test]
fn a_later_file_that_sets_another_value_is_named_by_check_and_by_apply() {
    let name = "net.core.somaxconn";
    let overridden = |fixture: &Fixture| -> Option<String> {
        let report = crate::check(&fixture.host(), &fixture.goal());
        let mut rows = report.settings.into_iter();
        rows.find(|row| row.setting == name)?.overridden
    };
    for (file, text, expected) in [
        (
            "etc/sysctl.d/99-zz.conf",
            "net.core.somaxconn = 128\n",
            true,
        ),
        (
            "usr/lib/sysctl.d/95-vendor.conf",
            "-net/core/somaxconn=128\n",
            true,
        ),
        ("etc/sysctl.conf", "net.core.somaxconn=128\n", true),
        // As good as ours.
        (
            "etc/sysctl.d/99-zz.conf",
            "net.core.somaxconn = 5000\n",
            false,
        ),
        // Ours is read after these.
        (
            "etc/sysctl.d/50-a.conf",
            "net.core.somaxconn = 128\n",
            false,
        ),
        (
            "etc/sysctl.d/99-zz.conf.bak",
            "net.core.somaxconn = 128\n",
            false,
        ),
    ] {
        let fixture = Fixture::new();
        fixture.write(file, text);
        let tree = fixture.tree();
        let sentence = overridden(&fixture);
        assert_eq!(sentence.is_some(), expected, "{file} {sentence:?}");
        let plan = crate::plan(&fixture.host(), &fixture.goal(), Path::new(PROGRAM));
        let named = |found: &crate::Applied| found.overridden.first().cloned();
        let pair = sentence.clone().map(|sentence| (name.to_owned(), sentence));
        assert_eq!(named(&plan.expect("no record")), pair, "{file}");
        assert_eq!(named(&fixture.apply()), pair, "{file}");
        assert_eq!(overridden(&fixture), sentence, "apply cannot change it");
        if let Some(sentence) = sentence {
            assert!(
                sentence.starts_with(&format!("/{file} sets it to \"128\"")),
                "{sentence}"
            );
        }
        fixture.undo();
        assert_eq!(fixture.tree(), tree);
    }
    // A file of /etc hides that of the same name.
    let fixture = Fixture::new();
    fixture.write(
        "usr/lib/sysctl.d/95-vendor.conf",
        "net.core.somaxconn = 128\n",
    );
    fixture.write("etc/sysctl.d/95-vendor.conf", "");
    assert_eq!(overridden(&fixture), None);
}
