//! Half-open handshakes of one address, and the delay of a client elsewhere.

use std::sync::Arc;
use std::time::Instant;

use wardgate_tests::{Pki, Site, free_port};

use crate::elsewhere::{OWN, ask, connect_tls, raise_descriptors};
use crate::floods::{ADDED_MAX, Attack, GOOD, HELD, HOLDER, PEER, echo, hello, hold_open, median};
use crate::plain::loopback;
use crate::tls::Peer;

/// Goal: 5,000 half-open handshakes of one address, all of them after a ClientHello, delay a good client from
/// another address by at most 100 ms. Method: quiet and attacked phases in one run; medians.
#[test]
fn five_thousand_half_open_handshakes_of_one_address_delay_no_client_elsewhere() {
    raise_descriptors();
    let pki = Pki::new();
    let port = free_port();
    let site = Site::new(&pki, OWN)
        .terminate(loopback(port), loopback(echo()), &[format!("dns:{PEER}")])
        .protocol("tcp");
    let gateway = site.start();
    let good = Arc::new(Peer::of(&pki.leaf(PEER)).client());
    let connect = || {
        let begun = Instant::now();
        let mut stream = connect_tls(GOOD, port, &good).expect("the gateway listens");
        ask(&mut stream).expect("it is served");
        begun.elapsed()
    };
    let measure = || (0..25).map(|_| connect()).collect::<Vec<_>>();
    let quiet = measure();
    let mut attack = Attack::default();
    attack.join_in(port, |course, port| {
        // Every second connection would otherwise send nothing.
        let hello = hello();
        let (silent, whole) = (&[][..], &hello[..]);
        std::thread::scope(|both| {
            both.spawn(|| hold_open(course, HOLDER, port, HELD / 2, silent));
            hold_open(course, HOLDER, port, HELD / 2, whole);
        });
    });
    attack.wait_until_begun();
    let attacked = measure();
    let held = gateway.metric("wardgate_unauthenticated_open") as usize;
    attack.stop();
    let (quiet, attacked) = (median(&quiet), median(&attacked));
    println!("quiet {quiet:?}, attacked {attacked:?}, {held} held");
    assert!(attacked < quiet + ADDED_MAX, "{quiet:?}, {attacked:?}");
    gateway.stop();
}
