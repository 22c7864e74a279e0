//! Bad servers opposite originate routes: the matrix.

use std::net::TcpListener;

use test_peers::TlsSide;
use wardgate_tests::{DEADLINE, Gateway, Pki, Site, free_port};

use crate::cases::Case;
use crate::plain::{
    self, MARKER, Received, assert_sound, listener, loopback, of_route, offer_marker,
};
use crate::tls::{Peer, Tls, TlsEnd};

const OWN: &str = "gw.a.example";
const PEER: &str = "gw.b.example";

/// Goal: no bad server receives a byte of payload, each receives the right alert, the application sees a
/// reset, and the log has one line with certificate, rule and remedy. Method: a separate route and server for
/// each case, so that one case cannot hide another.
#[test]
fn originate_refuses_every_bad_server_and_logs_why() {
    let pki = Pki::new();
    let cases = Case::all(&pki, TlsSide::Server, PEER);
    let (site, doors) = site(&pki, &cases);
    let gateway = site.start();
    for (case, door) in cases.iter().zip(&doors) {
        let (at_server, at_application) = meet(door, &case.peer);
        assert_eq!(at_server.0, b"", "{}: it received payload", case.name);
        assert_eq!(at_server.1, TlsEnd::Alert(case.alert), "{}", case.name);
        assert_eq!(at_application.bytes, b"", "{}", case.name);
        assert!(
            at_application.end.is_failure(),
            "{}: {at_application:?}",
            case.name
        );
        assert_refused(&gateway, case);
    }
    assert_sound(&gateway);
    gateway.stop();
}

/// The matrix proves nothing if a good server is refused too.
#[test]
fn the_routes_of_the_matrix_take_a_good_server() {
    let pki = Pki::new();
    let mut cases = Case::all(&pki, TlsSide::Server, PEER);
    cases.retain(|case| case.good.is_some());
    let (site, doors) = site(&pki, &cases);
    let gateway = site.start();
    for (case, door) in cases.iter().zip(&doors) {
        let good = case.good.as_ref().expect("the others are left out");
        std::thread::scope(|scope| {
            let application = scope.spawn(|| offer_marker(door.entry));
            let socket = plain::accept(&door.listener);
            let mut tls = Tls::accept(socket, good.server()).expect_shake();
            assert_eq!(tls.receive_exactly(MARKER.len()), MARKER, "{}", case.name);
            tls.close_notify();
            drop(tls);
            let received = application.join().expect("the application ends");
            assert_eq!(received.bytes, b"", "{}", case.name);
        });
    }
    assert_sound(&gateway);
    gateway.stop();
}

struct Door {
    entry: u16,
    listener: TcpListener,
}

fn site(pki: &Pki, cases: &[Case]) -> (Site, Vec<Door>) {
    let own = pki.leaf(OWN);
    let mut site = Site::with_identity(&own);
    let mut doors = Vec::new();
    for case in cases {
        let entry = free_port();
        let (listener, port) = listener();
        // Both names: the certificates of the repository are for `peer.example`.
        let peers = [format!("dns:{PEER}"), format!("dns:{}", test_peers::PEER)];
        site = site
            .originate(loopback(entry), loopback(port), &peers)
            .name(&case.name)
            .set("identity", case.identity(&own));
        doors.push(Door { entry, listener });
    }
    (site, doors)
}

/// Sends through the gateway from an application to the server; returns what each of them received.
fn meet(door: &Door, server: &Peer) -> ((Vec<u8>, TlsEnd), Received) {
    std::thread::scope(|scope| {
        let application = scope.spawn(|| offer_marker(door.entry));
        let mut tls = Tls::accept(plain::accept(&door.listener), server.server());
        let at_server = match tls.shake() {
            Ok(()) => tls.receive_all(),
            Err(end) => (Vec::new(), end),
        };
        drop(tls);
        (at_server, application.join().expect("the application ends"))
    })
}

fn assert_refused(gateway: &Gateway, case: &Case) {
    let is_its = |line: &wardgate_tests::Line| line.text("route") == case.name;
    let line = gateway.wait_for_connection_line(&case.name, DEADLINE, is_its);
    case.assert_told(&line);
    let lines = gateway.connections();
    let told = lines.iter().filter(|line| is_its(line)).count();
    assert_eq!(told, 1, "{}: one line each", case.name);
    for (metric, expected) in [
        ("wardgate_connections_accepted_total", 1),
        ("wardgate_handshakes_refused_total", 1),
        ("wardgate_connections_complete_total", 0),
        ("wardgate_sealed_bytes_total", 0),
        ("wardgate_opened_bytes_total", 0),
        ("wardgate_connections_open", 0),
    ] {
        let found = of_route(gateway, metric, &case.name);
        assert_eq!(found, expected, "{}: {metric}", case.name);
    }
}
