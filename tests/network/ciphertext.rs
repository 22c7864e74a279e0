//! An observer of the WAN sees nothing of the payload.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use wardgate_tests::tier::{self, Need};
use wardgate_tests::{Background, Pki, dicom};

use crate::capture::Capture;
use crate::lab::{A, B, ENTRY, Family, Lab, Place, TARGET};
use crate::mllp;

pub(crate) const NEEDS: [Need; 3] = [
    Need::Namespaces,
    Need::Program("storescu"),
    Need::Program("storescp"),
];
/// A text in PatientName and throughout PixelData.
const MARKER: &str = "WGT-PATIENT-MARKER";
const CALLING: &str = "WGTCALLING";
const CALLED: &str = "WGTCALLED";
/// The root of the UIDs in each association request (PS3.8 section 9.3.2).
const UID_ROOT: &str = "1.2.840.10008";

#[test]
fn wan_on_ipv4_shows_nothing_of_dicom() {
    wan_shows_nothing_of_dicom(Family::V4);
}

#[test]
fn wan_on_ipv6_shows_nothing_of_dicom() {
    wan_shows_nothing_of_dicom(Family::V6);
}

/// The LANs are IPv4 in both cases, because DCMTK 3.6.7 supports only IPv4.
fn wan_shows_nothing_of_dicom(wan: Family) {
    if !tier::ready("network", &NEEDS) {
        return;
    }
    let lab = Lab::new();
    let folders = Folders::new();
    let files = dicom::series(folders.sent.path(), MARKER, 12, 512);
    let _scp = storescp(&lab, folders.received.path());
    let [a, b] = lab.gateways(&folders.pki, "dicom", [Family::V4, wan]);
    let lan = Capture::start(&lab, Place::Near, "lan-a");
    let wan = Capture::start(&lab, Place::GatewayB, "wan");
    store(&lab, &files);
    assert_eq!(
        dicom::objects(folders.received.path()),
        dicom::objects_in(&files)
    );
    for (gateway, peer) in [(a, B), (b, A)] {
        let lines = gateway.wait_for_connections(1);
        assert_eq!(lines[0].text("peer"), format!("dns:{peer}"));
        gateway.stop();
    }
    let (lan, wan) = (lan.packets(), wan.packets());
    for text in [MARKER, CALLING, CALLED, UID_ROOT] {
        assert_ne!(
            lan.hits(text),
            0,
            "the capture cannot find {text} even on the LAN"
        );
        assert_eq!(wan.hits(text), 0, "{text} passed the WAN");
    }
    assert_eq!(
        wan.hits("DICM"),
        0,
        "the head of a DICOM file passed the WAN"
    );
    let payload: u64 = files.iter().map(|file| size(file)).sum();
    let seen = wan.bytes();
    assert!(
        seen as u64 > payload,
        "the capture saw {seen} of {payload} bytes"
    );
}

#[test]
fn wan_on_ipv4_shows_nothing_of_hl7() {
    wan_shows_nothing_of_hl7(Family::V4);
}

#[test]
fn wan_on_ipv6_shows_nothing_of_hl7() {
    wan_shows_nothing_of_hl7(Family::V6);
}

fn wan_shows_nothing_of_hl7(family: Family) {
    if !tier::ready("network", &NEEDS) {
        return;
    }
    let lab = Lab::new();
    let pki = Pki::new();
    let message = |number: u32| {
        format!(
            "MSH|^~\\&|A|NEAR|B|FAR|2026||ORU^R01|WGT{number}|P|2.5\r\
             PID|1||{MARKER}||DOE^JANE\rOBX|1|TX|||{}",
            "FINDING ".repeat(500)
        )
    };
    let address = family.address(Place::Far, "lan-b", TARGET);
    let listener = lab.inside(Place::Far, || TcpListener::bind(address));
    let listener = listener.expect("nothing else listens there");
    let [a, b] = lab.gateways(&pki, "mllp", [family, family]);
    let lan = Capture::start(&lab, Place::Near, "lan-a");
    let wan = Capture::start(&lab, Place::GatewayB, "wan");
    let receiver = std::thread::spawn(move || mllp::receive(&listener));
    let entry = family.address(Place::GatewayA, "lan-a", ENTRY);
    let stream = lab.inside(Place::Near, || TcpStream::connect(entry));
    let mut stream = stream.expect("site A listens");
    for number in 1..=20 {
        let answer = mllp::send(&mut stream, &message(number));
        assert!(answer.ends_with(&format!("MSA|AA|WGT{number}")), "{answer}");
    }
    drop(stream);
    let received = receiver.join().expect("the receiver does not panic");
    assert_eq!(received, (1..=20).map(message).collect::<Vec<_>>());
    a.stop();
    b.stop();
    let (lan, wan) = (lan.packets(), wan.packets());
    for text in [MARKER, "MSH|", "DOE^JANE", "FINDING", "MSA|AA"] {
        assert_ne!(
            lan.hits(text),
            0,
            "the capture cannot find {text} even on the LAN"
        );
        assert_eq!(wan.hits(text), 0, "{text} passed the WAN");
    }
}

/// The least MTU that IPv6 allows (RFC 8200 section 5), as inside other tunnels.
#[test]
fn series_crosses_a_wan_of_mtu_1280() {
    if !tier::ready("network", &NEEDS) {
        return;
    }
    let lab = Lab::new();
    lab.set_wan_mtu(1280);
    let folders = Folders::new();
    let files = dicom::series(folders.sent.path(), MARKER, 12, 512);
    let _scp = storescp(&lab, folders.received.path());
    let [a, b] = lab.gateways(&folders.pki, "dicom", [Family::V4, Family::V6]);
    store(&lab, &files);
    assert_eq!(
        dicom::objects(folders.received.path()),
        dicom::objects_in(&files)
    );
    a.stop();
    b.stop();
}

/// The common set-up of the tests with DICOM.
struct Folders {
    pki: Pki,
    sent: TempDir,
    received: TempDir,
}

impl Folders {
    fn new() -> Self {
        let folder = || TempDir::new().expect("there is room");
        Self {
            pki: Pki::new(),
            sent: folder(),
            received: folder(),
        }
    }
}

fn storescp(lab: &Lab, folder: &Path) -> Background {
    let program = lab
        .program(Place::Far, "storescp")
        .args(["-dhl", "+B", "-aet", CALLED, "-od"])
        .arg(folder)
        .arg(TARGET.to_string());
    Background::listening(&program, TARGET)
}

fn store(lab: &Lab, files: &[PathBuf]) {
    let entry = ENTRY.to_string();
    let host = Family::V4.host(Place::GatewayA, "lan-a");
    let program = lab.program(Place::Near, "storescu");
    program
        .args(["-R", "-aet", CALLING, "-aec", CALLED, host, &entry])
        .args(files)
        .run()
        .expect_success();
}

fn size(file: &Path) -> u64 {
    file.metadata().expect("the test wrote it").len()
}
