//! What one bad file stops, and what the gateway reports about files that expire.

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wardgate_tests::pki::{Kind, Leaf};
use wardgate_tests::stream::{accept, connect, ping};
use wardgate_tests::tls::{TLS13, TlsPeer};
use wardgate_tests::{DEADLINE, Gateway, Line, Pki, Program, Site, wardgate};

use crate::pair::{A, B, address, listen, local};

/// A partner besides A, with certificates of the other authority.
const C: &str = "gw.c.example";

/// A site B with a route for A, whose files are good, and one for C.
struct Two {
    pki: Pki,
    of_a: SocketAddr,
    of_c: SocketAddr,
    exit: TcpListener,
}

impl Two {
    fn new() -> Self {
        let (of_a, of_c) = (local(), local());
        Self {
            pki: Pki::new(),
            of_a,
            of_c,
            exit: listen(),
        }
    }

    fn site(&self, trust_of_c: &Path, crls_of_c: &[&Path]) -> Site {
        let exit = address(&self.exit);
        Site::new(&self.pki, B)
            .peer("a", &[format!("dns:{A}")], &self.pki.trust())
            .peer_with_crls("c", &[format!("dns:{C}")], trust_of_c, crls_of_c)
            .terminate(self.of_a, exit, &["a"])
            .name("for-a")
            .protocol("tcp")
            .terminate(self.of_c, exit, &["c"])
            .name("for-c")
            .protocol("tcp")
    }

    fn assert_for_a_alone(&self, site: &Site, cause: &str) {
        let gateway = site.start();
        self.assert_served(&gateway);
        assert!(
            TcpStream::connect(self.of_c).is_err(),
            "{cause}: nobody listens"
        );
        let is_it = |line: &Line| {
            line.text("level") == "ERROR"
                && line.message().starts_with("route \"for-c\" is closed")
                && line.message().contains(cause)
        };
        gateway.wait_for_line(&format!("{cause} closes a route"), DEADLINE, is_it);
        let metrics = gateway.metrics();
        for row in ["{route=\"for-a\"} 0", "{route=\"for-c\"} 1"] {
            assert!(
                metrics.contains(&format!("wardgate_route_closed{row}\n")),
                "{metrics}"
            );
        }
        let ready = gateway.wait_for_line("ready", DEADLINE, |line| line.message() == "ready");
        assert_eq!((ready.number("routes"), ready.number("closed")), (1, 1));
        let checked = check(&gateway);
        assert_eq!(checked.0, Some(78), "{}", checked.1);
        assert!(checked.1.contains(cause), "{}", checked.1);
        gateway.stop();
    }

    // A is served, and its route counts it.
    fn assert_served(&self, gateway: &Gateway) {
        exchange(&self.pki.leaf(A), self.of_a, &self.exit);
        let line = gateway.wait_for_connection_line("A was served", DEADLINE, |_| true);
        assert_eq!(line.text("peer"), format!("dns:{A}"));
        let row = "wardgate_connections_accepted_total{route=\"for-a\"} 1\n";
        assert!(gateway.metrics().contains(row), "{}", gateway.metrics());
        let seen = "wardgate_peer_certificate_expiry_timestamp_seconds{route=\"for-a\",peer=\"dns:gw.a.example\"}";
        assert!(gateway.metric(seen) > 1.6e9, "{}", gateway.metrics());
    }
}

fn exchange(leaf: &Leaf, at: SocketAddr, exit: &TcpListener) {
    let mut peer = TlsPeer::client(leaf, B, TLS13, connect(at));
    peer.handshake().expect("both ends are who they should be");
    let mut server = accept(exit);
    ping(&mut peer, &mut server);
    peer.finish().expect("it is connected");
    drop(server);
}

fn check(gateway: &Gateway) -> (Option<i32>, String) {
    let program = Program::new(wardgate()).args(["check", "--config"]);
    let outcome = program.arg(gateway.config()).run();
    (
        outcome.status.and_then(|status| status.code()),
        outcome.text(),
    )
}

#[test]
fn one_bad_file_of_a_peer_closes_its_route_and_no_other() {
    let two = Two::new();
    let (pki, good) = (&two.pki, two.pki.other_trust());
    let garbage = pki.path("garbage.crl");
    fs::write(&garbage, "no list").expect("the folder is ours");
    let missing = pki.path("missing.crl");
    let lists: [(&Path, &str); 3] = [
        (&missing, "missing.crl"),
        (&garbage, "garbage.crl"),
        // Issued by an authority that may not issue certificates for C.
        (&pki.crl(), "belongs to no CA"),
    ];
    for (list, cause) in lists {
        two.assert_for_a_alone(&two.site(&good, &[list]), cause);
    }
    // The certificates of C are from its own authority here, whose list has expired.
    two.assert_for_a_alone(&two.site(&pki.trust(), &[&pki.expired_crl()]), "expired");
    two.assert_for_a_alone(&two.site(&pki.path("missing.pem"), &[]), "missing.pem");
}

#[test]
fn a_bad_certificate_of_a_route_closes_that_route_and_no_other() {
    let two = Two::new();
    let good = two.pki.other_trust();
    let expired = two.pki.odd(B, Kind::Expired);
    two.assert_for_a_alone(&two.site(&good, &[]).route_identity(&expired), "expired");
    let mut missing = two.pki.leaf(B);
    missing.key = two.pki.path("missing.key");
    two.assert_for_a_alone(
        &two.site(&good, &[]).route_identity(&missing),
        "missing.key",
    );
    // Revoked by a list of another route's peer.
    let revoked = two.pki.odd(B, Kind::Revoked);
    let of_a = Site::new(&two.pki, B)
        .peer_with_crls(
            "a",
            &[format!("dns:{A}")],
            &two.pki.trust(),
            &[&two.pki.crl()],
        )
        .peer("c", &[format!("dns:{C}")], &good)
        .terminate(two.of_a, address(&two.exit), &["a"])
        .name("for-a")
        .protocol("tcp")
        .terminate(two.of_c, address(&two.exit), &["c"])
        .name("for-c")
        .protocol("tcp")
        .route_identity(&revoked);
    two.assert_for_a_alone(&of_a, "revoked");
}

#[test]
fn a_bad_file_that_closes_every_route_refuses_the_start() {
    let two = Two::new();
    let site = Site::with_identity(&two.pki.odd(B, Kind::Expired))
        .terminate(two.of_a, address(&two.exit), &[format!("dns:{A}")])
        .terminate(two.of_c, address(&two.exit), &[format!("dns:{C}")]);
    let file = two.pki.path("wardgate.toml");
    site.write(&file);
    let outcome = site.program(&file).run();
    assert_eq!(
        outcome.status.and_then(|status| status.code()),
        Some(78),
        "{outcome}"
    );
}

#[test]
fn a_peer_with_a_bad_list_is_refused_and_the_other_peers_of_its_route_are_served() {
    let two = Two::new();
    let (trust, expired) = (two.pki.trust(), two.pki.expired_crl());
    let gateway = Site::new(&two.pki, B)
        .peer("a", &[format!("dns:{A}")], &trust)
        .peer_with_crls("c", &[format!("dns:{C}")], &trust, &[&expired])
        .terminate(two.of_c, address(&two.exit), &["a", "c"])
        .name("for-both")
        .protocol("tcp")
        .start();
    exchange(&two.pki.leaf(A), two.of_c, &two.exit);
    let mut refused = TlsPeer::client(&two.pki.leaf(C), B, TLS13, connect(two.of_c));
    let ended = refused.handshake().and_then(|()| refused.read(&mut [0]));
    assert!(ended.is_err(), "{ended:?}");
    let is_it = |line: &Line| {
        line.text("level") == "ERROR"
            && line
                .message()
                .starts_with("route \"for-both\" refuses peer \"c\"")
            && line.message().contains("expired")
    };
    gateway.wait_for_line("C is refused", DEADLINE, is_it);
    let metrics = gateway.metrics();
    for row in [
        "wardgate_route_closed{route=\"for-both\"} 0\n",
        "wardgate_peer_closed{route=\"for-both\",peer=\"c\"} 1\n",
    ] {
        assert!(metrics.contains(row), "{metrics}");
    }
}

#[test]
fn a_list_that_expires_while_the_gateway_runs_is_an_error_in_the_log() {
    let two = Two::new();
    let life = Duration::from_secs(4);
    let list = two.pki.brief_crl("brief.crl", life);
    let start = Instant::now();
    let gateway = two.site(&two.pki.trust(), &[&list]).start();
    let is_it = |line: &Line| line.text("level") == "ERROR";
    let line = gateway.wait_for_line("the list expired", life + DEADLINE, is_it);
    assert!(
        start.elapsed() < life + Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    for part in [
        "peer \"c\"",
        "the list of \"CN=",
        "expired on ",
        "every peer of that CA is refused",
    ] {
        assert!(line.message().contains(part), "{part}: {line:?}");
    }
    thread::sleep(Duration::from_secs(2));
    let errors = gateway.lines().into_iter().filter(is_it).count();
    assert_eq!(errors, 1, "once a day");
}

#[test]
fn a_certificate_that_expires_soon_is_a_warning_of_check_and_start_and_a_metric() {
    let pki = Pki::new();
    let leaf = pki.odd(B, Kind::ExpiresSoon);
    let gateway = Site::with_identity(&leaf)
        .peer_with_crls("a", &[format!("dns:{A}")], &pki.trust(), &[&pki.crl()])
        .terminate(local(), local(), &["a"])
        .name("in")
        .start();
    let sentence = "\"CN=gw.b.example\" expires on ";
    let is_it = |line: &Line| line.text("level") == "WARN" && line.message().contains(sentence);
    let line = gateway.wait_for_line("it expires soon", DEADLINE, is_it);
    assert!(line.message().contains(", in 10 days; "), "{line:?}");
    let (code, text) = check(&gateway);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(sentence), "{text}");
    let metrics = gateway.metrics();
    let row = |name: &str, days: u64| {
        let found = metrics
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("it is later");
        let left = found.unwrap_or_else(|| panic!("no {name} in {metrics}")) - since.as_secs();
        assert_eq!((left + 43_200) / 86_400, days, "{name}");
    };
    row(
        "wardgate_certificate_expiry_timestamp_seconds{route=\"in\",file=\"certificate\"}",
        10,
    );
    row(
        "wardgate_certificate_expiry_timestamp_seconds{peer=\"a\",file=\"trust\"}",
        700,
    );
    row("wardgate_crl_expiry_timestamp_seconds{peer=\"a\"}", 30);
}
