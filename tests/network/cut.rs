//! An interrupted WAN: both applications must see the failure, and not a clean end.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use wardgate_tests::tier::{self, Need};
use wardgate_tests::{Gateway, Pki};

use crate::lab::{ENTRY, Family, Lab, Place, TARGET};

/// `timeouts.user` of these tests, and the silence after which keepalive has found a dead peer.
const USER_TIMEOUT: Duration = Duration::from_secs(2);
/// The additional delay: the kernel checks the time when a retransmission is due.
const MARGIN: Duration = Duration::from_secs(8);
/// Between two probes of a window that was closed for a few seconds.
const PROBES_MAX: Duration = Duration::from_secs(7);
/// The maximum time that an application waits for an unreachable site.
const REFUSAL: Duration = Duration::from_secs(5);

/// How a stream ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Clean (FIN).
    Clean,
    /// Reset (RST): bytes may be missing.
    Reset,
}

#[test]
fn cut_wan_resets_both_applications_in_mid_transfer() {
    if !tier::ready("network", &[Need::Namespaces]) {
        return;
    }
    let lab = Lab::new();
    let pki = Pki::new();
    let [a, b] = gateways(&lab, &pki);
    let (mut near, mut far) = streams(&lab);
    // Bytes are moving: the receiver has read some before the cut.
    near.write_all(&[7; 100_000]).expect("site A reads");
    far.read_exact(&mut [0; 100_000]).expect("site B writes");
    lab.set_wan("down");
    let cut = Instant::now();
    let near = std::thread::spawn(move || write_until_end(&mut near));
    assert_eq!(read_until_end(&mut far), End::Reset, "the far end");
    assert_eq!(
        near.join().expect("it does not panic"),
        End::Reset,
        "the near end"
    );
    assert!(
        cut.elapsed() < USER_TIMEOUT + MARGIN,
        "told only after {:?}",
        cut.elapsed()
    );
    for gateway in [a, b] {
        let line = &gateway.wait_for_connections(1)[0];
        assert_ne!(line.text("reason"), "complete", "{line:?}");
        gateway.stop();
    }
}

/// The kernel's error is then not a timeout, but what the network reported last.
#[test]
fn an_unreachable_peer_is_logged_as_one_that_stopped_answering() {
    if !tier::ready("network", &[Need::Namespaces, Need::Program("nft")]) {
        return;
    }
    let lab = Lab::new();
    let pki = Pki::new();
    let gateways = gateways(&lab, &pki);
    let (near, far) = streams(&lab);
    lab.reject_wan();
    for mut application in [near, far] {
        assert_eq!(read_until_end(&mut application), End::Reset);
    }
    for gateway in gateways {
        let line = &gateway.wait_for_connections(1)[0];
        let reason = line.text("reason");
        for words in [
            "the other end stopped answering",
            "the network reported: No route to host",
        ] {
            assert!(reason.contains(words), "{reason}");
        }
        assert_eq!(line.text("ended_by"), "TLS peer");
        gateway.stop();
    }
}

/// The receiving application does not read, and site B's window is closed when site B disappears.
#[test]
fn cut_wan_resets_a_sender_whose_receiver_did_not_read() {
    if !tier::ready("network", &[Need::Namespaces]) {
        return;
    }
    let lab = Lab::new();
    let pki = Pki::new();
    let [a, b] = gateways(&lab, &pki);
    let (mut near, far) = streams(&lab);
    let found = USER_TIMEOUT + 4 * PROBES_MAX;
    near.set_write_timeout(Some(found)).expect("not zero");
    let writer = std::thread::spawn(move || write_until_end(&mut near));
    std::thread::sleep(USER_TIMEOUT + USER_TIMEOUT / 2);
    assert!(!writer.is_finished(), "a receiver that answers is alive");
    lab.set_wan("down");
    assert_eq!(writer.join().expect("it does not panic"), End::Reset);
    let line = &a.wait_for_connections(1)[0];
    let reason = line.text("reason");
    assert!(
        reason.contains("the other end stopped answering"),
        "{reason}"
    );
    assert_eq!(line.text("ended_by"), "TLS peer");
    drop(far);
    a.stop();
    b.stop();
}

/// Neither side sends, so only keepalive can detect it.
#[test]
fn cut_wan_resets_both_applications_in_silence() {
    if !tier::ready("network", &[Need::Namespaces]) {
        return;
    }
    let lab = Lab::new();
    let pki = Pki::new();
    let [a, b] = gateways(&lab, &pki);
    let (mut near, mut far) = streams(&lab);
    near.write_all(b"hello").expect("site A reads");
    far.read_exact(&mut [0; 5]).expect("site B writes");
    lab.set_wan("down");
    let cut = Instant::now();
    let near = std::thread::spawn(move || read_until_end(&mut near));
    assert_eq!(read_until_end(&mut far), End::Reset, "the far end");
    assert_eq!(
        near.join().expect("it does not panic"),
        End::Reset,
        "the near end"
    );
    assert!(
        cut.elapsed() < USER_TIMEOUT + MARGIN,
        "told only after {:?}",
        cut.elapsed()
    );
    a.stop();
    b.stop();
}

#[test]
fn short_cut_is_survived() {
    if !tier::ready("network", &[Need::Namespaces]) {
        return;
    }
    let lab = Lab::new();
    let pki = Pki::new();
    // The timeouts of a real site: much longer than the cut.
    let [a, b] = lab.gateways(&pki, "tcp", [Family::V4; 2]);
    let (mut near, mut far) = streams(&lab);
    near.write_all(b"before").expect("site A reads");
    far.read_exact(&mut [0; 6]).expect("site B writes");
    lab.set_wan("down");
    near.write_all(b"during").expect("site A reads");
    lab.set_wan("up");
    let mut received = [0; 6];
    far.read_exact(&mut received).expect("the stream goes on");
    assert_eq!(&received, b"during");
    drop(near);
    assert_eq!(read_until_end(&mut far), End::Clean);
    drop(far);
    a.stop();
    b.stop();
}

#[test]
fn absent_remote_site_is_a_rejection_within_five_seconds() {
    if !tier::ready("network", &[Need::Namespaces]) {
        return;
    }
    let lab = Lab::new();
    let pki = Pki::new();
    let [a, b] = lab.gateways(&pki, "mllp", [Family::V4; 2]);
    lab.set_wan("down");
    let mut near = connect(&lab);
    let start = Instant::now();
    near.write_all(b"\x0bMSH|").expect("site A reads");
    assert_eq!(read_until_end(&mut near), End::Reset);
    // The time is the gateway's own: on a busy machine the application sees the end later.
    let line = &a.wait_for_connections(1)[0];
    let seconds = line.seconds("seconds");
    assert!(seconds < REFUSAL.as_secs_f64(), "{line:?}");
    assert!(start.elapsed() < 2 * REFUSAL, "{:?}", start.elapsed());
    a.stop();
    b.stop();
}

/// Both gateways with timeouts that detect a dead WAN soon.
fn gateways(lab: &Lab, pki: &Pki) -> [Gateway; 2] {
    let user = format!("\"{}s\"", USER_TIMEOUT.as_secs());
    let keepalive = "{ idle = \"1s\", interval = \"1s\", probes = 2 }";
    let sites = lab.sites(pki, "tcp", [Family::V4; 2]);
    sites.map(|site| {
        let site = site.timeout("user", user.as_str());
        site.timeout("keepalive", keepalive).start()
    })
}

/// A stream from the client to the server: the ends that they hold.
fn streams(lab: &Lab) -> (TcpStream, TcpStream) {
    let address = Family::V4.address(Place::Far, "lan-b", TARGET);
    let listener = lab.inside(Place::Far, || TcpListener::bind(address));
    let listener = listener.expect("nothing else listens there");
    let near = connect(lab);
    let (far, _) = listener.accept().expect("site B connects");
    far.set_read_timeout(Some(USER_TIMEOUT + MARGIN))
        .expect("the time is not zero");
    (near, far)
}

fn connect(lab: &Lab) -> TcpStream {
    let entry = Family::V4.address(Place::GatewayA, "lan-a", ENTRY);
    let near = lab.inside(Place::Near, || TcpStream::connect(entry));
    let near = near.expect("site A listens");
    let timeout = Some(USER_TIMEOUT + MARGIN);
    near.set_read_timeout(timeout)
        .expect("the time is not zero");
    near.set_write_timeout(timeout)
        .expect("the time is not zero");
    near
}

fn read_until_end(stream: &mut TcpStream) -> End {
    let mut buffer = [0; 65536];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return End::Clean,
            Ok(_) => {}
            Err(error) => return end(&error),
        }
    }
}

fn write_until_end(stream: &mut TcpStream) -> End {
    let buffer = [7; 65536];
    loop {
        if let Err(error) = stream.write(&buffer) {
            return end(&error);
        }
    }
}

/// A write after a clean end of the other side fails with EPIPE, after a reset with ECONNRESET.
fn end(error: &std::io::Error) -> End {
    match error.kind() {
        ErrorKind::ConnectionReset => End::Reset,
        ErrorKind::BrokenPipe => End::Clean,
        _ => panic!("the gateway did not tell in time: {error}"),
    }
}
