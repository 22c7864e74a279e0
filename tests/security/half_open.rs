//! Half-open handshakes of one address, and the delay of a client elsewhere.

use std::sync::Arc;
use std::time::Instant;

use wardgate_tests::{DEADLINE, Pki, Site, free_port, one_good_round, until};

use crate::elsewhere::{OWN, ask, connect_tls, measuring, raise_descriptors};
use crate::floods::{ADDED_MAX, Attack, GOOD, HELD, HOLDER, PEER, echo, hello, hold_open, median};
use crate::plain::loopback;
use crate::tls::Peer;

/// Goal: 5,000 half-open handshakes of one address, all of them after a ClientHello, delay a good client from
/// another address by at most 100 ms. Method: quiet, attacked and quiet phases in one run; medians.
#[test]
fn five_thousand_half_open_handshakes_of_one_address_delay_no_client_elsewhere() {
    let _alone = measuring();
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
    let measure = || median(&(0..25).map(|_| connect()).collect::<Vec<_>>());
    // Other tests begin and end meanwhile; handshakes that delay a client delay it in every round.
    one_good_round(3, || {
        let before = measure();
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
        until("the attackers' connections have ended", DEADLINE, || {
            (gateway.metric("wardgate_connections_open") < 10.0).then_some(())
        });
        let quiet = before.max(measure());
        let seen = format!("quiet {quiet:?}, attacked {attacked:?}, {held} held");
        println!("{seen}");
        let is_good = attacked < quiet + ADDED_MAX;
        is_good.then_some(()).ok_or(seen)
    });
    gateway.stop();
}
