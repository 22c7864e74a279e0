//! Certificate chains: the cost of chains made by an attacker, and legal chains that look similar.

use std::time::Duration;

use rustls::{AlertDescription as Alert, SignatureScheme};
use test_peers::expensive::{self, ExpensiveChain};
use wardgate_tests::pki::{AUTHORITY, Kind};
use wardgate_tests::{DEADLINE, Gateway, Pki, Site, free_port, one_good_round, until};

use crate::elsewhere::measuring;
use crate::plain::{self, MARKER, Witness, assert_sound, listener, loopback, offer_marker};
use crate::tls::{Peer, Tls, TlsEnd, chain, knock};

const OWN: &str = "gw.b.example";
const PEER: &str = "gw.a.example";

/// Goal: a chain costs about as much as a normally refused handshake, whatever it contains. Method: chains
/// that took from 6 ms to 2.9 s of a core each, ten times over one route, compared with a good certificate of
/// an unlisted name by the CPU time of the gateway.
#[test]
fn a_chain_that_was_made_to_cost_is_refused_for_little() {
    let _alone = measuring();
    let pki = Pki::new();
    let target = Witness::start();
    let port = free_port();
    let site = Site::with_identity(&pki.leaf(OWN));
    let peers = [format!("dns:{PEER}")];
    let gateway = site
        .terminate(loopback(port), loopback(target.port), &peers)
        .protocol("tcp")
        .start();
    let normal = Peer::of(&pki.odd(PEER, Kind::OtherName));
    let normal = cost(&gateway, port, &normal, Alert::AccessDenied);
    for (name, peer, alert) in costly(&pki) {
        // The time that a virtual machine waits for its host counts as used, but not in every round.
        one_good_round(3, || {
            let cost = cost(&gateway, port, &peer, alert);
            let is_good = cost <= 2 * normal + Duration::from_millis(100);
            is_good.then_some(()).ok_or(format!(
                "{name}: {cost:?} for {TIMES} handshakes, a normal refusal takes {normal:?}"
            ))
        });
    }
    assert_eq!(target.connections(), 0);
    assert_sound(&gateway);
    gateway.stop();
}

const TIMES: usize = 10;

/// The CPU time of the gateway while it refused `peer` this many times.
fn cost(gateway: &Gateway, port: u16, peer: &Peer, alert: Alert) -> Duration {
    let before = gateway.process().cpu_time();
    for _ in 0..TIMES {
        let (received, end) = knock(port, peer, MARKER);
        assert_eq!((received, end), (Vec::new(), TlsEnd::Alert(alert)));
    }
    gateway.process().cpu_time() - before
}

/// Peers whose chains have no valid path, and the alert for each.
fn costly(pki: &Pki) -> Vec<(&'static str, Peer, Alert)> {
    let namesakes = Peer::of(&pki.odd(PEER, Kind::Namesakes));
    let mut peers = vec![("namesakes", namesakes, Alert::UnknownCA)];
    let unsigned = expensive::unsigned().into_iter();
    peers.extend(unsigned.map(|(name, chain, alert)| {
        let peer = Peer::of_stolen(chain, SignatureScheme::ECDSA_NISTP256_SHA256);
        (name, peer, alert)
    }));
    peers.extend(ExpensiveChain::ALL.map(|(name, chain, alert)| {
        let (chain, key) = chain.make(AUTHORITY);
        (name, Peer::with_key(chain, &key), alert)
    }));
    peers
}

/// Goal: a certificate that the CA's new key signed is accepted if the old key is trusted and certified the
/// new one (RFC 4210 section 4.4), although another certificate in the chain then has the CA's name.
#[test]
fn a_client_of_a_ca_with_a_new_key_is_accepted() {
    let pki = Pki::new();
    let target = Witness::start();
    let port = free_port();
    let site = Site::with_identity(&pki.leaf(OWN));
    let peers = [format!("dns:{PEER}")];
    let gateway = site
        .terminate(loopback(port), loopback(target.port), &peers)
        .protocol("tcp")
        .start();
    let renewed = pki.odd(PEER, Kind::RenewedAuthority);
    assert_eq!(chain(&renewed).len(), 2);
    let mut tls = Tls::connect(port, Peer::of(&renewed).client()).expect_shake();
    tls.send(MARKER);
    tls.close_notify();
    until("the marker at the target", DEADLINE, || {
        (target.heard() == MARKER).then_some(())
    });
    assert_sound(&gateway);
    gateway.stop();
}

/// The same for a server.
#[test]
fn a_server_of_a_ca_with_a_new_key_is_accepted() {
    let pki = Pki::new();
    let entry = free_port();
    let (listener, port) = listener();
    let site = Site::with_identity(&pki.leaf(OWN));
    let peers = [format!("dns:{PEER}")];
    let gateway = site
        .originate(loopback(entry), loopback(port), &peers)
        .protocol("tcp")
        .start();
    let renewed = Peer::of(&pki.odd(PEER, Kind::RenewedAuthority));
    std::thread::scope(|scope| {
        scope.spawn(|| offer_marker(entry));
        let mut tls = Tls::accept(plain::accept(&listener), renewed.server()).expect_shake();
        assert_eq!(tls.receive_exactly(MARKER.len()), MARKER);
        tls.close_notify();
    });
    assert_sound(&gateway);
    gateway.stop();
}
