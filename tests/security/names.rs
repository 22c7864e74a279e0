//! The identity of a peer: every kind of name in `peers`, and the expiry of a revocation list.

use std::time::Duration;

use rustls::AlertDescription as Alert;
use wardgate_tests::pki::{Kind, Leaf};
use wardgate_tests::{DEADLINE, Gateway, Pki, Program, Site, free_port, until, wardgate};

use crate::plain::{self, MARKER, Witness, listener, loopback, offer_marker};
use crate::tls::{Peer, Tls, TlsEnd, knock};

const OWN: &str = "gw.own.example";
const URI: &str = "spiffe://region.example/gateway";

/// The ways to list a peer, each with a peer that matches and a peer of the same CA that does not.
fn listings(pki: &Pki) -> Vec<(String, Leaf, Leaf)> {
    let by_key = pki.leaf("key.example");
    vec![
        (
            "dns:peer.example".into(),
            pki.leaf("peer.example"),
            pki.leaf("a.peer.example"),
        ),
        (
            format!("uri:{URI}"),
            pki.leaf(URI),
            pki.leaf("spiffe://region.example/gateway/other"),
        ),
        (
            format!("sha256:{}", by_key.key_sha256),
            by_key,
            // The same name, another key.
            pki.leaf("key.example"),
        ),
    ]
}

#[test]
fn terminate_takes_the_listed_peer_alone_by_name_uri_or_key() {
    let pki = Pki::new();
    for (listed, right, wrong) in listings(&pki) {
        let target = Witness::start();
        let port = free_port();
        let gateway = Site::new(&pki, OWN)
            .terminate(loopback(port), loopback(target.port), &[&listed])
            .protocol("tcp")
            .start();
        let refused = knock(port, &Peer::of(&wrong), MARKER);
        assert_eq!(
            refused,
            (vec![], TlsEnd::Alert(Alert::AccessDenied)),
            "{listed}"
        );
        target.assert_alone(&listed);
        let line = refusal(&gateway);
        assert!(
            line.contains("is none of this route's peers"),
            "{listed}: {line}"
        );
        assert!(line.contains(&listed), "{listed}: {line}");

        let mut tls = Tls::connect(port, Peer::of(&right).client()).expect_shake();
        tls.send(MARKER);
        until(&listed, DEADLINE, || {
            (target.heard() == MARKER).then_some(())
        });
        drop(tls);
        let is_it = |line: &wardgate_tests::Line| line.text("peer") == listed;
        gateway.wait_for_connection_line(&listed, DEADLINE, is_it);
        gateway.stop();
    }
}

#[test]
fn originate_takes_the_listed_peer_alone_by_name_uri_or_key() {
    let pki = Pki::new();
    for (listed, right, wrong) in listings(&pki) {
        let (listener, port) = listener();
        let entry = free_port();
        let gateway = Site::new(&pki, OWN)
            .originate(loopback(entry), loopback(port), &[&listed])
            .start();
        for (peer, taken) in [(&wrong, false), (&right, true)] {
            std::thread::scope(|scope| {
                let application = scope.spawn(|| offer_marker(entry));
                let server = Peer::of(peer).server();
                let mut tls = Tls::accept(plain::accept(&listener), server);
                assert_eq!(tls.shake().is_ok(), taken, "{listed}");
                if taken {
                    assert_eq!(tls.receive_exactly(MARKER.len()), MARKER, "{listed}");
                }
                drop(tls);
                let received = application.join().expect("the application ends");
                assert_eq!(received.bytes, b"", "{listed}");
                assert!(received.end.is_failure(), "{listed}: {received:?}");
            });
        }
        let line = refusal(&gateway);
        assert!(
            line.contains("is none of this route's peers"),
            "{listed}: {line}"
        );
        gateway.stop();
    }
}

/// An expired revocation list must not be trusted, even in a process that started before it expired.
#[test]
fn a_revocation_list_that_expires_at_run_time_lets_nobody_in() {
    let pki = Pki::new();
    let crl = pki.brief_crl("brief.crl", Duration::from_secs(8));
    let target = Witness::start();
    let (listener, server_port) = listener();
    let (port, entry) = (free_port(), free_port());
    let gateway = Site::new(&pki, OWN)
        .crl(&crl)
        .terminate(loopback(port), loopback(target.port), &["dns:peer.example"])
        .protocol("tcp")
        .originate(
            loopback(entry),
            loopback(server_port),
            &["dns:peer.example"],
        )
        .start();
    let peer = Peer::of(&pki.leaf("peer.example"));
    until("the list expires", DEADLINE, || {
        let (_, end) = knock(port, &peer, b"");
        (end == TlsEnd::Alert(Alert::UnknownCA)).then_some(())
    });
    let before = target.connections();
    let refused = knock(port, &peer, MARKER);
    assert_eq!(refused, (vec![], TlsEnd::Alert(Alert::UnknownCA)));
    assert_eq!(target.connections(), before);
    assert!(!target.heard().ends_with(MARKER));
    std::thread::scope(|scope| {
        let application = scope.spawn(|| offer_marker(entry));
        let mut tls = Tls::accept(plain::accept(&listener), peer.server());
        assert_eq!(tls.shake(), Err(TlsEnd::Alert(Alert::UnknownCA)));
        drop(tls);
        let received = application.join().expect("the application ends");
        assert!(received.bytes.is_empty() && received.end.is_failure());
    });
    for mode in ["terminate", "originate"] {
        let is_it = |line: &wardgate_tests::Line| {
            let reason = line.text("reason");
            line.text("mode") == mode
                && reason.contains("the revocation list of")
                && reason.contains("put the CA's current list into the peer's crl")
        };
        gateway.wait_for_connection_line(mode, DEADLINE, is_it);
    }
    gateway.stop();
}

#[test]
fn an_expired_revocation_list_or_an_odd_own_certificate_keeps_the_gateway_from_starting() {
    let pki = Pki::new();
    let route = |site: Site| site.terminate("127.0.0.1:2762", "127.0.0.1:104", &["dns:a.example"]);
    let mut sites = vec![(
        "revocation list".to_owned(),
        route(Site::new(&pki, OWN)).crl(&pki.expired_crl()),
    )];
    for kind in [
        Kind::Expired,
        Kind::NotYetValid,
        Kind::AuthorityAsLeaf,
        Kind::ShortRsa,
    ] {
        let own = pki.odd(OWN, kind);
        sites.push((format!("{kind:?}"), route(Site::with_identity(&own))));
    }
    for (case, site) in sites {
        let file = pki.path("wrong.toml");
        site.write(&file);
        let check = Program::new(wardgate()).args(["check", "--config"]);
        let outcome = check.arg(&file).run();
        let code = outcome.status.and_then(|status| status.code());
        assert_eq!(code, Some(78), "{case}: {outcome}");
    }
}

/// The reason of the first refusal.
fn refusal(gateway: &Gateway) -> String {
    let is_it = |line: &wardgate_tests::Line| line.text("peer") == "-";
    let line = gateway.wait_for_connection_line("a refusal", DEADLINE, is_it);
    line.text("reason").to_owned()
}
