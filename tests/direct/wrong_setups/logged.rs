//! Wrong set-ups that the log of a running gateway names, one line each.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use test_peers::openings::{
    BARE_HL7, HL7, HTTP, HTTP_ANSWER, PROXY, SSH, STX_HL7, TLS_ALERT, TLS_HELLO,
};
use wardgate_tests::pki::{Kind, Leaf};
use wardgate_tests::stream::{bounded, connect, ending};
use wardgate_tests::tls::{TLS13, TlsPeer};
use wardgate_tests::{DEADLINE, Gateway, Line, Pki, Program, Site, wardgate};

use super::Case;
use crate::mixups::{Target, request, serve};
use crate::pair::{A, B, address, listen, local};

/// Longer than a target may be silent.
const LOG_WAIT: Duration = Duration::from_secs(45);
const NOISE: &[u8] = b"\xff\xfb\x1f\xff\xfb\x20\xff\xfb";

/// Targets and networks. The first case waits longest.
pub(super) fn targets() -> Vec<Case> {
    vec![
        Case::new(
            "an archive that accepts the connection and never answers",
            &[
                "WARN",
                "did not answer the association request (A-ASSOCIATE-RQ) for 30 s",
                "check whether the archive hangs",
            ],
            |words| to_target(words, "dicom", request(), hold),
        ),
        Case::new(
            "the same, seen by a probe",
            &[
                "WARN",
                "is down",
                "the target accepted the connection, but",
                "check whether the application there hangs",
            ],
            |words| {
                let (pki, exit) = (Pki::new(), listen());
                let health = r#"{ probe = "c-echo", interval = "1s", timeout = "1s", fall = 1 }"#;
                let site =
                    Site::new(&pki, B).terminate(local(), address(&exit), &[format!("dns:{A}")]);
                let gateway = site.set("health", health).start();
                hold(exit);
                logged(&gateway, words)
            },
        ),
        Case::new(
            "a probe that calls an unknown title",
            &[
                "called title \"ANY-SCP\" is not known there",
                "set `called` in [route.health]",
            ],
            |words| {
                let (pki, exit) = (Pki::new(), listen());
                let health = r#"{ probe = "c-echo", interval = "1s", timeout = "1s", fall = 1 }"#;
                let site =
                    Site::new(&pki, B).terminate(local(), address(&exit), &[format!("dns:{A}")]);
                let gateway = site.set("health", health).start();
                serve(exit, Target::Answers(b"\x03\0\0\0\0\x04\0\x01\x01\x07"));
                logged(&gateway, words)
            },
        ),
        Case::new(
            "the archive is not running",
            &[
                "WARN",
                "cannot be reached",
                "check that the service runs and listens on this port",
            ],
            |words| to_target(words, "dicom", request(), drop),
        ),
        Case::new(
            "the target's port expects TLS although it should be plaintext DICOM",
            &[
                "closed the connection without an answer",
                "is this port plaintext DICOM?",
            ],
            |words| {
                to_target(words, "dicom", request(), |exit| {
                    serve(exit, Target::Closes);
                })
            },
        ),
        Case::new(
            "the target's port answers with TLS",
            &["sent TLS, not DICOM", "use a plaintext port"],
            |words| {
                to_target(words, "dicom", request(), |exit| {
                    serve(exit, Target::Answers(TLS_ALERT));
                })
            },
        ),
        Case::new(
            "the target of an originate route is a web server",
            &[
                "the server sent plaintext HTTP, not TLS",
                "correct the port of the target",
            ],
            |words| to_server(words, |wan| serve(wan, Target::Answers(HTTP_ANSWER))),
        ),
        Case::new(
            "the target of an originate route is an SSH server",
            &[
                "the server sent SSH, not TLS",
                "correct the port of the target",
            ],
            |words| to_server(words, |wan| serve(wan, Target::Speaks(SSH))),
        ),
        Case::new(
            "the target of an originate route is the archive itself, without TLS",
            &[
                "the server sent plaintext DICOM, not TLS",
                "a terminate route at the other site",
            ],
            |words| {
                to_server(words, |wan| {
                    serve(wan, Target::Answers(b"\x07\0\0\0\0\x04\0\0\0\0"));
                })
            },
        ),
        Case::new(
            "a firewall accepts connections to the other site and drops TLS",
            &["no TLS answer within", "firewall", "MTU", "hybrid = false"],
            |words| to_server(words, hold),
        ),
        Case::new(
            "both sites have mode \"originate\"",
            &["sent TLS, not DICOM", "should the mode be \"terminate\"?"],
            |words| {
                let pki = Pki::new();
                let (entry, other) = (local(), local());
                let there = Site::new(&pki, B)
                    .originate(other, local(), &[format!("dns:{A}")])
                    .start();
                let here = Site::new(&pki, A)
                    .originate(entry, other, &[format!("dns:{B}")])
                    .start();
                speak(entry, &request());
                let line = logged(&there, words);
                drop(here);
                line
            },
        ),
        Case::new(
            "a target whose name does not resolve, at run time",
            &["WARN", "name cannot be resolved"],
            |words| {
                let pki = Pki::new();
                let entry = local();
                let gateway = Site::new(&pki, A)
                    .originate(entry, "nosuch.invalid:2762", &[format!("dns:{B}")])
                    .start();
                speak(entry, &request());
                logged(&gateway, words)
            },
        ),
        Case::new(
            "another program has the port of a route",
            &["in use by another program", "ss -ltnp"],
            |words| {
                let (pki, taken) = (Pki::new(), listen());
                let site =
                    Site::new(&pki, A).originate(address(&taken), local(), &[format!("dns:{B}")]);
                let folder =
                    tempfile::TempDir::new().expect("the machine has a folder for temporary files");
                let file = folder.path().join("wardgate.toml");
                site.write(&file);
                let text = Program::new(wardgate()).arg("run").arg(&file).run().text();
                let port = address(&taken).port().to_string();
                find(text.lines().map(str::to_owned), words)
                    .unwrap_or_else(|| panic!("{words:?} in {text}"))
                    .replace(&format!(":{port}'"), ":PORT'")
            },
        ),
    ]
}

/// Faults in the certificate or the trust of the two ends.
pub(super) fn certificates() -> Vec<Case> {
    vec![
        Case::new(
            "the file of a partner's CA is the wrong one, or the partner has a new CA",
            &[
                "WARN",
                "it bears \"dns:gw.a.example\" of [[peer]] \"hospital-a\"",
                "holds another CA",
                "by telephone",
            ],
            |words| refused(words, Kind::OtherAuthority),
        ),
        Case::new(
            "the same, in the log of that partner",
            &[
                "WARN",
                "does not accept our certificate",
                "unknown_ca",
                "let the server put that CA into its trust",
            ],
            |words| {
                let pki = Pki::new();
                refusing(words, &pki.odd(A, Kind::OtherAuthority), &pki.leaf(B), &[A])
            },
        ),
        Case::new(
            "a partner with a self-signed certificate",
            &["WARN", "is self-signed", "issue its certificate from a CA"],
            |words| refused(words, Kind::SelfSigned),
        ),
        Case::new(
            "the same, in the log of that partner",
            &[
                "does not accept our certificate",
                "it is self-signed: have it issued by a CA",
            ],
            |words| {
                let pki = Pki::new();
                refusing(words, &pki.odd(A, Kind::SelfSigned), &pki.leaf(B), &[A])
            },
        ),
        Case::new(
            "a partner's certificate has expired, or the clock here is wrong",
            &[
                "WARN",
                "expired on",
                "install a renewed certificate",
                "this machine's clock",
            ],
            |words| refused(words, Kind::Expired),
        ),
        Case::new(
            "a partner's certificate is valid from tomorrow",
            &["is not valid before", "compare the clocks"],
            |words| refused(words, Kind::NotYetValid),
        ),
        Case::new(
            "a partner's certificate is revoked",
            &["WARN", "is revoked", "new certificate"],
            |words| refused(words, Kind::Revoked),
        ),
        Case::new(
            "a partner with wildcard names only",
            &[
                "none of this route's peers",
                "a wildcard cannot be listed",
                "add \"sha256:",
            ],
            |words| {
                let pki = Pki::new();
                of_client(words, &pki, &pki.leaf("*.a.example"))
            },
        ),
        Case::new(
            "the same, in the log of that partner",
            &["none of its names can be listed", "add \"sha256:"],
            |words| {
                let pki = Pki::new();
                refusing(words, &pki.leaf("*.a.example"), &pki.leaf(B), &[A])
            },
        ),
        Case::new(
            "a partner that is not listed",
            &["is none of this route's peers", "add \"dns:other.example\""],
            |words| refused(words, Kind::OtherName),
        ),
        Case::new(
            "the same, in the log of that partner",
            &["access_denied", "list \"dns:gw.a.example\" or \"sha256:"],
            |words| {
                let pki = Pki::new();
                refusing(words, &pki.leaf(A), &pki.leaf(B), &["other.example"])
            },
        ),
        Case::new(
            "a partner's certificate is for servers alone",
            &[
                "extended key usage (clientAuth)",
                "reissued with serverAuth and clientAuth",
            ],
            |words| refused(words, Kind::ServerOnly),
        ),
        Case::new(
            "a CA's certificate in place of a partner's",
            &["is a CA's certificate", "issue the peer"],
            |words| refused(words, Kind::AuthorityAsLeaf),
        ),
        Case::new(
            "a partner's name stands in the common name alone",
            &["sha256:"],
            |words| refused(words, Kind::CommonNameOnly),
        ),
        Case::new(
            "the target's address leads to another site",
            &[
                "expected at target",
                "check where the target's address leads",
            ],
            |words| {
                let pki = Pki::new();
                let (entry, wan) = (local(), local());
                let other = Site::with_identity(&pki.leaf("gw.c.example"));
                let other = other.terminate(wan, local(), &[format!("dns:{A}")]).start();
                let targets = format!("[{{ address = \"{wan}\", peer = \"dns:{B}\" }}]");
                let peers = [format!("dns:{B}"), "dns:gw.c.example".to_owned()];
                let here = Site::new(&pki, A)
                    .originate(entry, wan, &peers)
                    .set("targets", targets)
                    .start();
                speak(entry, &request());
                let line = logged(&here, words);
                drop(other);
                line
            },
        ),
        Case::new(
            "a service at one end only",
            &["service", "give the routes at both ends the same service"],
            |words| {
                let pki = Pki::new();
                let (entry, wan) = (local(), local());
                let there = Site::new(&pki, B)
                    .terminate(wan, local(), &[format!("dns:{A}")])
                    .start();
                let here = Site::new(&pki, A).originate(entry, wan, &[format!("dns:{B}")]);
                let here = here.set("service", "\"images\"").start();
                speak(entry, &request());
                let line = logged(&here, words);
                drop(there);
                line
            },
        ),
    ]
}

/// Programs of another protocol.
pub(super) fn protocols() -> Vec<Case> {
    vec![
        Case::new(
            "a modality connects to the TLS port",
            &["plaintext DICOM, not TLS", "mode = \"originate\""],
            |words| at_tls_port(words, &request()),
        ),
        Case::new(
            "an HL7 sender connects to the TLS port",
            &["plaintext HL7, not TLS", "mode = \"originate\""],
            |words| at_tls_port(words, HL7),
        ),
        Case::new(
            "a browser or a load balancer at the TLS port",
            &[
                "plaintext HTTP, not TLS",
                "serves no web page",
                "metrics in [gateway]",
            ],
            |words| at_tls_port(words, HTTP),
        ),
        Case::new(
            "SSH at the TLS port",
            &["the client sent SSH, not TLS", "serves no SSH"],
            |words| at_tls_port(words, SSH),
        ),
        Case::new(
            "a PROXY protocol header at the TLS port",
            &["PROXY protocol header", "turn that off"],
            |words| at_tls_port(words, PROXY),
        ),
        Case::new(
            "bytes of an unknown protocol at the TLS port",
            &[
                "unknown protocol, not TLS",
                "turn TLS on in the client, or correct its port",
            ],
            |words| at_tls_port(words, NOISE),
        ),
        Case::new(
            "a modality with TLS turned on at the plaintext port",
            &["sent TLS, not DICOM", "turn TLS off in the application"],
            |words| at_plain_port(words, "dicom", TLS_HELLO),
        ),
        Case::new(
            "an HL7 sender with TLS turned on at the plaintext port",
            &["sent TLS, not HL7", "turn TLS off in the application"],
            |words| at_plain_port(words, "mllp", TLS_HELLO),
        ),
        Case::new(
            "HL7 to a DICOM route",
            &["HL7 in MLLP frames, not DICOM", "protocol = \"mllp\""],
            |words| at_plain_port(words, "dicom", HL7),
        ),
        Case::new(
            "DICOM to an HL7 route",
            &["DICOM, not HL7", "protocol = \"dicom\""],
            |words| at_plain_port(words, "mllp", &request()),
        ),
        Case::new(
            "HTTP to a DICOM route",
            &["sent HTTP, not DICOM", "load balancer"],
            |words| at_plain_port(words, "dicom", HTTP),
        ),
        Case::new(
            "bytes of an unknown protocol to a DICOM route",
            &[
                "unknown protocol, not DICOM",
                "check the address and the port",
            ],
            |words| at_plain_port(words, "dicom", NOISE),
        ),
        Case::new(
            "HL7 without frames",
            &["HL7 without MLLP frames", "0x0b before each message"],
            |words| at_plain_port(words, "mllp", BARE_HL7),
        ),
        Case::new(
            "HL7 between STX and ETX",
            &["between STX and ETX", "set the framing to MLLP"],
            |words| at_plain_port(words, "mllp", STX_HL7),
        ),
        Case::new(
            "HL7 frames that end with FS and no CR",
            &["WARN", "ended with byte 0x1c alone", "0x1c 0x0d"],
            |words| {
                let message = HL7.strip_suffix(b"\r").expect("it ends so").to_vec();
                to_target(words, "mllp", message, hold)
            },
        ),
    ]
}

/// A gateway that terminates, a good client that sends these bytes, and a target that does `target`.
fn to_target(words: &[&str], protocol: &str, bytes: Vec<u8>, target: fn(TcpListener)) -> String {
    let (pki, entry, exit) = (Pki::new(), local(), listen());
    let site = Site::new(&pki, B).terminate(entry, address(&exit), &[format!("dns:{A}")]);
    let gateway = site.protocol(protocol).set("observe", "\"strict\"").start();
    target(exit);
    let mut peer = TlsPeer::client(&pki.leaf(A), B, TLS13, connect(entry));
    peer.handshake().expect("both ends are who they should be");
    peer.write_all(&bytes).expect("it is connected");
    logged(&gateway, words)
}

/// A gateway that originates, and the server that it connects to.
fn to_server(words: &[&str], server: fn(TcpListener)) -> String {
    let (pki, entry, wan) = (Pki::new(), local(), listen());
    let gateway = Site::new(&pki, A)
        .originate(entry, address(&wan), &[format!("dns:{B}")])
        .route_timeout("connect", "\"1s\"")
        .start();
    server(wan);
    speak(entry, &request());
    let line = logged(&gateway, words);
    // The exact time depends on the machine.
    match line.split_once("no TLS answer within ") {
        Some((before, behind)) => {
            let behind = behind.split_once(" s (").map_or("", |(_, behind)| behind);
            let (bytes, rest) = behind.split_once(" bytes").unwrap_or_default();
            let (of, _) = bytes.rsplit_once(' ').unwrap_or_default();
            let rest = match rest.split_once("(ours has ") {
                Some((start, end)) => {
                    let end = end.split_once(' ').map_or("", |(_, end)| end);
                    format!("{start}(ours has SOME {end}")
                }
                None => rest.to_owned(),
            };
            format!("{before}no TLS answer within SOME s ({of} SOME bytes{rest}")
        }
        None => line,
    }
}

/// Accepts connections and keeps them open without an answer.
fn hold(listener: TcpListener) {
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming().flatten() {
            held.push(stream);
        }
    });
}

/// A client on the LAN that sends these bytes, and closes when it is answered or the connection ends.
fn speak(entry: SocketAddr, bytes: &[u8]) {
    let mut client = connect(entry);
    client.write_all(bytes).expect("it is connected");
    ending(&mut client);
}

/// The log line of hospital B's gateway for a client with such a certificate for the name of A.
fn refused(words: &[&str], kind: Kind) -> String {
    let pki = Pki::new();
    let leaf = pki.odd(A, kind);
    of_client(words, &pki, &leaf)
}

fn of_client(words: &[&str], pki: &Pki, leaf: &Leaf) -> String {
    let entry = local();
    let crl: PathBuf = pki.crl();
    let gateway = Site::new(pki, B)
        .peer_with_crls("hospital-a", &[format!("dns:{A}")], &pki.trust(), &[&crl])
        .terminate(entry, local(), &["hospital-a"])
        .start();
    let mut peer = TlsPeer::client(leaf, B, TLS13, connect(entry));
    let _ = peer.handshake().and_then(|()| peer.read(&mut [0]));
    logged(&gateway, words)
}

/// The log line of a gateway with the certificate `own` when a gateway that lists `listed` refuses it.
fn refusing(words: &[&str], own: &Leaf, other: &Leaf, listed: &[&str]) -> String {
    let (entry, wan) = (local(), local());
    let listed: Vec<_> = listed.iter().map(|name| format!("dns:{name}")).collect();
    let there = Site::with_identity(other)
        .terminate(wan, local(), &listed)
        .start();
    let here = Site::with_identity(own)
        .originate(entry, wan, &[format!("dns:{B}")])
        .start();
    speak(entry, &request());
    let line = logged(&here, words);
    drop(there);
    line
}

/// A client that sends these bytes to a TLS port.
fn at_tls_port(words: &[&str], bytes: &[u8]) -> String {
    let (pki, entry) = (Pki::new(), local());
    let site = Site::new(&pki, B).terminate(entry, local(), &[format!("dns:{A}")]);
    let gateway = site.start();
    speak(entry, bytes);
    logged(&gateway, words)
}

/// A client that sends these bytes to the listener of an originate route.
fn at_plain_port(words: &[&str], protocol: &str, bytes: &[u8]) -> String {
    let (pki, entry) = (Pki::new(), local());
    let site = Site::new(&pki, A).originate(entry, local(), &[format!("dns:{B}")]);
    let gateway = site.protocol(protocol).start();
    let mut client = connect(entry);
    client.write_all(bytes).expect("it is connected");
    let _ = client.shutdown(Shutdown::Write);
    ending(&mut bounded(client));
    logged(&gateway, words)
}

/// The level and the sentence of the log line that has all these words.
fn logged(gateway: &Gateway, words: &[&str]) -> String {
    let what = words.join(", ");
    let sentence = |line: &Line| {
        let text = match line.is_connection() {
            true => line.text("reason"),
            false => line.message(),
        };
        let why = line.text("why");
        let why = if why.is_empty() {
            String::new()
        } else {
            format!(": {why}")
        };
        format!("{}: {text}{why}", line.text("level"))
    };
    let is_it = |line: &Line| find(std::iter::once(sentence(line)), words).is_some();
    let wait = match what.contains("30 s") {
        true => LOG_WAIT,
        false => DEADLINE,
    };
    sentence(&gateway.wait_for_line(&what, wait, is_it))
}

fn find(mut lines: impl Iterator<Item = String>, words: &[&str]) -> Option<String> {
    lines.find(|line| words.iter().all(|word| line.contains(word)))
}
