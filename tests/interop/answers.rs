//! What applications are told when an association cannot be, or cannot go on: each row of the table of
//! answers, at the gateway that the application speaks to and at the far one.
//!
//! Where no application can be brought to send what a row needs, the test sends the octets itself.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use rustix::process::Signal;
use socket2::{Domain, Socket, Type};
use wardgate_tests::stream::{Ending, accept, connect, reset};
use wardgate_tests::tier::{self, Need};
use wardgate_tests::{DEADLINE, Gateway, Pki, Program, Site, free_port};

use crate::associations::{CALLED, CALLING, Open, PATIENCE, PYNETDICOM, Provider, ask_to};
use crate::pair::{A, B, Pair, originate, terminate};
use crate::peers::{Echo, loopback};

/// Rejected for the moment: try again.
const TEMPORARY: &str = "2 3 1";

const REJECT_TEMPORARY: [u8; 10] = [3, 0, 0, 0, 0, 4, 0, 2, 3, 1];
const REJECT_VERSION: [u8; 10] = [3, 0, 0, 0, 0, 4, 0, 1, 2, 2];
const ABORT: [u8; 10] = [7, 0, 0, 0, 0, 4, 0, 0, 2, 0];
const ABORT_UNRECOGNIZED: [u8; 10] = [7, 0, 0, 0, 0, 4, 0, 0, 2, 1];
const ABORT_UNEXPECTED: [u8; 10] = [7, 0, 0, 0, 0, 4, 0, 0, 2, 2];
const ABORT_INVALID: [u8; 10] = [7, 0, 0, 0, 0, 4, 0, 0, 2, 6];

/// Site A with nothing but what `target` is behind it.
fn alone(pki: &Pki, target: u16) -> (Gateway, u16) {
    let entry = free_port();
    (originate(pki, "dicom", entry, target).start(), entry)
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Checks that pynetdicom and echoscu are both told to try again, and soon.
#[track_caller]
fn assert_told_to_try_again(entry: u16) {
    ask_to(entry, &["echo"]).assert_rejected(TEMPORARY);
    let began = Instant::now();
    let text = Program::new("echoscu")
        .args(["-v", "127.0.0.1", &entry.to_string()])
        .run()
        .expect_failure()
        .text();
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    for words in [
        "Rejected Transient",
        "Service Provider (Presentation Related)",
        "Temporary Congestion",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

fn ready() -> bool {
    tier::ready(
        "interop",
        &[PYNETDICOM.as_slice(), &[Need::Program("echoscu")]].concat(),
    )
}

/// A port on which connections are neither taken nor refused, as behind a broken line.
struct Unreachable {
    port: u16,
    _listener: Socket,
    _queue: Vec<Socket>,
}

impl Unreachable {
    // The queue of a listener that nobody serves is filled, and then the kernel hears no SYN any more.
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
fn far_gateway_that_refuses_connections_is_a_rejection_for_the_moment() {
    if !ready() {
        return;
    }
    let (a, entry) = alone(&Pki::new(), free_port());
    assert_told_to_try_again(entry);
    a.stop();
}

#[test]
fn far_gateway_that_is_unreachable_is_a_rejection_for_the_moment() {
    if !ready() {
        return;
    }
    let far = Unreachable::start();
    let (a, entry) = alone(&Pki::new(), far.port);
    assert_told_to_try_again(entry);
    a.stop();
}

#[test]
fn far_gateway_that_has_no_address_is_a_rejection_for_the_moment() {
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
    assert_told_to_try_again(entry);
    a.stop();
}

#[test]
fn far_gateway_that_says_nothing_is_a_rejection_for_the_moment() {
    if !ready() {
        return;
    }
    // The kernel takes connections that nobody accepts.
    let silent = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let port = silent.local_addr().expect("it is bound").port();
    let (a, entry) = alone(&Pki::new(), port);
    assert_told_to_try_again(entry);
    a.stop();
}

#[test]
fn far_end_that_speaks_no_tls_is_a_rejection_for_the_moment() {
    if !ready() {
        return;
    }
    let (a, entry) = alone(&Pki::new(), Echo::start().port);
    assert_told_to_try_again(entry);
    a.stop();
}

/// In TLS 1.3 the client learns after its own handshake that its certificate is refused (RFC 8446
/// section 4.4.2.4).
#[test]
fn far_gateway_that_refuses_our_certificate_is_a_rejection_for_the_moment() {
    if !ready() {
        return;
    }
    let pki = Pki::new();
    let (entry, wan) = (free_port(), free_port());
    let b = terminate(&pki, "dicom", wan, free_port())
        .set("peers", "[\"dns:gw.other.example\"]")
        .start();
    let a = originate(&pki, "dicom", entry, wan).start();
    assert_told_to_try_again(entry);
    a.stop();
    b.stop();
}

#[test]
fn far_gateway_with_another_name_is_a_rejection_for_the_moment() {
    if !ready() {
        return;
    }
    let pki = Pki::new();
    let (entry, wan) = (free_port(), free_port());
    let b = terminate(&pki, "dicom", wan, free_port()).start();
    let a = originate(&pki, "dicom", entry, wan)
        .set("peers", "[\"dns:gw.other.example\"]")
        .start();
    assert_told_to_try_again(entry);
    a.stop();
    b.stop();
}

#[test]
fn archive_that_is_down_behind_the_far_gateway_is_a_rejection_for_the_moment() {
    if !ready() {
        return;
    }
    let far = Unreachable::start();
    for target in [free_port(), far.port] {
        let pair = Pair::start(&Pki::new(), "dicom", target);
        assert_told_to_try_again(pair.entry);
        pair.stop();
    }
}

/// A target that takes the connection, and goes before it has answered the request.
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
    assert_told_to_try_again(pair.entry);
    archive.join().expect("the archive does not panic");
    pair.stop();
}

/// Sends octets, and returns all that comes back and how that ends.
fn answer_to(port: u16, octets: &[u8]) -> (Vec<u8>, Ending) {
    let mut stream = connect(local(port));
    stream.write_all(octets).expect("it is connected");
    hear(&mut stream)
}

fn hear(stream: &mut TcpStream) -> (Vec<u8>, Ending) {
    let mut heard = Vec::new();
    let ending = match stream.read_to_end(&mut heard) {
        Ok(_) => Ending::Orderly,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ending::Reset,
        Err(error) => panic!("it does not end after {heard:?}: {error}"),
    };
    (heard, ending)
}

/// An A-ASSOCIATE-RQ (PS3.8 section 9.3.2) for C-ECHO.
fn request() -> Vec<u8> {
    let context = [
        &[1, 0, 0, 0][..],
        &item(0x30, b"1.2.840.10008.1.1"),
        &item(0x40, b"1.2.840.10008.1.2"),
    ];
    associate(1, &item(0x20, &context.concat()))
}

/// An A-ASSOCIATE-AC that accepts it.
fn acceptance() -> Vec<u8> {
    let context = [&[1, 0, 0, 0][..], &item(0x40, b"1.2.840.10008.1.2")];
    associate(2, &item(0x21, &context.concat()))
}

fn associate(kind: u8, contexts: &[u8]) -> Vec<u8> {
    let title = |text: &str| format!("{text:16}").into_bytes();
    let body = [
        &[0, 1, 0, 0][..],
        &title(CALLED),
        &title(CALLING),
        &[0; 32],
        &item(0x10, b"1.2.840.10008.3.1.1.1"),
        contexts,
        &item(0x50, &item(0x51, &16_384_u32.to_be_bytes())),
    ]
    .concat();
    pdu(kind, &body)
}

fn pdu(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("test PDUs are short");
    [&[kind, 0][..], &length.to_be_bytes(), body].concat()
}

fn item(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("test items are short");
    [&[kind, 0][..], &length.to_be_bytes(), value].concat()
}

/// Half of a P-DATA-TF whose data set is all zeros.
fn half_of_data() -> Vec<u8> {
    let value = [&2002_u32.to_be_bytes()[..], &[1, 2], &[0; 2000]].concat();
    let mut whole = pdu(4, &value);
    whole.truncate(1000);
    whole
}

/// What comes first on a connection, and what is said to it.
fn beginnings() -> Vec<(&'static str, Vec<u8>, &'static [u8])> {
    let good = request();
    let changed = |at: usize, octet: u8| {
        let mut octets = good.clone();
        octets[at] = octet;
        octets
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
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec(), &[]),
        ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), &[]),
        (
            "TLS",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            &[],
        ),
        ("HL7", b"\x0bMSH|^~\\&|".to_vec(), &[]),
    ]
}

/// Checks the answer to each beginning, and that none of it reached the target.
fn assert_beginnings_are_answered(entry: u16, target: &Echo) {
    for (what, octets, answer) in beginnings() {
        let (heard, ending) = answer_to(entry, &octets);
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
fn what_is_no_request_is_answered_as_the_standard_says() {
    if !tier::ready("interop", &[]) {
        return;
    }
    let target = Echo::start();
    let pair = Pair::start(&Pki::new(), "dicom", target.port);
    assert_beginnings_are_answered(pair.entry, &target);
    // Nothing went to the far gateway either.
    assert_eq!(pair.b.connections().len(), 0);
    pair.stop();
}

/// Site A carries any bytes here, so it is the far gateway that judges, and its answer crosses TLS.
#[test]
fn what_is_no_request_is_answered_through_tls() {
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

/// As a gateway that judges must answer too where the one in front of it does not.
#[test]
fn rejection_for_the_moment_is_the_same_octets_at_either_gateway() {
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

fn kill(gateway: Gateway) {
    gateway.process().signal(Signal::KILL);
    let _ = gateway.wait(DEADLINE);
}

#[test]
fn far_gateway_that_dies_in_an_open_association_is_an_abort() {
    if !ready() {
        return;
    }
    let provider = Provider::start();
    let pair = Pair::start(&Pki::new(), "dicom", provider.port);
    let mut open = Open::start(pair.entry, CALLING, CALLED, &["echo"]);
    open.wait_for("echo 0x0000");
    kill(pair.b);
    let told = open.told();
    assert_eq!(told.lines(), ["accepted", "echo 0x0000", "aborted 2 0"]);
    assert_eq!(told.ended(), "aborted");
    pair.a.stop();
}

#[test]
fn near_gateway_that_dies_in_an_open_association_is_an_abort_at_the_archive() {
    if !ready() {
        return;
    }
    let mut provider = Provider::start();
    let pair = Pair::start(&Pki::new(), "dicom", provider.port);
    let mut open = Open::start(pair.entry, CALLING, CALLED, &["echo"]);
    open.wait_for("echo 0x0000");
    kill(pair.a);
    let told = provider.told_when_closed();
    let requested = format!("requested {CALLING} {CALLED}");
    assert_eq!(told, [&*requested, "C-ECHO", "aborted 2 0", "closed"]);
    // Its own gateway is gone, so nobody can tell the requestor more than that the connection is.
    assert_eq!(open.told().lines(), ["accepted", "echo 0x0000"]);
    pair.b.stop();
}

/// A requestor and an archive with an association between them, both in the hands of the test.
struct InHand {
    pair: Pair,
    requestor: TcpStream,
    archive: TcpStream,
}

impl InHand {
    fn start() -> Self {
        let target = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let port = target.local_addr().expect("it is bound").port();
        let pair = Pair::start(&Pki::new(), "dicom", port);
        let mut requestor = connect(local(pair.entry));
        requestor.write_all(&request()).expect("it is connected");
        let mut archive = accept(&target);
        expect(&mut archive, &request());
        archive.write_all(&acceptance()).expect("it is connected");
        expect(&mut requestor, &acceptance());
        Self {
            pair,
            requestor,
            archive,
        }
    }
}

#[track_caller]
fn expect(stream: &mut TcpStream, octets: &[u8]) {
    let mut heard = vec![0; octets.len()];
    stream.read_exact(&mut heard).expect("it comes");
    assert!(heard == octets, "other octets came");
}

#[test]
fn archive_that_resets_an_open_association_is_an_abort() {
    if !tier::ready("interop", &[]) {
        return;
    }
    let InHand {
        pair,
        mut requestor,
        archive,
    } = InHand::start();
    reset(archive);
    assert_eq!(hear(&mut requestor), (ABORT.to_vec(), Ending::Orderly));
    drop(requestor);
    pair.stop();
}

#[test]
fn far_gateway_that_dies_before_the_answer_is_a_rejection_for_the_moment() {
    if !tier::ready("interop", &[]) {
        return;
    }
    let target = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let port = target.local_addr().expect("it is bound").port();
    let pair = Pair::start(&Pki::new(), "dicom", port);
    let mut requestor = connect(local(pair.entry));
    requestor.write_all(&request()).expect("it is connected");
    let mut archive = accept(&target);
    expect(&mut archive, &request());
    kill(pair.b);
    let heard = hear(&mut requestor);
    assert_eq!(heard, (REJECT_TEMPORARY.to_vec(), Ending::Orderly));
    drop(requestor);
    pair.a.stop();
}

/// An A-ABORT there would be read as a part of the PDU.
#[test]
fn association_that_is_lost_within_a_pdu_is_a_reset_and_no_abort() {
    if !tier::ready("interop", &[]) {
        return;
    }
    let InHand {
        pair,
        mut requestor,
        mut archive,
    } = InHand::start();
    archive.write_all(&half_of_data()).expect("it is connected");
    expect(&mut requestor, &half_of_data());
    kill(pair.b);
    assert_eq!(hear(&mut requestor), (Vec::new(), Ending::Reset));
    pair.a.stop();
}

#[test]
fn archive_in_the_middle_of_a_pdu_is_reset_and_sent_no_abort() {
    if !tier::ready("interop", &[]) {
        return;
    }
    let InHand {
        pair,
        mut requestor,
        mut archive,
    } = InHand::start();
    requestor
        .write_all(&half_of_data())
        .expect("it is connected");
    expect(&mut archive, &half_of_data());
    kill(pair.a);
    assert_eq!(hear(&mut archive), (Vec::new(), Ending::Reset));
    pair.b.stop();
}

/// Who is in the middle of sending a PDU can still be told: it is its reading side that counts.
#[test]
fn sender_in_the_middle_of_its_own_pdu_is_told_by_an_abort() {
    if !tier::ready("interop", &[]) {
        return;
    }
    let InHand {
        pair,
        mut requestor,
        mut archive,
    } = InHand::start();
    requestor
        .write_all(&half_of_data())
        .expect("it is connected");
    expect(&mut archive, &half_of_data());
    kill(pair.b);
    assert_eq!(hear(&mut requestor), (ABORT.to_vec(), Ending::Orderly));
    drop(requestor);
    pair.a.stop();
}

/// Who does not close after it was told is not waited for longer than the ARTIM timer.
#[test]
fn who_does_not_close_after_a_rejection_is_reset() {
    if !tier::ready("interop", &[]) {
        return;
    }
    let (a, entry) = alone(&Pki::new(), free_port());
    let mut client = connect(local(entry));
    client.write_all(&request()).expect("it is connected");
    let heard = hear(&mut client);
    assert_eq!(heard, (REJECT_TEMPORARY.to_vec(), Ending::Orderly));
    a.wait_for_connections(1);
    // It is open still, at this end alone.
    drop(client);
    a.stop();
}

#[test]
fn who_does_not_close_after_an_abort_is_reset() {
    if !tier::ready("interop", &[]) {
        return;
    }
    let InHand {
        pair,
        mut requestor,
        archive,
    } = InHand::start();
    reset(archive);
    assert_eq!(hear(&mut requestor), (ABORT.to_vec(), Ending::Orderly));
    pair.a.wait_for_connections(1);
    // It is open still, at this end alone.
    drop(requestor);
    pair.stop();
}

/// A stop does not wait for longer than it may, either.
#[test]
fn who_does_not_close_after_an_abort_does_not_hold_up_a_stop() {
    if !tier::ready("interop", &[]) {
        return;
    }
    let pki = Pki::new();
    let (entry, wan) = (free_port(), free_port());
    let target = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let port = target.local_addr().expect("it is bound").port();
    let b = terminate(&pki, "dicom", wan, port).start();
    let a = originate(&pki, "dicom", entry, wan)
        .timeout("drain", "\"1s\"")
        .start();
    let mut requestor = connect(local(entry));
    requestor.write_all(&request()).expect("it is connected");
    let mut archive = accept(&target);
    expect(&mut archive, &request());
    archive.write_all(&acceptance()).expect("it is connected");
    expect(&mut requestor, &acceptance());
    reset(archive);
    assert_eq!(hear(&mut requestor), (ABORT.to_vec(), Ending::Orderly));
    a.stop();
    b.stop();
}
