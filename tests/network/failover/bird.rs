//! Two machines behind a router that shares connections out (ECMP), with real bird and its packaged configurations.
//!
//! ```text
//!  10.30.0.5 gateway, 10.30.0.9 archive
//! +------------+          +--------+  .1      .3 +-----+
//! | client and |----------| router |-------------| gw1 |  198.51.100.7 and an archive on `lo` of both
//! | other site |          +--------+          .4 +-----+
//! +------------+  203.0.113.1      +-------------| gw2 |
//!   203.0.113.2                                  +-----+
//! ```

use std::time::Duration;

use wardgate_tests::tier::{self, Need};

use super::ecmp::Ecmp;
use super::fault::Fault;
use super::measure;

const NEEDS: [Need; 4] = [
    Need::Namespaces,
    Need::Program("bird"),
    Need::Program("curl"),
    Need::Program("ss"),
];

/// How long the router may send connections to a machine with a fault, on a machine that is busy with other tests. It is less
/// than the hold time of BGP: without BFD, a dead link would need that time. The guide has the measured times.
const MOVED_MAX: Duration = Duration::from_secs(6);
/// The same until two machines that start are used.
const STARTED_MAX: Duration = Duration::from_secs(30);

#[test]
fn a_router_moves_connections_away_from_a_machine_and_every_application_gets_an_error() {
    if !tier::ready("network", &NEEDS) {
        return;
    }
    let mut ecmp = Ecmp::start();
    let table = measure::table(&mut ecmp);
    measure::expect_errors(&table);
    for (fault, measured) in &table {
        let limit = match fault {
            Fault::BothRestarted => STARTED_MAX,
            _ => MOVED_MAX,
        };
        for one in measured {
            assert!(one.moved_after < limit, "{fault:?}: {:?}", one.moved_after);
        }
    }
}

#[test]
fn a_router_sends_new_connections_only_to_machines_that_are_ready() {
    if !tier::ready("network", &NEEDS) {
        return;
    }
    let ecmp = Ecmp::start();
    let serve = |count: usize| {
        for number in 0..count {
            let served = ecmp.serve_client();
            served.unwrap_or_else(|failure| panic!("client {number}: {failure}"));
        }
    };
    serve(32);
    for number in 0..2 {
        assert!(ecmp.accepted(number) > 0, "both machines serve clients");
    }

    // A planned drain: the route is withdrawn while the gateway still accepts, and no client is refused. Only a
    // client that is open while the router changes the route can be reset: its packets then go to the other machine.
    let drain = |number: usize| {
        let drain = ecmp.gateway(number).command(&["drain"]);
        drain.run().expect_success();
    };
    drain(0);
    while ecmp.next_hops() != [1] {
        if let Err(failure) = ecmp.serve_client() {
            assert_eq!(ecmp.next_hops(), [1], "{failure}");
        }
    }
    let before = ecmp.accepted(0);
    serve(8);
    assert_eq!(ecmp.accepted(0), before, "it is withdrawn");

    // Both gateways still accept. The service address is in the network between the router and the machines, so the router
    // asks there for it, and no machine may answer.
    drain(1);
    ecmp.wait_for(&[]);
    let before = [0, 1].map(|number| ecmp.accepted(number));
    for _ in 0..3 {
        ecmp.serve_client()
            .expect_err("both machines are withdrawn");
    }
    assert_eq!([0, 1].map(|number| ecmp.accepted(number)), before);
}
