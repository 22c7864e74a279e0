//! The whole relay: two routes of one gateway in this process, one originating to the other.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;

use crate::allocations;
use crate::route_pair::{RoutePair, exchange};

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
    // The pair keeps its files: the gateway would notice their end, read them again and log it.
    let pair = RoutePair::start();
    let (mut client, mut server) = pair.join();
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
