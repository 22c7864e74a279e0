//! The replies that applications receive when an association cannot be made: each row of the table of
//! answers, at the gateway of the application and at the remote one.
//!
//! If no application sends the bytes that a row needs, the test sends them itself.

use std::io::Read;
use std::net::TcpListener;

use socket2::{Domain, Socket, Type};
use test_peers::openings;
use wardgate_tests::stream::{Ending, accept, reset};
use wardgate_tests::tier::{self, Need};
use wardgate_tests::{Gateway, Pki, Program, Site, free_port};

use crate::associations::{PYNETDICOM, ask_to};
use crate::dicom_bytes::{
    ABORT, ABORT_INVALID, ABORT_UNEXPECTED, ABORT_UNRECOGNIZED, REJECT_TEMPORARY, REJECT_VERSION,
    acceptance, answer_to, half_of_data, local, pdu, request,
};
use crate::pair::{A, B, Pair, alone, originate, terminate};
use crate::peers::{Echo, loopback};

/// A transient rejection: try again.
const TEMPORARY: &str = "2 3 1";

/// The time of a refused connection in seconds: 4 s (`timeouts.connect`), because modalities give up at about 5 s, and
/// what the application takes to send its request and to close. Two attempts of 4 s in a row are too long.
const REFUSAL_MAX: f64 = 6.0;

/// Checks that pynetdicom and echoscu both receive a transient rejection, and that the gateway's log has a short time: on
/// a busy machine the applications themselves take longer.
#[track_caller]
fn assert_congestion_reply(gateway: &Gateway, entry: u16) {
    ask_to(entry, &["echo"]).assert_rejected(TEMPORARY);
    let text = Program::new("echoscu")
        .args(["-v", "127.0.0.1", &entry.to_string()])
        .run()
        .expect_failure()
        .text();
    for words in [
        "Rejected Transient",
        "Service Provider (Presentation Related)",
        "Temporary Congestion",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    for line in gateway.wait_for_connections(2) {
        let seconds = line.seconds("seconds");
        assert!(seconds < REFUSAL_MAX, "{line:?}");
    }
}

fn ready() -> bool {
    tier::ready(
        "interop",
        &[PYNETDICOM.as_slice(), &[Need::Program("echoscu")]].concat(),
    )
}

/// A port on which connections are neither accepted nor refused, as behind an interrupted line.
struct Unreachable {
    port: u16,
    _listener: Socket,
    _queue: Vec<Socket>,
}

impl Unreachable {
    // The backlog of a listener that nobody serves is filled; then the kernel ignores every SYN.
    fn start() -> Self {
        let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are sockets");
        let port = free_port();
        let listener = socket();
        listener
            .bind(&local(port).into())
            .and_then(|()| listener.listen(0))
            .expect("the port is free");
        let queue = (0..4).map(|_| {
            let one = socket();
            one.set_nonblocking(true).expect("it is a socket");
            let _ = one.connect(&local(port).into());
            one
        });
        Self {
            port,
            _queue: queue.collect(),
            _listener: listener,
        }
    }
}

#[test]
fn remote_gateway_that_refuses_connections_is_a_transient_rejection() {
    if !ready() {
        return;
    }
    let (a, entry) = alone(&Pki::new(), free_port());
    assert_congestion_reply(&a, entry);
    a.stop();
}

#[test]
fn remote_gateway_that_is_unreachable_is_a_transient_rejection() {
    if !ready() {
        return;
    }
    let far = Unreachable::start();
    let (a, entry) = alone(&Pki::new(), far.port);
    assert_congestion_reply(&a, entry);
    a.stop();
}

#[test]
fn remote_gateway_without_an_address_is_a_transient_rejection() {
    if !ready() {
        return;
    }
    let pki = Pki::new();
    let entry = free_port();
    let site = Site::new(&pki, A).originate(
        loopback(entry),
        "gw.nowhere.invalid:2762",
        &[format!("dns:{B}")],
    );
    let a = site.start();
    assert_congestion_reply(&a, entry);
    a.stop();
}

#[test]
fn remote_gateway_that_is_silent_is_a_transient_rejection() {
    if !ready() {
        return;
    }
    // The kernel accepts connections that no program accepts.
    let silent = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let port = silent.local_addr().expect("it is bound").port();
    let (a, entry) = alone(&Pki::new(), port);
    assert_congestion_reply(&a, entry);
    a.stop();
}

#[test]
fn remote_end_without_tls_is_a_transient_rejection() {
    if !ready() {
        return;
    }
    let (a, entry) = alone(&Pki::new(), Echo::start().port);
    assert_congestion_reply(&a, entry);
    a.stop();
}

/// A TLS 1.3 client learns only after its own handshake that its certificate is refused (RFC 8446 section
/// 4.4.2.4).
#[test]
fn remote_gateway_that_refuses_the_certificate_is_a_transient_rejection() {
    if !ready() {
        return;
    }
    let pki = Pki::new();
    let (entry, wan) = (free_port(), free_port());
    let b = terminate(&pki, "dicom", wan, free_port())
        .set("peers", "[\"dns:gw.other.example\"]")
        .start();
    let a = originate(&pki, "dicom", entry, wan).start();
    assert_congestion_reply(&a, entry);
    a.stop();
    b.stop();
}

#[test]
fn remote_gateway_with_another_name_is_a_transient_rejection() {
    if !ready() {
        return;
    }
    let pki = Pki::new();
    let (entry, wan) = (free_port(), free_port());
    let b = terminate(&pki, "dicom", wan, free_port()).start();
    let a = originate(&pki, "dicom", entry, wan)
        .set("peers", "[\"dns:gw.other.example\"]")
        .start();
    assert_congestion_reply(&a, entry);
    a.stop();
    b.stop();
}

#[test]
fn archive_that_is_down_behind_the_remote_gateway_is_a_transient_rejection() {
    if !ready() {
        return;
    }
    let far = Unreachable::start();
    for target in [free_port(), far.port] {
        let pair = Pair::start(&Pki::new(), "dicom", target);
        assert_congestion_reply(&pair.a, pair.entry);
        pair.stop();
    }
}

/// A target that accepts the connection, and closes before it has answered the request.
#[test]
fn archive_that_resets_the_request_is_a_rejection_for_the_moment() {
    if !ready() {
        return;
    }
    let target = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let port = target.local_addr().expect("it is bound").port();
    let pair = Pair::start(&Pki::new(), "dicom", port);
    let archive = std::thread::spawn(move || {
        for _ in 0..2 {
            let mut connection = accept(&target);
            let mut request = [0; 68];
            connection.read_exact(&mut request).expect("a request");
            reset(connection);
        }
    });
    assert_congestion_reply(&pair.a, pair.entry);
    archive.join().expect("the archive does not panic");
    pair.stop();
}

/// The first bytes on a connection, and the reply.
fn beginnings() -> Vec<(&'static str, Vec<u8>, &'static [u8])> {
    let good = request();
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    vec![
        ("no version 1", changed(7, 2), &REJECT_VERSION),
        ("A-ASSOCIATE-AC", acceptance(), &ABORT_UNEXPECTED),
        ("P-DATA-TF", half_of_data(), &ABORT_UNEXPECTED),
        ("A-RELEASE-RQ", pdu(5, &[0; 4]), &ABORT_UNEXPECTED),
        ("A-ABORT", ABORT.to_vec(), &ABORT_UNEXPECTED),
        ("PDU of no known type", pdu(8, &[0; 4]), &ABORT_UNRECOGNIZED),
        ("item beyond the end", changed(77, 0xff), &ABORT_INVALID),
        ("PDU too short", pdu(1, &[0; 20]), &ABORT_INVALID),
        ("PDU too long", vec![1, 0, 0xff, 0, 0, 0], &ABORT_INVALID),
        ("HTTP", openings::HTTP.to_vec(), &[]),
        ("SSH", openings::SSH.to_vec(), &[]),
        ("TLS", openings::TLS_HELLO.to_vec(), &[]),
        ("HL7", openings::HL7.to_vec(), &[]),
    ]
}

/// Checks the reply to each beginning, and that no byte of it reached the target.
fn assert_beginnings_are_answered(entry: u16, target: &Echo) {
    for (what, bytes, answer) in beginnings() {
        let (heard, ending) = answer_to(entry, &bytes);
        assert_eq!(heard, answer, "{what}");
        if answer.is_empty() {
            assert_eq!(ending, Ending::Reset, "{what}");
        } else {
            assert_eq!(ending, Ending::Orderly, "{what}");
        }
    }
    assert_eq!(target.connections(), 0);
}

#[test]
fn bytes_that_are_no_request_are_answered_by_the_standard() {
    if !tier::ready("interop", &[]) {
        return;
    }
    let target = Echo::start();
    let pair = Pair::start(&Pki::new(), "dicom", target.port);
    assert_beginnings_are_answered(pair.entry, &target);
    // No byte reached the remote gateway either.
    assert_eq!(pair.b.connections().len(), 0);
    pair.stop();
}

/// Site A forwards any bytes here, so the remote gateway checks them, and its reply comes through TLS.
#[test]
fn bytes_that_are_no_request_are_answered_through_tls() {
    if !tier::ready("interop", &[]) {
        return;
    }
    let pki = Pki::new();
    let target = Echo::start();
    let (entry, wan) = (free_port(), free_port());
    let b = terminate(&pki, "dicom", wan, target.port).start();
    let a = originate(&pki, "tcp", entry, wan).start();
    assert_beginnings_are_answered(entry, &target);
    a.stop();
    b.stop();
}

/// A gateway that checks must also reply if the one before it does not check.
#[test]
fn transient_rejection_has_the_same_bytes_at_either_gateway() {
    if !tier::ready("interop", &[]) {
        return;
    }
    let pki = Pki::new();
    for protocol in ["dicom", "tcp"] {
        let (entry, wan) = (free_port(), free_port());
        let b = terminate(&pki, "dicom", wan, free_port()).start();
        let a = originate(&pki, protocol, entry, wan).start();
        let (heard, ending) = answer_to(entry, &request());
        assert_eq!(heard, REJECT_TEMPORARY, "{protocol}");
        assert_eq!(ending, Ending::Orderly, "{protocol}");
        a.stop();
        b.stop();
    }
}
