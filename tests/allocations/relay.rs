//! The whole relay: two routes of one gateway in this process, one originating to the other.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use gateway::supervisor;
use wardgate_tests::stream::{accept, bounded};
use wardgate_tests::{DEADLINE, Pki, Site, free_port, until};

use crate::allocations;

const MIB: usize = 1 << 20;
/// The bytes that move before the count.
const WARM_UP: usize = 256 * MIB;
/// The bytes that move during the count.
const BULK: usize = 256 * MIB;
/// The messages with answers during the count.
const MESSAGES: usize = 1000;
/// The maximum for the test's own thread and the gateway's timers in the meantime. The bulk is 32,768 sealed
/// or opened records, and the messages are 4,000.
const ALLOCATIONS_MAX: usize = 40;

pub(crate) fn bulk_and_messages_through_both_modes_allocate_nothing() {
    let (mut client, mut server) = join();
    let mut room = vec![0; MIB];
    move_bytes(&mut client, &mut server, &mut room, WARM_UP);
    let count = allocations(|| move_bytes(&mut client, &mut server, &mut room, BULK));
    assert!(count <= ALLOCATIONS_MAX, "{count} allocations for bulk");
    println!("{count} allocations for {} MiB", BULK / MIB);

    exchange(&mut client, &mut server, MESSAGES / 10);
    let count = allocations(|| exchange(&mut client, &mut server, MESSAGES));
    assert!(count <= ALLOCATIONS_MAX, "{count} allocations for messages");
    println!("{count} allocations for {MESSAGES} messages there and back");
}

/// A message and its echo, by turns.
fn exchange(client: &mut TcpStream, server: &mut TcpStream, count: usize) {
    let mut message = [7; 200];
    for _ in 0..count {
        client.write_all(&message).expect("it is connected");
        server.read_exact(&mut message).expect("it comes");
        server.write_all(&message).expect("it is connected");
        client.read_exact(&mut message).expect("it comes back");
    }
}

/// Moves bytes in one direction; its only cost is a thread for the other end.
fn move_bytes(client: &mut TcpStream, server: &mut TcpStream, room: &mut [u8], count: usize) {
    static PIECE: [u8; 256 << 10] = [0x5a; 256 << 10];
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..count / PIECE.len() {
                client.write_all(&PIECE).expect("it is connected");
            }
        });
        let mut received = 0;
        while received < count {
            let some = server.read(room).expect("it is connected");
            assert_ne!(some, 0, "ends after {received} of {count}");
            received += some;
        }
    });
}

/// A connection through both routes of a gateway that runs as long as this process.
fn join() -> (TcpStream, TcpStream) {
    let pki = Pki::new();
    let exit = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let to = exit.local_addr().expect("it is bound");
    let [entry, wan] = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
    // A route may not accept its own site as its peer.
    let far = pki.leaf("gw.far.example");
    let identity = format!(
        "{{ certificate = {:?}, key = {:?}, trust = {:?} }}",
        far.certificate, far.key, far.trust
    );
    let site = Site::new(&pki, "gw.example")
        .originate(entry, wan, &["dns:gw.far.example"])
        .protocol("tcp")
        .terminate(wan, to, &["dns:gw.example"])
        .protocol("tcp")
        .set("identity", identity);
    let file = pki.path("wardgate.toml");
    site.write(&file);
    thread::spawn(move || supervisor::run(&file));
    let client = until("the gateway does not listen", DEADLINE, || {
        TcpStream::connect(entry).ok()
    });
    (bounded(client), accept(&exit))
}
