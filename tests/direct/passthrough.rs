//! Passthrough forwards bytes through a bounded number of kernel pipes, and loses none.

use std::net::{Shutdown, TcpStream};

use gateway::uring::limits::PIPES_MAX;
use rustix::net::SendFlags;
use wardgate_tests::stream::{Ending, ending, expect_noise, reset, send_noise};
use wardgate_tests::{DEADLINE, until};

use crate::pair::{Through, address};
use crate::pressure::push_until_held_up;

const SPLICED: &str = "wardgate_spliced_bytes_total";
const EXHAUSTED: &str = "wardgate_pipes_exhausted_total";

#[test]
fn a_gigabyte_passes_through_without_being_copied() {
    const COUNT: usize = 1 << 30;
    let through = Through::start();
    let pipes = through.gateway.process().pipes();
    let (mut client, mut server) = through.join();
    let sending = std::thread::spawn(move || {
        send_noise(&mut client, 1, COUNT);
        client.shutdown(Shutdown::Write).expect("it is connected");
        client
    });
    expect_noise(&mut server, 1, COUNT);
    assert_eq!(ending(&mut server), (0, Ending::Orderly));
    // The other direction is still open and works.
    let mut client = sending.join().expect("all bytes are sent");
    send_noise(&mut server, 2, 1_000_000);
    drop(server);
    expect_noise(&mut client, 2, 1_000_000);
    assert_eq!(ending(&mut client), (0, Ending::Orderly));
    let line = &through.gateway.wait_for_connections(1)[0];
    assert_eq!(line.number("sealed_bytes"), COUNT as u64);
    assert_eq!(line.number("opened_bytes"), 1_000_000);
    let spliced = through.gateway.metric(SPLICED) as usize;
    assert!(spliced > COUNT - COUNT / 10, "{spliced} of {COUNT} spliced");
    let used = through.gateway.process().pipes() - pipes;
    // One direction at a time, on one core.
    assert!((1..=2).contains(&used), "{used} pipes");
}

/// More stalled connections than pipes: the others copy, and none waits for a pipe. The pipes of connections
/// that were reset with bytes in them are closed, and new pipes replace them.
#[test]
fn pipes_are_bounded_and_only_empty_pipes_are_lent() {
    let through = Through::with(|site| site.gateway("cores", "[0]"));
    let process = through.gateway.process();
    let pipes = process.pipes();
    let joined: Vec<_> = (0..PIPES_MAX + 4).map(|_| through.join()).collect();
    let pushing = joined.into_iter().map(|(client, server)| {
        std::thread::spawn(move || {
            let sent = push_until_held_up(&client);
            (client, server, sent)
        })
    });
    let pushing: Vec<_> = pushing.collect();
    let stalled = pushing
        .into_iter()
        .map(|push| push.join().expect("held up"));
    let stalled: Vec<_> = stalled.collect();
    assert_eq!(process.pipes() - pipes, PIPES_MAX);
    assert!(through.gateway.metric(EXHAUSTED) >= 4.0);
    for (n, (client, mut server, sent)) in stalled.into_iter().enumerate() {
        if n % 2 == 0 {
            reset(server);
            until("the sender learns of it", DEADLINE, || {
                client.take_error().expect("it is a socket")
            });
        } else {
            client.shutdown(Shutdown::Write).expect("it is connected");
            expect_noise(&mut server, 1, sent);
            assert_eq!(ending(&mut server), (0, Ending::Orderly));
        }
    }
    through.gateway.wait_for_connections(PIPES_MAX + 4);
    // The kept pipes are empty: only those of reset connections are closed.
    let kept = process.pipes() - pipes;
    assert!(kept < PIPES_MAX, "{kept} pipes are kept");
    for _ in 0..PIPES_MAX + 4 {
        let (mut client, mut server) = through.join();
        send_noise(&mut client, 3, 100_000);
        expect_noise(&mut server, 3, 100_000);
    }
    assert!(process.pipes() - pipes <= PIPES_MAX);
}

/// Urgent data stops a splice as long as nobody reads it. Urgent data is part of the stream (RFC 6093).
#[test]
fn urgent_data_neither_stops_the_stream_nor_is_lost() {
    let through = Through::start();
    let (mut client, mut server) = through.join();
    for seed in 1..=20 {
        send_noise(&mut client, seed, 100_000);
        let sent = rustix::net::send(&client, b"!", SendFlags::OOB);
        assert_eq!(sent.expect("it is connected"), 1);
        expect_noise(&mut server, seed, 100_000);
        assert_eq!(one_byte(&mut server), b'!');
    }
    client.shutdown(Shutdown::Write).expect("it is connected");
    assert_eq!(ending(&mut server), (0, Ending::Orderly));
}

fn one_byte(stream: &mut TcpStream) -> u8 {
    use std::io::Read;
    let mut byte = [0];
    stream.read_exact(&mut byte).expect("it arrives");
    byte[0]
}

/// Bytes that were read from the sender and not delivered cause a reset at both ends.
#[test]
fn a_reset_with_bytes_in_the_pipe_is_seen_at_both_ends() {
    let through = Through::start();
    let (client, mut server) = through.join();
    push_until_held_up(&client);
    reset(client);
    assert_eq!(ending(&mut server).1, Ending::Reset);
    let line = &through.gateway.wait_for_connections(1)[0];
    assert!(line.text("reason").starts_with("reset: "), "{line:?}");
    assert_eq!(line.address("server"), Some(address(&through.exit)));
}
