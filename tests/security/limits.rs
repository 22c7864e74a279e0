//! Limits that an operator sets: who may connect to a route, and how many connections each client may have.

use std::io::ErrorKind;

use wardgate_tests::{DEADLINE, Gateway, Pki, Site, free_port};

use crate::elsewhere::{Address, OWN, ask, connect_patiently};
use crate::floods::echo;
use crate::plain::{Witness, loopback, of_route, receive_all};

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
        line.text("source").starts_with("127.0.0.2:")
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
