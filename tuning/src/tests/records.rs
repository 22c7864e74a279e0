//! The record of `apply`: who may have written it, and what it may name.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::fixture::Fixture;
use crate::{ApplyError, RecordError};

const RECORD: &str = "var/lib/wardgate-tune/tune.json";

fn mode(fixture: &Fixture, mode: u32) {
    let mode = fs::Permissions::from_mode(mode);
    fs::set_permissions(fixture.path(RECORD), mode).expect("the owner may");
}

#[test]
fn the_record_is_readable_by_its_owner_only() {
    let fixture = Fixture::new();
    fixture.apply();
    let metadata = fs::metadata(fixture.path(RECORD)).expect("apply wrote it");
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
}

#[test]
fn a_record_that_others_can_write_is_refused() {
    let fixture = Fixture::new();
    fixture.apply();
    mode(&fixture, 0o660);
    let tree = fixture.tree();
    let error = crate::undo(&fixture.host()).expect_err("others could have written it");
    assert!(matches!(error, RecordError::Untrusted { .. }), "{error}");
    assert_eq!(fixture.tree(), tree);

    mode(&fixture, 0o600);
    fs::rename(fixture.path(RECORD), fixture.path("elsewhere")).expect("it can be moved");
    std::os::unix::fs::symlink("../../../elsewhere", fixture.path(RECORD)).expect("a link");
    assert!(
        crate::undo(&fixture.host()).is_err(),
        "a link could lead anywhere"
    );
}

#[test]
fn a_record_with_other_places_changes_nothing_there() {
    let fixture = Fixture::new();
    fixture.apply();
    fixture.write("proc/sys/kernel/core_pattern", "core\n");
    fs::create_dir(fixture.path("srv")).expect("a folder can be made");
    let text = fixture.read(RECORD);
    let evil = r#"{"setting":"x","place":{"kind":"sysctl","name":"kernel.core_pattern"},"before":"|/tmp/x","after":"core"},"#;
    let text = text.replacen("\"values\": [", &format!("\"values\": [{evil}"), 1);
    let text = text.replacen("\"folders\": [", "\"folders\": [\"etc\", \"srv\",", 1);
    fixture.write(RECORD, &text);
    mode(&fixture, 0o600);
    let undone = fixture.undo();
    assert_eq!(undone.left.len(), 1, "{:?}", undone.left);
    assert_eq!(fixture.read("proc/sys/kernel/core_pattern"), "core\n");
    assert!(fixture.path("etc/group").exists());
    assert!(
        fixture.path("srv").exists(),
        "an empty folder that this program does not make"
    );
}

#[test]
fn a_damaged_record_is_reported_and_nothing_is_changed() {
    let fixture = Fixture::new();
    for text in [
        "",
        "{",
        "[]",
        r#"{"version":2,"values":[],"files":[],"folders":[]}"#,
    ] {
        fixture.write(RECORD, text);
        mode(&fixture, 0o600);
        let tree = fixture.tree();
        assert!(
            matches!(crate::undo(&fixture.host()), Err(RecordError::Form { .. })),
            "{text}"
        );
        let goal = fixture.goal();
        let applied = crate::apply(
            &fixture.host(),
            &goal,
            std::path::Path::new("/usr/bin/wardgate"),
            None,
        );
        assert!(
            matches!(applied, Err(ApplyError::Record(RecordError::Form { .. }))),
            "{text}"
        );
        assert_eq!(fixture.tree(), tree, "{text}");
    }
}

#[test]
fn without_a_place_for_the_record_nothing_is_changed() {
    let fixture = Fixture::new();
    // A file where the folder should be: even root cannot make the record there.
    fixture.write("var/lib", "");
    let tree = fixture.tree();
    let goal = fixture.goal();
    let applied = crate::apply(
        &fixture.host(),
        &goal,
        std::path::Path::new("/usr/bin/wardgate"),
        None,
    );
    assert!(
        matches!(applied, Err(ApplyError::Record(RecordError::File { .. }))),
        "{applied:?}"
    );
    assert_eq!(fixture.tree(), tree);
}

#[test]
fn the_record_holds_the_old_values_of_what_was_changed_only() {
    let fixture = Fixture::new();
    // The rings cannot be changed, the rest can.
    fixture.model.borrow_mut().failing = vec!["-G"];
    let applied = fixture.apply();
    assert_eq!(
        applied.not_applicable.len(),
        2,
        "{:?}",
        applied.not_applicable
    );
    let record = fixture.read(RECORD);
    assert!(
        !record.contains("\"ring\""),
        "what did not change needs no undo: {record}"
    );
    assert!(
        record.contains(r#""before": "4096\t131072\t6291456""#),
        "{record}"
    );
}

#[test]
fn the_record_is_written_before_a_value_changes() {
    let fixture = Fixture::new();
    // The model of the programs panics if the record is not there when a value is changed.
    fixture.model.borrow_mut().record = Some(fixture.path(RECORD));
    let applied = fixture.apply();
    let names = applied.changed.iter().map(|(name, ..)| name.as_str());
    assert!(names.into_iter().any(|name| name == "eth0 ring rx"));
}

#[test]
fn what_cannot_be_restored_stays_in_the_record() {
    let fixture = Fixture::new();
    let (tree, model) = (fixture.tree(), fixture.model.borrow().clone());
    fixture.apply();
    fixture.model.borrow_mut().failing = vec!["-G"];
    let undone = fixture.undo();
    let failed: Vec<_> = undone
        .failed
        .iter()
        .map(|left| left.what.as_str())
        .collect();
    assert_eq!(failed, ["eth0 ring rx", "eth0 ring tx"]);
    fixture.model.borrow_mut().failing.clear();
    let undone = fixture.undo();
    assert_eq!(undone.restored, ["eth0 ring rx", "eth0 ring tx"]);
    assert_eq!(
        (fixture.tree(), fixture.model.borrow().clone()),
        (tree, model)
    );
}

#[test]
fn a_card_that_is_gone_is_reported_and_forgotten() {
    let fixture = Fixture::new();
    fixture.apply();
    fixture.model.borrow_mut().failing = vec!["eth0"];
    fixture.model.borrow_mut().routes = [Vec::new(), Vec::new()];
    fs::remove_dir_all(fixture.path("sys/class/net/eth0")).expect("it can be removed");
    let undone = fixture.undo();
    assert!(undone.failed.is_empty(), "{:?}", undone.failed);
    let gone = undone
        .left
        .iter()
        .all(|left| left.why.starts_with("it is gone"));
    assert!(gone && undone.left.len() >= 5, "{:?}", undone.left);
    assert!(!fixture.path(RECORD).exists());
    assert_eq!(crate::undo(&fixture.host()).expect("there is none"), None);
}

#[test]
fn two_at_a_time_do_not_mix() {
    let fixture = Fixture::new();
    fixture.apply();
    let folder = fs::File::open(fixture.path("var/lib/wardgate-tune")).expect("apply made it");
    folder.lock().expect("it is free");
    assert!(matches!(
        crate::undo(&fixture.host()),
        Err(RecordError::Busy)
    ));
}
