//! Secrets appear in no readable place: logs, metrics, `/proc`.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use wardgate_tests::pki::{Key, Kind, Leaf};
use wardgate_tests::tier::{self, Need};
use wardgate_tests::{Background, DEADLINE, Pki, Site, free_port, http, until};

use crate::plain::{MARKER, Witness, connect, loopback, receive_all};
use crate::tls::{Peer, knock};

const A: &str = "gw.a.example";
const B: &str = "gw.b.example";
/// Readable text of the marker, which no encoding of a log would change.
const NEEDLE: &str = "MARKER^PATIENT";

/// Goal: payload and key material leave the process only through TLS. Method: good streams, refused peers,
/// plaintext at the wrong port, in both log formats; then every readable place is searched.
#[test]
fn neither_payload_nor_keys_are_found_in_logs_metrics_or_proc() {
    for format in ["\"json\"", "\"text\""] {
        let pki = Pki::new();
        let (own_a, own_b) = (pki.leaf(A), pki.leaf(B));
        let target = Witness::start();
        let (entry, wan) = (free_port(), free_port());
        let metrics = SocketAddr::from(([127, 0, 0, 1], free_port()));
        // Both modes in one process, so that there is only one log to search.
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
    // Plaintext in place of TLS.
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
    // Proof that the search can find something.
    assert!(places[0].1.contains(A) && places[2].1.contains("run"));
}

/// Goal: a private key is in memory only in the form that the cryptographic library uses for signatures.
/// Method: the memory of a running gateway is searched for the text of its key files and for the keys as
/// bytes. There are several keys, because freed memory is reused sooner or later. The search runs as root,
/// like a program that could dump the memory of the process.
#[test]
fn memory_holds_no_key_as_its_file_has_it() {
    if !tier::ready("security", &[Need::Root]) {
        return;
    }
    let pki = Pki::new();
    let mut own = vec![pki.leaf(A)];
    for number in 0..8 {
        let name = format!("gw{number}.a.example");
        let key = if number < 4 {
            Key::Rsa(2048)
        } else {
            Key::P256
        };
        own.push(pki.leaf_with(&name, key));
    }
    let peers = [format!("dns:{B}")];
    let mut site = Site::with_identity(&own[0]);
    for identity in &own {
        site = site
            .terminate(loopback(free_port()), loopback(9), &peers)
            .protocol("tcp")
            .route_identity(identity);
    }
    let gateway = site.start();
    let memory = memory(gateway.process().id());
    let needles = own.iter().flat_map(parts_of_key).collect::<Vec<_>>();
    assert_eq!(found(&memory, &needles), 0, "parts of keys in memory");
    // Proof that the search can find something.
    let certificate = CertificateDer::from_pem_file(&own[3].certificate).expect("the same");
    assert!(found(&memory, &[certificate[100..132].to_vec()]) > 0);
    gateway.stop();
}

/// Secret parts of a key: the lines of its file, and 32 bytes at several positions of the numbers in it.
fn parts_of_key(identity: &Leaf) -> Vec<Vec<u8>> {
    let der = PrivatePkcs8KeyDer::from_pem_file(&identity.key).expect("the harness wrote it");
    let der = der.secret_pkcs8_der();
    // P-256: the number follows 36 bytes of algorithm. RSA of 2048 bit: the private exponent and a prime
    // follow the modulus, which is public.
    let starts: &[usize] = if der.len() < 200 {
        &[36]
    } else {
        &[320, 480, 600]
    };
    let numbers = starts.iter().map(|at| der[*at..at + 32].to_vec());
    let mut lines = key_lines(identity);
    // The public key, which is also in certificates, is in separate lines.
    let public = if der.len() < 200 {
        1..lines.len()
    } else {
        0..7
    };
    lines.drain(public);
    let lines = lines.iter().filter_map(|line| line.as_bytes().get(..32));
    numbers.chain(lines.map(<[u8]>::to_vec)).collect()
}

/// How many of the needles, 32 bytes each, are in memory.
fn found(memory: &[Vec<u8>], needles: &[Vec<u8>]) -> usize {
    let starts: HashMap<&[u8], &[u8]> = needles.iter().map(|n| n.split_at(8)).collect();
    let mut found = HashSet::new();
    for part in memory {
        for (at, start) in part.windows(8).enumerate() {
            // Most memory is zero.
            if start[0] == 0 {
                continue;
            }
            if let Some((start, rest)) = starts.get_key_value(start)
                && part[at + 8..].starts_with(rest)
            {
                found.insert(*start);
            }
        }
    }
    found.len()
}

/// All that a process may write to, in parts.
fn memory(process: u32) -> Vec<Vec<u8>> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).expect("we are root");
    let file = fs::File::open(format!("/proc/{process}/mem")).expect("we are root");
    let parts = maps.lines().filter_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let at = |text| u64::from_str_radix(text, 16).expect("an address");
        // Files that are mapped, and rings and buffers shared with the kernel, cannot hold a key.
        let is_own = rest.starts_with("rw-p") && !rest.ends_with("[vvar]");
        is_own.then(|| {
            let length = usize::try_from(at(end) - at(start)).expect("it fits");
            let mut part = vec![0; length];
            file.read_exact_at(&mut part, at(start)).map(|()| part)
        })
    });
    parts.filter_map(Result::ok).collect()
}

/// The lines of base64 of a private key.
fn key_lines(identity: &Leaf) -> Vec<String> {
    let pem = fs::read_to_string(&identity.key).expect("the harness wrote it");
    let lines = pem.lines().filter(|line| !line.starts_with('-'));
    let lines: Vec<_> = lines.map(str::to_owned).collect();
    assert!(lines.iter().any(|line| line.len() >= 32), "no key in {pem}");
    lines
}
