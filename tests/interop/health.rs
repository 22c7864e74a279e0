//! Health probes of a gateway, answered by foreign programs.

use serde_json::json;
use tempfile::TempDir;
use wardgate_tests::pki::{Kind, Leaf};
use wardgate_tests::tier::{self, Need, python};
use wardgate_tests::{Background, DEADLINE, Gateway, Line, Pki, Program, free_port, until};

use crate::openssl;
use crate::pair::{A, B, originate, terminate};
use crate::peers::{DCMTK, Echo, loopback, storescp, storescp_with};
use crate::tunnels::Files;

/// Probes each second; a target is down or up after one probe.
fn health(probe: &str, more: &str) -> String {
    format!(
        "{{ probe = \"{probe}\", interval = \"1s\", timeout = \"1s\", rise = 1, fall = 1{more} }}"
    )
}

/// The successful and failed probes of a gateway's only target.
fn probes(gateway: &Gateway) -> (u64, u64) {
    let text = gateway.metrics();
    let count = |outcome: &str| {
        let label = format!("outcome=\"{outcome}\"");
        let name = "wardgate_health_probes_total{";
        let mut lines = text.lines().filter(|line| line.starts_with(name));
        let line = lines.find(|line| line.contains(&label));
        let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
        value.unwrap_or_else(|| panic!("no probes in\n{text}"))
    };
    (count("good"), count("bad"))
}

fn wait_for_good(gateway: &Gateway, least: u64) {
    until(&format!("{least} good probes"), DEADLINE, || {
        (probes(gateway).0 >= least).then_some(())
    });
}

fn wait_for_change(gateway: &Gateway, change: &str) -> Line {
    let what = format!(" is {change}");
    gateway.wait_for_line(&what, DEADLINE, |line| line.message().contains(&what))
}

/// A -> TLS -> B -> the archive, and B -> the archive: both gateways probe it themselves.
#[test]
fn c_echo_goes_through_the_pair_and_shows_when_the_archive_stops() {
    if !tier::ready("interop", &DCMTK) {
        return;
    }
    let pki = Pki::new();
    let folder = TempDir::new().expect("there is room");
    let [entry, wan, port] = [(); 3].map(|()| free_port());
    let archive = storescp(port, folder.path());
    let with = |site: wardgate_tests::Site| site.set("health", health("c-echo", ""));
    let b = with(terminate(&pki, "dicom", wan, port)).start();
    let a = with(originate(&pki, "dicom", entry, wan)).start();
    for gateway in [&a, &b] {
        wait_for_good(gateway, 2);
    }
    drop(archive);
    let line = wait_for_change(&b, "down: ");
    assert!(line.message().contains("connection refused"), "{line:?}");
    // B decides what it replies to A when the archive is down; A must not count the reply as an answer.
    let line = wait_for_change(&a, "down: ");
    assert_eq!(line.text("level"), "WARN");
    let archive = storescp(port, folder.path());
    for gateway in [&a, &b] {
        wait_for_change(gateway, "up again after");
    }
    drop(archive);
    a.stop();
    b.stop();
}

#[test]
fn c_echo_that_is_rejected_is_logged_in_the_terms_of_the_standard() {
    if !tier::ready("interop", &DCMTK) {
        return;
    }
    let pki = Pki::new();
    let folder = TempDir::new().expect("there is room");
    let [entry, wan, port] = [(); 3].map(|()| free_port());
    let _archive = Background::listening(&storescp_with(port, folder.path(), &["--refuse"]), port);
    let _b = terminate(&pki, "dicom", wan, port).start();
    let site = originate(&pki, "dicom", entry, wan);
    let a = site.set("health", health("c-echo", "")).start();
    let line = wait_for_change(&a, "down: ");
    let words = "the association was rejected (A-ASSOCIATE-RJ): rejected-";
    assert!(line.message().contains(words), "{line:?}");
}

/// Orthanc accepts only its own title.
#[test]
fn c_echo_calls_orthanc_by_the_title_that_is_configured() {
    if !tier::ready("interop", &[Need::Program("Orthanc")]) {
        return;
    }
    let pki = Pki::new();
    let folder = TempDir::new().expect("there is room");
    let [port, rest] = [(); 2].map(|()| free_port());
    let config = json!({
        "StorageDirectory": folder.path().join("store"),
        "IndexDirectory": folder.path().join("store"),
        "HttpPort": rest,
        "RemoteAccessAllowed": false,
        "AuthenticationEnabled": false,
        "DicomAet": "ORTHANC",
        "DicomPort": port,
        "DicomCheckCalledAet": true,
        "DicomAlwaysAllowEcho": true,
    });
    let file = folder.path().join("orthanc.json");
    std::fs::write(&file, config.to_string()).expect("there is room");
    let _orthanc = Background::listening(&Program::new("Orthanc").arg(file), port);
    let start = |more| {
        let site = terminate(&pki, "dicom", free_port(), port);
        site.set("health", health("c-echo", more)).start()
    };
    let known = start(", called = \"ORTHANC\"");
    wait_for_good(&known, 2);
    let untrusting = start("");
    let line = wait_for_change(&untrusting, "down: ");
    let words = "called title \"ANY-SCP\" is not known there";
    assert!(line.message().contains(words), "{line:?}");
    assert_eq!(probes(&known).1, 0);
}

/// The servers end in different ways after close_notify, and have shown before that they accept the gateway's
/// certificate.
#[test]
fn tls_probe_works_with_other_tls_programs() {
    for name in ["haproxy", "stunnel4", "openssl", "storescp"] {
        if !tier::ready("interop", &[Need::Program(name)]) {
            continue;
        }
        let pki = Pki::new();
        let folder = TempDir::new().expect("there is room");
        let files = Files {
            folder: folder.path(),
            leaf: pki.leaf(B),
            listen: free_port(),
            target: Echo::start().port,
        };
        let program = tls_server(name, &files);
        let _server = Background::listening(&program, files.listen);
        let start = |leaf: &Leaf| {
            let site = originate(&pki, "dicom", free_port(), files.listen);
            let site = site.route_identity(leaf);
            site.set("health", health("tls", "")).start()
        };
        let good = start(&pki.leaf(A));
        wait_for_good(&good, 2);
        let mut other_authority = pki.odd(A, Kind::OtherAuthority);
        // The gateway trusts the server, which does not trust the gateway.
        other_authority.trust = pki.trust();
        let refused = start(&other_authority);
        let line = wait_for_change(&refused, "down: ");
        let words = "the server does not accept our certificate";
        assert!(line.message().contains(words), "{name}: {line:?}");
        assert_eq!(probes(&refused).0, 0, "{name}");
        assert_eq!(probes(&good).1, 0, "{name}: {}", good.output());
    }
}

fn tls_server(name: &str, files: &Files<'_>) -> Program {
    let (both, trust) = (files.leaf.both.display(), files.leaf.trust.display());
    match name {
        "haproxy" => files.haproxy(&format!(
            "bind {} ssl crt {both} ca-file {trust} verify required ssl-min-ver TLSv1.2\n  \
             server far {}\n",
            loopback(files.listen),
            loopback(files.target)
        )),
        "stunnel4" => files.stunnel(
            &format!("accept = {}\nconnect = {}\n", files.listen, files.target),
            A,
        ),
        "openssl" => openssl::server(files.listen, &files.leaf),
        _ => Program::new("storescp")
            .args(["-od"])
            .arg(files.folder)
            .arg("+tls")
            .arg(&files.leaf.key)
            .arg(&files.leaf.certificate)
            .arg("+cf")
            .arg(&files.leaf.trust)
            .arg(files.listen.to_string()),
    }
}

/// A server of python-hl7: it acknowledges the messages it reads, and prints them.
const HL7_SERVER: &str = "
import asyncio, sys
from hl7.mllp import start_hl7_server

async def serve(reader, writer):
    try:
        while True:
            message = await reader.readmessage()
            print('received', message[0][9], message[0][11], flush=True)
            writer.writemessage(message.create_ack())
            await writer.drain()
    except asyncio.IncompleteReadError:
        writer.close()

async def main():
    server = await start_hl7_server(serve, host='127.0.0.1', port=int(sys.argv[1]))
    await server.serve_forever()

asyncio.run(main())
";

#[test]
fn mllp_probe_is_acknowledged_through_the_pair_by_python_hl7() {
    if !tier::ready("interop", &[Need::Python]) {
        return;
    }
    let pki = Pki::new();
    let [entry, wan, port] = [(); 3].map(|()| free_port());
    let program = Program::new(python()).args(["-c", HL7_SERVER, &port.to_string()]);
    let engine = Background::listening(&program, port);
    let b = terminate(&pki, "mllp", wan, port).start();
    let site = originate(&pki, "mllp", entry, wan);
    let a = site.set("health", health("mllp", "")).start();
    wait_for_good(&a, 2);
    let output = engine.output();
    assert!(output.contains("received NMQ^N01 T"), "{output}");
    drop(engine);
    wait_for_change(&a, "down: ");
    let _engine = Background::listening(&program, port);
    wait_for_change(&a, "up again after");
    a.stop();
    b.stop();
}
