//! The wire between the two sites: a relay that examines the traffic.
//!
//! The relay is in the position of an eavesdropper, between site A and site B. It reads every byte, counts
//! TLS records by type, and searches for byte strings that must not be visible. It changes nothing.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::needles::{Hits, Needles, Search};
use super::records::Records;
use crate::limits;

/// The relay between the sites.
pub(super) struct Wire {
    /// The address to which site A connects.
    pub(super) addr: SocketAddr,
    shared: Arc<Shared>,
}

/// The traffic of one direction, over all connections.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Direction {
    /// The number of bytes.
    pub(super) bytes: u64,
    /// TLS records by type, in the order of `records::RECORD_TYPES`.
    pub(super) records: [u64; 4],
    /// How often each needle was found, in the order of the needles.
    pub(super) hits: Vec<u64>,
    /// Violations of TLS 1.3.
    pub(super) faults: Vec<String>,
}

/// The traffic that an eavesdropper could see.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct WireTraffic {
    /// Connections that carried bytes and have ended.
    pub(super) connections: u64,
    /// From site A to site B.
    pub(super) a_to_b: Direction,
    /// From site B to site A.
    pub(super) b_to_a: Direction,
    /// Each needle with its hits in both directions.
    pub(super) hits: Vec<Hits>,
}

struct Shared {
    needles: Arc<Needles>,
    target: SocketAddr,
    /// Bytes so server in both directions, to detect a stall.
    moved: AtomicU64,
    totals: Mutex<Totals>,
}

#[derive(Default)]
struct Totals {
    open: u64,
    traffic: WireTraffic,
}

impl Wire {
    /// Relays the connections of `listener` to `target`, and searches for the needles in them.
    ///
    /// Its threads end with their connections, or with the process.
    pub(super) fn start(
        listener: TcpListener,
        target: SocketAddr,
        needles: Arc<Needles>,
    ) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            needles,
            target,
            moved: AtomicU64::new(0),
            totals: Mutex::default(),
        });
        let worker = Arc::clone(&shared);
        let accept = move || {
            for client in listener.incoming().flatten() {
                relay(client, &worker);
            }
        };
        thread::Builder::new().name("wire".into()).spawn(accept)?;
        Ok(Self { addr, shared })
    }

    /// Bytes relayed so server, in both directions.
    pub(super) fn moved(&self) -> u64 {
        self.shared.moved.load(Ordering::Relaxed)
    }

    /// Whether `connections` connections were relayed and all have ended.
    pub(super) fn quiet(&self, connections: u64) -> bool {
        let totals = self.shared.totals();
        totals.open == 0 && totals.traffic.connections >= connections
    }

    /// The traffic of the connections that have ended.
    pub(super) fn traffic(&self) -> WireTraffic {
        let mut traffic = self.shared.totals().traffic.clone();
        let count = self.shared.needles.len();
        traffic.a_to_b.hits.resize(count, 0);
        traffic.b_to_a.hits.resize(count, 0);
        let both = traffic.a_to_b.hits.iter().zip(&traffic.b_to_a.hits);
        let both: Vec<u64> = both.map(|(a_to_b, b_to_a)| a_to_b + b_to_a).collect();
        traffic.hits = self.shared.needles.describe(&both);
        traffic
    }
}

impl Shared {
    // A thread that panicked leaves consistent numbers behind; the run then fails for another reason.
    fn totals(&self) -> std::sync::MutexGuard<'_, Totals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Direction {
    fn add(&mut self, other: &Self) {
        self.bytes += other.bytes;
        for (sum, more) in self.records.iter_mut().zip(other.records) {
            *sum += more;
        }
        self.hits.resize(other.hits.len(), 0);
        for (sum, more) in self.hits.iter_mut().zip(&other.hits) {
            *sum += more;
        }
        self.faults.extend(other.faults.iter().cloned());
    }
}

/// Relays one connection in two threads of its own.
fn relay(client: TcpStream, shared: &Arc<Shared>) {
    let worker = Arc::clone(shared);
    shared.totals().open += 1;
    let both = move || {
        let outcome = both_ways(&client, &worker);
        let mut totals = worker.totals();
        totals.open -= 1;
        let traffic = &mut totals.traffic;
        match outcome {
            Ok((a_to_b, b_to_a)) if a_to_b.bytes + b_to_a.bytes > 0 => {
                traffic.connections += 1;
                traffic.a_to_b.add(&a_to_b);
                traffic.b_to_a.add(&b_to_a);
            }
            // A probe: a connection without a byte.
            Ok(_) => {}
            Err(error) => traffic.a_to_b.faults.push(format!("relay: {error}")),
        }
    };
    // If no thread can be started, the connection closes, and the sender detects that.
    if thread::Builder::new().spawn(both).is_err() {
        shared.totals().open -= 1;
    }
}

fn both_ways(client: &TcpStream, shared: &Shared) -> io::Result<(Direction, Direction)> {
    let server = TcpStream::connect_timeout(&shared.target, limits::STALL)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let server = &server;
    thread::scope(|scope| {
        let b_to_a = scope.spawn(move || pump(server, client, shared));
        let a_to_b = pump(client, server, shared);
        let b_to_a = b_to_a
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("panic")));
        Ok((a_to_b?, b_to_a?))
    })
}

/// Relays one direction until it ends, and examines its bytes.
fn pump(mut from: &TcpStream, mut to: &TcpStream, shared: &Shared) -> io::Result<Direction> {
    let mut search = Search::new(Arc::clone(&shared.needles));
    let mut records = Records::default();
    let mut bytes = 0;
    let mut buffer = vec![0; limits::WIRE_BUFFER_BYTES];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return Ok(cut(from, to, bytes, &search, &records)),
        };
        let passed = buffer.get(..read).unwrap_or_default();
        if to.write_all(passed).is_err() {
            return Ok(cut(from, to, bytes, &search, &records));
        }
        bytes += read as u64;
        shared.moved.fetch_add(read as u64, Ordering::Relaxed);
        search.feed(passed);
        records.feed(passed);
    }
    // The other direction may continue: a half-close, as in TCP.
    let _ = to.shutdown(Shutdown::Write);
    let fault = if bytes > 0 {
        records.finish().err()
    } else {
        None
    };
    Ok(Direction {
        bytes,
        records: records.counts(),
        hits: search.hits().to_vec(),
        faults: fault.iter().map(ToString::to_string).collect(),
    })
}

/// Ends both directions of a connection that was reset, and reports it.
fn cut(
    from: &TcpStream,
    to: &TcpStream,
    bytes: u64,
    search: &Search,
    records: &Records,
) -> Direction {
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
    Direction {
        bytes,
        records: records.counts(),
        hits: search.hits().to_vec(),
        faults: vec!["the connection was reset".into()],
    }
}
