//! Limits that an operator sets: who may connect to a route, and how many connections each client may have.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use wardgate_tests::{DEADLINE, Gateway, Pki, Site, free_port, until};

use crate::elsewhere::{Address, OWN, ask, connect_patiently, connect_tls};
use crate::floods::{echo, wait_for_open};
use crate::plain::{MARKER, Witness, loopback, of_route, receive_all};
use crate::tls::Peer;

const ONE: Address = [127, 0, 0, 2];
const OTHER: Address = [127, 0, 0, 5];

/// Goal: `from` resets a client of another network before it takes a place or reaches a target, in every mode
/// and protocol, and the log and a metric show it.
#[test]
fn a_client_from_another_network_is_reset_logged_and_takes_no_place() {
    let pki = Pki::new();
    let ports = [(); 4].map(|()| free_port());
    let [dicom, mllp, tls, raw] = ports;
    let target = Witness::start();
    let (peers, there) = (["dns:gw.a.example"], loopback(target.port));
    let from = "[\"192.0.2.0/24\", \"127.0.0.4/30\"]";
    let site = Site::new(&pki, OWN)
        .originate(loopback(dicom), &there, &peers)
        .set("from", from)
        .originate(loopback(mllp), &there, &peers)
        .protocol("mllp")
        .set("from", from)
        .terminate(loopback(tls), &there, &peers)
        .set("from", from)
        .passthrough(loopback(raw), loopback(echo()))
        .name("raw")
        .set("from", from);
    let gateway = site.start();
    for port in ports {
        let end = match connect_patiently(ONE, port) {
            Ok(stream) => receive_all(&stream).end,
            Err(error) => crate::plain::End::Failed(error.kind()),
        };
        assert_eq!(end, crate::plain::End::Failed(ErrorKind::ConnectionReset));
    }
    let logged = gateway.wait_for_connections(4);
    assert!(logged.iter().all(|line| {
        line.is_from("127.0.0.2")
            && line
                .text("reason")
                .contains("none of the networks of `from`")
    }));
    let refused = gateway.metric("wardgate_sources_refused_total");
    let placed = gateway.metric("wardgate_core_connections_total");
    assert_eq!((refused, placed), (4.0, 0.0));
    let mut stream = connect_patiently(OTHER, raw).expect("its network is listed");
    ask(&mut stream).expect("it is served");
    assert_eq!(
        of_route(&gateway, "wardgate_sources_refused_total", "raw"),
        1
    );
    drop(stream);
    gateway.stop();
}

/// A-ASSOCIATE-RJ: transient, by the presentation provider, local limit exceeded (PS3.8 table 9-21).
const LOCAL_LIMIT: &[u8] = &[3, 0, 0, 0, 0, 4, 0, 2, 3, 2];

/// Goal: a source has at most `connections_per_source` connections on a route, other sources have theirs, and a
/// connection that ends makes room.
#[test]
fn a_source_has_as_many_connections_on_a_route_as_it_may() {
    const MOST: usize = 3;
    let pki = Pki::new();
    let port = free_port();
    let site = Site::new(&pki, OWN)
        .passthrough(loopback(port), loopback(echo()))
        .name("raw")
        .set("connections_per_source", MOST.to_string());
    let gateway = site.start();
    let served = |from| {
        let mut stream = connect_patiently(from, port)?;
        ask(&mut stream).map(|()| stream)
    };
    let mut open: Vec<_> = (0..MOST).map(|_| served(ONE).expect("a place")).collect();
    served(ONE).expect_err("one more than it may");
    served(OTHER).expect("another source");
    let line = gateway.wait_for_connection_line("the one too many", DEADLINE, |line| {
        line.text("reason")
            .contains("as `connections_per_source` sets")
    });
    assert!(line.is_from("127.0.0.2"));
    assert_eq!(limited_by(&gateway, "connections_per_source"), 1);
    open.pop();
    let again = until("a place is free again", DEADLINE, || served(ONE).ok());
    drop((open, again));
    gateway.stop();
}

/// Goal: a DICOM application beyond a limit of connections gets a rejection that it understands, on both
/// sides, and takes no place of another.
#[test]
fn a_dicom_application_beyond_a_limit_of_connections_gets_a_transient_rejection() {
    let pki = Pki::new();
    let [plain, tls] = [(); 2].map(|()| free_port());
    let target = Witness::start();
    let name = "gw.a.example";
    let (peers, there) = ([format!("dns:{name}")], loopback(target.port));
    let site = Site::new(&pki, OWN)
        .originate(loopback(plain), loopback(free_port()), &peers)
        .set("connections_per_source", "1")
        .terminate(loopback(tls), &there, &peers)
        .set("connections_per_peer", "1");
    let gateway = site.start();

    let first = connect_patiently(ONE, plain).expect("it listens");
    wait_for_open(&gateway, 1);
    let mut second = connect_patiently(ONE, plain).expect("it listens");
    second.write_all(MARKER).expect("it is connected");
    let mut answer = Vec::new();
    second.read_to_end(&mut answer).expect("a clean end");
    assert_eq!(answer, LOCAL_LIMIT);
    assert_eq!(limited_by(&gateway, "connections_per_source"), 1);
    drop((first, second));

    let client = Arc::new(Peer::of(&pki.leaf(name)).client());
    let mut first = connect_tls(ONE, tls, &client).expect("it listens");
    first.write_all(MARKER).expect("it is accepted");
    until("the first is served", DEADLINE, || {
        (target.connections() == 1).then_some(())
    });
    // Another address, but the same peer.
    let mut second = connect_tls(OTHER, tls, &client).expect("it listens");
    second.write_all(MARKER).expect("it is accepted");
    let mut answer = [0; LOCAL_LIMIT.len()];
    second.read_exact(&mut answer).expect("an answer");
    assert_eq!(answer, LOCAL_LIMIT);
    assert_eq!(limited_by(&gateway, "connections_per_peer"), 1);
    assert_eq!(target.connections(), 1);
    gateway.wait_for_connection_line("the second of the peer", DEADLINE, |line| {
        line.text("reason")
            .contains("as `connections_per_peer` sets")
    });
    drop((first, second));
    gateway.stop();
}

/// Goal: `connections` of [gateway] bounds all routes together.
#[test]
fn all_routes_together_have_as_many_connections_as_the_gateway_may() {
    const MOST: usize = 64;
    let pki = Pki::new();
    let ports = [(); 2].map(|()| free_port());
    let mut site = Site::new(&pki, OWN).gateway("connections", MOST.to_string());
    for port in ports {
        let peers = ["dns:gw.a.example"];
        site = site
            .originate(loopback(port), loopback(free_port()), &peers)
            .protocol("mllp");
    }
    let gateway = site.start();
    let open: Vec<_> = (0..2 * MOST)
        .map(|number| connect_patiently([127, 0, 1, number as u8], ports[number % 2]))
        .collect();
    until("the last were refused or ended others", DEADLINE, || {
        let gone = gateway.metric("wardgate_connections_limited_total")
            + gateway.metric("wardgate_unauthenticated_ended_total");
        (gone as usize >= MOST).then_some(())
    });
    assert!(gateway.metric("wardgate_core_connections_open") as usize <= MOST);
    drop(open);
    gateway.stop();
}

/// Goal: a source that begins more handshakes than `handshakes_per_second` waits for its turn, or is reset if
/// that comes too late; another source does not notice. Method: one handshake per second; each has 8 s.
#[test]
fn a_source_that_begins_too_many_handshakes_waits_and_another_does_not() {
    const HANDSHAKE: Duration = Duration::from_secs(8);
    let pki = Pki::new();
    let port = free_port();
    let name = "gw.a.example";
    let site = Site::new(&pki, OWN)
        .gateway("handshakes_per_second", "1")
        .terminate(loopback(port), loopback(echo()), &[format!("dns:{name}")])
        .protocol("tcp")
        .timeout("handshake", format!("\"{}s\"", HANDSHAKE.as_secs()));
    let gateway = site.start();
    let client = Arc::new(Peer::of(&pki.leaf(name)).client());
    let timed = |from| {
        let begun = Instant::now();
        let mut stream = connect_tls(from, port, &client)?;
        ask(&mut stream).map(|()| begun.elapsed())
    };
    let begun = Instant::now();
    let flood: Vec<_> = (0..10)
        .map(|_| {
            let mut stream = connect_tls(ONE, port, &client).expect("it listens");
            // Sends the ClientHello.
            stream.conn.write_tls(&mut stream.sock).expect("connected");
            stream
        })
        .collect();
    until("one is refused", DEADLINE, || {
        (limited_by(&gateway, "handshakes_per_second") >= 1).then_some(())
    });
    assert!(begun.elapsed() < HANDSHAKE, "not at a deadline");
    let other = timed(OTHER).expect("it has its own rate");
    assert!(other < HANDSHAKE / 2, "{other:?}");
    let served = flood.into_iter().filter_map(|mut stream| {
        ask(&mut stream).ok()?;
        Some(begun.elapsed())
    });
    let served: Vec<_> = served.collect();
    assert!((3..10).contains(&served.len()), "{served:?}");
    assert!(served[2] >= Duration::from_millis(1900), "{served:?}");
    let delayed = gateway.metric("wardgate_handshakes_delayed_total") as usize;
    assert!((2..10).contains(&delayed), "{delayed} {served:?}");
    gateway.stop();
}

fn limited_by(gateway: &Gateway, limit: &str) -> u64 {
    let end = format!("limit=\"{limit}\"}} ");
    let text = gateway.metrics();
    let lines = text.lines().filter_map(|line| {
        let rest = line.strip_prefix("wardgate_connections_limited_by_total{")?;
        rest.split_once(&end)?.1.parse::<u64>().ok()
    });
    lines.sum()
}
