//! Thousands of connections are opened, used and closed: none of their resources may remain.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Instant;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use wardgate_tests::stream::{Ending, accept, connect, ending, expect_noise, send_noise};
use wardgate_tests::{DEADLINE, Gateway, Process, until};

use crate::pair::Pair;

/// Rounds, and the connections that are open at the same time in each.
const ROUNDS: usize = 20;
const CONNECTIONS: usize = 2000;
/// Threads that open them.
const CLIENTS: usize = 4;
/// Bytes in each direction, on each connection.
const BYTES: usize = 700;
/// The first rounds fill pools, tables and the allocator's arenas.
const SETTLED: usize = 3;
/// The minimum over this number of rounds is taken: the memory that the allocator keeps differs between
/// rounds.
const WINDOW: usize = 4;
/// The memory that may differ between two idle moments: 250 bytes for each connection in between.
const SLACK: u64 = 8 << 20;

/// The resources that a process holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    descriptors: usize,
    threads: u64,
    memory: u64,
}

#[test]
fn connections_leave_nothing_behind() {
    raise_descriptors();
    // 2,000 handshakes at once take longer than the deadline of one; other tests cover deadlines.
    let pair = Pair::with("mllp", |site| {
        site.timeout("handshake", "\"60s\"")
            .timeout("connect", "\"60s\"")
            .timeout("first_byte", "\"60s\"")
    });
    let start = Instant::now();
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        turn(pair.entry, &pair.exit);
        rounds.push([&pair.a, &pair.b].map(|gateway| settle(gateway, round + 1)));
    }
    println!("{ROUNDS} rounds took {:?}", start.elapsed());
    for (gateway, process) in [pair.a.process(), pair.b.process()].into_iter().enumerate() {
        let after = |round: usize| rounds[round - 1][gateway];
        let early = after(SETTLED);
        // A request for metrics has a socket for a moment as well, and a name look-up or a look at the files a
        // thread.
        until("descriptors are as before", DEADLINE, || {
            (process.descriptors() <= early.descriptors).then_some(())
        });
        until("threads are as before", DEADLINE, || {
            (process.threads() <= early.threads).then_some(())
        });
        let least = |from: usize| {
            let window = rounds.iter().skip(from).take(WINDOW);
            window.map(|held| held[gateway].memory).min()
        };
        let (early, late) = (least(SETTLED), least(ROUNDS - WINDOW));
        assert!(late < early.map(|bytes| bytes + SLACK), "{rounds:#?}");
    }
    for gateway in [&pair.a, &pair.b] {
        let total = (ROUNDS * CONNECTIONS) as u64;
        let complete = gateway.metric("wardgate_connections_complete_total");
        assert_eq!(complete as u64, total);
        // The log comes a moment later than the counters.
        until(
            "every connection is told or counted as lost",
            DEADLINE,
            || {
                let lost = gateway.metric("wardgate_log_events_dropped_total") as usize;
                (gateway.connections().len() + lost == ROUNDS * CONNECTIONS).then_some(())
            },
        );
    }
}

/// The resources of the gateway when no connection is open.
fn settle(gateway: &Gateway, rounds: usize) -> Held {
    let total = (rounds * CONNECTIONS) as u64;
    until("all connections have ended", DEADLINE, || {
        let ended = gateway.metric("wardgate_connections_complete_total") as u64;
        let open = gateway.metric("wardgate_connections_open") as u64;
        (ended == total && open == 0).then_some(())
    });
    let process = gateway.process();
    // The task of a connection and its sockets disappear a moment after the connection was counted.
    let mut seen = process.descriptors();
    let descriptors = until("descriptors come to rest", DEADLINE, || {
        let before = std::mem::replace(&mut seen, process.descriptors());
        (before == seen && seen < CONNECTIONS / 2).then_some(seen)
    });
    Held {
        descriptors,
        threads: process.threads(),
        memory: process.resident_bytes(),
    }
}

/// One round: all open, all used, all closed.
fn turn(entry: SocketAddr, exit: &TcpListener) {
    let exit = exit.try_clone().expect("descriptors are left");
    let server = std::thread::spawn(move || serve(&exit));
    let clients: Vec<JoinHandle<()>> = (0..CLIENTS)
        .map(|_| std::thread::spawn(move || use_connections(entry)))
        .collect();
    for client in clients {
        client.join().expect("every connection is served");
    }
    server.join().expect("every connection arrives");
}

fn use_connections(entry: SocketAddr) {
    let mut streams: Vec<_> = (0..CONNECTIONS / CLIENTS)
        .map(|_| {
            let mut stream = connect(entry);
            send_noise(&mut stream, 5, BYTES);
            stream
        })
        .collect();
    for stream in &mut streams {
        expect_noise(stream, 6, BYTES);
    }
    for stream in &mut streams {
        stream.shutdown(Shutdown::Write).expect("it is connected");
    }
    for stream in &mut streams {
        assert_eq!(ending(stream), (0, Ending::Orderly));
    }
}

fn serve(exit: &TcpListener) {
    let mut streams: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let mut stream = accept(exit);
            expect_noise(&mut stream, 5, BYTES);
            send_noise(&mut stream, 6, BYTES);
            stream
        })
        .collect();
    for stream in &mut streams {
        assert_eq!(ending(stream), (0, Ending::Orderly));
    }
}

/// Broken connections leave no more behind than connections with a clean end.
#[test]
fn broken_connections_leave_nothing_behind() {
    let pair = Pair::start("tcp");
    let mut early = None;
    for round in 0..6 {
        for _ in 0..100 {
            break_one(&pair, round);
        }
        let held = [&pair.a, &pair.b].map(|gateway| {
            until("all connections have ended", DEADLINE, || {
                let open = gateway.metric("wardgate_connections_open") as u64;
                (open == 0).then_some(())
            });
            gateway.process()
        });
        let early = *early.get_or_insert_with(|| held.map(Process::descriptors));
        until("descriptors are as before", DEADLINE, || {
            let now = held.map(Process::descriptors);
            (now[0] <= early[0] && now[1] <= early[1]).then_some(())
        });
    }
}

fn break_one(pair: &Pair, way: usize) {
    let (mut client, mut server): (TcpStream, TcpStream) = pair.join();
    client.write_all(&[1; 100]).expect("it is connected");
    server.read_exact(&mut [0; 100]).expect("it arrives");
    match way % 3 {
        0 => wardgate_tests::stream::reset(client),
        1 => wardgate_tests::stream::reset(server),
        _ => {
            wardgate_tests::stream::reset(client);
            wardgate_tests::stream::reset(server);
        }
    }
}

/// The test holds both ends of each connection.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("up to its maximum anybody may");
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let needed = 3 * CONNECTIONS as u64;
    assert!(
        most >= needed,
        "the limit of open files is {most}; this needs {needed}"
    );
}
