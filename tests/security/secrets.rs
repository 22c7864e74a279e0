//! Nothing secret is written where somebody might read it: logs, metrics, what `/proc` shows.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;

use wardgate_tests::pki::{Kind, Leaf};
use wardgate_tests::{Background, DEADLINE, Pki, Site, free_port, http, until};

use crate::plain::{MARKER, Witness, connect, loopback, receive_all};
use crate::tls::{Peer, knock};

const A: &str = "gw.a.example";
const B: &str = "gw.b.example";
/// Readable text of the marker, which no encoding of a log would change.
const NEEDLE: &str = "MARKER^PATIENT";

/// Goal: neither payload nor key material leaves the process but by the tunnel.
/// Method: good streams, refused peers, plaintext at the wrong port, in both log formats; then every
/// place that others can read is searched.
#[test]
fn neither_payload_nor_keys_are_found_in_logs_metrics_or_proc() {
    for format in ["\"json\"", "\"text\""] {
        let pki = Pki::new();
        let (own_a, own_b) = (pki.leaf(A), pki.leaf(B));
        let target = Witness::start();
        let (entry, wan) = (free_port(), free_port());
        let metrics = SocketAddr::from(([127, 0, 0, 1], free_port()));
        // Both modes in one process, so that there is one log to be searched.
        let site = Site::with_identity(&own_b)
            .gateway("log", format)
            .gateway("metrics", format!("\"{metrics}\""))
            .terminate(loopback(wan), loopback(target.port), &[format!("dns:{A}")])
            .protocol("tcp")
            .originate(loopback(entry), loopback(wan), &[format!("dns:{B}")])
            .protocol("tcp")
            .route_identity(&own_a);
        let file = pki.path("wardgate.toml");
        site.write(&file);
        let mut gateway = Background::start(&site.program(&file));
        gateway.wait_for_output("ready");
        speak(&pki, entry, wan, &target);
        until("all six connections are told", DEADLINE, || {
            (gateway.output().matches("sealed_bytes").count() >= 6).then_some(())
        });
        let page = http::get(metrics, "/metrics").text();
        assert!(page.contains("wardgate_sealed_bytes_total"));
        assert_nothing_secret(&gateway, page, &[&own_a, &own_b]);
    }
}

/// Good and bad traffic, all of it with the marker.
fn speak(pki: &Pki, entry: u16, wan: u16, target: &Witness) {
    let mut stream = connect(entry);
    stream.write_all(MARKER).expect("the gateway reads");
    stream
        .shutdown(std::net::Shutdown::Write)
        .expect("it is open");
    receive_all(&stream);
    assert_eq!(target.heard(), MARKER);
    for kind in [Kind::OtherAuthority, Kind::Expired] {
        knock(wan, &Peer::of(&pki.odd(A, kind)), MARKER);
    }
    knock(wan, &Peer::nobody(), MARKER);
    // Plaintext where TLS was due.
    let mut stream = connect(wan);
    stream
        .write_all(&MARKER.repeat(3_000))
        .expect("it is buffered");
    receive_all(&stream);
}

fn assert_nothing_secret(gateway: &Background, metrics: String, identities: &[&Leaf]) {
    let id = gateway.process().id();
    let read = |name: &str| {
        let bytes = fs::read(format!("/proc/{id}/{name}")).expect("the process is ours");
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let places = [
        ("the log", gateway.output()),
        ("the metrics", metrics),
        ("the command line", read("cmdline")),
        ("the environment", read("environ")),
    ];
    let mut needles = vec![NEEDLE.to_owned()];
    for identity in identities {
        needles.extend(key_lines(identity));
    }
    for (place, text) in &places {
        for needle in &needles {
            assert!(!text.contains(needle), "{place} holds {needle:?}:\n{text}");
        }
    }
    // The search can find something.
    assert!(places[0].1.contains(A) && places[2].1.contains("run"));
}

/// The lines of base64 of a private key.
fn key_lines(identity: &Leaf) -> Vec<String> {
    let pem = fs::read_to_string(&identity.key).expect("the harness wrote it");
    let lines = pem.lines().filter(|line| !line.starts_with('-'));
    let lines: Vec<_> = lines.map(str::to_owned).collect();
    assert!(lines.iter().any(|line| line.len() >= 32), "no key in {pem}");
    lines
}
