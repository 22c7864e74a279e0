//! Endings are truthful: a stream that was cut off never looks complete, on either side.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use rustix::process::Signal;
use wardgate_tests::stream::{Ending, accept, connect, ending, expect_noise, reset, send_noise};
use wardgate_tests::tls::{TLS12, TLS13};
use wardgate_tests::{DEADLINE, Gateway};

use crate::pair::{Originate, Pair, Terminate, Through, local};

/// Checks that a connection ended like this, and that the log reports it.
fn assert_told(gateway: &Gateway, by: &str, reason: &str) {
    let what = format!("ended by {by}: {reason}");
    gateway.wait_for_connection_line(&what, DEADLINE, |line| {
        line.text("reason").starts_with(reason) && line.text("ended_by") == by
    });
}

#[test]
fn reset_by_the_client_is_a_reset_at_the_server() {
    let pair = Pair::start("tcp");
    let (mut client, mut server) = pair.join();
    send_noise(&mut client, 1, 100_000);
    expect_noise(&mut server, 1, 100_000);
    reset(client);
    assert_eq!(ending(&mut server), (0, Ending::Reset));
    assert_told(&pair.a, "plain side", "reset: ");
    assert_eq!(
        pair.b.wait_for_connections(1)[0].text("ended_by"),
        "TLS peer"
    );
}

#[test]
fn reset_by_the_server_is_a_reset_at_the_client() {
    let pair = Pair::start("tcp");
    let (mut client, mut server) = pair.join();
    send_noise(&mut server, 1, 100_000);
    expect_noise(&mut client, 1, 100_000);
    reset(server);
    assert_eq!(ending(&mut client), (0, Ending::Reset));
    assert_told(&pair.b, "plain side", "reset: ");
}

/// The server has received a complete stream; the client then resets while it still receives.
#[test]
fn reset_after_a_finished_direction_still_resets_the_other() {
    let pair = Pair::start("tcp");
    let (client, mut server) = pair.join();
    client.shutdown(Shutdown::Write).expect("it is connected");
    assert_eq!(ending(&mut server), (0, Ending::Orderly));
    reset(client);
    // Nobody reads at the other end any more; a write detects it.
    let failed = wardgate_tests::until("the server learns of it", DEADLINE, || {
        server.write_all(&[0; 1000]).err()
    });
    assert!(
        matches!(
            failed.kind(),
            std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe
        ),
        "{failed}"
    );
}

/// Even the end of the process must not look like the end of a stream.
#[test]
fn killed_gateway_is_a_reset_at_both_applications() {
    for kill_the_first in [true, false] {
        let pair = Pair::start("tcp");
        let (mut client, mut server) = pair.join();
        send_noise(&mut client, 1, 100_000);
        expect_noise(&mut server, 1, 100_000);
        let victim = if kill_the_first { &pair.a } else { &pair.b };
        victim.process().signal(Signal::KILL);
        assert_eq!(ending(&mut server), (0, Ending::Reset));
        assert_eq!(ending(&mut client), (0, Ending::Reset));
    }
}

#[test]
fn passthrough_hands_a_reset_on() {
    let through = Through::start();
    let (client, mut server) = through.join();
    reset(client);
    assert_eq!(ending(&mut server), (0, Ending::Reset));
    assert_told(&through.gateway, "source", "reset: ");
    let (mut client, server) = through.join();
    reset(server);
    assert_eq!(ending(&mut client), (0, Ending::Reset));
    assert_told(&through.gateway, "target", "reset: ");
}

#[test]
fn cut_tls_stream_resets_the_plain_side() {
    for version in [TLS13, TLS12] {
        let terminate = Terminate::start();
        let (mut peer, mut server) = terminate.join(version);
        send_noise(&mut peer, 1, 1000);
        expect_noise(&mut server, 1, 1000);
        peer.socket.shutdown(Shutdown::Write).expect("connected");
        assert_eq!(ending(&mut server), (0, Ending::Reset));
        assert_told(&terminate.gateway, "TLS peer", "cut off");
        assert_ne!(ending(&mut peer).1, Ending::Orderly);
    }
}

#[test]
fn cut_tls_stream_of_a_server_resets_the_plain_side() {
    for version in [TLS13, TLS12] {
        let originate = Originate::start();
        let (mut client, mut peer) = originate.join(version);
        send_noise(&mut peer, 1, 1000);
        expect_noise(&mut client, 1, 1000);
        peer.socket.shutdown(Shutdown::Write).expect("connected");
        assert_eq!(ending(&mut client), (0, Ending::Reset));
        assert_told(&originate.gateway, "TLS peer", "cut off");
    }
}

#[test]
fn cut_inside_a_record_is_a_reset_on_the_plain_side() {
    let terminate = Terminate::start();
    let (mut peer, mut server) = terminate.join(TLS13);
    send_noise(&mut peer, 1, 1000);
    expect_noise(&mut server, 1, 1000);
    let record = peer.seal(&[7; 1000]);
    peer.socket.write_all(&record[..500]).expect("connected");
    peer.socket.shutdown(Shutdown::Write).expect("connected");
    // No byte of an incomplete record arrives.
    assert_eq!(ending(&mut server), (0, Ending::Reset));
    assert_told(&terminate.gateway, "TLS peer", "cut off");
}

#[test]
fn reset_by_the_tls_peer_is_a_reset_on_the_plain_side() {
    let terminate = Terminate::start();
    let (peer, mut server) = terminate.join(TLS13);
    reset(peer.socket);
    assert_eq!(ending(&mut server), (0, Ending::Reset));
    assert_told(&terminate.gateway, "TLS peer", "reset: ");
}

#[test]
fn reset_on_the_plain_side_is_no_close_notify() {
    let terminate = Terminate::start();
    let (mut peer, server) = terminate.join(TLS13);
    reset(server);
    assert_eq!(ending(&mut peer), (0, Ending::Reset));
    let originate = Originate::start();
    let (client, mut peer) = originate.join(TLS13);
    reset(client);
    assert_eq!(ending(&mut peer), (0, Ending::Reset));
}

/// After a change on the way, the peer gets an alert, and the plain side gets a reset and no wrong byte.
#[test]
fn altered_record_is_refused_and_not_delivered() {
    let terminate = Terminate::start();
    let (mut peer, mut server) = terminate.join(TLS13);
    let mut record = peer.seal(&[7; 1000]);
    record[600] ^= 1;
    peer.socket.write_all(&record).expect("connected");
    assert_eq!(ending(&mut server), (0, Ending::Reset));
    let (_, end) = ending(&mut peer);
    assert!(
        matches!(&end, Ending::Refused(alert) if alert.contains("BadRecordMac")),
        "{end:?}"
    );
    assert_told(&terminate.gateway, "TLS peer", "TLS record layer");
}

#[test]
fn unreachable_target_is_no_orderly_end_for_the_tls_peer() {
    let terminate = Terminate::with(|site| site.protocol("tcp").targets(&[local()]));
    let mut peer = terminate.greeted(TLS13);
    let (_, end) = ending(&mut peer);
    assert!(!matches!(end, Ending::Orderly), "{end:?}");
    assert_told(&terminate.gateway, "target", "target 127.0.0.1:");
}

#[test]
fn idle_connections_live_on_by_default() {
    let pair = Pair::start("mllp");
    let mut client = connect(pair.entry);
    client.write_all(b"\x0b").expect("it is connected");
    let mut server = accept(&pair.exit);
    let mut heard = [0];
    server.read_exact(&mut heard).expect("the byte arrives");
    // Silent for longer than the defaults of the other deadlines.
    client
        .set_read_timeout(Some(Duration::from_secs(6)))
        .expect("it is a socket");
    let quiet = client.read(&mut heard).expect_err("nothing was said");
    assert_eq!(quiet.kind(), std::io::ErrorKind::WouldBlock);
    client.write_all(b"b").expect("it is connected");
    server.read_exact(&mut heard).expect("the byte arrives");
    assert_eq!(&heard, b"b");
}

#[test]
fn idle_time_ends_a_connection_visibly_at_both_ends() {
    let through = Through::with(|site| site.route_timeout("idle", "\"1s\""));
    let (mut client, mut server) = through.join();
    // Bytes in either direction count.
    for _ in 0..10 {
        send_noise(&mut server, 1, 10);
        expect_noise(&mut client, 1, 10);
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(ending(&mut client), (0, Ending::Reset));
    assert_eq!(ending(&mut server), (0, Ending::Reset));
    assert_told(&through.gateway, "gateway", "idle deadline passed");
}

#[test]
fn idle_time_of_a_tls_route_is_no_close_notify() {
    let terminate = Terminate::with(|site| site.protocol("tcp").route_timeout("idle", "\"1s\""));
    let (mut peer, mut server) = terminate.join(TLS13);
    assert_eq!(ending(&mut server), (0, Ending::Reset));
    assert_ne!(ending(&mut peer).1, Ending::Orderly);
    assert_told(&terminate.gateway, "gateway", "idle deadline passed");
}
