//! Hundreds of gigabytes through one connection: `cargo xtask endurance`.
//!
//! Two gateways with their default limit of records per key run between a sender and a receiver in this
//! process. Every byte is compared. 300 GB are more records than one key seals, so the keys must change on
//! the way. This takes minutes, so CI runs a test with a lowered limit instead.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use wardgate_tests::stream::{Noise, accept, connect};
use wardgate_tests::{Gateway, Pki, Site, free_port};

const A: &str = "gw.a.example";
const B: &str = "gw.b.example";

/// The bytes of a block: a number, then noise that all blocks share. A prime, so that records and buffers
/// begin at other positions than blocks, and lost, doubled or moved bytes do not compare equal.
const BLOCK: usize = 1_048_583;
const NUMBER: usize = 8;

/// Records that a key seals by default.
const KEY_RECORDS: u64 = 1 << 24;
/// The maximum bytes of payload in a record.
const RECORD: u64 = 16_384;

fn main() {
    let gigabytes: u64 = match std::env::args().nth(1).map(|count| count.parse()) {
        None => 300,
        Some(Ok(count)) if count > 0 => count,
        Some(_) => panic!("endurance [GIGABYTES]"),
    };
    let blocks = gigabytes * 1_000_000_000 / BLOCK as u64;
    let pki = Pki::new();
    let exit = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let to = exit.local_addr().expect("it is bound");
    let [entry, wan] = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
    let b = Site::new(&pki, B).terminate(wan, to, &[format!("dns:{A}")]);
    let a = Site::new(&pki, A).originate(entry, wan, &[format!("dns:{B}")]);
    let (b, a) = (b.protocol("tcp").start(), a.protocol("tcp").start());

    let start = Instant::now();
    let client = connect(entry);
    let server = accept(&exit);
    let sender = thread::spawn(move || send(&client, blocks));
    receive(&server, blocks, start);
    sender.join().expect("all was sent");
    report(&a, &b, blocks, start);
}

fn report(a: &Gateway, b: &Gateway, blocks: u64, start: Instant) {
    let octets = blocks * BLOCK as u64;
    let seconds = start.elapsed().as_secs_f64();
    let (sealed, opened) = (a.key_updates().0, b.key_updates().1);
    let rate = octets as f64 / seconds / 1e9;
    println!("{octets} octets, all equal, in {seconds:.1} s ({rate:.2} GB/s)");
    println!("key updates: {sealed} sealed by A, {opened} opened by B");
    for (name, gateway) in [("A", a), ("B", b)] {
        let threads = gateway.process().threads_named("");
        let cpu: f64 = threads.iter().map(|it| it.cpu_time.as_secs_f64()).sum();
        println!("CPU of {name}: {:.3} s/GB", cpu / (octets as f64 / 1e9));
    }
    let least = octets / RECORD / KEY_RECORDS;
    assert!(sealed >= least && opened == sealed, "at least {least}");
}

fn block() -> Vec<u8> {
    Noise::new(1).take(BLOCK)
}

fn send(mut to: &TcpStream, blocks: u64) {
    let mut block = block();
    for number in 0..blocks {
        block[..NUMBER].copy_from_slice(&number.to_be_bytes());
        to.write_all(&block).expect("the gateway takes it");
    }
    to.shutdown(Shutdown::Write).expect("it is connected");
}

fn receive(mut from: &TcpStream, blocks: u64, start: Instant) {
    let (mut expected, mut received) = (block(), vec![0; BLOCK]);
    let tenth = (blocks / 10).max(1);
    for number in 0..blocks {
        expected[..NUMBER].copy_from_slice(&number.to_be_bytes());
        from.read_exact(&mut received).expect("all comes");
        assert!(received == expected, "block {number} differs");
        if (number + 1) % tenth == 0 {
            let percent = 100 * (number + 1) / blocks;
            println!("{percent} % after {:.0} s", start.elapsed().as_secs_f64());
        }
    }
    assert_eq!(from.read(&mut received).ok(), Some(0), "more than was sent");
}
