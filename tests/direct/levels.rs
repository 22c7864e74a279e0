//! Which log lines are warnings: those that an operator must act on, and not those that any client can cause.

use std::io::{Read, Write};

use test_peers::openings;
use wardgate_tests::pki::Kind;
use wardgate_tests::stream::{Ending, accept, connect, ending_of};
use wardgate_tests::tls::{TLS13, TlsPeer};
use wardgate_tests::{DEADLINE, Gateway, Line, Pki, Site};

use crate::pair::{A, B, Terminate, address, listen, local};

fn ended(gateway: &Gateway, reason: &str) -> Line {
    let is_it = |line: &Line| line.text("reason").contains(reason);
    gateway.wait_for_connection_line(reason, DEADLINE, is_it)
}

#[test]
fn a_target_that_cannot_be_reached_is_a_warning_for_every_client() {
    let (pki, tls, through, dead) = (Pki::new(), local(), local(), local());
    let gateway = Site::new(&pki, B)
        .terminate(tls, dead, &[format!("dns:{A}")])
        .protocol("tcp")
        .passthrough(through, dead)
        .start();
    // The gateway may reset the connection before `connect` has returned.
    assert_eq!(ending_of(through), (0, Ending::Reset));
    let mut peer = TlsPeer::client(&pki.leaf(A), B, TLS13, connect(tls));
    peer.handshake().expect("both ends are who they should be");
    let _ = peer.read(&mut [0]);
    let is_it = |line: &Line| line.text("reason").contains(&dead.to_string());
    for route in ["terminate-1", "passthrough-2"] {
        let of_route = |line: &Line| line.text("route") == route && is_it(line);
        let line = gateway.wait_for_connection_line(route, DEADLINE, of_route);
        assert_eq!(line.text("level"), "WARN", "{line:?}");
    }
}

/// An archive that is down for a night, and a modality that tries again and again.
#[test]
fn warnings_about_a_target_are_limited_and_the_lines_of_accepted_peers_are_not() {
    let (pki, tls, dead) = (Pki::new(), local(), local());
    let gateway = Site::new(&pki, B)
        .terminate(tls, dead, &[format!("dns:{A}")])
        .protocol("tcp")
        .start();
    let leaf = pki.leaf(A);
    for _ in 0..40 {
        let mut peer = TlsPeer::client(&leaf, B, TLS13, connect(tls));
        peer.handshake().expect("both ends are who they should be");
        let _ = peer.read(&mut [0]);
    }
    let lines = gateway.wait_for_connections(40);
    let warnings = lines
        .iter()
        .filter(|line| line.text("level") == "WARN")
        .count();
    assert!(
        (10..30).contains(&warnings),
        "{warnings} of {}",
        lines.len()
    );
}

#[test]
fn a_refused_peer_is_a_warning_and_a_port_scan_is_not() {
    let pki = Pki::new();
    let (tls, plain, wan) = (local(), local(), listen());
    let gateway = Site::new(&pki, B)
        .crl(&pki.crl())
        .terminate(tls, local(), &[format!("dns:{A}")])
        .originate(plain, address(&wan), &[format!("dns:{A}")])
        .protocol("tcp")
        .start();
    connect(tls)
        .write_all(openings::HTTP)
        .expect("it is connected");
    let scan = gateway.wait_for_connection_line("a scan", DEADLINE, |_| true);
    assert_eq!(scan.text("level"), "INFO", "{scan:?}");
    for (kind, reason) in [(Kind::Revoked, "revoked"), (Kind::Expired, "expired")] {
        let mut peer = TlsPeer::client(&pki.odd(A, kind), B, TLS13, connect(tls));
        let _ = peer.handshake().and_then(|()| peer.read(&mut [0]));
        let line = ended(&gateway, reason);
        assert_eq!(line.text("level"), "WARN", "{line:?}");
    }
    let client = connect(plain);
    let other = pki.odd(A, Kind::OtherAuthority);
    let _ = TlsPeer::server(&other, TLS13, accept(&wan)).handshake();
    let is_it = |line: &Line| line.text("route") == "originate-2";
    let line = gateway.wait_for_connection_line("the server is refused", DEADLINE, is_it);
    assert_eq!(line.text("level"), "WARN", "{line:?}");
    drop(client);
}

/// At start, before a peer refuses anything.
#[test]
fn a_certificate_that_peers_will_refuse_is_a_warning() {
    let pki = Pki::new();
    let gateway = Site::with_identity(&pki.odd(B, Kind::SelfSigned))
        .terminate(local(), local(), &[format!("dns:{A}")])
        .start();
    let words = "peers that run wardgate refuse it: it is self-signed; have it issued by a CA";
    let is_it = |line: &Line| line.message().contains(words);
    let line = gateway.wait_for_line(words, DEADLINE, is_it);
    assert_eq!(line.text("level"), "WARN", "{line:?}");
}

#[test]
fn a_connection_that_ends_well_is_no_warning() {
    let terminate = Terminate::start();
    drop(terminate.join(TLS13));
    let line = &terminate.gateway.wait_for_connections(1)[0];
    assert_eq!(line.text("level"), "INFO", "{line:?}");
}

/// The other target serves, so no connection would report it.
#[test]
fn a_name_that_does_not_resolve_is_a_warning_although_another_target_serves() {
    let (through, exit) = (local(), listen());
    let good = address(&exit).to_string();
    let gateway = Site::new(&Pki::new(), A)
        .passthrough(through, &good)
        .targets(&["nosuch.invalid:104", &good])
        .gateway("cores", "[0]")
        .start();
    for _ in 0..3 {
        let client = connect(through);
        drop((accept(&exit), client));
    }
    let is_it = |line: &Line| {
        line.message()
            .contains("nosuch.invalid:104: its name cannot be resolved")
    };
    let line = gateway.wait_for_line("the name does not resolve", DEADLINE, is_it);
    assert_eq!(line.text("level"), "WARN", "{line:?}");
    assert!(
        line.message().starts_with("route \"passthrough-1\": "),
        "{line:?}"
    );
    gateway.wait_for_connections(3);
    assert_eq!(gateway.lines().iter().filter(|line| is_it(line)).count(), 1);
}
