//! `bandwidth`: the rate of a route, its shares, and the delay of a short message beside bulk.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wardgate_tests::stream::{accept, connect};
use wardgate_tests::{Pki, Site, one_good_round};

use crate::pair::{A, Pair, address, listen, local};

/// Counts what arrives until the stream ends.
fn count(mut stream: TcpStream) -> Arc<AtomicU64> {
    let count = Arc::<AtomicU64>::default();
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(some @ 1..) = stream.read(&mut bytes) {
            counted.fetch_add(some as u64, Ordering::Relaxed);
        }
    });
    count
}

/// Sends until the stream ends.
fn send(mut stream: TcpStream) {
    std::thread::spawn(move || while stream.write_all(&[7; 1 << 16]).is_ok() {});
}

/// The bytes per second of each in the next seconds.
fn rates(counts: &[Arc<AtomicU64>], time: Duration) -> Vec<f64> {
    let read = || counts.iter().map(|count| count.load(Ordering::Relaxed));
    let before: Vec<_> = read().collect();
    let begun = Instant::now();
    std::thread::sleep(time);
    let seconds = begun.elapsed().as_secs_f64();
    let moved = read().zip(before).map(|(now, before)| now - before);
    moved.map(|bytes| bytes as f64 / seconds).collect()
}

/// Goal: two streams of bulk in one direction, and one in the other, have the route's bandwidth within 10 %,
/// and the two share it within 20 %. Method: two rates, on the sealing and on the opening end.
#[test]
fn bulk_has_the_bandwidth_of_its_route_and_shares_it() {
    for (text, rate, at_a) in [("16Mbit/s", 2e6, true), ("160Mbit/s", 2e7, false)] {
        let limited = |site: Site| site.set("bandwidth", format!("\"{text}\""));
        let pair = match at_a {
            true => Pair::each("tcp", limited, |site| site),
            false => Pair::each("tcp", |site| site, limited),
        };
        let streams: Vec<_> = (0..2).map(|_| pair.join()).collect();
        let mut there = Vec::new();
        for (client, server) in &streams {
            send(client.try_clone().expect("a descriptor"));
            there.push(count(server.try_clone().expect("a descriptor")));
        }
        let (client, server) = &streams[0];
        send(server.try_clone().expect("a descriptor"));
        let back = [count(client.try_clone().expect("a descriptor"))];
        // What sockets and buffers hold is filled.
        std::thread::sleep(Duration::from_secs(2));
        let all = [&there[..], &back].concat();
        // A pause of the gateway costs a stream its turns; wrong shares are wrong in every round.
        one_good_round(3, || {
            let rates = rates(&all, Duration::from_secs(4));
            println!("{text}: {rates:?}");
            let [one, other, back] = rates[..] else {
                panic!("three rates");
            };
            // The bandwidth is a bound; below it is what other programs leave of the machine.
            let is_near = |sum: f64| (0.8..1.1).contains(&(sum / rate));
            let is_shared = (one / other - 1.0).abs() < 0.2;
            let is_good = is_near(one + other) && is_near(back) && is_shared;
            is_good.then_some(()).ok_or(format!("{text}: {rates:?}"))
        });
        let limits = if at_a { &pair.a } else { &pair.b };
        assert!(limits.metric("wardgate_bandwidth_delayed_total") > 0.0);
    }
}

/// Goal: the same on a passthrough route, and a short message beside bulk is not delayed by its queue.
/// Method: 8 streams of bulk at 40 Mbit/s, so a message in order behind each would wait 16 ms and more.
#[test]
fn a_short_message_does_not_wait_behind_bulk_on_a_route_with_a_bandwidth() {
    let pki = Pki::new();
    // The two medians are taken seconds apart, and other programs may run meanwhile; a message that waits behind bulk
    // waits in every round.
    one_good_round(4, || send_short_messages_beside_bulk(&pki));
}

fn send_short_messages_beside_bulk(pki: &Pki) -> Result<(), String> {
    let (entry, exit) = (local(), listen());
    let site = Site::new(pki, A).passthrough(entry, address(&exit));
    let _gateway = site.set("bandwidth", "\"40Mbit/s\"").start();
    let join = || {
        let client = connect(entry);
        // The target is connected with the first byte.
        (&client).write_all(&[0]).expect("connected");
        let mut server = accept(&exit);
        server.read_exact(&mut [0]).expect("it arrives");
        (client, server)
    };
    let (mut client, mut server) = join();
    let mut ask = || {
        let begun = Instant::now();
        client.write_all(&[1; 200]).expect("connected");
        server.read_exact(&mut [0; 200]).expect("it arrives");
        begun.elapsed()
    };
    let mut median = || {
        let mut times: Vec<_> = (0..41)
            .map(|_| {
                std::thread::sleep(Duration::from_millis(20));
                ask()
            })
            .collect();
        times.sort();
        times[times.len() / 2]
    };
    let quiet = median();
    let bulk: Vec<_> = (0..8)
        .map(|_| {
            let (client, server) = join();
            send(client.try_clone().expect("a descriptor"));
            (client, count(server))
        })
        .collect();
    std::thread::sleep(Duration::from_secs(1));
    let counts: Vec<_> = bulk.iter().map(|(_, count)| Arc::clone(count)).collect();
    let beside = median();
    let rates = rates(&counts, Duration::from_secs(3));
    let seen = format!("quiet {quiet:?}, beside bulk {beside:?}, {rates:?}");
    println!("{seen}");
    let is_near = (0.8..1.1).contains(&(rates.iter().sum::<f64>() / 5e6));
    let is_soon = beside < quiet + Duration::from_millis(8);
    (is_near && is_soon).then_some(()).ok_or(seen)
}
