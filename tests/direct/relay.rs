//! Bytes through the relay: in both directions at once, in small pieces, with one direction finished.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread::JoinHandle;

use rustls::SupportedProtocolVersion;
use wardgate_tests::stream::{Ending, accept, connect, ending, expect_noise, send_noise};
use wardgate_tests::tls::{TLS12, TLS13};

use crate::pair::{A, B, Originate, Pair, Terminate, Through};

fn sending(stream: &TcpStream, seed: u64, count: usize) -> JoinHandle<()> {
    let mut stream = stream.try_clone().expect("descriptors are left");
    std::thread::spawn(move || {
        send_noise(&mut stream, seed, count);
        stream.shutdown(Shutdown::Write).expect("it is connected");
    })
}

fn expecting(stream: &TcpStream, seed: u64, count: usize) -> JoinHandle<()> {
    let mut stream = stream.try_clone().expect("descriptors are left");
    std::thread::spawn(move || {
        expect_noise(&mut stream, seed, count);
        assert_eq!(ending(&mut stream), (0, Ending::Orderly));
    })
}

fn cross(client: &TcpStream, server: &TcpStream, count: usize) {
    let all = [
        sending(client, 1, count),
        sending(server, 2, count),
        expecting(server, 1, count),
        expecting(client, 2, count),
    ];
    for one in all {
        one.join().expect("all bytes arrive");
    }
}

#[test]
fn both_directions_carry_64_mib_at_once() {
    let pair = Pair::start("tcp");
    let (client, server) = pair.join();
    cross(&client, &server, 64 << 20);
    for (gateway, peer) in [(&pair.a, B), (&pair.b, A)] {
        let line = &gateway.wait_for_connections(1)[0];
        assert_eq!(line.number("sealed_bytes"), 64 << 20);
        assert_eq!(line.number("opened_bytes"), 64 << 20);
        assert_eq!(line.text("reason"), "complete");
        assert_eq!(line.text("peer"), format!("dns:{peer}"));
        assert_eq!(line.text("tls.cipher"), "TLS_AES_256_GCM_SHA384");
        assert_eq!(line.text("tls.curve"), "X25519MLKEM768");
    }
}

#[test]
fn passthrough_carries_both_directions_at_once() {
    let through = Through::start();
    let (client, server) = through.join();
    cross(&client, &server, 64 << 20);
    let line = &through.gateway.wait_for_connections(1)[0];
    assert_eq!(line.text("reason"), "complete");
    assert_eq!(line.text("peer"), "-");
    assert_eq!(line.text("tls.protocol.version"), "-");
}

/// A written byte is forwarded at once: the gateway does not wait for a full record.
#[test]
fn single_bytes_go_to_and_fro() {
    let pair = Pair::start("tcp");
    let (mut client, mut server) = pair.join();
    for round in 0..500_u32 {
        let byte = round.to_le_bytes()[0];
        let mut heard = [0];
        client.write_all(&[byte]).expect("it is connected");
        server.read_exact(&mut heard).expect("the byte arrives");
        assert_eq!(heard, [byte]);
        server.write_all(&[!byte]).expect("it is connected");
        client.read_exact(&mut heard).expect("the byte arrives");
        assert_eq!(heard, [!byte]);
    }
}

#[test]
fn pieces_of_every_size_around_a_record_arrive_whole() {
    let pair = Pair::start("tcp");
    let (mut client, mut server) = pair.join();
    for count in [
        1, 2, 16_383, 16_384, 16_385, 32_767, 32_768, 65_536, 524_288, 524_289,
    ] {
        let sender = {
            let mut client = client.try_clone().expect("descriptors are left");
            std::thread::spawn(move || send_noise(&mut client, count as u64, count))
        };
        expect_noise(&mut server, count as u64, count);
        sender.join().expect("all bytes are sent");
        send_noise(&mut server, 7, 5);
        expect_noise(&mut client, 7, 5);
    }
}

#[test]
fn half_close_still_delivers_the_reply() {
    let pair = Pair::start("mllp");
    let mut client = connect(pair.entry);
    send_noise(&mut client, 1, 1000);
    client.shutdown(Shutdown::Write).expect("it is connected");
    let mut server = accept(&pair.exit);
    expect_noise(&mut server, 1, 1000);
    assert_eq!(ending(&mut server), (0, Ending::Orderly));
    let sender = sending(&server, 2, 32 << 20);
    expect_noise(&mut client, 2, 32 << 20);
    assert_eq!(ending(&mut client), (0, Ending::Orderly));
    sender.join().expect("all bytes are sent");
    assert_complete(&pair, "plain side", "TLS peer");
}

#[test]
fn server_that_has_finished_still_gets_the_rest() {
    let pair = Pair::start("tcp");
    let (mut client, mut server) = pair.join();
    server.shutdown(Shutdown::Write).expect("it is connected");
    assert_eq!(ending(&mut client), (0, Ending::Orderly));
    let sender = sending(&client, 2, 32 << 20);
    expect_noise(&mut server, 2, 32 << 20);
    assert_eq!(ending(&mut server), (0, Ending::Orderly));
    sender.join().expect("all bytes are sent");
    assert_complete(&pair, "TLS peer", "plain side");
}

fn assert_complete(pair: &Pair, by_at_a: &str, by_at_b: &str) {
    for (gateway, by) in [(&pair.a, by_at_a), (&pair.b, by_at_b)] {
        let line = &gateway.wait_for_connections(1)[0];
        assert_eq!(line.text("reason"), "complete", "{line:?}");
        assert_eq!(line.text("ended_by"), by, "{line:?}");
    }
}

fn terminate_with(version: &'static SupportedProtocolVersion) {
    let terminate = Terminate::start();
    let (mut peer, mut server) = terminate.join(version);
    send_noise(&mut peer, 1, 300_000);
    expect_noise(&mut server, 1, 300_000);
    peer.finish().expect("it is connected");
    assert_eq!(ending(&mut server), (0, Ending::Orderly));
    send_noise(&mut server, 2, 300_000);
    drop(server);
    expect_noise(&mut peer, 2, 300_000);
    assert_eq!(ending(&mut peer), (0, Ending::Orderly));
    assert_eq!(ending(&mut peer.socket), (0, Ending::Orderly));
    let line = &terminate.gateway.wait_for_connections(1)[0];
    assert_eq!(line.text("reason"), "complete", "{line:?}");
}

fn originate_with(version: &'static SupportedProtocolVersion) {
    let originate = Originate::start();
    let (mut client, mut peer) = originate.join(version);
    send_noise(&mut client, 1, 300_000);
    client.shutdown(Shutdown::Write).expect("it is connected");
    expect_noise(&mut peer, 1, 300_000);
    assert_eq!(ending(&mut peer), (0, Ending::Orderly));
    assert_eq!(ending(&mut peer.socket), (0, Ending::Orderly));
    send_noise(&mut peer, 2, 300_000);
    peer.finish().expect("it is connected");
    expect_noise(&mut client, 2, 300_000);
    assert_eq!(ending(&mut client), (0, Ending::Orderly));
    let line = &originate.gateway.wait_for_connections(1)[0];
    assert_eq!(line.text("reason"), "complete", "{line:?}");
}

#[test]
fn terminate_finishes_either_direction_alone_with_tls_1_3() {
    terminate_with(TLS13);
}

#[test]
fn terminate_finishes_either_direction_alone_with_tls_1_2() {
    terminate_with(TLS12);
}

#[test]
fn originate_finishes_either_direction_alone_with_tls_1_3() {
    originate_with(TLS13);
}

#[test]
fn originate_finishes_either_direction_alone_with_tls_1_2() {
    originate_with(TLS12);
}

/// The server's reply may still be in transit when the TLS peer finishes its direction.
#[test]
fn tls_peer_that_has_finished_still_gets_32_mib() {
    let terminate = Terminate::start();
    let (mut peer, server) = terminate.join(TLS13);
    peer.finish().expect("it is connected");
    let sender = sending(&server, 2, 32 << 20);
    expect_noise(&mut peer, 2, 32 << 20);
    assert_eq!(ending(&mut peer), (0, Ending::Orderly));
    sender.join().expect("all bytes are sent");
}

/// TLS 1.3 clients may send payload directly after their Finished, in the same segment.
#[test]
fn payload_after_the_finished_message_is_not_lost() {
    for protocol in ["tcp", "mllp"] {
        let terminate = Terminate::with(|site| site.protocol(protocol));
        let mut peer = terminate.peer(TLS13);
        let mut last = peer.handshake_but_last().expect("the server is B");
        last.extend(peer.seal(b"\x0bfirst words"));
        last.extend(peer.seal(b", and more"));
        peer.socket.write_all(&last).expect("it is connected");
        let mut server = accept(&terminate.exit);
        let mut heard = [0; 22];
        server.read_exact(&mut heard).expect("all arrives");
        assert_eq!(&heard, b"\x0bfirst words, and more", "{protocol}");
    }
}

/// The whole conversation of a client with one message, in the same segment as its Finished.
#[test]
fn payload_and_end_after_the_finished_message_are_not_lost() {
    for protocol in ["tcp", "mllp"] {
        let terminate = Terminate::with(|site| site.protocol(protocol));
        let mut peer = terminate.peer(TLS13);
        let mut last = peer.handshake_but_last().expect("the server is B");
        last.extend(peer.seal(b"\x0ball"));
        last.extend(peer.close_notify());
        peer.socket.write_all(&last).expect("it is connected");
        peer.socket
            .shutdown(Shutdown::Write)
            .expect("it is connected");
        let mut server = accept(&terminate.exit);
        assert_eq!(ending(&mut server), (4, Ending::Orderly), "{protocol}");
        drop(server);
        assert_eq!(ending(&mut peer), (0, Ending::Orderly), "{protocol}");
        let line = &terminate.gateway.wait_for_connections(1)[0];
        assert_eq!(line.text("reason"), "complete", "{line:?}");
    }
}

#[test]
fn close_notify_right_after_the_handshake_is_an_end_without_a_byte() {
    let terminate = Terminate::start();
    let mut peer = terminate.peer(TLS13);
    let mut last = peer.handshake_but_last().expect("the server is B");
    last.extend(peer.close_notify());
    peer.socket.write_all(&last).expect("it is connected");
    let mut server = accept(&terminate.exit);
    assert_eq!(ending(&mut server), (0, Ending::Orderly));
    drop(server);
    assert_eq!(ending(&mut peer), (0, Ending::Orderly));
}

/// The bytes on the wire do not depend on the cipher implementation: each opens what the other seals.
#[test]
fn gateways_with_different_ciphers_interoperate() {
    for [a, b] in [["aws-lc", "ring"], ["ring", "aws-lc"]] {
        let pair = Pair::each(
            "tcp",
            |site| site.gateway("cipher", format!("{a:?}")),
            |site| site.gateway("cipher", format!("{b:?}")),
        );
        let (client, server) = pair.join();
        cross(&client, &server, 8 << 20);
        for (gateway, cipher) in [(&pair.a, a), (&pair.b, b)] {
            let told = format!("cipher: {cipher} with ");
            let lines = gateway.lines();
            let line = lines.iter().find(|line| line.message().starts_with(&told));
            let line = line.expect("the log names the cipher").message();
            assert!(line.contains("set by the key \"cipher\""), "{line}");
        }
    }
}
