//! Health probes: their results, their effect on the choice of a target, and the peers that see them.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ServerConnection, SupportedProtocolVersion};
use wardgate_tests::pki::{Kind, Leaf};
use wardgate_tests::stream::{accept, connect, expect_noise, send_noise};
use wardgate_tests::tls::{TLS12, TLS13, server_config};
use wardgate_tests::{DEADLINE, Gateway, Line, Pki, Site, until};

use crate::pair::{A, B, Through, address, listen, local, originate, terminate};
use crate::targets::BlackHole;

/// Probes each second; a target is down or up after one probe.
fn health(probe: &str) -> String {
    format!("{{ probe = \"{probe}\", interval = \"1s\", timeout = \"1s\", rise = 1, fall = 1 }}")
}

/// The value of a metric of this target.
pub(crate) fn of_target(
    gateway: &Gateway,
    name: &str,
    target: SocketAddr,
    label: &str,
) -> Option<u64> {
    let text = gateway.metrics();
    let is_it = |line: &&str| {
        line.starts_with(&format!("{name}{{"))
            && line.contains(&format!("target=\"{target}\""))
            && line.contains(label)
    };
    text.lines().find(is_it)?.rsplit(' ').next()?.parse().ok()
}

fn probes(gateway: &Gateway, target: SocketAddr, outcome: &str) -> u64 {
    let label = format!("outcome=\"{outcome}\"");
    let name = "wardgate_health_probes_total";
    of_target(gateway, name, target, &label).expect("the target is probed")
}

fn wait_for_probes(gateway: &Gateway, target: SocketAddr, outcome: &str, least: u64) {
    until(&format!("{least} {outcome} probes"), DEADLINE, || {
        (probes(gateway, target, outcome) >= least).then_some(())
    });
}

fn wait_for_state(gateway: &Gateway, target: SocketAddr, up: u64) {
    until(&format!("wardgate_target_up is {up}"), DEADLINE, || {
        (of_target(gateway, "wardgate_target_up", target, "") == Some(up)).then_some(())
    });
}

/// The log line about a change of this target.
fn wait_for_change(gateway: &Gateway, target: SocketAddr, change: &str) -> Line {
    let start = format!("target {target} is {change}");
    gateway.wait_for_line(&start, DEADLINE, |line| line.message().contains(&start))
}

fn changes(gateway: &Gateway) -> Vec<String> {
    let lines = gateway.lines();
    let told = lines.iter().map(Line::message);
    let changes = told.filter(|text| text.contains(" is down: ") || text.contains(" is up again"));
    changes.map(ToOwned::to_owned).collect()
}

/// An application that accepts every connection and ends when the other side does.
fn polite() -> SocketAddr {
    let listener = listen();
    let place = address(&listener);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut room = [0; 1024];
                while stream.read(&mut room).is_ok_and(|count| count > 0) {}
                // The client may have closed already.
                let _ = stream.shutdown(Shutdown::Write);
            });
        }
    });
    place
}

/// Site A that probes `wan` by its handshake.
fn probing(pki: &Pki, wan: SocketAddr) -> Site {
    let site = originate(pki, local(), wan).protocol("tcp");
    site.set("health", health("tls"))
}

/// Site B, which accepts peers of this identity's trust.
fn far(identity: &Leaf, wan: SocketAddr) -> Site {
    Site::with_identity(identity)
        .terminate(wan, polite(), &[format!("dns:{A}")])
        .protocol("tcp")
}

#[test]
fn tls_probe_proves_that_the_remote_gateway_accepts_the_certificate() {
    let (pki, wan) = (Pki::new(), local());
    let b = far(&pki.leaf(B), wan).start();
    let a = probing(&pki, wan).start();
    wait_for_probes(&a, wan, "good", 2);
    assert_eq!(of_target(&a, "wardgate_target_up", wan, ""), Some(1));
    assert_eq!(probes(&a, wan, "bad"), 0);
    assert_eq!(changes(&a), [""; 0], "unknown was up already");
    let line = &b.wait_for_connections(1)[0];
    assert_eq!(line.text("peer"), format!("dns:{A}"));
    assert_eq!(line.text("reason"), "complete", "{line:?}");
}

#[test]
fn tls_probe_reports_why_the_remote_gateway_refuses() {
    let (pki, wan) = (Pki::new(), local());
    let mut identity = pki.leaf(B);
    identity.trust = pki.other_trust();
    let _b = far(&identity, wan).start();
    let a = probing(&pki, wan).start();
    let line = wait_for_change(&a, wan, "down");
    assert_eq!(line.text("level"), "WARN");
    for part in [
        "route \"originate-1\"",
        "the server does not accept our certificate",
        "unknown_ca",
        "our certificate file holds no certificate of",
    ] {
        assert!(line.message().contains(part), "{part}: {line:?}");
    }
    wait_for_state(&a, wan, 0);
    wait_for_probes(&a, wan, "bad", 3);
    assert_eq!(changes(&a).len(), 1, "told once: {:#?}", changes(&a));
}

#[test]
fn tls_probe_reports_a_server_with_another_identity() {
    let (pki, wan) = (Pki::new(), local());
    let _b = far(&pki.odd(B, Kind::OtherName), wan).start();
    let a = probing(&pki, wan).start();
    let line = wait_for_change(&a, wan, "down");
    assert!(line.message().contains("other.example"), "{line:?}");
}

#[test]
fn tls_probe_holds_the_server_to_the_target_s_peer_and_the_route_s_service() {
    let (pki, wan) = (Pki::new(), local());
    let _c = far(&pki.leaf("gw.c.example"), wan).start();
    let peers = [format!("dns:{B}"), "dns:gw.c.example".to_owned()];
    let target = format!("[{{ address = \"{wan}\", peer = \"dns:{B}\" }}]");
    let a = probing(&pki, wan)
        .set("peers", format!("{peers:?}"))
        .set("targets", target)
        .start();
    let line = wait_for_change(&a, wan, "down");
    let words = format!("proves \"dns:gw.c.example\", and dns:{B} is expected at target {wan}");
    assert!(line.message().contains(&words), "{line:?}");

    let wan = local();
    let _b = far(&pki.leaf(B), wan).start();
    let a = probing(&pki, wan).set("service", "\"archive\"").start();
    let line = wait_for_change(&a, wan, "down");
    let words = "ours has service = \"archive\"";
    assert!(line.message().contains(words), "{line:?}");

    let wan = local();
    let _b = far(&pki.leaf(B), wan).set("service", "\"archive\"").start();
    let a = probing(&pki, wan).set("service", "\"archive\"").start();
    wait_for_probes(&a, wan, "good", 2);
}

#[test]
fn remote_gateway_that_stops_is_down_and_up_again_when_it_is_back() {
    let (pki, wan) = (Pki::new(), local());
    let b = far(&pki.leaf(B), wan);
    let running = b.start();
    let a = probing(&pki, wan).start();
    wait_for_probes(&a, wan, "good", 1);
    running.stop();
    let line = wait_for_change(&a, wan, "down");
    assert!(line.message().contains("connection refused"), "{line:?}");
    wait_for_state(&a, wan, 0);
    let _back = b.start();
    let line = wait_for_change(&a, wan, "up again after");
    assert_eq!(line.text("level"), "INFO");
    wait_for_state(&a, wan, 1);
    assert_eq!(changes(&a).len(), 2, "{:#?}", changes(&a));
}

/// What the servers of the next test send, in this order, after the check of the gateway's certificate.
#[derive(Clone, Copy, PartialEq)]
enum Word {
    /// The session tickets that rustls gives in TLS 1.3, or its Finished in TLS 1.2.
    Last(&'static SupportedProtocolVersion),
    /// close_notify.
    Goodbye,
    /// No data; the socket ends.
    End,
    /// No data.
    None,
}

fn say(word: Word, identity: &Leaf, mut socket: TcpStream) -> io::Result<()> {
    let version = match word {
        Word::Last(version) => version,
        _ => TLS13,
    };
    let mut config = server_config(identity, version);
    if !matches!(word, Word::Last(_)) {
        config.send_tls13_tickets = 0;
    }
    let mut tls = ServerConnection::new(Arc::new(config)).expect("the settings are whole");
    while tls.is_handshaking() {
        tls.complete_io(&mut socket)?;
    }
    match word {
        Word::Goodbye => {
            tls.send_close_notify();
            tls.write_tls(&mut socket)?;
        }
        Word::End => socket.shutdown(Shutdown::Write)?,
        Word::Last(_) | Word::None => {}
    }
    // The gateway ends the connection.
    let mut room = [0; 1024];
    while socket.read(&mut room)? > 0 {}
    Ok(())
}

#[test]
fn only_data_of_the_server_is_proof_and_neither_an_end_nor_silence() {
    let (pki, wan) = (Pki::new(), listen());
    let (identity, place) = (pki.leaf(B), address(&wan));
    std::thread::spawn(move || {
        let words = [Word::Last(TLS13), Word::Last(TLS12), Word::Goodbye];
        for word in words.into_iter().chain([Word::End, Word::None]) {
            // A probe whose time is over resets the connection.
            let said = say(word, &identity, accept(&wan));
            assert!(said.is_ok() || word == Word::None, "{said:?}");
        }
    });
    let health = "{ probe = \"tls\", interval = \"2s\", timeout = \"2s\", fall = 1 }";
    let a = probing(&pki, place).set("health", health).start();
    wait_for_probes(&a, place, "good", 3);
    assert_eq!(probes(&a, place, "bad"), 0);
    let line = wait_for_change(&a, place, "down");
    let words = "without close_notify before the server's decision on our certificate arrived";
    assert!(line.message().contains(words), "{line:?}");
    wait_for_probes(&a, place, "bad", 2);
    assert_eq!(probes(&a, place, "good"), 3);
}

/// Payload is no proof, and may come before the proof: if a server sends payload without end, the probe stops
/// reading after a while, and the core stays free.
#[test]
fn server_that_sends_without_end_is_given_up() {
    const LONG: usize = 1 << 30;
    let (pki, wan) = (Pki::new(), listen());
    let (identity, place) = (pki.leaf(B), address(&wan));
    let server = std::thread::spawn(move || {
        let mut config = server_config(&identity, TLS13);
        config.send_tls13_tickets = 0;
        let mut tls = ServerConnection::new(Arc::new(config)).expect("the settings are whole");
        let mut socket = accept(&wan);
        while tls.is_handshaking() {
            tls.complete_io(&mut socket).expect("it is accepted");
        }
        let (payload, mut sent) = (vec![7; 16 << 10], 0);
        while sent < LONG {
            tls.writer().write_all(&payload).expect("into memory");
            if tls.write_tls(&mut socket).is_err() {
                break;
            }
            sent += payload.len();
        }
        sent
    });
    let a = probing(&pki, place).start();
    let line = wait_for_change(&a, place, "down");
    let words = "the target sent more than 262144 bytes before the server's decision on our certificate arrived";
    assert!(line.message().contains(words), "{line:?}");
    wait_for_state(&a, place, 0);
    // The buffers of the kernels are included.
    let sent = server.join().expect("no panic");
    assert!(sent < LONG / 16, "{sent}");
    a.stop();
}

/// The first target is silent, and an attempt to connect would take half of the time of `connect`.
#[test]
fn target_that_is_down_is_not_waited_for() {
    let (hole, exit) = (BlackHole::new(), listen());
    let through = Through::with(|site| {
        site.targets(&[hole.address(), address(&exit)])
            .set("health", health("connect"))
            .timeout("connect", "\"20s\"")
    });
    let line = wait_for_change(&through.gateway, hole.address(), "down");
    assert!(line.message().contains("no answer in time"), "{line:?}");
    wait_for_state(&through.gateway, hole.address(), 0);
    let start = Instant::now();
    let mut client = connect(through.entry);
    send_noise(&mut client, 1, 1000);
    // The probes of this target are connections as well.
    let mut servers = Vec::new();
    let mut server = until("the client's connection", DEADLINE, || {
        let mut server = accept(&exit);
        let mut first = [0];
        let came = server.peek(&mut first).is_ok_and(|count| count > 0);
        if came {
            return Some(server);
        }
        server.shutdown(Shutdown::Both).ok();
        let _ = server.read(&mut first);
        servers.push(server);
        None
    });
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "it took {took:?}");
    expect_noise(&mut server, 1, 1000);
}

/// The application does not acknowledge the probe; traffic of the route still passes.
#[test]
fn wrong_probe_stops_no_connection() {
    let (pki, entry, place) = (Pki::new(), local(), local());
    let exit = TcpListener::bind(place).expect("the port is free");
    std::thread::spawn(move || {
        for mut stream in exit.incoming().flatten() {
            std::thread::spawn(move || {
                let mut first = [0; 1000];
                // A probe is shorter than this and gets no answer; noise is sent back.
                while stream.read_exact(&mut first).is_ok() {
                    send_noise(&mut stream, 2, 1000);
                }
            });
        }
    });
    let wan = local();
    let _b = terminate(&pki, wan, place).start();
    let a = originate(&pki, entry, wan)
        .set("health", health("mllp"))
        .start();
    wait_for_change(&a, wan, "down");
    wait_for_state(&a, wan, 0);
    for _ in 0..3 {
        let mut client = connect(entry);
        send_noise(&mut client, 7, 1000);
        expect_noise(&mut client, 2, 1000);
    }
}

#[test]
fn running_probe_does_not_delay_the_end() {
    let hole = BlackHole::new();
    let health = "{ probe = \"connect\", interval = \"60s\", timeout = \"60s\" }";
    let through = Through::with(|site| {
        site.targets(&[hole.address()])
            .set("health", health)
            .timeout("drain", "\"1s\"")
    });
    // The probe has begun with the worker, before the gateway reported that it is ready.
    let start = Instant::now();
    through.gateway.stop();
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "it took {took:?}");
}

#[test]
fn targets_that_are_not_probed_have_no_state() {
    let through = Through::start();
    let text = through.gateway.metrics();
    assert!(!text.contains("wardgate_target_up{"), "{text}");
    assert!(!text.contains("wardgate_health_probes_total{"), "{text}");
}
