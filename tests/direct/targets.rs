//! Targets in their order: which of them answers, and what the application sees.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use wardgate_tests::pki::Kind;
use wardgate_tests::stream::{
    Ending, accept, connect, ending, ending_of, expect_noise, send_noise,
};
use wardgate_tests::tls::{TLS13, TlsPeer};
use wardgate_tests::{DEADLINE, Pki, free_port, until};

use crate::pair::{B, Through, address, listen, local, originate, terminate};

/// An application gives up after 5 s.
const PATIENCE: Duration = Duration::from_millis(4500);
/// The time for all targets: half the default, so that a busy machine has the other half.
const CONNECT: &str = "\"2s\"";

/// An address that never answers: a listener with a full backlog drops new connections.
pub(crate) struct BlackHole {
    listener: Socket,
    _waiting: Vec<Socket>,
}

impl BlackHole {
    pub(crate) fn new() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("descriptors");
        let place = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        listener.bind(&place.into()).expect("the port is free");
        listener.listen(0).expect("it is bound");
        let knock = || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("descriptors");
            socket.set_nonblocking(true).expect("it is a socket");
            // All but the first stay in progress forever.
            let _ = socket.connect(&place.into());
            socket
        };
        let hole = Self {
            listener,
            _waiting: (0..3).map(|_| knock()).collect(),
        };
        let probe = TcpStream::connect_timeout(&place, Duration::from_millis(200));
        assert!(probe.is_err(), "the backlog is not full");
        hole
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let address = self.listener.local_addr().expect("it is bound");
        address.as_socket().expect("it is IPv4")
    }
}

fn assert_carries(client: &mut TcpStream, server: &mut TcpStream) {
    send_noise(client, 1, 10_000);
    expect_noise(server, 1, 10_000);
    send_noise(server, 2, 10_000);
    expect_noise(client, 2, 10_000);
}

#[test]
fn refused_first_target_gives_way_to_the_second() {
    let exit = listen();
    let through = Through::with(|site| site.targets(&[local(), address(&exit)]));
    let mut client = connect(through.entry);
    let mut server = accept(&exit);
    assert_carries(&mut client, &mut server);
    drop((client, server));
    let line = &through.gateway.wait_for_connections(1)[0];
    assert_eq!(line.address("server"), Some(address(&exit)));
}

#[test]
fn silent_first_target_gives_way_to_the_second_in_time() {
    let (hole, exit) = (BlackHole::new(), listen());
    let through = Through::with(|site| {
        let site = site.timeout("connect", CONNECT);
        site.targets(&[hole.address(), address(&exit)])
    });
    let start = Instant::now();
    let mut client = connect(through.entry);
    let mut server = accept(&exit);
    let took = start.elapsed();
    assert!(took < PATIENCE, "it took {took:?}");
    assert_carries(&mut client, &mut server);
}

#[test]
fn no_target_after_the_first_that_answers_is_tried() {
    let (first, second) = (listen(), listen());
    let through = Through::with(|site| site.targets(&[address(&first), address(&second)]));
    for _ in 0..3 {
        let mut client = connect(through.entry);
        let mut server = accept(&first);
        assert_carries(&mut client, &mut server);
    }
    assert!(wardgate_tests::stream::accept_now(&second).is_none());
}

#[test]
fn without_any_target_the_application_is_reset_in_time_and_the_log_names_each() {
    let (hole, closed) = (BlackHole::new(), local());
    let pki = Pki::new();
    let entry = local();
    let gateway = originate(&pki, entry, closed)
        .targets(&[hole.address(), closed])
        .timeout("connect", CONNECT)
        .start();
    let start = Instant::now();
    let mut client = connect(entry);
    send_noise(&mut client, 1, 10);
    assert_eq!(ending(&mut client), (0, Ending::Reset));
    let took = start.elapsed();
    assert!(took < PATIENCE, "it took {took:?}");
    let line = &gateway.wait_for_connections(1)[0];
    let reason = line.text("reason");
    for part in [
        format!(
            "target {} cannot be reached: no answer in time (timeouts.connect); check that the machine runs and",
            hole.address()
        ),
        format!("target {closed} cannot be reached: connection refused"),
    ] {
        assert!(reason.contains(&part), "{part:?} is missing in {reason:?}");
    }
    assert_eq!(line.text("ended_by"), "target");
    assert_eq!(line.address("server"), None);
    assert_eq!(
        gateway.metric("wardgate_targets_unreachable_total") as u64,
        1
    );
}

#[test]
fn name_without_an_address_is_logged() {
    let through = Through::with(|site| {
        let site = site.timeout("connect", CONNECT);
        site.targets(&["nowhere.invalid:104"])
    });
    let start = Instant::now();
    assert_eq!(ending_of(through.entry), (0, Ending::Reset));
    let took = start.elapsed();
    assert!(took < PATIENCE, "it took {took:?}");
    let line = &through.gateway.wait_for_connections(1)[0];
    let reason = line.text("reason");
    assert!(reason.contains("target nowhere.invalid:104 "), "{reason}");
}

#[test]
fn name_without_an_address_gives_way_to_the_second_target() {
    let exit = listen();
    let targets = ["nowhere.invalid:104".to_owned(), address(&exit).to_string()];
    let through = Through::with(|site| site.targets(&targets));
    let mut client = connect(through.entry);
    let mut server = accept(&exit);
    assert_carries(&mut client, &mut server);
}

/// Two servers have certificates of the same authority; only the second has the name.
#[test]
fn target_that_tls_refuses_gives_way_to_the_second() {
    let pki = Pki::new();
    let entry = local();
    let (wrong, right) = (listen(), listen());
    let gateway = originate(&pki, entry, local())
        .protocol("tcp")
        .targets(&[address(&wrong), address(&right)])
        .start();
    let mut client = connect(entry);
    let identity = pki.odd(B, Kind::OtherName);
    let mut other = TlsPeer::server(&identity, TLS13, accept(&wrong));
    // With TLS 1.3, the server may finish before the client has checked its certificate.
    if other.handshake().is_ok() {
        let (count, end) = ending(&mut other);
        assert_eq!(count, 0);
        assert_ne!(end, Ending::Orderly);
    }
    let mut peer = TlsPeer::server(&pki.leaf(B), TLS13, accept(&right));
    peer.handshake().expect("both ends are who they should be");
    send_noise(&mut client, 1, 1000);
    expect_noise(&mut peer, 1, 1000);
    drop((client, peer));
    let line = &gateway.wait_for_connections(1)[0];
    assert_eq!(line.address("server"), Some(address(&right)));
}

#[test]
fn target_without_tls_is_a_reset_and_logged() {
    let pki = Pki::new();
    let (entry, wan) = (local(), listen());
    let gateway = originate(&pki, entry, address(&wan))
        .protocol("tcp")
        .start();
    let mut client = connect(entry);
    let mut server = accept(&wan);
    send_noise(&mut server, 1, 100);
    assert_eq!(ending(&mut client), (0, Ending::Reset));
    let line = &gateway.wait_for_connections(1)[0];
    let reason = line.text("reason");
    assert!(reason.contains(&address(&wan).to_string()), "{reason}");
    assert_eq!(
        gateway.metric("wardgate_handshakes_refused_total") as u64,
        1
    );
}

/// A target that comes back is used again: no state of the failure remains.
#[test]
fn target_that_comes_back_is_used() {
    let place = local();
    let through = Through::with(|site| site.targets(&[place]));
    assert_eq!(ending_of(through.entry), (0, Ending::Reset));
    let exit = TcpListener::bind(place).expect("the port is free");
    let mut client = connect(through.entry);
    let mut server = accept(&exit);
    assert_carries(&mut client, &mut server);
}

/// A target that refuses while an application waits in terminate mode: the TLS side fails in time.
#[test]
fn terminate_without_a_target_fails_in_time() {
    let pki = Pki::new();
    let (entry, hole) = (local(), BlackHole::new());
    let gateway = terminate(&pki, entry, hole.address())
        .protocol("tcp")
        .timeout("connect", CONNECT)
        .start();
    let start = Instant::now();
    let identity = pki.leaf(crate::pair::A);
    let mut peer = TlsPeer::client(&identity, B, TLS13, connect(entry));
    peer.handshake().expect("both ends are who they should be");
    assert_eq!(ending(&mut peer), (0, Ending::Reset));
    let took = start.elapsed();
    assert!(took < PATIENCE, "it took {took:?}");
    until("it is counted", DEADLINE, || {
        (gateway.metric("wardgate_targets_unreachable_total") as u64 == 1).then_some(())
    });
}
