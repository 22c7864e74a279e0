//! A refused peer reads its alert, by the very session that the gateway runs, whatever the peer sent
//! behind what was refused.

use rustls::AlertDescription as Alert;
use rustls::version::{TLS12, TLS13};
use test_peers::AcceptAll;

use super::authority::Authority;
use super::ends::{End, Foreign, everything, foreign_client, foreign_server};
use super::{Gateway, PEER, target};
use crate::buffers::Buffer;
use crate::tls::session::{HandshakeStep, Session};

/// Drives `session` against `foreign` until it fails, and gives the alert over.
fn refuse(mut session: Session, foreign: &mut Foreign) {
    let mut incoming = Buffer::with_room(64 << 10);
    for _ in 0..64 {
        let mut outgoing = Vec::new();
        let failed = loop {
            match session.advance(&mut incoming, &mut outgoing) {
                Ok(HandshakeStep::Progress) => {}
                Ok(_) => break false,
                Err(_) => break true,
            }
        };
        if failed {
            outgoing.extend(session.final_alert());
        }
        let answer = foreign.advance(&outgoing);
        if failed {
            return;
        }
        assert_eq!(incoming.append(&answer), answer.len());
    }
    panic!("the session never fails");
}

#[test]
fn a_refused_client_reads_its_alert_though_more_messages_were_under_way() {
    let authority = Authority::new("Site CA");
    let gateway = Gateway::under(&authority);
    let peer = authority.issue(&["other.example"]);
    for version in [&TLS13, &TLS12] {
        let (connection, _) = gateway.acceptor().start().expect("a handshake begins");
        let mut foreign = Foreign::client(foreign_client(Some(&peer), everything(), &[version]));
        refuse(connection.into(), &mut foreign);
        assert_eq!(
            foreign.alert(),
            Some(Alert::AccessDenied),
            "{:?}",
            foreign.error
        );
    }
}

#[test]
fn a_refused_server_reads_its_alert_though_more_messages_were_under_way() {
    let authority = Authority::new("Site CA");
    let gateway = Gateway::under(&authority);
    let peer = authority.issue(&["other.example"]);
    assert_ne!(PEER, "other.example");
    for version in [&TLS13, &TLS12] {
        let (connection, _) = gateway
            .connector()
            .start(&target())
            .expect("a handshake begins");
        let config = foreign_server(&peer, AcceptAll::default(), everything(), &[version]);
        let mut foreign = Foreign::server(config);
        refuse(connection.into(), &mut foreign);
        assert_eq!(
            foreign.alert(),
            Some(Alert::AccessDenied),
            "{:?}",
            foreign.error
        );
    }
}

#[test]
fn garbage_is_answered_by_one_alert() {
    let gateway = Gateway::under(&Authority::new("Site CA"));
    let (connection, _) = gateway.acceptor().start().expect("a handshake begins");
    let mut session = Session::from(connection);
    let mut incoming = Buffer::with_room(4096);
    incoming.append(b"GET / HTTP/1.1\r\nHost: gateway.example\r\n\r\n");
    let mut outgoing = Vec::new();
    let failed = (0..8).any(|_| session.advance(&mut incoming, &mut outgoing).is_err());
    assert!(failed && outgoing.is_empty());
    // A fatal decode_error in a record of its own (RFC 8446 section 6).
    assert_eq!(session.final_alert(), [0x15, 3, 3, 0, 2, 2, 50]);
    assert!(session.final_alert().is_empty());
}

/// The bytes that a session sends to a peer whose bytes it refuses.
fn alert_for(bytes: &[u8]) -> Vec<u8> {
    let gateway = Gateway::under(&Authority::new("Site CA"));
    let (connection, _) = gateway.acceptor().start().expect("a handshake begins");
    let mut session = Session::from(connection);
    let mut incoming = Buffer::with_room(128 << 10);
    assert_eq!(incoming.append(bytes), bytes.len());
    let mut outgoing = Vec::new();
    let errors = (0..8).find_map(|_| session.advance(&mut incoming, &mut outgoing).err());
    outgoing.extend(session.alert(&errors.expect("it is refused")));
    outgoing
}

// A record of TLS without encryption.
fn record(content: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len())
        .expect("it is short")
        .to_be_bytes();
    [&[content, 3, 3], &length[..], payload].concat()
}

#[test]
fn what_rustls_refuses_without_an_alert_is_answered_by_one() {
    let [handshake, alert] = [0x16, 0x15];
    let part = record(handshake, &[1, 0, 1, 0, 3, 3]);
    let warning = record(alert, &[1, 90]);
    let long = record(handshake, &[1, 0xff, 0xff, 0xff]);
    for (what, bytes, description) in [
        (
            "another record within a message",
            [part, warning.clone()].concat(),
            10,
        ),
        ("warnings", warning.repeat(8), 10),
        ("a message of 16 MiB", long, 50),
        ("an alert of one byte", record(alert, &[1]), 50),
    ] {
        assert_eq!(
            alert_for(&bytes),
            [alert, 3, 3, 0, 2, 2, description],
            "{what}"
        );
    }
}

#[test]
fn an_alert_is_not_answered() {
    assert_eq!(alert_for(&record(0x15, &[2, 40])), [0; 0]);
}

#[test]
fn no_plain_alert_follows_what_is_encrypted() {
    let authority = Authority::new("Site CA");
    let gateway = Gateway::under(&authority);
    let peer = authority.issue(&[PEER]);
    let config = foreign_client(Some(&peer), everything(), &[&TLS13]);
    let mut bytes = Foreign::client(config).advance(&[]);
    let (connection, _) = gateway.acceptor().start().expect("a handshake begins");
    let mut session = Session::from(connection);
    let mut incoming = Buffer::with_room(64 << 10);
    // Refused without an alert: too many of them.
    bytes.extend(record(0x14, &[1]).repeat(40));
    incoming.append(&bytes);
    let mut outgoing = Vec::new();
    let failed = (0..32).find_map(|_| session.advance(&mut incoming, &mut outgoing).err());
    assert!(!outgoing.is_empty(), "ServerHello goes out");
    let alert = session.alert(&failed.expect("it is refused"));
    assert_ne!(alert.first(), Some(&0x15), "{alert:?}");
}
