//! Two machines of one site that take over from each other, with real keepalived and its packaged configuration.
//!
//! ```text
//!      LAN                 machines                   WAN, other site
//! +-----------+   .3  +-----------------+  .3   +----------------------+
//! |  clients  |-------|  gw1 keepalived |-------|                      |
//! |  archive  |   .5  +-----------------+  .7   |  gateway  -  archive |
//! | 10.20.0.9 |-------|  gw2 keepalived |-------| 198.51.100.10        |
//! +-----------+   .4  +-----------------+  .4   +----------------------+
//! ```
//!
//! 10.20.0.5 and 198.51.100.7 move between the machines. One client after another asks for an association and a C-ECHO, so
//! the longest time between two that succeeded is the time without service. Other associations stay open in both directions
//! and send one C-ECHO after another, or wait for an answer: each must end with an A-ABORT or an error of the socket, and not with
//! a FIN. `bird` measures the same behind a router. `cargo xtask failover` repeats each fault and prints both tables.

mod bird;
mod echo;
mod ecmp;
mod fault;
mod lab;
mod left;
mod load;
mod measure;

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use rustix::process::Signal;
use wardgate_tests::Program;
use wardgate_tests::tier::{self, Need};

use self::lab::{ARCHIVES, Lab};
use self::measure::Measured;
use crate::namespaces;

const NEEDS: [Need; 4] = [
    Need::Namespaces,
    Need::Program("keepalived"),
    Need::Program("curl"),
    Need::Program("ss"),
];

/// The longest time without service that a test accepts on a machine that is busy with other tests. The guide has the
/// measured times.
const GAP_MAX: Duration = Duration::from_secs(15);

#[test]
fn a_second_machine_takes_over_and_every_application_gets_an_error() {
    if !tier::ready("network", &NEEDS) {
        return;
    }
    let mut lab = Lab::start();
    for (place, address) in ARCHIVES {
        let address: SocketAddr = address.parse().expect("an address");
        let listener = lab.inside(place, || TcpListener::bind(address));
        echo::serve(listener.expect("nothing else listens there"));
    }
    let table = measure::table(&mut lab);
    measure::expect_errors(&table);
    for (fault, measured) in &table {
        for Measured { gap, .. } in measured {
            assert!(*gap < GAP_MAX, "{fault:?}: no service for {gap:?}");
        }
    }
}

/// Both machines lose the peer across the WAN: neither is better, and the addresses stay.
#[test]
fn two_machines_that_have_both_lost_the_peer_do_not_move_the_addresses() {
    if !tier::ready("network", &NEEDS) {
        return;
    }
    let mut lab = Lab::start();
    let master = lab.wait_for_master(None);
    let other = lab.other.take().expect("it was started");
    other.process().signal(Signal::KILL);
    drop(other);
    for number in 0..2 {
        lab.wait_for_priority(number, 230);
    }
    // Longer than `preempt_delay`.
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(lab.master(), Some(master));
    for number in 0..2 {
        let output = lab.keepalived_output(number);
        let masters = output.matches("(lan) Entering MASTER STATE").count();
        assert!(masters <= 1, "it flaps: {output}");
    }
}

/// IPVS is not in every kernel, so the director's file is only examined.
#[test]
fn keepalived_accepts_the_configuration_of_the_director() {
    if !tier::ready("network", &NEEDS) {
        return;
    }
    let file = tier::workspace().join("packaging/ha/director.conf");
    let namespace = namespaces::prefix();
    lab::ip(&["netns", "add", &namespace]);
    // It must know the interface of the file.
    lab::ip(&["-n", &namespace, "link", "add", "lan0", "type", "bridge"]);
    let outcomes = ["director1", "director2"].map(|name| {
        let test = Program::new("keepalived").args(["-t", "-i", name, "-f"]);
        test.arg(&file).netns(namespace.clone()).run()
    });
    namespaces::remove(&namespace);
    for outcome in outcomes {
        assert_eq!(outcome.expect_success().text().trim(), "");
    }
}
