//! Bad clients against terminate routes: the matrix.

use std::io::Write;

use test_peers::{TlsSide, openings};
use wardgate_tests::pki::Kind;
use wardgate_tests::{DEADLINE, Gateway, Pki, Site, free_port};

use crate::cases::Case;
use crate::plain::{MARKER, Witness, assert_sound, connect, loopback, of_route, receive_all};
use crate::tls::{Peer, TlsEnd, knock};

const OWN: &str = "gw.b.example";
const PEER: &str = "gw.a.example";

/// Goal: no bad client causes a connection to the target, each receives the right alert, and the log has one
/// line with certificate, rule and remedy. Method: a separate route and target for each case, so that one
/// case cannot hide another.
#[test]
fn terminate_refuses_every_bad_client_and_logs_why() {
    let pki = Pki::new();
    let cases = Case::all(&pki, TlsSide::Client, PEER);
    let (site, doors) = site(&pki, &cases);
    let gateway = site.start();
    for (case, door) in cases.iter().zip(&doors) {
        let (received, end) = knock(door.port, &case.peer, MARKER);
        assert_eq!(received, b"", "{}: it received payload", case.name);
        assert_eq!(end, TlsEnd::Alert(case.alert), "{}", case.name);
        assert_refused(&gateway, case, door);
    }
    assert_sound(&gateway);
    gateway.stop();
}

/// The matrix proves nothing if a good client is refused too.
#[test]
fn the_routes_of_the_matrix_take_a_good_client() {
    let pki = Pki::new();
    let mut cases = Case::all(&pki, TlsSide::Client, PEER);
    cases.retain(|case| case.good.is_some());
    let (site, doors) = site(&pki, &cases);
    let gateway = site.start();
    for (case, door) in cases.iter().zip(&doors) {
        let good = case.good.as_ref().expect("the others are left out");
        let mut tls = crate::tls::Tls::connect(door.port, good.client()).expect_shake();
        tls.send(MARKER);
        tls.close_notify();
        wardgate_tests::until(&case.name, DEADLINE, || {
            (door.target.heard() == MARKER).then_some(())
        });
    }
    assert_sound(&gateway);
    gateway.stop();
}

/// Port scans use up only the rate limit of their own kind of log line.
#[test]
fn flood_of_scans_hides_no_line_about_a_refused_certificate() {
    let pki = Pki::new();
    let (port, target) = (free_port(), Witness::start());
    let gateway = Site::new(&pki, OWN)
        .crl(&pki.crl())
        .terminate(
            loopback(port),
            loopback(target.port),
            &[format!("dns:{PEER}")],
        )
        .protocol("tcp")
        .start();
    for _ in 0..100 {
        let mut scan = connect(port);
        scan.write_all(openings::HTTP).expect("it is open");
        receive_all(&scan);
    }
    let refused = [
        (pki.odd(PEER, Kind::Revoked), "is revoked"),
        (pki.leaf("gw.c.example"), "is none of this route's peers"),
        (pki.odd(PEER, Kind::Expired), "expired on"),
    ];
    for (leaf, why) in &refused {
        knock(port, &Peer::of(leaf), MARKER);
        gateway.wait_for_connection_line(why, DEADLINE, |line| line.text("reason").contains(why));
    }
    // The flood was held back.
    let lines = gateway.connections().len();
    assert!(lines < 50, "{lines} lines");
    target.assert_alone("a flood of scans");
    gateway.stop();
}

struct Door {
    port: u16,
    target: Witness,
}

fn site(pki: &Pki, cases: &[Case]) -> (Site, Vec<Door>) {
    let own = pki.leaf(OWN);
    let mut site = Site::with_identity(&own);
    let mut doors = Vec::new();
    for case in cases {
        let door = Door {
            port: free_port(),
            target: Witness::start(),
        };
        // Both names: the certificates of the repository are for `peer.example`.
        let peers = [format!("dns:{PEER}"), format!("dns:{}", test_peers::PEER)];
        site = site
            .terminate(loopback(door.port), loopback(door.target.port), &peers)
            .name(&case.name)
            .protocol("tcp")
            .set("identity", case.identity(&own));
        doors.push(door);
    }
    (site, doors)
}

fn assert_refused(gateway: &Gateway, case: &Case, door: &Door) {
    let is_its = |line: &wardgate_tests::Line| line.text("route") == case.name;
    let line = gateway.wait_for_connection_line(&case.name, DEADLINE, is_its);
    case.assert_told(&line);
    assert_eq!(line.text("server.address"), "-", "{}: {line:?}", case.name);
    let lines = gateway.connections();
    let told = lines.iter().filter(|line| is_its(line)).count();
    assert_eq!(told, 1, "{}: one line each", case.name);
    door.target.assert_alone(&case.name);
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
