//! pynetdicom's programs at both ends of a pair of gateways.

use std::path::Path;

use tempfile::TempDir;
use wardgate_tests::tier::{self, Need, python};
use wardgate_tests::{Background, Pki, Program, dicom, free_port};

use crate::pair::Pair;

#[test]
fn pynetdicom_stores_through_the_pair() {
    if !tier::ready("interop", &[Need::Python]) {
        return;
    }
    let pki = Pki::new();
    let sent = TempDir::new().expect("there is room");
    let received = TempDir::new().expect("there is room");
    let files = dicom::series(sent.path(), "WARDGATE", 8, 256);
    let port = free_port();
    let scp = module("storescp", received.path())
        .arg(port.to_string())
        .args(["--debug", "-od"])
        .arg(received.path());
    let _scp = Background::listening(&scp, port);
    let pair = Pair::start(&pki, "dicom", port);
    let entry = pair.entry.to_string();
    let echo = module("echoscu", sent.path()).args(["127.0.0.1", &entry]);
    echo.run().expect_success();
    let store = module("storescu", sent.path()).args(["--debug", "-xe", "127.0.0.1", &entry]);
    let stored = store.arg(sent.path()).run();
    println!("{}", stored.expect_success().text());
    assert_eq!(dicom::objects(received.path()), dicom::objects_in(&files));
    pair.assert_complete(2);
    pair.stop();
}

/// One of the programs that pynetdicom brings along. They write to their working directory.
fn module(name: &str, folder: &Path) -> Program {
    Program::new(python())
        .args(["-m", "pynetdicom", name])
        .current_dir(folder)
}
