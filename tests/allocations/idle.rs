//! The idle tier: the memory that an idle connection holds.
//!
//! The allocator of this program counts for all threads, and ending connections free memory. Hence this test is
//! not one of the tier `allocations`, and has a program of its own.

mod route_pair;

use std::alloc::System;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use crate::route_pair::{RoutePair, exchange};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Connections before the count: they fill the pools, and let the tables of connections grow.
const WARM_UP: usize = 50;
/// The counted connections.
const CONNECTIONS: usize = 150;
/// A connection that has said nothing for so long is idle: what only the handshake needs is gone.
const REST: Duration = Duration::from_secs(1);
/// The bytes that an idle connection of one route may hold. Measured are 9.2 KiB: its task (4 KiB at most, which
/// a unit test holds), the keys of both directions, its places in the tables, and what is known of its peer. The
/// smallest buffer, of 16 KiB and more, would make it 25 KiB.
const HELD_MAX: usize = 12 << 10;
/// Fewer would show that something else was measured.
const HELD_MIN: usize = 4 << 10;

/// Connections through both modes that have exchanged a message, measured at rest. The kernel's memory does
/// not count.
#[test]
fn an_idle_connection_holds_no_buffer() {
    let routes = RoutePair::start();
    let _first = open(&routes, WARM_UP);
    let region = Region::new(ALLOCATOR);
    let _counted = open(&routes, CONNECTIONS);
    let change = region.change();
    let held = change
        .bytes_allocated
        .saturating_sub(change.bytes_deallocated);
    // Each goes through two routes.
    let held = held / (2 * CONNECTIONS);
    println!("an idle connection of one route holds {held} bytes");
    assert!(held <= HELD_MAX, "{held} bytes of {HELD_MAX}");
    assert!(held >= HELD_MIN, "{held} bytes are fewer than its task has");
}

fn open(routes: &RoutePair, count: usize) -> Vec<(TcpStream, TcpStream)> {
    let opened = (0..count).map(|_| {
        let (mut client, mut server) = routes.join();
        exchange(&mut client, &mut server, 1);
        (client, server)
    });
    let opened = opened.collect();
    thread::sleep(REST);
    opened
}
