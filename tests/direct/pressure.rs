//! Back-pressure: a receiver that does not read blocks its sender, and the gateways need no memory for it.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;
use wardgate_tests::stream::{Ending, Noise, bounded, ending, expect_noise};

use crate::pair::{Pair, Through};

/// The size of the stream. The sender must be blocked long before its end.
const OFFERED: usize = 2 << 30;

/// The maximum that two gateways and four sockets hold of one stalled direction: the kernel's buffers of
/// loopback sockets, which grow to some megabytes each, and a batch in each gateway.
const HELD_MAX: usize = 64 << 20;

/// The memory that a gateway may gain through a stalled connection: its two batches with room for the pool.
const GROWTH_MAX: u64 = 32 << 20;

/// The sender is blocked when it cannot send for this time.
const HELD_UP: Duration = Duration::from_secs(1);

/// The length of the pieces in which `expect_noise` compares.
const PIECE: usize = 64 << 10;

#[test]
fn stalled_reader_keeps_memory_bounded() {
    let pair = Pair::start("tcp");
    let (client, server) = pair.join();
    stall(&pair, client, server);
}

#[test]
fn stalled_client_keeps_memory_bounded() {
    let pair = Pair::start("tcp");
    let (client, server) = pair.join();
    stall(&pair, server, client);
}

fn stall(pair: &Pair, sender: TcpStream, mut reader: TcpStream) {
    let memory = || [&pair.a, &pair.b].map(|g| g.process().resident_bytes());
    let before = memory();
    let sent = push_until_held_up(&sender);
    assert!(sent < HELD_MAX, "{sent} bytes were taken from the sender");
    for (before, after) in before.iter().zip(memory()) {
        let growth = after.saturating_sub(*before);
        assert!(growth < GROWTH_MAX, "a gateway grew by {growth} bytes");
    }
    sender.shutdown(Shutdown::Write).expect("it is connected");
    // The reader continues: all bytes arrive, complete and in order.
    expect_noise(&mut reader, 1, sent);
    assert_eq!(ending(&mut reader), (0, Ending::Orderly));
    drop(reader);
    assert_eq!(ending(&mut bounded(sender)), (0, Ending::Orderly));
}

/// Sends noise until no more bytes are accepted, and returns the number of bytes sent.
pub(crate) fn push_until_held_up(sender: &TcpStream) -> usize {
    sender.set_nonblocking(true).expect("it is a socket");
    let mut noise = Noise::new(1);
    let mut sent = 0;
    while sent < OFFERED {
        let piece = noise.take(PIECE);
        let taken = push(sender, &piece);
        sent += taken;
        if taken < piece.len() {
            sender.set_nonblocking(false).expect("it is a socket");
            return sent;
        }
    }
    panic!("the sender was never held up");
}

fn push(mut sender: &TcpStream, piece: &[u8]) -> usize {
    let mut taken = 0;
    let mut last = Instant::now();
    while taken < piece.len() && last.elapsed() < HELD_UP {
        match sender.write(&piece[taken..]) {
            Ok(count) => {
                taken += count;
                last = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => panic!("cannot send: {error}"),
        }
    }
    taken
}

/// One direction is stalled; the other must not be affected.
#[test]
fn stalled_direction_does_not_hold_up_the_other() {
    let pair = Pair::start("tcp");
    let (client, mut server) = pair.join();
    push_until_held_up(&client);
    let mut back = server.try_clone().expect("descriptors are left");
    let sending = std::thread::spawn(move || {
        wardgate_tests::stream::send_noise(&mut back, 2, 16 << 20);
        back.shutdown(Shutdown::Write).expect("it is connected");
    });
    let mut client = bounded(client);
    expect_noise(&mut client, 2, 16 << 20);
    sending.join().expect("all bytes are sent");
    wardgate_tests::stream::reset(client);
    assert_eq!(ending(&mut server).1, Ending::Reset);
}

/// A stalled connection must not delay the next one on the same core.
#[test]
fn stalled_connection_does_not_hold_up_others() {
    let through = Through::with(|site| site.gateway("cores", "[0]"));
    let (stalled, _reader) = through.join();
    push_until_held_up(&stalled);
    for _ in 0..10 {
        let (mut client, mut server) = through.join();
        wardgate_tests::stream::send_noise(&mut client, 3, 100_000);
        expect_noise(&mut server, 3, 100_000);
    }
}

/// The reset overtakes the held bytes: an application sees the end of a stalled stream without reading all of
/// it.
#[test]
fn reset_of_a_stalled_connection_is_seen_through_it() {
    let pair = Pair::start("tcp");
    let (client, server) = pair.join();
    push_until_held_up(&client);
    wardgate_tests::stream::reset(server);
    wardgate_tests::until("the sender learns of it", wardgate_tests::DEADLINE, || {
        SockRef::from(&client).take_error().expect("it is a socket")
    });
}

/// Readers that do not read at the same time.
const STALLED: usize = 100;

/// The memory that a gateway may gain through each of them: some 40 to 120 KiB on an idle machine, and more on a
/// busy one, where a socket has more bytes each time it is read. A full batch would be 1 MiB.
const STALLED_MAX: u64 = 512 << 10;

/// A buffer grows with the bytes that the receiver reads: many receivers that read nothing cost little, and
/// leave the large buffers to others.
#[test]
fn hundred_stalled_readers_cost_little_and_leave_the_large_buffers_to_others() {
    let pair = Pair::with("tcp", |site| site.gateway("cores", "[0]"));
    let memory = || [&pair.a, &pair.b].map(|g| g.process().resident_bytes());
    let before = memory();
    let ends: Vec<_> = (0..STALLED).map(|_| pair.join()).collect();
    let senders: Vec<&TcpStream> = ends.iter().map(|(sender, _)| sender).collect();
    push_all_until_held_up(&senders);
    for (gateway, (before, after)) in ["A", "B"].iter().zip(before.iter().zip(memory())) {
        let each = after.saturating_sub(*before) / STALLED as u64;
        println!("gateway {gateway} gained {each} bytes for each stalled reader");
        assert!(each < STALLED_MAX, "{gateway} gained {each} bytes for each");
    }
    drop(ends);
    for gateway in [&pair.a, &pair.b] {
        gateway.wait_for_connections(STALLED);
        assert_eq!(gateway.metric("wardgate_buffers_exhausted_total"), 0.0);
    }
}

/// Sends on all connections until none has accepted bytes for a while.
fn push_all_until_held_up(senders: &[&TcpStream]) {
    let piece = Noise::new(1).take(PIECE);
    let mut last = Instant::now();
    for sender in senders {
        sender.set_nonblocking(true).expect("it is a socket");
        // The kernel's memory for all TCP sockets is bounded; it must be available to the gateways' sockets.
        let small = SockRef::from(*sender).set_send_buffer_size(64 << 10);
        small.expect("it is a socket");
    }
    while last.elapsed() < HELD_UP {
        for mut sender in senders.iter().copied() {
            match sender.write(&piece) {
                Ok(_) => last = Instant::now(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("cannot send: {error}"),
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
