//! A TLS stream that is cut at every possible position: the plain side sees RST, never a clean end.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use wardgate_tests::{DEADLINE, Gateway, Line, Pki, Site, free_port};

use crate::party::reset;
use crate::plain::{
    MARKER, Received, accept, assert_sound, connect, listener, loopback, receive_all,
};
use crate::tls::{Peer, Tls};

const OWN: &str = "gw.own.example";
const PEER: &str = "gw.peer.example";

/// The position of the cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before any payload.
    AfterHandshake,
    /// After a complete record.
    BetweenRecords,
    /// In the header of a record.
    InsideHeader,
    /// In the payload of a record.
    InsideRecord,
    /// Before the last byte of the tag.
    InsideTag,
    /// In the record of close_notify.
    InsideCloseNotify,
    /// After the plain side has finished its direction cleanly.
    AfterOtherDirection,
    /// No cut: the stream ends cleanly.
    Nowhere,
}

const PLACES: [Place; 8] = [
    Place::AfterHandshake,
    Place::BetweenRecords,
    Place::InsideHeader,
    Place::InsideRecord,
    Place::InsideTag,
    Place::InsideCloseNotify,
    Place::AfterOtherDirection,
    Place::Nowhere,
];

/// How the socket under the stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Fin,
    Rst,
}

#[test]
fn a_client_cut_at_any_position_is_a_reset_at_the_target() {
    let pki = Pki::new();
    let (listener, target) = listener();
    let port = free_port();
    let gateway = Site::new(&pki, OWN)
        .terminate(loopback(port), loopback(target), &[format!("dns:{PEER}")])
        .protocol("tcp")
        .start();
    let peer = Peer::of(&pki.leaf(PEER));
    for version in crate::tls::VERSIONS {
        let client = peer.clone().speaking(version).client();
        let meet = || {
            let tls = Tls::connect(port, client.clone()).expect_shake();
            (accept(&listener), tls)
        };
        cut_everywhere(&gateway, meet);
    }
    assert_sound(&gateway);
    gateway.stop();
}

#[test]
fn a_server_cut_at_any_position_is_a_reset_at_the_application() {
    let pki = Pki::new();
    let (listener, target) = listener();
    let entry = free_port();
    let gateway = Site::new(&pki, OWN)
        .originate(loopback(entry), loopback(target), &[format!("dns:{PEER}")])
        .protocol("tcp")
        .start();
    let peer = Peer::of(&pki.leaf(PEER));
    for version in crate::tls::VERSIONS {
        let meet = || {
            let plain = connect(entry);
            let server = peer.clone().speaking(version).server();
            (plain, Tls::accept(accept(&listener), server).expect_shake())
        };
        cut_everywhere(&gateway, meet);
    }
    assert_sound(&gateway);
    gateway.stop();
}

/// On a DICOM route, the gateway connects to the target with the first payload: a client that is cut before
/// never gets there.
#[test]
fn a_client_cut_before_its_first_payload_never_reaches_a_dicom_target() {
    let pki = Pki::new();
    let (listener, target) = listener();
    let port = free_port();
    let gateway = Site::new(&pki, OWN)
        .terminate(loopback(port), loopback(target), &[format!("dns:{PEER}")])
        .start();
    let client = Peer::of(&pki.leaf(PEER)).client();
    for place in [
        Place::AfterHandshake,
        Place::InsideHeader,
        Place::InsideRecord,
    ] {
        for how in [How::Fin, How::Rst] {
            let mut tls = Tls::connect(port, client.clone()).expect_shake();
            cut(&mut tls, place, how);
        }
    }
    gateway.wait_for_connections(6);
    assert_nobody(&listener);
    assert_sound(&gateway);
    gateway.stop();
}

/// Cuts a stream at every position in both ways. `meet` returns the plain end and the TLS end of a new
/// connection through the gateway.
fn cut_everywhere(gateway: &Gateway, meet: impl Fn() -> (TcpStream, Tls)) {
    for place in PLACES {
        for how in [How::Fin, How::Rst] {
            let case = format!("{place:?} {how:?}");
            let told = gateway.connections().len();
            let (plain, mut tls) = meet();
            if place == Place::AfterOtherDirection {
                plain.shutdown(Shutdown::Write).expect("it is open");
                let (bytes, end) = tls.receive_all();
                assert_eq!(
                    (bytes.len(), end),
                    (0, crate::tls::TlsEnd::Orderly),
                    "{case}"
                );
            }
            cut(&mut tls, place, how);
            let received = receive_all(&plain);
            drop(plain);
            let line = gateway.wait_for_connections(told + 1).pop();
            assert_told(place, how, &received, &line.expect("just counted"));
        }
    }
}

fn cut(tls: &mut Tls, place: Place, how: How) {
    let records: &[u8] = match place {
        Place::AfterHandshake => &[],
        _ => MARKER,
    };
    let mut sealed = seal(tls, records);
    let keep = match place {
        Place::InsideHeader => 3,
        Place::InsideRecord => 9,
        Place::InsideTag => sealed.len() - 1,
        _ => sealed.len(),
    };
    sealed.truncate(keep);
    if matches!(place, Place::InsideCloseNotify | Place::Nowhere) {
        tls.connection.send_close_notify();
        sealed.extend(seal(tls, &[]));
        if place == Place::InsideCloseNotify {
            sealed.pop();
        }
    }
    tls.socket.write_all(&sealed).expect("the gateway reads");
    match how {
        How::Fin => tls.socket.shutdown(Shutdown::Write).expect("it is open"),
        // The reset may drop unread bytes, so fewer may be delivered, but never more.
        How::Rst => reset(&tls.socket),
    }
}

/// The records that this end sends, with `payload` in one of them.
fn seal(tls: &mut Tls, payload: &[u8]) -> Vec<u8> {
    let written = tls.connection.writer().write_all(payload);
    written.expect("there is room before the socket");
    let mut sealed = Vec::new();
    while tls.connection.wants_write() {
        let sent = tls.connection.write_tls(&mut sealed);
        sent.expect("a vector takes all");
    }
    sealed
}

fn assert_told(place: Place, how: How, received: &Received, line: &Line) {
    let case = format!("{place:?} {how:?}: {received:?} {line:?}");
    assert!(MARKER.starts_with(&received.bytes), "{case}");
    if place == Place::Nowhere {
        // A RST directly after close_notify may still overtake it.
        let is_whole = received.bytes == MARKER && !received.end.is_failure();
        assert!(is_whole || how == How::Rst, "{case}");
        return;
    }
    assert!(received.end.is_failure(), "{case}");
    assert_ne!(line.text("reason"), "complete", "{case}");
    assert_eq!(line.text("ended_by"), "TLS peer", "{case}");
    if how == How::Fin {
        let reason = line.text("reason");
        assert!(reason.contains("without close_notify"), "{case}");
    }
}

fn assert_nobody(listener: &TcpListener) {
    listener
        .set_nonblocking(true)
        .expect("a listener has the option");
    let came = listener.accept();
    if let Ok((mut stream, _)) = came {
        stream.set_read_timeout(Some(DEADLINE)).expect("not zero");
        let mut bytes = Vec::new();
        let end = stream.read_to_end(&mut bytes);
        panic!("the target was reached and heard {bytes:?}, then {end:?}");
    }
}
