//! Bad input costs a counter and a rate-limited log line; the process and good connections continue.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use test_peers::openings;
use wardgate_tests::stream::{Ending, Noise, connect, ending, expect_noise, send_noise};
use wardgate_tests::tls::TLS13;
use wardgate_tests::{DEADLINE, Gateway, until};

use crate::pair::Terminate;

fn assert_good_connection_works(terminate: &Terminate) {
    let (mut peer, mut server) = terminate.join(TLS13);
    send_noise(&mut peer, 1, 1000);
    expect_noise(&mut server, 1, 1000);
    peer.finish().expect("it is connected");
    assert_eq!(ending(&mut server), (0, Ending::Orderly));
}

fn metric(gateway: &Gateway, name: &str) -> u64 {
    gateway.metric(name) as u64
}

/// The client sees the end before the gateway has logged and counted it.
fn expect_one_late_handshake(terminate: &Terminate) {
    terminate
        .gateway
        .wait_for_connection_line("handshake", DEADLINE, |line| {
            line.text("reason").starts_with("handshake deadline passed")
        });
    assert_eq!(
        metric(&terminate.gateway, "wardgate_deadlines_passed_total"),
        1
    );
}

/// A ClientHello as it is sent on the wire.
fn client_hello(terminate: &Terminate) -> Vec<u8> {
    terminate.peer(TLS13).first_flight()
}

/// Bytes that unauthenticated clients send to a TLS port.
fn nonsense(terminate: &Terminate) -> Vec<(&'static str, Vec<u8>)> {
    let hello = client_hello(terminate);
    let half = hello[..hello.len() / 2].to_vec();
    // A-ASSOCIATE-RQ (PS3.8 table 9-11): type 1, reserved, length, version.
    let mut associate = vec![1, 0, 0, 0, 0, 68, 0, 1, 0, 0];
    associate.resize(74, b' ');
    let mut long_message = vec![22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff];
    long_message.resize(5 + 0x4000, 0);
    vec![
        ("random bytes", Noise::new(11).take(5000)),
        ("zeros", vec![0; 5000]),
        ("half a ClientHello", half),
        ("HTTP", openings::HTTP.to_vec()),
        ("plaintext DICOM", associate),
        (
            "record of 65,535 bytes",
            [&[22, 3, 1, 0xff, 0xff][..], &[1; 70_000]].concat(),
        ),
        ("message of 16 MiB", long_message),
        ("record without a byte", vec![22, 3, 1, 0, 0]),
        ("alert", openings::TLS_ALERT.to_vec()),
        ("application data", vec![23, 3, 3, 0, 3, 1, 2, 3]),
        ("SSLv2", [openings::OLD_SSL, &[0, 0, 0x10]].concat()),
        ("two ClientHellos", [hello.clone(), hello].concat()),
        ("one byte", vec![22]),
    ]
}

#[test]
fn garbage_does_not_end_the_process() {
    let terminate = Terminate::start();
    let before = terminate.gateway.process().threads();
    for (what, bytes) in nonsense(&terminate) {
        let mut stream = connect(terminate.entry);
        // The gateway may have refused the client before all bytes were sent.
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let (count, _) = ending(&mut stream);
        // At most the flight of a ServerHello, or an alert.
        assert!(count < 10_000, "{what}: {count} bytes of answer");
        assert_good_connection_works(&terminate);
    }
    let refused = metric(&terminate.gateway, "wardgate_handshakes_refused_total");
    // The connection from which the ClientHello was recorded sent nothing itself.
    assert!(refused >= 12, "{refused} refused");
    // One more may read the files of the configuration at this moment.
    let after = terminate.gateway.process().threads();
    assert!(after <= before + 1, "{before}, {after}");
    terminate.gateway.stop();
}

#[test]
fn the_protocol_of_unauthenticated_clients_is_named() {
    let terminate = Terminate::start();
    for (bytes, word) in [
        (openings::HTTP, "HTTP"),
        (&[1, 0, 0, 0, 0, 68, 0, 1, 0, 0][..], "DICOM"),
    ] {
        let mut stream = connect(terminate.entry);
        stream.write_all(bytes).expect("it is connected");
        ending(&mut stream);
        let line = terminate
            .gateway
            .wait_for_connection_line(word, DEADLINE, |line| line.text("reason").contains(word));
        assert_eq!(line.text("peer"), "-", "{line:?}");
    }
}

#[test]
fn flood_of_refusals_is_rate_limited_in_the_log() {
    const FLOOD: u64 = 500;
    let terminate = Terminate::start();
    let start = Instant::now();
    for _ in 0..FLOOD {
        let mut stream = connect(terminate.entry);
        stream.write_all(&[0; 100]).expect("it is connected");
        ending(&mut stream);
    }
    until("all are counted", DEADLINE, || {
        let refused = metric(&terminate.gateway, "wardgate_handshakes_refused_total");
        (refused == FLOOD).then_some(())
    });
    let seconds = usize::try_from(start.elapsed().as_secs()).expect("it took less");
    let lines = terminate.gateway.connections();
    // A burst of ten, and one each second.
    assert!(lines.len() <= 10 + seconds + 1, "{} lines", lines.len());
    assert!(lines.len() >= 10, "{} lines", lines.len());
    // The number of suppressed lines is on the next line that is logged.
    let told = until("a line tells how many were held back", DEADLINE, || {
        let mut stream = connect(terminate.entry);
        stream.write_all(&[0; 100]).expect("it is connected");
        ending(&mut stream);
        let lines = terminate.gateway.connections();
        let held: u64 = lines.iter().map(|line| line.number("suppressed")).sum();
        (held + lines.len() as u64 >= FLOOD).then_some(held)
    });
    assert!(told > 0);
}

#[test]
fn port_scan_costs_a_counter() {
    const SCANS: u64 = 1000;
    let terminate = Terminate::start();
    for _ in 0..SCANS {
        drop(connect(terminate.entry));
    }
    until("all are counted", DEADLINE, || {
        let empty = metric(&terminate.gateway, "wardgate_connections_empty_total");
        (empty == SCANS).then_some(())
    });
    assert_eq!(terminate.gateway.connections(), []);
    assert_good_connection_works(&terminate);
}

/// Scanners often reset instead of closing.
#[test]
fn resets_right_behind_the_connect_cost_a_counter() {
    const SCANS: u64 = 1000;
    let terminate = Terminate::start();
    for _ in 0..SCANS {
        wardgate_tests::stream::reset(connect(terminate.entry));
    }
    until("all are counted", DEADLINE, || {
        let empty = metric(&terminate.gateway, "wardgate_connections_empty_total");
        (empty == SCANS).then_some(())
    });
    assert_eq!(metric(&terminate.gateway, "wardgate_connections_open"), 0);
    assert_eq!(terminate.gateway.connections(), []);
    assert_good_connection_works(&terminate);
}

/// The deadline is for the whole handshake: bytes that keep coming do not move it.
#[test]
fn dripping_handshake_ends_at_its_deadline() {
    let terminate =
        Terminate::with(|site| site.protocol("tcp").route_timeout("handshake", "\"1s\""));
    let hello = client_hello(&terminate);
    let start = Instant::now();
    let mut stream = connect(terminate.entry);
    drip(&mut stream, &hello);
    let took = start.elapsed();
    assert!(took > Duration::from_millis(900), "it took {took:?}");
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    expect_one_late_handshake(&terminate);
    assert_good_connection_works(&terminate);
}

/// Sends one byte each 100 ms until the other end closes.
fn drip(stream: &mut TcpStream, bytes: &[u8]) {
    for byte in bytes {
        if stream.write_all(&[*byte]).is_err() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("a whole ClientHello was taken, byte for byte");
}

/// A server that accepts the connection and stays silent must not block an application forever.
#[test]
fn silent_handshake_ends_at_its_deadline() {
    let terminate = Terminate::with(|site| site.route_timeout("handshake", "\"500ms\""));
    let mut stream = connect(terminate.entry);
    let start = Instant::now();
    assert_ne!(ending(&mut stream).1, Ending::Orderly);
    assert!(start.elapsed() < Duration::from_secs(5));
    expect_one_late_handshake(&terminate);
}

/// Hundreds of unfinished handshakes wait for their deadline without delaying other connections.
#[test]
fn many_half_handshakes_do_not_delay_a_good_connection() {
    let terminate = Terminate::start();
    let hello = client_hello(&terminate);
    let waiting: Vec<_> = (0..300)
        .map(|_| {
            let mut stream = connect(terminate.entry);
            let half = &hello[..hello.len() / 2];
            stream.write_all(half).expect("it is connected");
            stream
        })
        .collect();
    let start = Instant::now();
    assert_good_connection_works(&terminate);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "it took {took:?}");
    drop(waiting);
}
