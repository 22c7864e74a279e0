//! Faults of the path between the sites, in the namespaces of the lab.

use serde_json::Value;
use wardgate_tests::{Pki, Program, Site};

use super::servers::{ServerKind, serve};
use super::{Fault, Stopped, report};
use crate::lab::{A, B, ENTRY, Family, Lab, Place, WAN};

/// The report of site A about a target.
fn examine(lab: &Lab, pki: &Pki, target: &str) -> Value {
    let entry = Family::V4.address(Place::GatewayA, "lan-a", ENTRY);
    let site = Site::new(pki, A).originate(entry, target, &[format!("dns:{B}")]);
    let stopped = Stopped::new(&site.timeout("connect", "\"1s\""));
    let program = lab.program(
        Place::GatewayA,
        &wardgate_tests::wardgate().to_string_lossy(),
    );
    report(&program.args(stopped.arguments(&[])).run())
}

fn run(program: Program, arguments: &[&str]) {
    program.args(arguments).run().expect_success();
}

pub(super) fn faults() -> Vec<Fault> {
    vec![
        Fault::new(
            "a device on the path drops large packets silently",
            "mtu",
            "wan",
            "ICMP fragmentation needed",
            |world| {
                let lab = Lab::new();
                let address = Family::V4.address(Place::GatewayB, "wan", WAN);
                // Site B announces the usual segment size, but packets above 1300 bytes do not reach it.
                run(
                    lab.program(Place::GatewayA, "ethtool"),
                    &["-K", "wan", "tso", "off", "gso", "off"],
                );
                let ip = || lab.program(Place::GatewayB, "ip");
                run(ip(), &["link", "set", "wan", "mtu", "1300"]);
                let own = Family::V4.host(Place::GatewayB, "wan");
                let route = ["route", "replace", "192.0.2.0/24", "dev", "wan", "src", own];
                run(ip(), &[&route[..], &["advmss", "1460"]].concat());
                let listener =
                    lab.inside(Place::GatewayB, || std::net::TcpListener::bind(&address));
                serve(
                    listener.expect("the address is there"),
                    ServerKind::Tls(world.pki.leaf(B)),
                );
                examine(&lab, &world.pki, &address)
            },
        ),
        Fault::new(
            "a firewall drops the packets",
            "connect",
            "wan",
            "a firewall drops the packets",
            |world| {
                let lab = Lab::new();
                lab.silence("192.0.2.77");
                examine(&lab, &world.pki, "192.0.2.77:2762")
            },
        ),
        Fault::new(
            "a firewall rejects the packets by ICMP",
            "connect",
            "wan",
            "reported as unreachable",
            |world| {
                let lab = Lab::new();
                let beyond = "198.51.100.0/24";
                let b = Family::V4.host(Place::GatewayB, "wan");
                let ip = |place| lab.program(place, "ip");
                run(ip(Place::GatewayA), &["route", "add", beyond, "via", b]);
                run(ip(Place::GatewayB), &["route", "add", "prohibit", beyond]);
                let sysctl = lab.program(Place::GatewayB, "sysctl");
                run(sysctl, &["-w", "net.ipv4.ip_forward=1"]);
                examine(&lab, &world.pki, "198.51.100.7:2762")
            },
        ),
        Fault::new(
            "this machine has no route to the target",
            "source",
            "this_gateway",
            "ip route get",
            |world| examine(&Lab::new(), &world.pki, "203.0.113.9:2762"),
        ),
        Fault::new(
            "nothing listens on the port of the other gateway",
            "connect",
            "other_gateway",
            "start the gateway of the other site",
            |world| {
                let address = Family::V4.address(Place::GatewayB, "wan", WAN);
                examine(&Lab::new(), &world.pki, &address)
            },
        ),
    ]
}
