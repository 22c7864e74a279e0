//! Associations between foreign programs, recorded without gateways, and the observer's results for them.
//!
//! The summary must be the same for every split of the bytes, and must agree with pynetdicom's decoders
//! (`oracle.py`).

use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;
use wardgate_tests::dicom::Slice;
use wardgate_tests::tier::{self, Need, python, workspace};
use wardgate_tests::{Background, Program, dicom, free_port};

use crate::orthanc::Orthanc;
use crate::peers::{storescp_with, storescu};
use crate::query::{NEEDS, STUDY, configuration};
use crate::tap::{Recording, Tap};

mod conversations;
mod oracle;
mod replay;

use oracle::assert_agrees;
use replay::assert_same_however_it_is_cut;

/// Maximum PDU lengths of archives: no limit, pynetdicom's own, and so short that command sets are split.
const PDU_LENGTHS: [u16; 3] = [0, 16_382, 128];

/// CT Image Storage.
const CT_IMAGE: &str = "1.2.840.10008.5.1.4.1.1.2";

#[test]
fn associations_of_pynetdicom_give_one_summary_at_any_split() {
    if !tier::ready("interop", &[Need::Python]) {
        return;
    }
    let home = free_port();
    let way_back = Tap::to(home);
    let ports = PDU_LENGTHS.map(|length| (free_port(), length));
    let _archive = archive(way_back.port, &ports);
    let taps = ports.map(|(port, _)| Tap::to(port));
    let [any, own, short] = &taps;
    let scenarios = [
        (
            any,
            "echo:3 store:14 pipeline:20 find:20 fail worklist:5 cancel get:9:4096 move:9 astray commit \
             commit_apart film reject abort aborted everything:3:0",
        ),
        (own, "store:7 get:12:0 everything:3"),
        (short, "store:7 everything:3:200 pipeline:10"),
    ];
    let mut modality = modality(home);
    for (tap, names) in scenarios {
        modality = modality.arg(tap.port.to_string()).args(names.split(' '));
    }
    modality.run().expect_success();
    let recordings = [
        any.recordings(17),
        own.recordings(3),
        short.recordings(3),
        way_back.recordings(2),
    ];
    judge(&recordings.concat());
}

/// The objects that DCMTK sends to itself.
#[test]
fn associations_of_dcmtk_give_one_summary_at_any_split() {
    if !tier::ready("interop", &[Need::Python]) || !tier::ready("interop", &NEEDS) {
        return;
    }
    let sent = TempDir::new().expect("there is room");
    let mut files = dicom::series(sent.path(), "WARDGATE", 4, 64);
    // One object that does not fit into the longest PDU.
    files.push(
        Slice {
            number: 5,
            marker: "WARDGATE",
            side: 300,
        }
        .write(sent.path()),
    );
    let mut recordings = stored_by_dcmtk(&files);
    recordings.extend(queried_by_dcmtk(&files));
    judge(&recordings);
}

#[test]
fn associations_of_orthanc_give_one_summary_at_any_split() {
    let needs = [NEEDS.as_slice(), &[Need::Program("Orthanc")]].concat();
    if !tier::ready("interop", &[Need::Python]) || !tier::ready("interop", &needs) {
        return;
    }
    let folder = TempDir::new().expect("there is room");
    let files = dicom::series(folder.path(), "WARDGATE", 5, 64);
    let (port, own) = (free_port(), free_port());
    let (tap, way_back) = (Tap::to(port), Tap::to(own));
    let _archive = dcmqrscp(folder.path(), port, way_back.port);
    let orthanc = Orthanc::plain(own, "ARCHIVE", tap.port);
    for file in &files {
        orthanc.upload(&std::fs::read(file).expect("the test wrote it"));
    }
    orthanc.ask("/modalities/far/echo", &json!({}));
    orthanc.store_everything();
    let query = json!({ "Level": "Study", "Query": { "StudyInstanceUID": "2.25.2" } });
    let found = orthanc.ask("/modalities/far/query", &query);
    let path = found["Path"].as_str().expect("a path of a query");
    orthanc.ask(&format!("{path}/retrieve"), &json!({ "TargetAet": "HOME" }));
    let commits = commits_by_orthanc(&orthanc, &way_back);
    // It keeps an association open for a while, in case it needs it again.
    drop(orthanc);
    judge(&[tap.recordings(4), way_back.recordings(2), commits].concat());
}

/// A storage commitment request; the report comes in an association of its own.
fn commits_by_orthanc(orthanc: &Orthanc, way_back: &Tap) -> Vec<Recording> {
    let port = free_port();
    let mut archive = archive(way_back.port, &[(port, 16_382)]);
    let tap = Tap::to(port);
    orthanc.knows("committing", "ARCHIVE", tap.port);
    let object = json!({ "SOPClassUID": CT_IMAGE, "SOPInstanceUID": "2.25.7" });
    let request = json!({ "DicomInstances": [object] });
    orthanc.ask("/modalities/committing/storage-commitment", &request);
    archive.wait_for_output("reported 0x0000");
    tap.recordings(1)
}

fn judge(recordings: &[Recording]) {
    let records: Vec<_> = recordings
        .iter()
        .map(assert_same_however_it_is_cut)
        .collect();
    assert_agrees(recordings, &records);
}

/// Storage, verification, a rejection and aborts.
fn stored_by_dcmtk(files: &[PathBuf]) -> Vec<Recording> {
    let received = TempDir::new().expect("there is room");
    let mut recordings = Vec::new();
    for (options, sends, calls) in [
        (&["--max-pdu", "4096"][..], "16384", 3),
        (&["--max-pdu", "131072"], "131072", 3),
        (&["--refuse"], "16384", 1),
        (&["--abort-during"], "16384", 1),
        (&["--abort-after"], "16384", 1),
    ] {
        let port = free_port();
        let program = storescp_with(port, received.path(), options);
        let _scp = Background::listening(&program, port);
        let tap = Tap::to(port);
        storescu(tap.port, &["-nh", "--max-send-pdu", sends], files).run();
        if calls > 1 {
            storescu(tap.port, &["-xi", "-pdu", "4096", "--abort"], files).run();
            let call = ["127.0.0.1", &tap.port.to_string()];
            let echo = Program::new("echoscu").args(["--repeat", "3", "-pts", "38"]);
            echo.args(call).run().expect_success();
        }
        recordings.extend(tap.recordings(calls));
    }
    // The samples use other SOP classes and transfer syntaxes.
    let port = free_port();
    // DCMTK's own variable; without it each object takes two delayed acknowledgements.
    let program = storescp_with(port, received.path(), &[]).env("TCP_NODELAY", "1");
    let _scp = Background::listening(&program, port);
    let tap = Tap::to(port);
    for option in ["-xe", "-xi", "-xb", "-xr", "-xd"] {
        let send = storescu(tap.port, &["-nh", "-R", option], &some_samples());
        send.env("TCP_NODELAY", "1").run();
    }
    let sent = tap.recordings(5);
    recordings.extend(sent);
    recordings
}

fn some_samples() -> Vec<PathBuf> {
    let mut samples = dicom::samples();
    let is_small = |file: &PathBuf| file.metadata().is_ok_and(|data| data.len() < 60_000);
    samples.retain(is_small);
    samples.into_iter().step_by(2).collect()
}

/// Query and retrieval.
fn queried_by_dcmtk(files: &[PathBuf]) -> Vec<Recording> {
    let folder = TempDir::new().expect("there is room");
    let (port, home) = (free_port(), free_port());
    let (tap, way_back) = (Tap::to(port), Tap::to(home));
    let _archive = dcmqrscp(folder.path(), port, way_back.port);
    storescu(tap.port, &["-aec", "ARCHIVE"], files)
        .run()
        .expect_success();
    let find = ["-S", "-k", "0010,0010"];
    let own_port = home.to_string();
    let calls: [(&str, &[&str]); 5] = [
        ("findscu", &find),
        // A worklist, which this archive does not support.
        ("findscu", &["-W", "-k", "0010,0010"]),
        ("findscu", &["-S", "-k", "0010,0010", "--cancel", "1"]),
        ("getscu", &["-S", "+B"]),
        ("movescu", &["-S", "-aem", "HOME", "+P", &own_port, "+B"]),
    ];
    for (program, options) in calls {
        let port = tap.port.to_string();
        Program::new(program)
            .args(["-aet", "HOME", "-aec", "ARCHIVE"])
            .args(options)
            .args(STUDY)
            .args(["127.0.0.1", &port])
            .current_dir(folder.path())
            .run();
    }
    [tap.recordings(6), way_back.recordings(1)].concat()
}

/// DCMTK's archive, with the destination `HOME` at a port.
fn dcmqrscp(folder: &Path, port: u16, home: u16) -> Background {
    let file = folder.join("dcmqrscp.cfg");
    let store = folder.join("store");
    std::fs::create_dir(&store).expect("there is room");
    std::fs::write(&file, configuration(&store, home)).expect("there is room");
    let program = Program::new("dcmqrscp").args(["-dhl", "-c"]).arg(&file);
    Background::listening(&program.arg(port.to_string()), port)
}

/// pynetdicom's archive on these ports, each with its own maximum PDU length.
pub(crate) fn archive(home: u16, ports: &[(u16, u16)]) -> Background {
    let places = ports
        .iter()
        .map(|(port, length)| format!("{port}:{length}"));
    let program = script("archive.py").arg(home.to_string()).args(places);
    let mut archive = Background::start(&program);
    for (port, _) in ports {
        archive.wait_for_port(*port);
    }
    archive
}

/// pynetdicom's modality; ports and scenarios follow.
pub(crate) fn modality(home: u16) -> Program {
    script("modality.py").arg(home.to_string())
}

fn script(name: &str) -> Program {
    let folder = workspace().join("tests/interop/recorded");
    Program::new(python()).arg(folder.join(name))
}
