//! Addresses without a host, and a machine without free source ports.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use wardgate_tests::tier::{self, Need};
use wardgate_tests::{DEADLINE, Pki, Site, one_good_round};

use crate::lab::{A, B, ENTRY, Family, Lab, Place, TARGET, WAN};

/// An address of the WAN that no host has.
const NOBODY: &str = "2001:db8::dead";

/// The maximum time of a connection through both sites when one address is silent: 250 ms for that address,
/// two handshakes, and the delays of a busy machine.
const SOON: Duration = Duration::from_millis(1500);

/// Site A finds site B by its name.
fn sites(lab: &Lab, pki: &Pki) -> [Site; 2] {
    let [_, b] = lab.sites(pki, "tcp", [Family::V4; 2]);
    let entry = Family::V4.address(Place::GatewayA, "lan-a", ENTRY);
    let a = Site::new(pki, A)
        .originate(entry, format!("{B}:{WAN}"), &[format!("dns:{B}")])
        .protocol("tcp")
        .netns(lab.namespace(Place::GatewayA));
    [a, b]
}

fn connect(lab: &Lab) -> TcpStream {
    let entry = Family::V4.address(Place::GatewayA, "lan-a", ENTRY);
    let near = lab.inside(Place::Near, || TcpStream::connect(entry));
    let near = near.expect("site A listens");
    near.set_read_timeout(Some(DEADLINE)).expect("not zero");
    near
}

fn listen(lab: &Lab) -> TcpListener {
    let target = Family::V4.address(Place::Far, "lan-b", TARGET);
    let listener = lab.inside(Place::Far, || TcpListener::bind(target));
    listener.expect("the address is there")
}

/// Accepts one connection, and sends one byte on it.
fn accept(listener: &TcpListener) -> TcpStream {
    let (mut far, _) = listener.accept().expect("site B connects");
    far.write_all(b"!").expect("site B reads");
    far
}

#[test]
fn an_address_that_leads_nowhere_holds_up_no_connection_and_is_logged() {
    if !tier::ready("network", &[Need::Namespaces]) {
        return;
    }
    // The machine may hold up a connection; an address that is waited for holds up one in every round.
    one_good_round(3, connect_beside_an_address_that_leads_nowhere);
}

fn connect_beside_an_address_that_leads_nowhere() -> Result<(), String> {
    let (lab, pki) = (Lab::new(), Pki::new());
    let good = Family::V4.host(Place::GatewayB, "wan");
    lab.set_hosts(Place::GatewayA, &format!("{NOBODY} {B}\n{good} {B}\n"));
    lab.silence(NOBODY);
    let listener = listen(&lab);
    let [a, b] = sites(&lab, &pki);
    let (b, a) = (b.start(), a.start());
    let mut times = Vec::new();
    for _ in 0..4 {
        let start = Instant::now();
        let mut near = connect(&lab);
        let far = accept(&listener);
        near.read_exact(&mut [0]).expect("the far end has spoken");
        times.push(start.elapsed());
        drop((near, far));
    }
    a.wait_for_connections(4);
    let silent: Vec<_> = a
        .lines()
        .into_iter()
        .filter(|l| l.message().contains(NOBODY))
        .collect();
    assert_eq!(silent.len(), 1, "{silent:#?}");
    assert_eq!(silent[0].text("level"), "WARN");
    for part in [
        format!("target {B}:{WAN}"),
        format!("{good}:{WAN} answered"),
    ] {
        assert!(silent[0].message().contains(&part), "{part}: {silent:#?}");
    }
    a.stop();
    b.stop();
    let is_good = times.iter().all(|time| *time < SOON);
    is_good.then_some(()).ok_or(format!("{times:?}"))
}

#[test]
fn a_machine_without_source_ports_logs_it_and_does_not_blame_the_target() {
    if !tier::ready("network", &[Need::Namespaces]) {
        return;
    }
    let (lab, pki) = (Lab::new(), Pki::new());
    let good = Family::V4.host(Place::GatewayB, "wan");
    lab.set_hosts(Place::GatewayA, &format!("{good} {B}\n"));
    lab.set_source_ports(Place::GatewayA, "40000 40001");
    let listener = listen(&lab);
    let [a, b] = sites(&lab, &pki);
    let (b, a) = (b.start(), a.start());
    let open: Vec<_> = (0..2).map(|_| (connect(&lab), accept(&listener))).collect();
    let mut third = connect(&lab);
    let _ = third.read(&mut [0]).expect_err("there is no port for it");
    let line = &a.wait_for_connections(1)[0];
    let reason = line.text("reason");
    let words = "this machine has no free source ports (net.ipv4.ip_local_port_range)";
    assert!(reason.contains(words), "{reason}");
    assert_eq!(line.text("ended_by"), "gateway");
    drop(open);
    a.stop();
    b.stop();
}
