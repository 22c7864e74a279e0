//! A running gateway takes a new configuration, and new files, without losing a connection.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use wardgate_tests::pki::{Kind, Leaf};
use wardgate_tests::stream::{Ending, accept, connect, ending, ping};
use wardgate_tests::tls::{TLS13, TlsPeer};
use wardgate_tests::{DEADLINE, Gateway, Pki, Site, one_good_round, until};

use crate::pair::{A, B, address, listen, local};

/// A client and the server that it reached.
struct Joined(TcpStream, TcpStream);

impl Joined {
    fn new(to: SocketAddr, exit: &TcpListener) -> Self {
        let mut joined = Self(connect(to), accept(exit));
        joined.exchange();
        joined
    }

    fn exchange(&mut self) {
        ping(&mut self.0, &mut self.1);
        ping(&mut self.1, &mut self.0);
    }
}

fn is_refused(at: SocketAddr) -> bool {
    TcpStream::connect(at).is_err()
}

fn reload(gateway: &Gateway) -> String {
    gateway.command(&["reload"]).run().expect_success().text()
}

/// Passthrough routes: name, listener and target of each.
fn site(pki: &Pki, routes: &[(&str, SocketAddr, SocketAddr)]) -> Site {
    let site = Site::new(pki, A).timeout("drain", "\"300ms\"");
    routes.iter().fold(site, |site, (name, listen, target)| {
        site.passthrough(listen, target).name(name)
    })
}

#[test]
fn a_reload_changes_what_changed_and_every_open_connection_goes_on() {
    let pki = Pki::new();
    let (one, two) = (listen(), listen());
    let to = |exit: &TcpListener| address(exit);
    let [kept, changed, moved, moved_to, renamed, removed, added] = [(); 7].map(|()| local());
    let before = [
        ("kept", kept, to(&one)),
        ("changed", changed, to(&one)),
        ("moved", moved, to(&one)),
        ("old-name", renamed, to(&one)),
        ("removed", removed, to(&one)),
    ];
    let later = [moved_to, added, to(&two)];
    let gateway = site(&pki, &before).reload_ports(&later).start();
    let places = [kept, changed, moved, renamed, removed];
    let mut open = places.map(|at| Joined::new(at, &one));
    gateway.write_config(&site(
        &pki,
        &[
            ("kept", kept, to(&one)),
            ("changed", changed, to(&two)),
            ("moved", moved_to, to(&two)),
            // Another route takes the listener of one that is gone.
            ("new-name", renamed, to(&two)),
            ("added", added, to(&two)),
        ],
    ));
    let text = reload(&gateway);
    for line in [
        "the configuration is in use; routes changed: 6, routes now: 5",
        "route \"changed\": changed: applies to new connections; 1 open connection keeps the earlier configuration",
        &format!("route \"moved\": moved: accepts on {moved_to} now; 1 open connection keeps"),
        &format!("route \"added\": added: accepts on {added} now"),
        "route \"removed\": removed: accepts no new connections; 1 open connection has 0 s to end",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("\"kept\""), "{text}");
    for joined in &mut open[..3] {
        joined.exchange();
    }
    Joined::new(kept, &one);
    for at in [changed, moved_to, renamed, added] {
        Joined::new(at, &two);
    }
    until("closed listeners refuse", DEADLINE, || {
        (is_refused(moved) && is_refused(removed)).then_some(())
    });
    // Removed routes drain, and what is left then is reset.
    for joined in &mut open[3..] {
        assert_eq!(ending(&mut joined.0), (0, Ending::Reset));
    }
    for joined in &mut open[..3] {
        joined.exchange();
    }
    let metrics = gateway.metrics();
    for row in [
        "wardgate_connections_accepted_total{route=\"kept\"} 2\n",
        "wardgate_connections_accepted_total{route=\"moved\"} 2\n",
        "wardgate_reloads_total{result=\"good\"} 1\n",
        "wardgate_configuration_generation 1\n",
    ] {
        assert!(metrics.contains(row), "{row}{metrics}");
    }
    assert!(!metrics.contains("removed"), "{metrics}");
    drop(open);
    gateway.stop();
}

#[test]
fn a_wrong_configuration_changes_nothing_and_every_problem_is_named() {
    let pki = Pki::new();
    let exit = listen();
    let (at, other) = (local(), local());
    let taken = listen();
    let good = site(&pki, &[("out", at, address(&exit))]);
    // The sandbox of a gateway without a route with TLS would not allow the files of one.
    let good = good.originate(local(), at, &["dns:b.example"]);
    let good = good.reload_ports(&[other, at, address(&taken)]);
    let gateway = good.start();
    let mut joined = Joined::new(at, &exit);
    let wrong = [
        // A key that does not exist, and a port of another program.
        (
            site(&pki, &[("out", other, address(&exit))]).set("target", "1"),
            "unknown key \"target\"; did you mean \"targets\"?",
        ),
        (
            site(
                &pki,
                &[("out", other, address(&exit)), ("x", address(&taken), at)],
            ),
            "the port is in use",
        ),
        // A certificate that is not there.
        (
            Site::new(&pki, A).crl(Path::new("missing.crl")).originate(
                other,
                at,
                &["dns:b.example"],
            ),
            "missing.crl",
        ),
    ];
    for (wrong, sentence) in &wrong {
        gateway.write_config(wrong);
        let text = gateway.command(&["reload"]).run().expect_failure().text();
        assert!(text.contains(sentence), "{text}");
        assert!(text.contains("nothing was changed"), "{text}");
        assert!(is_refused(other), "{sentence}");
        joined.exchange();
        Joined::new(at, &exit);
    }
    fs::remove_file(gateway.config()).expect("our folder");
    let text = gateway.command(&["reload"]).run().expect_failure().text();
    assert!(text.contains("cannot be read"), "{text}");
    let metrics = gateway.metrics();
    assert!(
        metrics.contains("wardgate_reloads_total{result=\"refused\"} 4\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("wardgate_configuration_generation 0\n"),
        "{metrics}"
    );
    let wrong_key = gateway
        .lines()
        .into_iter()
        .find(|line| line.message().contains("did you mean"));
    assert_eq!(wrong_key.expect("a line").text("level"), "ERROR");
    // A good configuration works again.
    gateway.write_config(&good);
    assert!(reload(&gateway).contains("no route changed"));
    joined.exchange();
    gateway.stop();
}

#[test]
fn keys_that_need_a_restart_are_named_and_everything_else_is_in_use() {
    let pki = Pki::new();
    let exit = listen();
    let (at, other) = (local(), local());
    let gateway = site(&pki, &[("out", at, address(&exit))])
        .gateway("cores", "[0]")
        .reload_ports(&[other])
        .start();
    let next = site(
        &pki,
        &[("out", at, address(&exit)), ("more", other, address(&exit))],
    );
    gateway.write_config(&next.gateway("busy_poll", "\"1ms\""));
    let text = reload(&gateway);
    let words = "busy_poll: the new value takes effect at the next start";
    assert!(text.contains(words), "{text}");
    Joined::new(other, &exit);
    let status = gateway.command(&["status"]).run().expect_success().text();
    assert!(
        status.contains("new values at the next start: "),
        "{status}"
    );
    gateway.stop();
}

/// A site B that accepts A and C, with a list of its own.
struct Accepting {
    pki: Pki,
    gateway: Gateway,
    entry: SocketAddr,
    exit: TcpListener,
}

impl Accepting {
    fn start() -> Self {
        let pki = Pki::new();
        let exit = listen();
        let entry = local();
        fs::copy(pki.empty_crl(), pki.path("site.crl")).expect("our folder");
        let site = Site::new(&pki, B)
            .crl(&pki.path("site.crl"))
            .terminate(
                entry,
                address(&exit),
                &[&format!("dns:{A}"), "dns:gw.c.example"],
            )
            .name("in")
            .protocol("tcp");
        Self {
            gateway: site.start(),
            pki,
            entry,
            exit,
        }
    }

    fn join(&self, leaf: &Leaf) -> (TlsPeer, TcpStream) {
        let mut peer = TlsPeer::client(leaf, B, TLS13, connect(self.entry));
        peer.handshake().expect("both ends are who they should be");
        let mut joined = (peer, accept(&self.exit));
        exchange(&mut joined);
        joined
    }

    /// Puts a file in the place of another one, as `mv` does.
    fn replace(&self, new: &Path, old: &Path) {
        let beside = self.pki.path("beside");
        fs::copy(new, &beside).expect("our folder");
        fs::rename(&beside, old).expect("our folder");
    }
}

fn exchange((peer, server): &mut (TlsPeer, TcpStream)) {
    ping(peer, server);
}

#[test]
fn a_revoked_peer_loses_its_connection_within_a_second_and_no_other_does() {
    // A pause of the machine may take the second; a list that is noticed late is late in every round.
    one_good_round(3, revoke_a_peer);
}

fn revoke_a_peer() -> Result<(), String> {
    let site = Accepting::start();
    // Its serial number is the one that the list of the PKI revokes.
    let mut revoked = site.join(&site.pki.odd(A, Kind::Revoked));
    let mut other = site.join(&site.pki.leaf("gw.c.example"));
    let start = Instant::now();
    site.replace(&site.pki.crl(), &site.pki.path("site.crl"));
    assert_eq!(ending(&mut revoked.1), (0, Ending::Reset));
    let took = start.elapsed();
    exchange(&mut other);
    let line = &site.gateway.wait_for_connections(1)[0];
    let reason = line.text("reason");
    assert!(
        reason.starts_with("the peer is not accepted any more: its certificate with serial"),
        "{reason}"
    );
    site.gateway.wait_for_line("rotation", DEADLINE, |line| {
        line.message()
            == "new certificates, keys, CAs or revocation lists are in use on route \"in\""
    });
    let refused = TlsPeer::client(
        &site.pki.odd(A, Kind::Revoked),
        B,
        TLS13,
        connect(site.entry),
    )
    .handshake();
    let line = site
        .gateway
        .wait_for_connection_line("refusal", DEADLINE, |line| {
            line.text("reason").contains("is revoked")
        });
    assert!(line.text("reason").contains("revoked"), "{refused:?}");
    exchange(&mut other);
    let is_good = took < Duration::from_secs(1);
    is_good.then_some(()).ok_or(format!("{took:?}"))
}

#[test]
fn a_renewed_certificate_is_taken_when_its_key_is_there_too() {
    let site = Accepting::start();
    let mut open = site.join(&site.pki.leaf(A));
    let (now, next) = (own_files(&site.gateway), site.pki.leaf(B));
    // The certificate alone does not belong to the key. For a while nothing is said about that.
    site.replace(&next.certificate, &now.0);
    std::thread::sleep(Duration::from_millis(700));
    site.join(&site.pki.leaf(A));
    fs::copy(&next.key, site.pki.path("beside.key")).expect("our folder");
    fs::rename(site.pki.path("beside.key"), &now.1).expect("our folder");
    site.gateway.wait_for_line("rotation", DEADLINE, |line| {
        line.message().starts_with("new certificates, keys")
    });
    assert!(
        !site.gateway.output().contains("ERROR"),
        "{}",
        site.gateway.output()
    );
    site.join(&site.pki.leaf(A));
    exchange(&mut open);
    let metrics = site.gateway.metrics();
    assert!(
        metrics.contains("wardgate_file_rotations_total{result=\"good\"} 1\n"),
        "{metrics}"
    );
}

#[test]
fn a_bad_file_leaves_the_earlier_one_in_use_and_is_named_once() {
    let site = Accepting::start();
    let list = site.pki.path("site.crl");
    let garbage = site.pki.path("garbage");
    fs::write(&garbage, "no list").expect("our folder");
    site.replace(&garbage, &list);
    let line = site.gateway.wait_for_line("the fault", DEADLINE, |line| {
        line.message()
            .contains("the earlier CAs and revocation lists stay in use")
    });
    assert!(line.message().contains("site.crl"), "{line:?}");
    assert_eq!(line.text("level"), "ERROR");
    let mut open = site.join(&site.pki.leaf(A));
    let metrics = site.gateway.metrics();
    assert!(
        metrics.contains("wardgate_file_rotations_total{result=\"refused\"} 1\n"),
        "{metrics}"
    );
    // Other changes are possible meanwhile, and the problem is repeated there.
    let text = reload(&site.gateway);
    assert!(text.contains("stay in use"), "{text}");
    let status = site
        .gateway
        .command(&["status"])
        .run()
        .expect_success()
        .text();
    assert!(status.contains("problem: "), "{status}");
    site.replace(&site.pki.crl(), &list);
    site.gateway.wait_for_line("rotation", DEADLINE, |line| {
        line.message().starts_with("new certificates, keys")
    });
    exchange(&mut open);
    let status = site
        .gateway
        .command(&["status"])
        .run()
        .expect_success()
        .text();
    assert!(!status.contains("problem: "), "{status}");
    let faults = site.gateway.output().matches("stay in use, until").count();
    // The line of the rotation, and that of the reload's reply.
    assert_eq!(faults, 2, "{}", site.gateway.output());
}

#[test]
fn a_peer_that_is_not_listed_any_more_loses_its_connection() {
    let site = Accepting::start();
    let mut unlisted = site.join(&site.pki.leaf(A));
    let mut listed = site.join(&site.pki.leaf("gw.c.example"));
    let text = fs::read_to_string(site.gateway.config()).expect("our file");
    let text = text.replace(&format!("\"dns:{A}\", "), "");
    fs::write(site.gateway.config(), text).expect("our file");
    let text = reload(&site.gateway);
    assert!(text.contains("route \"in\": changed"), "{text}");
    assert_eq!(ending(&mut unlisted.1), (0, Ending::Reset));
    exchange(&mut listed);
    let reason = site.gateway.wait_for_connections(1)[0]
        .text("reason")
        .to_owned();
    assert_eq!(
        reason,
        "the peer is not accepted any more: the route does not list it any more"
    );
}

/// The files of the gateway's own certificate and key.
fn own_files(gateway: &Gateway) -> (std::path::PathBuf, std::path::PathBuf) {
    let text = fs::read_to_string(gateway.config()).expect("our file");
    let value = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(key));
        let value = line.and_then(|line| line.split('"').nth(1));
        value.expect("it is written").into()
    };
    (value("certificate"), value("key"))
}
