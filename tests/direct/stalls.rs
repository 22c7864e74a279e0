//! Receivers that are alive and do not read: their window is closed, and they acknowledge.

use std::net::TcpStream;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use wardgate_tests::Site;
use wardgate_tests::stream::{Ending, ending, expect_noise, send_noise};

use crate::pair::{Pair, Through};

/// More than all sockets on the path hold.
const MUCH: usize = 96 << 20;

/// Several times the `user` and `stall` of these tests.
const PAUSE: Duration = Duration::from_secs(10);

/// The `stall` of the test that sets it.
const STALL: Duration = Duration::from_secs(2);

/// Short limits, but `user` is longer than a busy machine keeps the gateway from running: if the gateway does not
/// see the closed window within `user`, the kernel ends the receiver.
fn impatient(site: Site) -> Site {
    let keepalive = "{ idle = \"1s\", interval = \"1s\", probes = 1 }";
    site.timeout("user", "\"3s\"")
        .timeout("keepalive", keepalive)
}

/// All bytes arrive although the receiver reads nothing for a while.
fn assert_outlasts_a_pause(sender: &mut TcpStream, receiver: &mut TcpStream) {
    scope(|scope| {
        scope.spawn(|| send_noise(sender, 1, MUCH));
        sleep(PAUSE);
        expect_noise(receiver, 1, MUCH);
    });
    // The connection still works.
    send_noise(receiver, 2, 1000);
    expect_noise(sender, 2, 1000);
}

#[test]
fn a_server_that_pauses_longer_than_user_gets_all_bytes_afterwards() {
    let pair = Pair::with("tcp", impatient);
    let (mut client, mut server) = pair.join();
    assert_outlasts_a_pause(&mut client, &mut server);
}

#[test]
fn a_client_that_pauses_longer_than_user_gets_all_bytes_afterwards() {
    let pair = Pair::with("tcp", impatient);
    let (mut client, mut server) = pair.join();
    assert_outlasts_a_pause(&mut server, &mut client);
}

#[test]
fn a_receiver_behind_passthrough_that_pauses_longer_than_user_gets_all_bytes_afterwards() {
    let through = Through::with(impatient);
    let (mut client, mut server) = through.join();
    assert_outlasts_a_pause(&mut client, &mut server);
}

/// All written bytes are in the kernel, so no write of the gateway waits.
#[test]
fn a_receiver_that_pauses_before_a_part_that_is_already_sent_gets_it_afterwards() {
    let through = Through::with(impatient);
    let (mut client, mut server) = through.join();
    let small = socket2::SockRef::from(&server);
    small.set_recv_buffer_size(4096).expect("it is a socket");
    send_noise(&mut client, 1, 400_000);
    sleep(PAUSE);
    expect_noise(&mut server, 1, 400_000);
}

#[test]
fn a_receiver_that_reads_nothing_for_longer_than_stall_is_reset_and_named() {
    let through = Through::with(|site| impatient(site).timeout("stall", "\"2s\""));
    let (mut client, mut server) = through.join();
    scope(|scope| {
        let start = Instant::now();
        scope.spawn(|| {
            // The connection is reset before all bytes are sent.
            let _ = std::io::Write::write_all(&mut client, &vec![7; MUCH]);
        });
        let line = &through.gateway.wait_for_connections(1)[0];
        let reason = line.text("reason");
        let words = "stall deadline passed: the target responds but did not read";
        assert!(reason.contains(words), "{reason}");
        assert_eq!(line.text("ended_by"), "gateway");
        assert!(start.elapsed() >= STALL, "{:?}", start.elapsed());
        assert_eq!(ending(&mut server).1, Ending::Reset);
    });
}
