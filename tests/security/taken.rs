//! Authenticated or answered clients that open as many connections as possible leave some to others.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use wardgate_tests::{DEADLINE, Pki, Site, free_port};

use crate::elsewhere::{Address, OWN, ask, connect_patiently, connect_tls};
use crate::floods::echo;
use crate::plain::loopback;
use crate::tls::Peer;

const PEER: &str = "gw.a.example";

/// The addresses of the greedy clients, and of good clients.
const FIRST: Address = [127, 0, 0, 2];
const SECOND: Address = [127, 0, 0, 3];
const THIRD: Address = [127, 0, 0, 4];
const GOOD: Address = [127, 0, 0, 5];

/// Goal: however many passthrough connections are answered, on any number of routes, the other routes serve
/// all clients, and one address leaves connections to others. Method: two passthrough routes, which two
/// addresses fill one after the other; clients of a third address; many mutual handshakes at a time.
#[test]
fn two_passthrough_routes_that_are_filled_leave_places_to_others_and_to_a_tls_route() {
    let pki = Pki::new();
    let (tls, ports) = (free_port(), [free_port(), free_port()]);
    let echo = echo();
    let site = Site::new(&pki, OWN)
        .terminate(loopback(tls), loopback(echo), &[format!("dns:{PEER}")])
        .protocol("tcp")
        .passthrough(loopback(ports[0]), loopback(echo))
        .passthrough(loopback(ports[1]), loopback(echo))
        .name("second")
        .descriptors(SMALL);
    let gateway = site.start();
    let good = Arc::new(Peer::of(&pki.leaf(PEER)).client());
    let first = fill(FIRST, ports);
    assert!(first.len() > 10, "{} connections", first.len());
    gateway.wait_for_connection_line("the address", DEADLINE, |line| {
        let reason = line.text("reason");
        reason.contains("answered passthrough connections of one address")
            && reason.contains("LimitNOFILE")
    });
    for port in ports {
        let elsewhere = connect_patiently(GOOD, port).and_then(|mut stream| ask(&mut stream));
        elsewhere.expect("an address leaves places to others");
    }
    let second = fill(SECOND, ports);
    println!("held: {} and {}", first.len(), second.len());
    serve_many(tls, &good);
    // Both addresses together have all connections of passthrough routes. The log has one line per second
    // about limits, and the last line about an address may have been written just now.
    std::thread::sleep(Duration::from_secs(2));
    let third = fill(THIRD, ports);
    assert!(third.len() < 10, "{} connections", third.len());
    gateway.wait_for_connection_line("the routes", DEADLINE, |line| {
        let reason = line.text("reason");
        reason.contains("connections of all passthrough routes together")
    });
    serve_many(tls, &good);
    drop((first, second, third));
    gateway.stop();
}

/// Goal: one peer never uses the connections of the others, whatever its devices do. Method: a peer opens as
/// many connections as it gets; then another peer opens many at a time.
#[test]
fn a_peer_that_opens_all_it_can_get_leaves_connections_to_another_peer() {
    const OTHER: &str = "gw.c.example";
    let pki = Pki::new();
    let tls = free_port();
    let peers = [PEER, OTHER].map(|name| format!("dns:{name}"));
    let site = Site::new(&pki, OWN)
        .terminate(loopback(tls), loopback(echo()), &peers)
        .protocol("tcp")
        .descriptors(SMALL);
    let gateway = site.start();
    let [greedy, good] = [PEER, OTHER].map(|name| Arc::new(Peer::of(&pki.leaf(name)).client()));
    let held: Vec<_> = (0..ATTEMPTS)
        .filter_map(|_| {
            let mut stream = connect_tls(FIRST, tls, &greedy).ok()?;
            ask(&mut stream).ok().map(|()| stream)
        })
        .collect();
    println!("held: {}", held.len());
    gateway.wait_for_connection_line("the peer", DEADLINE, |line| {
        let reason = line.text("reason");
        reason.contains("connections of one peer") && line.text("peer").contains(PEER)
    });
    serve_many(tls, &good);
    drop(held);
    gateway.stop();
}

/// The open files of a gateway that allow fewer connections than `ATTEMPTS`.
const SMALL: u64 = 700;
const ATTEMPTS: usize = 220;

/// Opens connections on these ports in turn, and keeps those that are answered.
fn fill(from: Address, ports: [u16; 2]) -> Vec<TcpStream> {
    let opened = (0..ATTEMPTS).filter_map(|index| {
        let mut stream = connect_patiently(from, ports[index % 2]).ok()?;
        ask(&mut stream).ok().map(|()| stream)
    });
    opened.collect()
}

/// Twenty good clients at a time are served by a TLS route.
fn serve_many(port: u16, config: &Arc<ClientConfig>) {
    let served: Vec<_> = (0..20)
        .map(|index| {
            let mut stream = connect_tls(GOOD, port, config).expect("the gateway listens");
            ask(&mut stream).unwrap_or_else(|error| panic!("client {index}: {error}"));
            stream
        })
        .collect();
    drop(served);
}
