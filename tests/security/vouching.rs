//! Which CA may vouch for which peer, who may answer at which target, and which route a connection is for.
//!
//! There are two partners with a CA each. `a` is honest; `c` has its own certificate, and its CA issues any
//! name that it wants.

use std::io::Write;
use std::net::TcpListener;

use rustls::AlertDescription;
use wardgate_tests::pki::{Kind, Leaf};
use wardgate_tests::{DEADLINE, Gateway, Line, Pki, Site, free_port, until};

use crate::plain::{self, MARKER, Witness, assert_sound, listener, loopback, offer_marker};
use crate::tls::{Peer, Tls, TlsEnd, knock};

const OWN: &str = "gw.b.example";
const A: &str = "gw.a.example";
const C: &str = "gw.c.example";
/// The titles in the request that `MARKER` is.
const CALLED: &str = "MARKER^PATIENT^^";
const CALLING: &str = "OF^THIS^TEST^^^^";

/// Certificates of both partners.
struct Partners {
    pki: Pki,
}

impl Partners {
    fn new() -> Self {
        Self { pki: Pki::new() }
    }

    /// A certificate of the CA of `a`.
    fn by_a(&self, name: &str) -> Leaf {
        self.pki.leaf(name)
    }

    /// A certificate of the CA of `c`.
    fn by_c(&self, name: &str) -> Leaf {
        self.pki.odd(name, Kind::OtherAuthority)
    }

    /// This site, which knows both partners.
    fn site(&self) -> Site {
        Site::with_identity(&self.by_a(OWN))
            .peer("a", &format!("dns:{A}"), &self.pki.trust())
            .peer("c", &format!("dns:{C}"), &self.pki.other_trust())
    }
}

/// The reason of the last connection of this route, which is its connection of this number.
fn reason(gateway: &Gateway, route: &str, number: usize) -> String {
    let lines = until(&format!("{number} lines of {route}"), DEADLINE, || {
        let mut lines = gateway.connections();
        lines.retain(|line| line.text("route") == route);
        (lines.len() >= number).then_some(lines)
    });
    let last = lines.last().expect("there are some");
    last.text("reason").to_owned()
}

fn assert_reason(gateway: &Gateway, route: &str, number: usize, expected: &str) {
    let reason = reason(gateway, route, number);
    assert!(reason.contains(expected), "no {expected:?} in {reason:?}");
}

const VOUCHED: &str = "which may not vouch for";

#[test]
fn terminate_refuses_a_name_that_another_partners_ca_issued() {
    let partners = Partners::new();
    let (port, target) = (free_port(), Witness::start());
    let gateway = partners
        .site()
        .terminate(loopback(port), loopback(target.port), &["a", "c"])
        .name("in")
        .protocol("tcp")
        .start();
    let wrong = [partners.by_c(A), partners.by_a(C)];
    for (number, leaf) in (1..).zip(&wrong) {
        let (received, end) = knock(port, &Peer::of(leaf), MARKER);
        assert_eq!((received.as_slice(), end), (&b""[..], REFUSED));
        assert_reason(&gateway, "in", number, VOUCHED);
    }
    target.assert_alone("in");
    for leaf in [partners.by_a(A), partners.by_c(C)] {
        let before = target.heard().len();
        let mut tls = Tls::connect(port, Peer::of(&leaf).client()).expect_shake();
        tls.send(MARKER);
        tls.close_notify();
        until("the target hears it", DEADLINE, || {
            (target.heard().len() == before + MARKER.len()).then_some(())
        });
    }
    assert_sound(&gateway);
    gateway.stop();
}

/// access_denied: the certificate is good, and not one of ours to accept here.
const REFUSED: TlsEnd = TlsEnd::Alert(AlertDescription::AccessDenied);

#[test]
fn an_ae_title_of_a_partner_is_not_used_with_a_name_that_another_ca_issued() {
    let partners = Partners::new();
    let (port, target) = (free_port(), Witness::start());
    let gateway = partners
        .site()
        .terminate(loopback(port), loopback(target.port), &["a", "c"])
        .name("in")
        .set("ae_bind", format!("{{ \"{CALLING}\" = \"a\" }}"))
        .start();
    let (_, end) = knock(port, &Peer::of(&partners.by_c(A)), MARKER);
    assert_eq!(end, REFUSED);
    assert_reason(&gateway, "in", 1, VOUCHED);
    let (rejection, _) = knock(port, &Peer::of(&partners.by_c(C)), MARKER);
    // A-ASSOCIATE-RJ (PS3.8 table 9-21).
    assert_eq!(rejection.first(), Some(&3), "{rejection:?}");
    assert_reason(&gateway, "in", 2, "ae_bind");
    target.assert_alone("in");
    let mut tls = Tls::connect(port, Peer::of(&partners.by_a(A)).client()).expect_shake();
    tls.send(MARKER);
    until("the target hears it", DEADLINE, || {
        (target.heard() == MARKER).then_some(())
    });
    drop(tls);
    gateway.stop();
}

/// What a TLS server at a target received of an application's request.
fn at_server(entry: u16, listener: &TcpListener, leaf: &Leaf) -> Vec<u8> {
    std::thread::scope(|scope| {
        let application = scope.spawn(|| offer_marker(entry));
        let mut tls = Tls::accept(plain::accept(listener), Peer::of(leaf).server());
        let received = match tls.shake() {
            Ok(()) => tls.receive_exactly(MARKER.len()),
            Err(_) => Vec::new(),
        };
        drop(tls);
        let seen = application.join().expect("the application ends");
        assert_eq!(seen.bytes, b"", "the application received something");
        received
    })
}

/// Both targets of a route, the second one for a called title, answer for their own peer alone.
#[test]
fn no_listed_peer_answers_at_the_target_of_another() {
    let partners = Partners::new();
    let ([entry, by_title], [(first, at_a), (second, at_c)]) =
        ([free_port(), free_port()], [listener(), listener()]);
    let target = |port: u16, peer: &str| {
        format!("{{ address = \"{}\", peer = \"{peer}\" }}", loopback(port))
    };
    let ae = format!(
        "[{{ called = \"{CALLED}\", targets = [{}] }}]",
        target(at_c, "c")
    );
    let gateway = partners
        .site()
        .originate(loopback(entry), "", &["a", "c"])
        .name("to-a")
        .set("targets", format!("[{}]", target(at_a, "a")))
        .originate(loopback(by_title), "", &["a", "c"])
        .name("by-title")
        .set("targets", format!("[{}]", target(at_a, "a")))
        .set("ae", ae)
        .start();
    let expected = "is expected at target";
    let attacks = [
        ("to-a", entry, &first, partners.by_c(C), expected),
        ("to-a", entry, &first, partners.by_c(A), VOUCHED),
        ("by-title", by_title, &second, partners.by_a(A), expected),
        ("by-title", by_title, &second, partners.by_a(C), VOUCHED),
    ];
    for (number, (route, entry, listener, leaf, why)) in attacks.iter().enumerate() {
        let received = at_server(*entry, listener, leaf);
        assert_eq!(received, b"", "{route}: it received payload");
        assert_reason(&gateway, route, number % 2 + 1, why);
    }
    assert_eq!(at_server(entry, &first, &partners.by_a(A)), MARKER);
    assert_eq!(at_server(by_title, &second, &partners.by_c(C)), MARKER);
    assert_sound(&gateway);
    gateway.stop();
}

#[test]
fn a_probe_finds_a_target_down_where_another_peer_answers() {
    let partners = Partners::new();
    let port = free_port();
    let target = Witness::start();
    // The gateway of `c`, at an address that this site takes for that of `a`.
    let other = Site::with_identity(&partners.by_c(C))
        .peer("b", &format!("dns:{OWN}"), &partners.pki.trust())
        .terminate(loopback(port), loopback(target.port), &["b"])
        .protocol("tcp")
        .start();
    let start = |peer: &str| {
        let target = format!(
            "[{{ address = \"{}\", peer = \"{peer}\" }}]",
            loopback(port)
        );
        let health = "{ probe = \"tls\", interval = \"1s\", fall = 1 }";
        partners
            .site()
            .originate(loopback(free_port()), "", &["a", "c"])
            .name("out")
            .protocol("tcp")
            .set("targets", target)
            .set("health", health)
            .start()
    };
    let gateway = start("a");
    let is_down = |line: &Line| line.message().contains("is expected at target");
    gateway.wait_for_line("a target is down", DEADLINE, is_down);
    assert_eq!(gateway.metric("wardgate_target_up"), 0.0);
    gateway.stop();
    let gateway = start("c");
    until("the probe is good", DEADLINE, || {
        let text = gateway.metrics();
        let good = |line: &&str| {
            line.starts_with("wardgate_health_probes_total{") && line.contains("good")
        };
        let mut good = text.lines().filter(good);
        good.any(|line| !line.ends_with(" 0")).then_some(())
    });
    assert_eq!(gateway.metric("wardgate_target_up"), 1.0);
    gateway.stop();
    other.stop();
}

/// The routes have the same certificate, protocol and peer: only the service tells them apart.
#[test]
fn a_connection_that_is_led_to_another_route_is_refused_where_both_have_a_service() {
    let partners = Partners::new();
    let (archive, research) = (Witness::start(), Witness::start());
    let [at_archive, at_research, unlabelled] = [(); 3].map(|()| free_port());
    let route = |site: Site, port: u16, target: &Witness, name: &str| {
        site.terminate(loopback(port), loopback(target.port), &["a"])
            .name(name)
            .protocol("tcp")
    };
    let site = route(partners.site(), at_archive, &archive, "archive");
    let site = route(
        site.set("service", "\"archive\""),
        at_research,
        &research,
        "research",
    );
    let site = route(
        site.set("service", "\"research\""),
        unlabelled,
        &research,
        "unlabelled",
    );
    let b = site.start();

    let [meant, led, bare, labelled] = [(); 4].map(|()| free_port());
    let out = |site: Site, entry: u16, port: u16, name: &str| {
        site.originate(loopback(entry), loopback(port), &["b"])
            .name(name)
            .protocol("tcp")
    };
    let a = Site::with_identity(&partners.by_a(A));
    let a = a.peer("b", &format!("dns:{OWN}"), &partners.pki.trust());
    let a = out(a, meant, at_archive, "meant").set("service", "\"archive\"");
    let a = out(a, led, at_research, "led").set("service", "\"archive\"");
    let a = out(a, bare, at_research, "bare");
    let a = out(a, labelled, unlabelled, "labelled")
        .set("service", "\"archive\"")
        .start();
    for (entry, name) in [(led, "led"), (bare, "bare"), (labelled, "labelled")] {
        let received = offer_marker(entry);
        assert!(received.end.is_failure(), "{name}: {received:?}");
        let reason = reason(&a, name, 1);
        assert!(reason.contains("refused"), "{name}: {reason}");
    }
    let lines: Vec<_> = b.wait_for_connections(3);
    let reasons: Vec<_> = lines.iter().map(|line| line.text("reason")).collect();
    for (reason, why) in reasons.iter().zip([
        "asked for service \"archive\", and this route is service \"research\"",
        "named no service, and this route is service \"research\"",
        "asked for service \"archive\", and this route has no service label",
    ]) {
        assert!(reason.contains(why), "no {why:?} in {reason:?}");
    }
    research.assert_alone("research");
    let stream = plain::connect(meant);
    (&stream).write_all(MARKER).expect("the gateway reads");
    until("the archive hears it", DEADLINE, || {
        (archive.heard() == MARKER).then_some(())
    });
    drop(stream);
    for gateway in [a, b] {
        assert_sound(&gateway);
        gateway.stop();
    }
}

/// A client of another make knows no service.
#[test]
fn a_client_without_a_service_is_taken_by_routes_without_one_alone() {
    let partners = Partners::new();
    let target = Witness::start();
    let [with, without] = [free_port(), free_port()];
    let gateway = partners
        .site()
        .terminate(loopback(with), loopback(target.port), &["a"])
        .name("with")
        .set("service", "\"archive\"")
        .terminate(loopback(without), loopback(target.port), &["a"])
        .name("without")
        .start();
    let good = Peer::of(&partners.by_a(A));
    let (received, end) = knock(with, &good, MARKER);
    assert_eq!(received, b"");
    assert!(matches!(end, TlsEnd::Alert(_)), "{end:?}");
    target.assert_alone("with");
    let mut tls = Tls::connect(without, good.client()).expect_shake();
    tls.send(MARKER);
    until("the target hears it", DEADLINE, || {
        (target.heard() == MARKER).then_some(())
    });
    drop(tls);
    gateway.stop();
}
