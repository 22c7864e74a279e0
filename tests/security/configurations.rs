//! No accepted configuration lets an unauthenticated peer through: random valid configurations.

use std::net::TcpListener;

use wardgate_tests::pki::{Kind, Leaf};
use wardgate_tests::{DEADLINE, Gateway, Pki, Site, free_port, until};

use crate::dice::{Dice, seed};
use crate::plain::{self, MARKER, Witness, assert_sound, listener, loopback, offer_marker};
use crate::tls::{Peer, Tls, TlsEnd, knock};

const OWN: &str = "gw.own.example";
const PEER: &str = "gw.peer.example";

/// The number of gateways, and of routes in each. Every route is a separate configuration.
const GATEWAYS: u64 = 15;
const ROUTES: usize = 4;

/// A route with random keys, and its target.
enum Door {
    Terminate { port: u16, target: Witness },
    Originate { entry: u16, server: TcpListener },
}

struct World {
    pki: Pki,
    good: Leaf,
    other: Leaf,
}

/// Goal: for all valid values of the keys of a configuration, a client without a certificate or with one of
/// another authority moves no byte; a client with the right certificate does.
#[test]
fn no_accepted_configuration_lets_an_unauthenticated_peer_through() {
    let seed = seed();
    let pki = Pki::new();
    let world = World {
        good: pki.leaf(PEER),
        other: pki.odd(PEER, Kind::OtherAuthority),
        pki,
    };
    for number in 0..GATEWAYS {
        let mut dice = Dice::of_case(seed, number);
        let (site, doors) = random_site(&world, &mut dice);
        let text = site.toml();
        let gateway = site.start();
        for door in &doors {
            match door {
                Door::Terminate { port, target } => try_clients(&world, *port, target, &text),
                Door::Originate { entry, server } => try_servers(&world, *entry, server, &text),
            }
        }
        assert_counted(&gateway, &doors);
        assert_sound(&gateway);
        gateway.stop();
    }
}

fn try_clients(world: &World, port: u16, target: &Witness, case: &str) {
    for unlisted in [Peer::nobody(), Peer::of(&world.other)] {
        let (bytes, end) = knock(port, &unlisted, MARKER);
        assert_eq!(bytes, b"", "{case}");
        assert!(matches!(end, TlsEnd::Alert(_)), "{end:?}\n{case}");
    }
    target.assert_alone(case);
    let mut tls = Tls::connect(port, Peer::of(&world.good).client()).expect_shake();
    tls.send(MARKER);
    until(case, DEADLINE, || (target.heard() == MARKER).then_some(()));
}

fn try_servers(world: &World, entry: u16, listener: &TcpListener, case: &str) {
    let unlisted = [Peer::of(&world.good).lax(), Peer::of(&world.other)];
    let all = unlisted.map(|peer| (peer, false));
    for (server, good) in all.into_iter().chain([(Peer::of(&world.good), true)]) {
        std::thread::scope(|scope| {
            let application = scope.spawn(|| offer_marker(entry));
            let mut tls = Tls::accept(plain::accept(listener), server.server());
            match tls.shake() {
                Ok(()) if good => {
                    assert_eq!(tls.receive_exactly(MARKER.len()), MARKER, "{case}");
                }
                Ok(()) => {
                    let (bytes, end) = tls.receive_all();
                    assert_eq!(bytes, b"", "{case}");
                    assert!(matches!(end, TlsEnd::Alert(_)), "{end:?}\n{case}");
                }
                Err(end) => assert!(!good, "{end:?}\n{case}"),
            }
            drop(tls);
            let received = application.join().expect("the application ends");
            assert_eq!(received.bytes, b"", "{case}");
            assert!(received.end.is_failure(), "{received:?}\n{case}");
        });
    }
}

fn assert_counted(gateway: &Gateway, doors: &[Door]) {
    let refused = gateway.metric("wardgate_handshakes_refused_total");
    assert_eq!(refused, 2.0 * doors.len() as f64);
}

fn random_site(world: &World, dice: &mut Dice) -> (Site, Vec<Door>) {
    let mut site = Site::new(&world.pki, OWN);
    if dice.one_in(2) {
        site = site.crl(&world.pki.crl());
    }
    if dice.one_in(2) {
        site = site.gateway("cores", dice.pick(&["\"all\"", "[0]"]));
    }
    for (key, values) in [
        ("handshake", ["\"3s\"", "\"60s\""]),
        ("connect", ["\"1s\"", "\"60s\""]),
        ("drain", ["\"100ms\"", "\"24h\""]),
        ("user", ["\"1s\"", "\"1h\""]),
        ("stall", ["\"1h\"", "\"never\""]),
        ("keepalive", ["{ idle = \"1s\" }", "{ probes = 127 }"]),
    ] {
        if dice.one_in(3) {
            site = site.timeout(key, dice.pick(&values));
        }
    }
    let mut doors = Vec::new();
    for _ in 0..ROUTES {
        let door;
        (site, door) = random_route(world, site, dice);
        doors.push(door);
    }
    (site, doors)
}

fn random_route(world: &World, site: Site, dice: &mut Dice) -> (Site, Door) {
    let peers = random_peers(world, dice);
    let (mut site, door) = if dice.one_in(2) {
        let (port, target) = (free_port(), Witness::start());
        let site = site.terminate(loopback(port), loopback(target.port), &peers);
        (site, Door::Terminate { port, target })
    } else {
        let entry = free_port();
        let (server, port) = listener();
        let site = site.originate(loopback(entry), loopback(port), &peers);
        (site, Door::Originate { entry, server })
    };
    // The bytes are the beginning of an association, which an MLLP route does not accept.
    let protocol = dice.pick(&["dicom", "tcp"]);
    site = site.protocol(protocol);
    if dice.one_in(2) {
        site = site.set(
            "policy",
            dice.pick(&["\"hscn\"", "\"hscn-tls13\"", "\"dicom-b12\""]),
        );
    }
    if dice.one_in(2) {
        let key = dice.pick(&["require_pq", "hybrid"]);
        site = site.set(key, dice.pick(&["true", "false"]));
    }
    if dice.one_in(3) {
        site = site.route_identity(&world.pki.leaf(OWN));
    }
    if protocol != "tcp" {
        site = random_looking(site, dice);
    }
    let (key, value) = match protocol {
        "tcp" => ("idle", "\"1h\""),
        _ => ("first_byte", dice.pick(&["\"10min\"", "\"never\""])),
    };
    if dice.one_in(3) {
        site = site.route_timeout(key, value);
    }
    if dice.one_in(3) {
        site = site.route_timeout("handshake", "\"4s\"");
    }
    (site, door)
}

/// Keys for observing the traffic, restricted to values that allow any association.
fn random_looking(site: Site, dice: &mut Dice) -> Site {
    if dice.one_in(3) {
        return site.set("observe", "\"off\"");
    }
    if dice.one_in(2) {
        return site.set("observe", "\"lenient\"");
    }
    let lists = [
        ("called_ae", "[\"ARCHIVE\"]"),
        ("calling_ae", "[\"CT_A\", \"MR_B\"]"),
        ("commands", "[\"C-ECHO\", \"C-STORE\"]"),
        ("associations", "65536"),
    ];
    let chosen = lists.into_iter().filter(|_| dice.one_in(2));
    let site = chosen.fold(site, |site, (key, value)| site.set(key, value));
    site.set("rules", "\"report\"")
}

/// The good peer with one of its names, among others.
fn random_peers(world: &World, dice: &mut Dice) -> Vec<String> {
    let mut peers = vec![match dice.below(3) {
        0 => format!("sha256:{}", world.good.key_sha256),
        1 => format!("dns:{}", PEER.to_uppercase()),
        _ => format!("dns:{PEER}"),
    }];
    for more in [
        "uri:spiffe://example/gateway".to_owned(),
        "dns:another.example".to_owned(),
        // The name of the wrong client is listed, but its authority is not trusted. A `sha256:` of its key
        // would not help either.
        format!("sha256:{}", "ab".repeat(32)),
    ] {
        if dice.one_in(3) {
            peers.push(more);
        }
    }
    peers
}
