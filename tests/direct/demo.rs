//! `wardgate-demo` as a whole: its report is correct, no process or file remains, and the files it keeps are
//! valid.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use tempfile::TempDir;
use wardgate_tests::{Background, DEADLINE, Program, built, dicom, until, wardgate};

/// The demonstration with its temporary files in a folder of this test.
fn demo(folder: &TempDir) -> Program {
    Program::new(built("wardgate-demo")).env("TMPDIR", folder.path())
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("folder");
    let names = entries.map(|entry| entry.expect("entry").file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

#[test]
fn demo_sends_a_study_and_every_check_of_its_report_passes() {
    let folder = folder();
    let report = demo(&folder)
        .args(["--size", "8MiB"])
        .run()
        .expect_success()
        .text();
    assert!(report.contains("\nAll checks passed.\n"), "{report}");
    assert!(!report.contains("FAIL"), "{report}");
    for line in [
        "sent                       9 of 9 objects",
        "SHA-256 of the data set equal at both ends for 9 of 9",
        "TLS version                1.3",
        "TLS_AES_256_GCM_SHA384",
        "X25519MLKEM768",
        "accepted dns:gw.region.example",
        "accepted dns:gw.hospital.example",
        "finds 4 of 4",
    ] {
        assert!(report.contains(line), "no {line:?} in\n{report}");
    }
    assert_eq!(entries(folder.path()), [""; 0]);
}

#[test]
fn demo_sends_the_users_own_files() {
    let (folder, files) = (folder(), folder());
    dicom::series(files.path(), "DEMO^OWN^FILES", 3, 64);
    fs::write(files.path().join("notes.txt"), "no DICOM").expect("written");
    let report = demo(&folder)
        .arg("--dicom")
        .arg(files.path())
        .run()
        .expect_success()
        .text();
    assert!(report.contains(": 3; other files skipped: 1"), "{report}");
    assert!(report.contains("equal at both ends for 3 of 3"), "{report}");
    assert!(report.contains("patient's name 1"), "{report}");
    assert!(
        !report.contains("DEMO^OWN^FILES"),
        "a patient's name is in the report:\n{report}"
    );
}

#[test]
fn demo_keeps_configurations_that_check_accepts() {
    let folder = folder();
    demo(&folder)
        .args(["--size", "2MiB", "--keep"])
        .run()
        .expect_success();
    let [kept] = &entries(folder.path())[..] else {
        panic!("one folder is kept: {:?}", entries(folder.path()));
    };
    for site in ["hospital", "region"] {
        let config = folder.path().join(kept).join(site).join("wardgate.toml");
        Program::new(wardgate())
            .args(["check", "--config"])
            .arg(config)
            .run()
            .expect_success();
    }
}

#[test]
fn demo_ends_its_gateways_when_it_is_interrupted() {
    let folder = folder();
    let running = Background::start(&demo(&folder).args(["--size", "4GiB"]));
    let process = running.process();
    let children = format!("/proc/{0}/task/{0}/children", process.id());
    let gateways = until("both gateways run", DEADLINE, || {
        let list = fs::read_to_string(&children).unwrap_or_default();
        let list: Vec<_> = list.split_whitespace().map(str::to_owned).collect();
        (list.len() == 2).then_some(list)
    });
    process.signal(Signal::INT);
    assert_eq!(running.wait(DEADLINE).code(), Some(1));
    for gateway in gateways {
        assert!(
            !Path::new("/proc").join(&gateway).exists(),
            "gateway {gateway} is left"
        );
    }
    assert_eq!(entries(folder.path()), [""; 0]);
}
