//! Programs of another protocol at a listener or a target: each gives one log line with the cause and the
//! remedy.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::time::Duration;

use test_peers::openings::{
    BARE_HL7, HL7, HTTP, HTTP_ANSWER, PROXY, SSH, STX_HL7, TLS_ALERT, TLS_HELLO,
};
use wardgate_tests::stream::{accept, bounded, connect, ending};
use wardgate_tests::tls::TLS13;
use wardgate_tests::{DEADLINE, Gateway, Line, Pki};

use crate::pair::{Originate, Terminate, address, listen, local, originate, terminate};

const ABORT: &[u8] = b"\x07\0\0\0\0\x04\0\0\0\0";

/// An A-ASSOCIATE-RQ without presentation contexts.
pub(crate) fn request() -> Vec<u8> {
    let title = |text: &str| format!("{text:<16}").into_bytes();
    let fields = [&[0, 1, 0, 0][..], &title("PACS"), &title("CT_1"), &[0; 32]];
    let header = [1, 0, 0, 0, 0, 68];
    [&header[..], &fields.concat()].concat()
}

fn assert_named(line: &Line, words: &[&str]) {
    let reason = line.text("reason");
    for word in words {
        assert!(reason.contains(word), "{word:?} is missing in {reason:?}");
    }
}

/// The log line for a new client that sends these bytes.
fn line_of_client(gateway: &Gateway, entry: SocketAddr, bytes: &[u8]) -> Line {
    let before = gateway.connections().len();
    let mut client = connect(entry);
    client.write_all(bytes).expect("it is connected");
    ending(&mut client);
    gateway.wait_for_connections(before + 1).remove(before)
}

#[test]
fn client_of_another_protocol_on_a_plain_side_is_named() {
    let cases: [(&str, &[u8], [&str; 2]); 13] = [
        (
            "dicom",
            TLS_HELLO,
            [
                "the client sent TLS, not DICOM",
                "should the mode be \"terminate\"?",
            ],
        ),
        (
            "dicom",
            HL7,
            [
                "the client sent HL7 in MLLP frames, not DICOM",
                "protocol = \"mllp\"",
            ],
        ),
        (
            "dicom",
            HTTP,
            ["the client sent HTTP, not DICOM", "load balancer"],
        ),
        (
            "dicom",
            SSH,
            ["the client sent SSH, not DICOM", "check the port"],
        ),
        (
            "dicom",
            b"\xff\xfb\x1f\xff\xfb",
            [
                "the client sent bytes of an unknown protocol, not DICOM",
                "check the address and the port",
            ],
        ),
        (
            "mllp",
            b"\xff\xfb\x1f\xff\xfb",
            [
                "the client sent bytes of an unknown protocol, not HL7 in MLLP frames",
                "check the address and the port",
            ],
        ),
        (
            "dicom",
            PROXY,
            [
                "the client sent a PROXY protocol header",
                "turn the PROXY protocol off",
            ],
        ),
        (
            "mllp",
            TLS_HELLO,
            [
                "the client sent TLS, not HL7",
                "should the mode be \"terminate\"?",
            ],
        ),
        (
            "mllp",
            &request(),
            ["the client sent DICOM, not HL7", "protocol = \"dicom\""],
        ),
        ("mllp", BARE_HL7, ["HL7 without MLLP frames", "0x1c 0x0d"]),
        (
            "mllp",
            STX_HL7,
            ["HL7 between STX and ETX", "set the framing to MLLP"],
        ),
        ("mllp", HTTP, ["the client sent HTTP", "check the port"]),
        ("mllp", SSH, ["the client sent SSH", "check the port"]),
    ];
    let (pki, wan) = (Pki::new(), listen());
    let (dicom, mllp) = (local(), local());
    let site = originate(&pki, dicom, address(&wan)).protocol("dicom");
    let peers = [format!("dns:{}", crate::pair::B)];
    let gateway = site
        .originate(mllp, address(&wan), &peers)
        .protocol("mllp")
        .start();
    for (protocol, bytes, words) in cases {
        let entry = if protocol == "dicom" { dicom } else { mllp };
        let line = line_of_client(&gateway, entry, bytes);
        assert_eq!(line.text("ended_by"), "plain side", "{line:?}");
        assert_named(&line, &words);
    }
}

#[test]
fn plaintext_on_a_tls_port_is_named() {
    let cases: [(&[u8], [&str; 2]); 5] = [
        (
            &request(),
            [
                "the client sent plaintext DICOM, not TLS",
                "connect to the listener of a route with mode = \"originate\"",
            ],
        ),
        (
            HL7,
            [
                "the client sent plaintext HL7, not TLS",
                "connect to the listener of a route with mode = \"originate\"",
            ],
        ),
        (
            HTTP,
            [
                "the client sent plaintext HTTP, not TLS",
                "serves no web page; metrics and health checks have an address of their own (metrics in [gateway])",
            ],
        ),
        (
            SSH,
            [
                "the client sent SSH, not TLS",
                "serves no SSH; correct the port in the SSH client",
            ],
        ),
        (
            b"\xff\xfb\x1f\xff\xfb\x20\xff\xfb",
            [
                "the client sent bytes of an unknown protocol, not TLS",
                "turn TLS on in the client, or correct its port",
            ],
        ),
    ];
    let terminate = Terminate::start();
    for (bytes, words) in cases {
        assert_named(
            &line_of_client(&terminate.gateway, terminate.entry, bytes),
            &words,
        );
    }
}

#[test]
fn application_of_another_protocol_behind_an_accepted_peer_is_named() {
    let cases: [(&str, &[u8], [&str; 2]); 4] = [
        (
            "dicom",
            TLS_HELLO,
            [
                "behind the TLS peer sent TLS, not DICOM",
                "turn TLS off in that application",
            ],
        ),
        (
            "dicom",
            HL7,
            [
                "behind the TLS peer sent HL7 in MLLP frames, not DICOM",
                "protocol = \"mllp\"",
            ],
        ),
        (
            "mllp",
            &request(),
            [
                "behind the TLS peer sent DICOM, not HL7",
                "protocol = \"dicom\"",
            ],
        ),
        (
            "mllp",
            STX_HL7,
            [
                "behind the TLS peer sent HL7 between STX and ETX",
                "set the framing",
            ],
        ),
    ];
    for (protocol, bytes, words) in cases {
        let terminate = Terminate::with(|site| site.protocol(protocol));
        let mut peer = terminate.greeted(TLS13);
        peer.write_all(bytes).expect("it is connected");
        assert_named(&terminate.gateway.wait_for_connections(1)[0], &words);
    }
}

/// The behaviour of a target.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// Sends this at once, and closes when the gateway does.
    Speaks(&'static [u8]),
    /// Sends this when something has come.
    Answers(&'static [u8]),
    /// Closes when something has come.
    Closes,
}

pub(crate) fn serve(listener: TcpListener, target: Target) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = bounded(stream);
            if let Target::Speaks(bytes) = target {
                let _ = stream.write_all(bytes);
            }
            let mut room = [0; 4096];
            if stream.read(&mut room).is_ok_and(|count| count > 0) {
                match target {
                    Target::Answers(bytes) => drop(stream.write_all(bytes)),
                    Target::Closes => continue,
                    Target::Speaks(_) => {}
                }
            }
            let _ = stream.shutdown(Shutdown::Write);
            while stream.read(&mut room).is_ok_and(|count| count > 0) {}
        }
    });
}

#[test]
fn target_without_tls_is_named() {
    let cases = [
        (
            Target::Speaks(SSH),
            [
                "the server sent SSH, not TLS",
                "correct the port of the target",
            ],
        ),
        (
            Target::Answers(HTTP_ANSWER),
            [
                "the server sent plaintext HTTP, not TLS",
                "a program of another kind listens there",
            ],
        ),
        (
            Target::Answers(ABORT),
            [
                "the server sent plaintext DICOM, not TLS",
                "the target must be the port of a terminate route",
            ],
        ),
        (
            Target::Closes,
            [
                "before it sent a byte; does it expect TLS",
                "hybrid = false",
            ],
        ),
    ];
    for (target, words) in cases {
        let (pki, wan, entry) = (Pki::new(), listen(), local());
        let gateway = originate(&pki, entry, address(&wan)).start();
        serve(wan, target);
        let line = line_of_client(&gateway, entry, HL7);
        assert_named(&line, &words);
    }
}

/// The limit was `connect`: a client that waits for the reply to an A-ASSOCIATE-RQ gives up soon after.
#[test]
fn target_that_accepts_and_stays_silent_is_named_with_the_limit_that_it_was() {
    for (protocol, bytes, key) in [
        ("dicom", request(), "timeouts.connect"),
        ("mllp", HL7.to_vec(), "timeouts.handshake"),
    ] {
        let (pki, wan, entry) = (Pki::new(), listen(), local());
        let gateway = originate(&pki, entry, address(&wan))
            .protocol(protocol)
            .route_timeout("connect", "\"600ms\"")
            .route_timeout("handshake", "\"800ms\"")
            .start();
        std::thread::spawn(move || {
            let mut held: Vec<_> = (0..1).map(|_| accept(&wan)).collect();
            let _ = held[0].read_to_end(&mut Vec::new());
        });
        let line = line_of_client(&gateway, entry, &bytes);
        let within = format!("({key}) to our ClientHello of ");
        assert_named(
            &line,
            &[
                "no TLS answer within 0.",
                &within,
                "firewall",
                "MTU",
                "hybrid = false",
            ],
        );
    }
}

/// A firewall that needs the whole ClientHello in one packet, as some old firewalls do.
#[test]
fn without_the_hybrid_key_exchange_the_hello_fits_into_one_packet() {
    const PACKET: usize = 1200;
    for (hybrid, fits) in [("true", false), ("false", true)] {
        let originate = Originate::with(|site| site.protocol("tcp").set("hybrid", hybrid));
        let _client = connect(originate.entry);
        let mut server = accept(originate.wan());
        let mut header = [0; 5];
        server.read_exact(&mut header).expect("a ClientHello comes");
        let length = 5 + usize::from(u16::from_be_bytes([header[3], header[4]]));
        assert_eq!(length <= PACKET, fits, "hybrid = {hybrid}: {length} bytes");
    }
}

#[test]
fn plaintext_target_of_another_protocol_is_named() {
    let cases: [(&str, Target, [&str; 2]); 6] = [
        (
            "dicom",
            Target::Answers(TLS_ALERT),
            ["acceptor sent TLS, not DICOM", "use a plaintext port"],
        ),
        (
            "dicom",
            Target::Answers(HTTP_ANSWER),
            ["acceptor sent HTTP, not DICOM", "check the port"],
        ),
        (
            "dicom",
            Target::Closes,
            [
                "the target closed the connection without an answer",
                "is this port plaintext DICOM?",
            ],
        ),
        (
            "mllp",
            Target::Answers(TLS_ALERT),
            [
                "the receiver sent TLS, not HL7 in MLLP frames",
                "use a plaintext port",
            ],
        ),
        (
            "mllp",
            Target::Answers(SSH),
            [
                "the receiver sent SSH, not HL7 in MLLP frames",
                "check the port",
            ],
        ),
        (
            "mllp",
            Target::Closes,
            [
                "the target closed the connection without an answer",
                "is this port plaintext HL7",
            ],
        ),
    ];
    for (protocol, target, words) in cases {
        let (pki, entry, exit) = (Pki::new(), local(), listen());
        let gateway = terminate(&pki, entry, address(&exit))
            .protocol(protocol)
            .set("observe", "\"strict\"")
            .start();
        serve(exit, target);
        let identity = pki.leaf(crate::pair::A);
        let mut peer =
            wardgate_tests::tls::TlsPeer::client(&identity, crate::pair::B, TLS13, connect(entry));
        peer.handshake().expect("both ends are who they should be");
        let bytes = if protocol == "dicom" {
            request()
        } else {
            HL7.to_vec()
        };
        peer.write_all(&bytes).expect("it is connected");
        let _ = ending(&mut peer);
        // The connection may have been reset already.
        let _ = peer.finish();
        drop(peer);
        assert_named(&gateway.wait_for_connections(1)[0], &words);
    }
}

/// A lenient route forwards the bytes, and warns once.
#[test]
fn answer_of_another_protocol_is_one_warning_on_a_lenient_route() {
    let terminate = Terminate::with(|site| site.protocol("dicom"));
    let exit = terminate.exit.try_clone().expect("descriptors");
    serve(exit, Target::Answers(TLS_ALERT));
    let mut peer = terminate.greeted(TLS13);
    peer.write_all(&request()).expect("it is connected");
    let mut answer = [0; TLS_ALERT.len()];
    peer.read_exact(&mut answer).expect("it passes");
    assert_eq!(answer, TLS_ALERT);
    drop(peer);
    let what = "association no longer observed";
    let is_it = |line: &Line| line.message() == what;
    let line = terminate.gateway.wait_for_line(what, DEADLINE, is_it);
    assert_eq!(line.text("level"), "WARN");
    let why = line.text("why");
    assert!(why.starts_with("acceptor sent TLS, not DICOM; "), "{why}");
}

#[test]
fn message_that_ends_with_fs_alone_is_one_warning() {
    let terminate = Terminate::with(|site| site);
    let mut peer = terminate.greeted(TLS13);
    let without_cr = HL7.strip_suffix(b"\r").expect("it ends so");
    peer.write_all(without_cr).expect("it is connected");
    let mut target = accept(&terminate.exit);
    let mut received = vec![0; without_cr.len()];
    target.read_exact(&mut received).expect("it passes");
    // While the connection is open: its sender may keep it open for months.
    let what = "a message ended with byte 0x1c alone";
    let is_it = |line: &Line| line.message().starts_with(what);
    let line = terminate.gateway.wait_for_line(what, DEADLINE, is_it);
    assert_eq!((line.text("level"), line.text("by")), ("WARN", "sender"));
    assert!(line.message().contains("0x1c 0x0d"), "{line:?}");
    // Another message begins in place of the CR; there is still only one warning.
    peer.write_all(without_cr).expect("it is connected");
    target.read_exact(&mut received).expect("it passes");
    drop(peer);
    terminate.gateway.wait_for_connections(1);
    let all = terminate.gateway.lines();
    assert_eq!(all.iter().filter(|line| is_it(line)).count(), 1);
}

/// The line about a target that is down, for a probe of a plaintext target.
fn probed(protocol: &str, probe: &str, target: Target) -> String {
    let (pki, exit) = (Pki::new(), listen());
    let place = address(&exit);
    serve(exit, target);
    let health =
        format!("{{ probe = \"{probe}\", interval = \"1s\", timeout = \"1s\", fall = 1 }}");
    let gateway = terminate(&pki, local(), place)
        .protocol(protocol)
        .set("health", health)
        .start();
    let is_down = format!("target {place} is down");
    let line = gateway.wait_for_line(&is_down, DEADLINE + Duration::from_secs(2), |line| {
        line.message().contains(&is_down)
    });
    line.message().to_owned()
}

#[test]
fn probe_that_is_answered_in_another_protocol_names_it() {
    const REJECTED: &[u8] = b"\x03\0\0\0\0\x04\0\x01\x01\x07";
    let cases = [
        (
            "dicom",
            "c-echo",
            Target::Answers(TLS_ALERT),
            "the target answered in TLS, not DICOM; use a plaintext port",
        ),
        (
            "dicom",
            "c-echo",
            Target::Answers(HTTP_ANSWER),
            "the target answered in HTTP, not DICOM",
        ),
        (
            "dicom",
            "c-echo",
            Target::Closes,
            "is this port plaintext DICOM?",
        ),
        (
            "dicom",
            "c-echo",
            Target::Answers(REJECTED),
            "the probe was rejected: called title \"ANY-SCP\" is not known there; set `called` in [route.health]",
        ),
        (
            "mllp",
            "mllp",
            Target::Answers(TLS_ALERT),
            "the target answered in TLS, not HL7 in MLLP frames",
        ),
        (
            "mllp",
            "mllp",
            Target::Closes,
            "is this port plaintext HL7 in MLLP frames?",
        ),
    ];
    for (protocol, probe, target, words) in cases {
        let line = probed(protocol, probe, target);
        assert!(line.contains(words), "{words:?} is missing in {line:?}");
    }
}
