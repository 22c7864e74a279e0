//! Routes: modes, addresses, names, and which side sends first.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};

use wardgate_tests::stream::{
    Ending, accept, accept_now, connect, ending, expect_noise, send_noise,
};
use wardgate_tests::tls::TLS13;
use wardgate_tests::{DEADLINE, Pki, Site, free_port, until};

use crate::pair::{A, B, Pair, Terminate, Through, address, listen, local, originate};

fn exchange(mut client: TcpStream, exit: &TcpListener) {
    send_noise(&mut client, 1, 100_000);
    client.shutdown(Shutdown::Write).expect("it is connected");
    let mut server = accept(exit);
    expect_noise(&mut server, 1, 100_000);
    assert_eq!(ending(&mut server), (0, Ending::Orderly));
    send_noise(&mut server, 2, 100_000);
    drop(server);
    expect_noise(&mut client, 2, 100_000);
    assert_eq!(ending(&mut client), (0, Ending::Orderly));
}

#[test]
fn originate_and_terminate_carry_the_first_bytes_of_their_protocol() {
    // DICOM needs its own peers; tests/interop covers it.
    for protocol in ["mllp", "tcp"] {
        let pair = Pair::start(protocol);
        exchange(connect(pair.entry), &pair.exit);
        for (gateway, mode) in [(&pair.a, "originate"), (&pair.b, "terminate")] {
            let line = &gateway.wait_for_connections(1)[0];
            assert_eq!(line.text("network.protocol.name"), protocol);
            assert_eq!(line.text("mode"), mode);
            assert_eq!(line.text("route"), format!("{mode}-1"));
            assert_eq!(line.text("reason"), "complete");
        }
    }
}

#[test]
fn passthrough_carries_bytes_as_they_are() {
    let through = Through::start();
    exchange(connect(through.entry), &through.exit);
    let line = &through.gateway.wait_for_connections(1)[0];
    assert_eq!(line.text("mode"), "passthrough");
    assert_eq!(line.number("sealed_bytes"), 100_000);
    assert_eq!(line.number("opened_bytes"), 100_000);
}

#[test]
fn addresses_may_be_ipv6() {
    let v6 = || SocketAddr::from((Ipv6Addr::LOCALHOST, free_port()));
    let exit = TcpListener::bind(v6()).expect("loopback has IPv6");
    let (entry, wan) = (v6(), v6());
    let pki = Pki::new();
    let _b = Site::new(&pki, B)
        .terminate(wan, address(&exit), &[format!("dns:{A}")])
        .protocol("mllp")
        .start();
    let a = originate(&pki, entry, wan).start();
    exchange(connect(entry), &exit);
    let line = &a.wait_for_connections(1)[0];
    assert_eq!(line.address("server"), Some(wan));
    assert!(line.is_from("::1"), "{line:?}");
}

/// A listener on all IPv6 addresses accepts IPv4 as well, and logs IPv4 clients with their IPv4 address.
#[test]
fn wildcard_listener_takes_both_families() {
    let port = free_port();
    let exit = listen();
    let gateway = Site::new(&Pki::new(), A)
        .passthrough(format!("[::]:{port}"), address(&exit))
        .start();
    exchange(connect(([127, 0, 0, 1], port).into()), &exit);
    exchange(connect((Ipv6Addr::LOCALHOST, port).into()), &exit);
    let lines = gateway.wait_for_connections(2);
    assert!(lines[0].is_from("127.0.0.1"), "{lines:?}");
    assert!(lines[1].is_from("::1"), "{lines:?}");
}

#[test]
fn targets_may_be_names() {
    let exit = listen();
    let target = format!("localhost:{}", address(&exit).port());
    let through = Through::with(|site| site.targets(&[&target]));
    exchange(connect(through.entry), &exit);
    let line = &through.gateway.wait_for_connections(1)[0];
    let reached = line.address("server").expect("an address");
    assert!(IpAddr::is_loopback(&reached.ip()), "{reached}");
}

#[test]
fn routes_of_one_site_do_not_mix() {
    let (first, second) = (listen(), listen());
    let (one, other) = (local(), local());
    let gateway = Site::new(&Pki::new(), A)
        .passthrough(one, address(&first))
        .passthrough(other, address(&second))
        .start();
    exchange(connect(other), &second);
    exchange(connect(one), &first);
    let lines = gateway.wait_for_connections(2);
    assert_eq!(lines[0].text("route"), "passthrough-2");
    assert_eq!(lines[1].text("route"), "passthrough-1");
}

#[test]
fn server_may_send_first_on_tcp_routes() {
    let pair = Pair::start("tcp");
    let (mut client, mut server) = pair.join();
    server.write_all(b"220 ready").expect("it is connected");
    let mut heard = [0; 9];
    client.read_exact(&mut heard).expect("all arrives");
    assert_eq!(&heard, b"220 ready");
}

/// A silent association costs the application behind B nothing, not even a connection. The second connection
/// comes through although the first has waited longer.
#[test]
fn terminate_connects_when_the_first_byte_has_come() {
    let terminate = Terminate::with(|site| site);
    let _silent = terminate.greeted(TLS13);
    let mut peer = terminate.greeted(TLS13);
    send_noise(&mut peer, 1, 100);
    let mut server = accept(&terminate.exit);
    expect_noise(&mut server, 1, 100);
    assert!(accept_now(&terminate.exit).is_none());
}

#[test]
fn silent_opener_is_reset_at_its_deadline_and_no_target_is_asked() {
    for first_byte in ["dicom", "mllp"] {
        let pki = Pki::new();
        let (entry, wan) = (local(), listen());
        let gateway = originate(&pki, entry, address(&wan))
            .protocol(first_byte)
            .route_timeout("first_byte", "\"200ms\"")
            .start();
        let mut client = connect(entry);
        assert_eq!(ending(&mut client), (0, Ending::Reset));
        let line = &gateway.wait_for_connections(1)[0];
        let reason = line.text("reason");
        assert!(reason.starts_with("first byte deadline passed"), "{reason}");
        assert_eq!(line.text("ended_by"), "gateway");
        assert!(accept_now(&wan).is_none());
        assert_eq!(gateway.metric("wardgate_deadlines_passed_total") as u64, 1);
    }
}

#[test]
fn silent_tls_opener_is_ended_at_its_deadline_and_no_target_is_asked() {
    let terminate = Terminate::with(|site| site.route_timeout("first_byte", "\"200ms\""));
    let mut peer = terminate.greeted(TLS13);
    assert_ne!(ending(&mut peer).1, Ending::Orderly);
    let line = &terminate.gateway.wait_for_connections(1)[0];
    let reason = line.text("reason");
    assert!(reason.starts_with("first byte deadline passed"), "{reason}");
    assert_eq!(line.text("peer"), format!("dns:{A}"));
    assert!(accept_now(&terminate.exit).is_none());
}

/// Load balancers and monitors connect and close all day long.
#[test]
fn empty_connections_are_counted_and_not_logged() {
    let pki = Pki::new();
    let (plain, tls, wan) = (local(), local(), listen());
    let gateway = originate(&pki, plain, address(&wan))
        .terminate(tls, address(&wan), &[format!("dns:{B}")])
        .start();
    for entry in [plain, tls] {
        for _ in 0..20 {
            drop(connect(entry));
        }
    }
    until("all are counted", DEADLINE, || {
        (gateway.metric("wardgate_connections_empty_total") as u64 == 40).then_some(())
    });
    assert_eq!(
        gateway.metric("wardgate_connections_accepted_total") as u64,
        40
    );
    assert_eq!(gateway.metric("wardgate_connections_open") as u64, 0);
    assert!(accept_now(&wan).is_none());
    assert_eq!(gateway.connections(), []);
}
