//! DCMTK's senders and receivers, unmodified, at both ends of a pair of gateways.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use wardgate_tests::dicom::{self, Object};
use wardgate_tests::tier::{self, Need};
use wardgate_tests::{Background, Pki, Program, free_port};

use crate::pair::Pair;
use crate::peers::{DCMTK, storescp, storescp_with, storescu};

/// Transfer syntaxes (PS3.6 annex A) and the option that makes `storescu` propose each.
const SYNTAXES: [(&str, &str); 13] = [
    ("1.2.840.10008.1.2", "-xi"),
    ("1.2.840.10008.1.2.1", "-xe"),
    ("1.2.840.10008.1.2.2", "-xb"),
    ("1.2.840.10008.1.2.1.99", "-xd"),
    ("1.2.840.10008.1.2.4.50", "-xy"),
    ("1.2.840.10008.1.2.4.51", "-xx"),
    ("1.2.840.10008.1.2.4.57", "-xs"),
    ("1.2.840.10008.1.2.4.70", "-xs"),
    ("1.2.840.10008.1.2.4.80", "-xt"),
    ("1.2.840.10008.1.2.4.81", "-xu"),
    ("1.2.840.10008.1.2.4.90", "-xv"),
    ("1.2.840.10008.1.2.4.91", "-xw"),
    ("1.2.840.10008.1.2.5", "-xr"),
];

/// With fewer directly received samples, the test would compare almost nothing.
const SAMPLES_MIN: usize = 80;
/// This number of them is in DCMTK's own form, and arrives unchanged.
const UNCHANGED_MIN: usize = 50;

#[test]
fn echoscu_is_answered_through_the_pair() {
    if !tier::ready("interop", &DCMTK) {
        return;
    }
    let pki = Pki::new();
    let folder = TempDir::new().expect("there is room");
    let port = free_port();
    let _scp = storescp(port, folder.path());
    let pair = Pair::start(&pki, "dicom", port);
    for _ in 0..3 {
        let echo = Program::new("echoscu").args(["-v", "127.0.0.1", &pair.entry.to_string()]);
        let text = echo.run().expect_success().text();
        assert!(text.contains("Received Echo Response (Success)"), "{text}");
    }
    pair.assert_complete(3);
    pair.stop();
}

#[test]
fn refusal_by_the_archive_reaches_the_modality() {
    if !tier::ready("interop", &DCMTK) {
        return;
    }
    let pki = Pki::new();
    let folder = TempDir::new().expect("there is room");
    let port = free_port();
    let program = storescp_with(port, folder.path(), &["--refuse"]);
    let _scp = Background::listening(&program, port);
    let pair = Pair::start(&pki, "dicom", port);
    let echo = Program::new("echoscu").args(["127.0.0.1", &pair.entry.to_string()]);
    let text = echo.run().expect_failure().text();
    assert!(text.contains("Association Rejected"), "{text}");
    pair.stop();
}

/// Some samples are broken on purpose, and `storescu` itself refuses them. The test checks that the same
/// objects arrive as without gateways, bit for bit.
#[test]
fn storescu_samples_arrive_through_the_pair_as_they_do_directly() {
    if !tier::ready("interop", &[DCMTK.as_slice(), &[Need::Python]].concat()) {
        return;
    }
    let samples = dicom::samples();
    let groups = by_syntax(&samples);
    let send = |port| {
        for (option, files) in &groups {
            storescu(port, &["-nh", "-R", option], files)
                .run()
                .expect_success();
        }
    };
    let direct = received_directly(send);
    assert!(direct.len() >= SAMPLES_MIN, "only {} arrived", direct.len());
    let received = received_through_pair(groups.len(), send);
    assert_eq!(received, direct);
    let sent = dicom::objects_in(&samples);
    let sent: BTreeSet<_> = sent.iter().map(|object| &object.sha256).collect();
    let unchanged = received
        .iter()
        .filter(|object| sent.contains(&object.sha256));
    let unchanged = unchanged.count();
    assert!(
        unchanged >= UNCHANGED_MIN,
        "only {unchanged} are as in their files"
    );
}

#[test]
fn dcmsend_samples_arrive_through_the_pair_as_they_do_directly() {
    if !tier::ready("interop", &[DCMTK.as_slice(), &[Need::Python]].concat()) {
        return;
    }
    let files = dicom::samples();
    let send = |port: u16| {
        // dcmsend exits with 1 if a file is broken; the received objects are compared below.
        let outcome = Program::new("dcmsend")
            .args(["-nh", "-nuc", "-dn", "-ma", "127.0.0.1", &port.to_string()])
            .args(&files)
            .run();
        assert!(outcome.status.is_some(), "{outcome}");
    };
    let direct = received_directly(send);
    assert!(direct.len() >= SAMPLES_MIN, "only {} arrived", direct.len());
    assert_eq!(received_through_pair(1, send), direct);
}

/// These files are in the form that DCMTK sends, so the received objects equal the files.
#[test]
fn series_arrives_bit_for_bit_on_several_associations_at_once() {
    if !tier::ready("interop", &DCMTK) {
        return;
    }
    let pki = Pki::new();
    let sent = TempDir::new().expect("there is room");
    let received = TempDir::new().expect("there is room");
    let files = dicom::series(sent.path(), "WARDGATE", 24, 512);
    let port = free_port();
    let program = storescp_with(port, received.path(), &["--fork"]);
    let _scp = Background::listening(&program, port);
    let pair = Pair::start(&pki, "dicom", port);
    std::thread::scope(|scope| {
        for part in files.chunks(6) {
            scope.spawn(|| storescu(pair.entry, &["-R"], part).run().expect_success());
        }
    });
    assert_eq!(dicom::objects(received.path()), dicom::objects_in(&files));
    pair.assert_complete(4);
    let payload: u64 = files.iter().map(|file| size(file)).sum();
    let lines = pair.a.connections();
    let sealed: u64 = lines.iter().map(|line| line.number("sealed_bytes")).sum();
    assert!(sealed >= payload, "sealed {sealed} of {payload} bytes");
    pair.stop();
}

fn size(file: &Path) -> u64 {
    file.metadata().expect("the test wrote it").len()
}

/// The files by the option that makes `storescu` send each in its own transfer syntax.
fn by_syntax(files: &[PathBuf]) -> BTreeMap<&'static str, Vec<PathBuf>> {
    let options: BTreeMap<_, _> = SYNTAXES.into_iter().collect();
    let mut groups: BTreeMap<&str, Vec<PathBuf>> = BTreeMap::new();
    for file in files {
        let object = dicom::object(file);
        let Some(option) = object.and_then(|object| options.get(&*object.syntax).copied()) else {
            continue;
        };
        groups.entry(option).or_default().push(file.clone());
    }
    groups
}

fn received_directly(send: impl Fn(u16)) -> Vec<Object> {
    let folder = TempDir::new().expect("there is room");
    let port = free_port();
    let _scp = storescp(port, folder.path());
    send(port);
    dicom::objects(folder.path())
}

fn received_through_pair(connections: usize, send: impl Fn(u16)) -> Vec<Object> {
    let pki = Pki::new();
    let folder = TempDir::new().expect("there is room");
    let port = free_port();
    let _scp = storescp(port, folder.path());
    let pair = Pair::start(&pki, "dicom", port);
    send(pair.entry);
    pair.assert_complete(connections);
    pair.stop();
    dicom::objects(folder.path())
}
