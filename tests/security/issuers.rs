//! Which CA may issue certificates for which peer, and which connection belongs to which target and route.
//!
//! Hospital A and hospital B each have a CA, and the gateway knows both. B's CA issues a certificate that
//! only A's may issue.

use std::net::TcpListener;

use rustls::AlertDescription as Alert;
use wardgate_tests::pki::{Kind, Leaf};
use wardgate_tests::{DEADLINE, Gateway, Line, Pki, Site, free_port};

use crate::plain::{
    self, MARKER, Received, Witness, assert_sound, listener, loopback, offer_marker,
};
use crate::tls::{Peer, Tls, TlsEnd, VERSIONS, knock};

const OWN: &str = "gw.region.example";
const A: &str = "gw.a.example";
const B: &str = "gw.b.example";
/// The titles in `MARKER`.
const CALLED: &str = "MARKER^PATIENT^^";
const CALLING: &str = "OF^THIS^TEST^^^^";

/// A site that lists A and B in tables, each with its own CA. `pki`'s authority belongs to A, the other to B.
fn site(pki: &Pki) -> Site {
    Site::new(pki, OWN)
        .peer("hospital-a", &[format!("dns:{A}")], &pki.trust())
        .peer("hospital-b", &[format!("dns:{B}")], &pki.other_trust())
}

/// A certificate of hospital B's CA.
fn of_b(pki: &Pki, names: &[&str]) -> Leaf {
    pki.leaf_of(names, Kind::OtherAuthority)
}

/// Waits for a log line of the route whose reason has all these words.
fn wait_for_reason(gateway: &Gateway, route: &str, words: &[&str]) {
    let is_it = |line: &Line| {
        let says = |word: &&str| line.text("reason").contains(*word);
        line.text("route") == route && words.iter().all(says)
    };
    gateway.wait_for_connection_line(&words.join(", "), DEADLINE, is_it);
}

const MAY_NOT: &[&str] = &[
    "was issued by \"CN=other test authority\", which may not issue certificates for \"dns:gw.a.example\"",
    "only the CAs of [[peer]] \"hospital-a\" in",
];

#[test]
fn terminate_refuses_a_peer_s_name_from_the_ca_of_another_peer() {
    let pki = Pki::new();
    for version in VERSIONS {
        let (door, target) = (free_port(), Witness::start());
        // A table by called title does not bypass the check.
        let by_title = format!(
            "[{{ called = \"{CALLED}\", targets = [\"{}\"] }}]",
            loopback(target.port)
        );
        let gateway = site(&pki)
            .terminate(loopback(door), "127.0.0.1:9", &["hospital-a", "hospital-b"])
            .name("in")
            .set("ae", by_title)
            .start();
        let impostor = Peer::of(&of_b(&pki, &[A])).speaking(version);
        let (received, end) = knock(door, &impostor, MARKER);
        assert_eq!(received, b"");
        assert_eq!(end, TlsEnd::Alert(Alert::AccessDenied));
        wait_for_reason(&gateway, "in", MAY_NOT);
        target.assert_alone("an impostor");
        // Both hospitals themselves are accepted.
        for good in [pki.leaf(A), of_b(&pki, &[B])] {
            let mut tls = Tls::connect(door, Peer::of(&good).speaking(version).client());
            tls.shake().expect("a good peer");
            tls.send(MARKER);
            tls.close_notify();
        }
        wardgate_tests::until("both arrive", DEADLINE, || {
            (target.heard().len() == 2 * MARKER.len()).then_some(())
        });
        assert_sound(&gateway);
        gateway.stop();
    }
}

#[test]
fn originate_refuses_a_peer_s_name_from_the_ca_of_another_peer() {
    let pki = Pki::new();
    for version in VERSIONS {
        let (entry, (listener, port)) = (free_port(), listener());
        let target = format!(
            "{{ address = \"{}\", peer = \"hospital-a\" }}",
            loopback(port)
        );
        let gateway = site(&pki)
            .originate(
                loopback(entry),
                "127.0.0.1:9",
                &["hospital-a", "hospital-b"],
            )
            .name("out")
            .set("targets", format!("[{target}]"))
            .start();
        let impostor = Peer::of(&of_b(&pki, &[A])).speaking(version);
        let (at_server, at_application) = meet(entry, &listener, &impostor);
        assert_eq!(at_server.0, b"");
        assert_eq!(at_server.1, TlsEnd::Alert(Alert::AccessDenied));
        assert!(at_application.end.is_failure(), "{at_application:?}");
        wait_for_reason(&gateway, "out", MAY_NOT);
        assert_sound(&gateway);
        gateway.stop();
    }
}

#[test]
fn a_listed_peer_that_answers_for_another_peer_s_target_is_refused() {
    let pki = Pki::new();
    let (entry, (listener, port)) = (free_port(), listener());
    let target = format!(
        "{{ address = \"{}\", peer = \"hospital-a\" }}",
        loopback(port)
    );
    // For the route and for a called title with its own targets.
    for by_title in [false, true] {
        let out = site(&pki)
            .originate(
                loopback(entry),
                "127.0.0.1:9",
                &["hospital-a", "hospital-b"],
            )
            .name("out");
        let out = match by_title {
            false => out.set("targets", format!("[{target}]")),
            true => out
                .set(
                    "targets",
                    "[{ address = \"127.0.0.1:9\", peer = \"hospital-b\" }]",
                )
                .set(
                    "ae",
                    format!("[{{ called = \"{CALLED}\", targets = [{target}] }}]"),
                ),
        };
        let gateway = out.start();
        // B is genuine; the only fault is that its connection was redirected here.
        let (at_server, at_application) = meet(entry, &listener, &Peer::of(&of_b(&pki, &[B])));
        assert_eq!(at_server, (Vec::new(), TlsEnd::Alert(Alert::AccessDenied)));
        assert!(at_application.end.is_failure(), "{at_application:?}");
        let expected = format!(
            "proves \"dns:gw.b.example\", and dns:gw.a.example is expected at target {}",
            loopback(port)
        );
        wait_for_reason(&gateway, "out", &[&expected]);
        let good = Peer::of(&pki.leaf(A));
        let received = serve(entry, &listener, &good);
        assert_eq!(received, MARKER);
        assert_sound(&gateway);
        gateway.stop();
    }
}

#[test]
fn a_name_that_a_foreign_ca_gives_beside_a_peer_s_own_opens_no_bound_title() {
    let pki = Pki::new();
    let (door, target) = (free_port(), Witness::start());
    let gateway = site(&pki)
        .terminate(
            loopback(door),
            loopback(target.port),
            &["hospital-a", "hospital-b"],
        )
        .name("in")
        .set("ae_bind", format!("{{ \"{CALLING}\" = \"hospital-a\" }}"))
        .start();
    // Accepted as B, whose CA wrote A's name into the certificate as well.
    let both = Peer::of(&of_b(&pki, &[A, B]));
    let (received, _) = knock(door, &both, MARKER);
    // A-ASSOCIATE-RJ: calling AE title not recognized (PS3.8 table 9-21).
    assert_eq!(received, [3, 0, 0, 0, 0, 4, 0, 1, 1, 3]);
    let line = gateway.wait_for_connection_line("the rejection", DEADLINE, |line| {
        line.text("ended_by") == "gateway"
    });
    let reason = line.text("reason");
    assert!(
        reason.contains("came from \"dns:gw.b.example\", and ae_bind restricts it to other peers"),
        "{line:?}"
    );
    target.assert_alone("a foreign name");
    assert_sound(&gateway);
    gateway.stop();
}

#[test]
fn a_bound_title_opens_to_any_identity_that_the_certificate_proves() {
    let pki = Pki::new();
    let uri = "urn://site/a";
    let leaf = pki.leaf_of(&[A, "pacs-gw.a.example", uri], Kind::Good);
    let key = format!("sha256:{}", leaf.key_sha256);
    let names = [
        format!("dns:{A}"),
        "dns:pacs-gw.a.example".to_owned(),
        format!("uri:{uri}"),
    ];
    // A `sha256:` key also counts if it is not among the peer's identities.
    for owner in names.iter().chain([&key]) {
        let (door, target) = (free_port(), Witness::start());
        let gateway = Site::new(&pki, OWN)
            .peer("hospital-a", &names, &pki.trust())
            .terminate(loopback(door), loopback(target.port), &["hospital-a"])
            .set("ae_bind", format!("{{ \"{CALLING}\" = \"{owner}\" }}"))
            .start();
        let mut tls = Tls::connect(door, Peer::of(&leaf).client()).expect_shake();
        tls.send(MARKER);
        wardgate_tests::until(owner, DEADLINE, || (target.heard() == MARKER).then_some(()));
        drop(tls);
        gateway.stop();
    }
}

/// Two routes of one gateway that differ only in their service.
#[test]
fn a_connection_that_is_led_to_another_route_is_refused_by_both_ends() {
    let pki = Pki::new();
    let (archive, worklist) = (Witness::start(), Witness::start());
    let (to_archive, to_worklist) = (free_port(), free_port());
    let peers = [format!("dns:{A}")];
    let region = Site::new(&pki, OWN)
        .terminate(loopback(to_archive), loopback(archive.port), &peers)
        .name("archive")
        .set("service", "\"archive\"")
        .terminate(loopback(to_worklist), loopback(worklist.port), &peers)
        .name("worklist")
        .set("service", "\"worklist\"")
        .start();
    // A connection for the archive is redirected to the worklist.
    let led_astray = [(to_worklist, false), (to_archive, true)];
    for (port, arrives) in led_astray {
        let entry = free_port();
        let hospital = Site::new(&pki, A)
            .originate(loopback(entry), loopback(port), &[format!("dns:{OWN}")])
            .name("out")
            .set("service", "\"archive\"")
            .start();
        let received = match arrives {
            false => offer_marker(entry),
            true => {
                let stream = plain::connect(entry);
                std::io::Write::write_all(&mut &stream, MARKER).expect("it is connected");
                wardgate_tests::until("it arrives", DEADLINE, || {
                    (archive.heard() == MARKER).then_some(())
                });
                drop(stream);
                hospital.stop();
                continue;
            }
        };
        assert!(received.end.is_failure(), "{received:?}");
        let words = [
            "refused the connection before it saw our certificate: access_denied",
            "ours has service = \"archive\"",
        ];
        wait_for_reason(&hospital, "out", &words);
        let words = ["asked for service \"archive\", and this route is service \"worklist\""];
        wait_for_reason(&region, "worklist", &words);
        worklist.assert_alone("another route");
        hospital.stop();
    }
    // A client of another vendor that names no service is refused; one that names it is accepted.
    let foreign = Peer::of(&pki.leaf(A));
    let (received, end) = knock(to_worklist, &foreign, MARKER);
    assert_eq!(received, b"");
    assert_eq!(end, TlsEnd::Alert(Alert::AccessDenied));
    for version in VERSIONS {
        let foreign = Peer::of(&pki.leaf(A)).speaking(version);
        let foreign = foreign.protocol("wardgate/worklist");
        let tls = Tls::connect(to_worklist, foreign.client()).expect_shake();
        assert_eq!(
            tls.connection.alpn_protocol(),
            Some(&b"wardgate/worklist"[..])
        );
    }
    assert_sound(&region);
    region.stop();
}

#[test]
fn a_server_that_does_not_confirm_the_service_receives_nothing() {
    let pki = Pki::new();
    let (entry, (listener, port)) = (free_port(), listener());
    let gateway = Site::new(&pki, A)
        .originate(loopback(entry), loopback(port), &[format!("dns:{OWN}")])
        .name("out")
        .set("service", "\"archive\"")
        .start();
    for version in VERSIONS {
        let server = Peer::of(&pki.leaf(OWN)).speaking(version);
        let (at_server, at_application) = meet(entry, &listener, &server);
        assert_eq!(at_server.0, b"");
        assert!(at_application.end.is_failure(), "{at_application:?}");
        let words = ["did not confirm service \"archive\" of this route"];
        wait_for_reason(&gateway, "out", &words);
    }
    let good = Peer::of(&pki.leaf(OWN)).protocol("wardgate/archive");
    assert_eq!(serve(entry, &listener, &good), MARKER);
    gateway.stop();
}

#[test]
fn a_revoked_peer_is_refused_by_the_list_of_its_own_table() {
    let pki = Pki::new();
    let (door, target) = (free_port(), Witness::start());
    let gateway = Site::new(&pki, OWN)
        .peer_with_crls(
            "hospital-a",
            &[format!("dns:{A}")],
            &pki.trust(),
            &[&pki.crl()],
        )
        .peer("hospital-b", &[format!("dns:{B}")], &pki.other_trust())
        .terminate(
            loopback(door),
            loopback(target.port),
            &["hospital-a", "hospital-b"],
        )
        .name("in")
        .start();
    for version in VERSIONS {
        let revoked = Peer::of(&pki.odd(A, Kind::Revoked)).speaking(version);
        let (received, end) = knock(door, &revoked, MARKER);
        assert_eq!(received, b"");
        assert_eq!(end, TlsEnd::Alert(Alert::CertificateRevoked));
        wait_for_reason(&gateway, "in", &["is revoked"]);
    }
    target.assert_alone("a revoked peer");
    // B has no revocation list, and A's list does not concern B.
    Tls::connect(door, Peer::of(&of_b(&pki, &[B])).client()).expect_shake();
    gateway.stop();
}

/// Sends through the gateway from an application to a server; returns what each of them received.
fn meet(entry: u16, listener: &TcpListener, server: &Peer) -> ((Vec<u8>, TlsEnd), Received) {
    std::thread::scope(|scope| {
        let application = scope.spawn(|| offer_marker(entry));
        let mut tls = Tls::accept(plain::accept(listener), server.server());
        let at_server = match tls.shake() {
            Ok(()) => tls.receive_all(),
            Err(end) => (Vec::new(), end),
        };
        drop(tls);
        (at_server, application.join().expect("the application ends"))
    })
}

/// The bytes that a good server receives.
fn serve(entry: u16, listener: &TcpListener, server: &Peer) -> Vec<u8> {
    std::thread::scope(|scope| {
        let application = scope.spawn(|| offer_marker(entry));
        let mut tls = Tls::accept(plain::accept(listener), server.server()).expect_shake();
        let received = tls.receive_exactly(MARKER.len());
        tls.close_notify();
        drop(tls);
        application.join().expect("the application ends");
        received
    })
}

#[test]
fn a_probe_finds_a_target_down_where_another_peer_answers() {
    let pki = Pki::new();
    let (port, target) = (free_port(), Witness::start());
    // The gateway of hospital B, at an address that this site believes to be hospital A's.
    let other = Site::with_identity(&of_b(&pki, &[B]))
        .peer("region", &[format!("dns:{OWN}")], &pki.trust())
        .terminate(loopback(port), loopback(target.port), &["region"])
        .protocol("tcp")
        .start();
    let start = |peer: &str| {
        let target = format!(
            "[{{ address = \"{}\", peer = \"{peer}\" }}]",
            loopback(port)
        );
        site(&pki)
            .originate(loopback(free_port()), "", &["hospital-a", "hospital-b"])
            .name("out")
            .protocol("tcp")
            .set("targets", target)
            .set("health", "{ probe = \"tls\", interval = \"1s\", fall = 1 }")
            .start()
    };
    let gateway = start("hospital-a");
    gateway.wait_for_line("a target is down", DEADLINE, |line| {
        line.message().contains("is expected at target")
    });
    assert_eq!(gateway.metric("wardgate_target_up"), 0.0);
    gateway.stop();
    let gateway = start("hospital-b");
    wardgate_tests::until("the probe is good", DEADLINE, || {
        let text = gateway.metrics();
        let mut good = text.lines().filter(|line| {
            line.starts_with("wardgate_health_probes_total{") && line.contains("good")
        });
        good.any(|line| !line.ends_with(" 0")).then_some(())
    });
    assert_eq!(gateway.metric("wardgate_target_up"), 1.0);
    gateway.stop();
    other.stop();
}

#[test]
fn a_client_without_a_service_is_taken_by_routes_without_one_alone() {
    let pki = Pki::new();
    let target = Witness::start();
    let [with, without] = [free_port(), free_port()];
    let gateway = site(&pki)
        .terminate(loopback(with), loopback(target.port), &["hospital-a"])
        .name("with")
        .set("service", "\"archive\"")
        .terminate(loopback(without), loopback(target.port), &["hospital-a"])
        .name("without")
        .start();
    let good = Peer::of(&pki.leaf(A));
    let (received, end) = knock(with, &good, MARKER);
    assert_eq!(received, b"");
    assert!(matches!(end, TlsEnd::Alert(_)), "{end:?}");
    target.assert_alone("with");
    let mut tls = Tls::connect(without, good.client()).expect_shake();
    tls.send(MARKER);
    wardgate_tests::until("the target hears it", DEADLINE, || {
        (target.heard() == MARKER).then_some(())
    });
    drop(tls);
    gateway.stop();
}
