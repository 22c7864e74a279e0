//! Query and retrieve: an archive (`dcmqrscp`) behind site B, its client before site A.
//!
//! ```text
//! client -> A originate ===> B terminate -> archive       find, get, move
//! client <- A terminate <=== B originate <- archive       what was moved: the return route
//! ```
//!
//! C-MOVE makes the archive open its own association to the destination from its own table (PS3.4 section
//! C.4.2). The table has the port of the gateway at the archive's site.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use wardgate_tests::tier::{self, Need};
use wardgate_tests::{Background, Gateway, Pki, Program, Site, dicom, free_port};

use crate::pair::{A, B};
use crate::peers::{loopback, storescu};

pub(crate) const NEEDS: [Need; 5] = [
    Need::Program("dcmqrscp"),
    Need::Program("findscu"),
    Need::Program("getscu"),
    Need::Program("movescu"),
    Need::Program("storescu"),
];
/// The one study that `dicom::series` makes.
pub(crate) const STUDY: [&str; 4] = ["-k", "0008,0052=STUDY", "-k", "0020,000d=2.25.2"];

#[test]
fn find_answers_through_the_pair() {
    if !tier::ready("interop", &NEEDS) {
        return;
    }
    let archive = Archive::start();
    let find = archive.client("findscu", &["-S", "-k", "0010,0010"]);
    let text = find
        .args(STUDY)
        .arg_port(archive.entry)
        .run()
        .expect_success()
        .text();
    assert!(text.contains("WARDGATE^TEST"), "{text}");
    archive.stop();
}

#[test]
fn get_brings_the_study_through_the_pair() {
    if !tier::ready("interop", &NEEDS) {
        return;
    }
    let archive = Archive::start();
    let received = TempDir::new().expect("there is room");
    let get = archive
        .client("getscu", &["-S", "+B", "-od"])
        .arg(received.path());
    get.args(STUDY)
        .arg_port(archive.entry)
        .run()
        .expect_success();
    assert_eq!(
        dicom::objects(received.path()),
        dicom::objects_in(&archive.files)
    );
    archive.stop();
}

#[test]
fn move_brings_the_study_by_the_return_route() {
    if !tier::ready("interop", &NEEDS) {
        return;
    }
    let archive = Archive::start();
    let received = TempDir::new().expect("there is room");
    let own_port = archive.home.to_string();
    let options = ["-S", "-aem", "HOME", "+P", &own_port, "+B"];
    let query = archive.client("movescu", &options).args(STUDY);
    // With +B, movescu 3.6.7 ignores -od.
    query
        .arg_port(archive.entry)
        .current_dir(received.path())
        .run()
        .expect_success();
    assert_eq!(
        dicom::objects(received.path()),
        dicom::objects_in(&archive.files)
    );
    let returned = archive.a.wait_for_connection_line(
        "the return route carried the study",
        wardgate_tests::DEADLINE,
        |line| line.text("mode") == "terminate",
    );
    assert_eq!(returned.text("peer"), format!("dns:{B}"));
    archive.stop();
}

/// The archive with a study in it, and both sites with both routes.
struct Archive {
    a: Gateway,
    b: Gateway,
    /// The port on which site A accepts plaintext for the archive.
    entry: u16,
    /// The port on which the client before site A receives moved objects.
    home: u16,
    files: Vec<PathBuf>,
    _scp: Background,
    _folder: TempDir,
    _pki: Pki,
}

impl Archive {
    fn start() -> Self {
        let pki = Pki::new();
        let folder = TempDir::new().expect("there is room");
        let [entry, wan, port, home, back, back_wan] = [(); 6].map(|()| free_port());
        let config = folder.path().join("dcmqrscp.cfg");
        let store = folder.path().join("store");
        std::fs::create_dir(&store).expect("there is room");
        std::fs::write(&config, configuration(&store, back)).expect("there is room");
        let scp = Program::new("dcmqrscp")
            .args(["-dhl", "-c"])
            .arg(&config)
            .arg(port.to_string());
        let scp = Background::listening(&scp, port);
        let b = Site::new(&pki, B)
            .terminate(loopback(wan), loopback(port), &[format!("dns:{A}")])
            .originate(loopback(back), loopback(back_wan), &[format!("dns:{A}")])
            .start();
        let a = Site::new(&pki, A)
            .originate(loopback(entry), loopback(wan), &[format!("dns:{B}")])
            .terminate(loopback(back_wan), loopback(home), &[format!("dns:{B}")])
            .start();
        let files = dicom::series(folder.path(), "WARDGATE", 8, 128);
        storescu(entry, &["-R", "-aec", "ARCHIVE"], &files)
            .run()
            .expect_success();
        Self {
            a,
            b,
            entry,
            home,
            files,
            _scp: scp,
            _folder: folder,
            _pki: pki,
        }
    }

    /// A client that calls the archive; keys and address follow.
    fn client(&self, program: &str, options: &[&str]) -> Client {
        let program = Program::new(program).args(["-aet", "HOME", "-aec", "ARCHIVE"]);
        Client(program.args(options))
    }

    fn stop(self) {
        self.a.stop();
        self.b.stop();
    }
}

/// A client with its address after its other options.
struct Client(Program);

impl Client {
    fn arg(self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        Self(self.0.arg(argument))
    }

    fn args(self, arguments: [&str; 4]) -> Self {
        Self(self.0.args(arguments))
    }

    fn arg_port(self, port: u16) -> Program {
        self.0.args(["127.0.0.1", &port.to_string()])
    }
}

/// The tables of the archive: `HOME` is the plaintext port of site B for the return route.
pub(crate) fn configuration(store: &Path, back: u16) -> String {
    format!(
        "NetworkTCPPort = 11112\nMaxPDUSize = 16384\nMaxAssociations = 16\n\
         HostTable BEGIN\nhome = (HOME, 127.0.0.1, {back})\nHostTable END\n\
         VendorTable BEGIN\nVendorTable END\n\
         AETable BEGIN\nARCHIVE {} RW (200, 1024mb) ANY\nAETable END\n",
        store.display()
    )
}
