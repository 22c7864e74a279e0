//! No session is ever resumed: a resumed session would skip the checks of certificate and revocation.

use std::sync::Arc;

use rustls::{ClientConfig, Connection, HandshakeKind};
use wardgate_tests::{DEADLINE, Pki, Site, free_port, until};

use crate::plain::{MARKER, Witness, accept, listener, loopback};
use crate::tls::{Peer, Tls, TlsEnd, VERSIONS};

const OWN: &str = "gw.b.example";
const PEER: &str = "gw.a.example";
/// Payload in the first flight, before either side has authenticated.
const EARLY: &[u8] = b"EARLY^MARKER";

fn tickets(tls: &Tls) -> u32 {
    match &tls.connection {
        Connection::Client(client) => client.tls13_tickets_received(),
        Connection::Server(_) => unreachable!("the tests' end is the client"),
    }
}

/// Uses a connection: the target receives payload, the client reads to the end.
fn use_once(port: u16, config: &Arc<ClientConfig>, target: &Witness) -> Tls {
    let before = target.heard().len();
    let mut tls = Tls::connect(port, Arc::clone(config)).expect_shake();
    tls.send(MARKER);
    until("the target hears it", DEADLINE, || {
        (target.heard().len() == before + MARKER.len()).then_some(())
    });
    tls.close_notify();
    assert_eq!(tls.receive_all(), (vec![], TlsEnd::Orderly));
    tls
}

#[test]
fn terminate_gives_no_ticket_and_makes_every_handshake_a_full_one() {
    let pki = Pki::new();
    let target = Witness::start();
    let port = free_port();
    let gateway = Site::new(&pki, OWN)
        .terminate(
            loopback(port),
            loopback(target.port),
            &[format!("dns:{PEER}")],
        )
        .protocol("tcp")
        .start();
    for version in VERSIONS {
        // rustls remembers sessions if it may, and offers them the next time.
        let mut config = Peer::of(&pki.leaf(PEER)).speaking(version).client();
        config.enable_early_data = true;
        let config = Arc::new(config);
        for _ in 0..3 {
            let tls = use_once(port, &config, &target);
            assert_eq!(tickets(&tls), 0, "{version:?}");
            let kind = tls.connection.handshake_kind();
            let is_full = matches!(
                kind,
                Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest)
            );
            assert!(is_full, "{version:?}: {kind:?}");
        }
    }
    gateway.stop();
}

/// The same client with a server that issues tickets, so that the test above can fail.
#[test]
fn the_client_of_these_tests_resumes_if_it_may() {
    let session = remembered(&Pki::new());
    assert!(session.tickets > 0, "the control server gave no ticket");
}

/// A ticket of another server with early data, which arrives before the client is authenticated.
#[test]
fn early_data_never_reaches_the_target() {
    let pki = Pki::new();
    let target = Witness::start();
    let port = free_port();
    let gateway = Site::new(&pki, OWN)
        .terminate(
            loopback(port),
            loopback(target.port),
            &[format!("dns:{PEER}")],
        )
        .protocol("tcp")
        .start();
    let session = remembered(&pki);
    let mut tls = Tls::connect(port, Arc::clone(&session.config));
    let Connection::Client(client) = &mut tls.connection else {
        unreachable!("the tests' end is the client")
    };
    let mut early = client.early_data().expect("the ticket allows early data");
    let written = std::io::Write::write(&mut early, EARLY).expect("there is room");
    assert_eq!(written, EARLY.len());
    if tls.shake().is_ok() {
        let Connection::Client(client) = &tls.connection else {
            unreachable!("the tests' end is the client")
        };
        assert!(!client.is_early_data_accepted());
        assert_ne!(client.handshake_kind(), Some(HandshakeKind::Resumed));
    }
    drop(tls);
    gateway.wait_for_connections(1);
    let heard = target.heard();
    let found = heard.windows(EARLY.len()).any(|window| window == EARLY);
    assert!(!found, "the target heard early data: {heard:?}");
    gateway.stop();
}

/// The same for a server: it remembers sessions and issues tickets, and gets only full handshakes.
#[test]
fn originate_never_offers_a_session_of_before() {
    let pki = Pki::new();
    let (listener, target) = listener();
    let entry = free_port();
    let gateway = Site::new(&pki, PEER)
        .originate(loopback(entry), loopback(target), &[format!("dns:{OWN}")])
        .protocol("tcp")
        .start();
    for version in VERSIONS {
        let mut config = Peer::of(&pki.leaf(OWN)).speaking(version).server();
        config.session_storage = rustls::server::ServerSessionMemoryCache::new(32);
        config.send_tls13_tickets = 2;
        for _ in 0..3 {
            let application = crate::plain::connect(entry);
            let mut tls = Tls::accept(accept(&listener), config.clone()).expect_shake();
            tls.send(MARKER);
            let mut heard = vec![0; MARKER.len()];
            application
                .set_read_timeout(Some(DEADLINE))
                .expect("the deadline is not zero");
            std::io::Read::read_exact(&mut &application, &mut heard).expect("it is delivered");
            assert_eq!(heard, MARKER);
            let kind = tls.connection.handshake_kind();
            assert_ne!(kind, Some(HandshakeKind::Resumed), "{version:?}");
        }
    }
    gateway.stop();
}

/// A client that remembers a session of a server other than the gateway.
struct Remembered {
    config: Arc<ClientConfig>,
    tickets: u32,
}

fn remembered(pki: &Pki) -> Remembered {
    let mut config = Peer::of(&pki.leaf(PEER)).client();
    config.enable_early_data = true;
    let config = Arc::new(config);
    let mut server = Peer::of(&pki.leaf(OWN)).lax().server();
    server.max_early_data_size = 1 << 14;
    let (listener, port) = listener();
    let tickets = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut tls = Tls::accept(accept(&listener), server).expect_shake();
            tls.send(MARKER);
            tls.close_notify();
            tls.receive_all();
        });
        let mut tls = Tls::connect(port, Arc::clone(&config)).expect_shake();
        assert_eq!(tls.receive_all(), (MARKER.to_vec(), TlsEnd::Orderly));
        tls.close_notify();
        tickets(&tls)
    });
    Remembered { config, tickets }
}
