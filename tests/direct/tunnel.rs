//! The id of a TLS connection in the log, by which a line of one site is found in the log of the other.

use std::collections::BTreeSet;
use std::io::{Read, Write};

use wardgate_tests::tls::{TLS12, TLS13};
use wardgate_tests::{DEADLINE, Gateway, Line};

use crate::pair::{Originate, Pair, Terminate};

const MESSAGE: &[u8] = b"\x0bMSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5\x1c\r";
const LABEL: &str = "EXPERIMENTAL wardgate tunnel";

fn tunnel(line: &Line) -> String {
    let tunnel = line.text("tunnel");
    let is_id = tunnel.len() == 16 && tunnel.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(is_id, "{line:?}");
    tunnel.to_owned()
}

fn lines(gateway: &Gateway, message: &str, count: usize) -> Vec<Line> {
    gateway.wait_for_connections(count);
    let mut lines = gateway.lines();
    lines.retain(|line| line.message() == message);
    assert_eq!(lines.len(), count, "{message}");
    lines
}

#[test]
fn both_gateways_log_the_same_tunnel_and_each_connection_has_its_own() {
    // Each gateway has another record layer.
    let rustls = |site: wardgate_tests::Site| site.set("record_layer", "\"rustls\"");
    let pair = Pair::each("mllp", |site| site, rustls);
    for _ in 0..3 {
        let mut client = wardgate_tests::stream::connect(pair.entry);
        client.write_all(MESSAGE).expect("it is connected");
        let mut server = wardgate_tests::stream::accept(&pair.exit);
        let mut received = vec![0; MESSAGE.len()];
        server.read_exact(&mut received).expect("it comes whole");
        drop((client, server));
    }
    for message in ["accepted", "conversation", "connection"] {
        let [a, b] = [&pair.a, &pair.b].map(|gateway| {
            let found = lines(gateway, message, 3);
            found.iter().map(tunnel).collect::<BTreeSet<_>>()
        });
        assert_eq!(a.len(), 3, "{message}: one for each connection");
        assert_eq!(a, b, "{message}");
    }
    let [by_id, by_tunnel] = ["id", "tunnel"].map(|key| {
        let found = lines(&pair.a, "connection", 3);
        let values = found.iter().map(|line| line.text(key).to_owned());
        values.collect::<Vec<_>>()
    });
    for line in lines(&pair.a, "accepted", 3) {
        let at = by_id.iter().position(|id| id == line.text("id"));
        let at = at.expect("both lines have the same id");
        assert_eq!(by_tunnel[at], line.text("tunnel"), "{line:?}");
    }
}

#[test]
fn the_tunnel_is_the_tls_exporter_of_a_foreign_peer() {
    let (originate, terminate) = (Originate::start(), Terminate::start());
    let (_client, server) = originate.join(TLS13);
    let (client, _server) = terminate.join(TLS13);
    for (gateway, peer) in [(&originate.gateway, server), (&terminate.gateway, client)] {
        let accepted = |line: &Line| line.message() == "accepted";
        let line = gateway.wait_for_line("accepted", DEADLINE, accepted);
        assert_eq!(tunnel(&line), peer.exported(LABEL, 8));
    }
}

#[test]
fn tls_1_2_connections_have_a_tunnel_too() {
    let (originate, terminate) = (Originate::start(), Terminate::start());
    for _ in 0..2 {
        drop((originate.join(TLS12), terminate.join(TLS12)));
    }
    for gateway in [&originate.gateway, &terminate.gateway] {
        let found = lines(gateway, "connection", 2);
        let found: BTreeSet<_> = found.iter().map(tunnel).collect();
        assert_eq!(found.len(), 2, "{found:?}");
    }
}
