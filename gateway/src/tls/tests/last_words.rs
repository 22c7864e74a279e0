//! A refused peer reads its alert, by the very session that the gateway runs, whatever the peer sent
//! behind what was refused.

use rustls::AlertDescription as Alert;
use rustls::version::{TLS12, TLS13};

use super::authority::Authority;
use super::ends::{Credulous, End, Foreign, everything, foreign_client, foreign_server};
use super::{Gateway, PEER, target};
use crate::buffers::Buffer;
use crate::tls::session::{Session, Step};

/// Drives `session` against `foreign` until it fails, and gives the alert over.
fn refuse(mut session: Session, foreign: &mut Foreign) {
    let mut incoming = Buffer::with_room(64 << 10);
    for _ in 0..64 {
        let mut outgoing = Vec::new();
        let failed = loop {
            match session.advance(&mut incoming, &mut outgoing) {
                Ok(Step::Progress) => {}
                Ok(_) => break false,
                Err(_) => break true,
            }
        };
        if failed {
            outgoing.extend(session.last_words());
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
        let config = foreign_server(&peer, Credulous::default(), everything(), &[version]);
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
    assert_eq!(session.last_words(), [0x15, 3, 3, 0, 2, 2, 50]);
    assert!(session.last_words().is_empty());
}
