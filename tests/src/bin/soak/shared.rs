//! What all clients and servers of the load share: the ledger, the gate, the rate and the counts.

use std::collections::BTreeMap;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::ledger::{Ending, Ledger};

/// A client's direction: what it wrote, or what it read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Direction {
    Up,
    Down,
}

/// Bytes that the clients of one route wrote and read.
pub(crate) type Counts = BTreeMap<&'static str, [u64; 2]>;

/// Whether the load runs. Clients look at it between two transfers.
#[derive(Debug)]
pub(crate) struct Gate {
    closed: AtomicBool,
    active: AtomicUsize,
}

impl Gate {
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// A client begins, unless the gate is closed.
    pub(crate) fn enter(&self) -> bool {
        self.active.fetch_add(1, Ordering::SeqCst);
        // Looked at after the entry, so that the thread that closes the gate sees this client or keeps it out.
        if self.is_closed() {
            self.leave();
            return false;
        }
        true
    }

    /// A client has finished.
    pub(crate) fn leave(&self) {
        self.active.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What all clients and servers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) ledger: Ledger,
    pub(crate) gate: Gate,
    serving: AtomicUsize,
    repeated: AtomicU64,
    counts: Mutex<Counts>,
    /// Bytes per second of all clients together, and when the next bytes may go.
    rate: f64,
    next: Mutex<Instant>,
}

impl Shared {
    pub(crate) fn new(bytes_per_second: f64) -> Self {
        Self {
            ledger: Ledger::new(),
            gate: Gate {
                closed: AtomicBool::new(true),
                active: AtomicUsize::new(0),
            },
            serving: AtomicUsize::new(0),
            repeated: AtomicU64::new(0),
            counts: Mutex::default(),
            rate: bytes_per_second,
            next: Mutex::new(Instant::now()),
        }
    }

    /// Waits until the rate allows so many more bytes.
    pub(crate) fn pace(&self, bytes: usize) {
        let turn = {
            let mut next = self.next.lock().expect("no holder of this lock panics");
            let turn = (*next).max(Instant::now());
            *next = turn + Duration::from_secs_f64(bytes as f64 / self.rate);
            turn
        };
        thread::sleep(turn.saturating_duration_since(Instant::now()));
    }

    /// Counts bytes of the route that carries this kind.
    pub(crate) fn count(&self, kind: &'static str, direction: Direction, bytes: u64) {
        let mut counts = self.counts.lock().expect("no holder of this lock panics");
        let counts = counts.entry(kind).or_default();
        match direction {
            Direction::Up => counts[0] += bytes,
            Direction::Down => counts[1] += bytes,
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let counts = self.counts.lock().expect("no holder of this lock panics");
        counts.clone()
    }

    /// A message was sent once more because an earlier process had closed between two messages.
    pub(crate) fn repeated(&self) {
        self.repeated.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn repeats(&self) -> u64 {
        self.repeated.load(Ordering::Relaxed)
    }

    /// Serves one connection on a thread of its own.
    pub(crate) fn served(self: &Arc<Self>, serve: impl FnOnce(&Self) + Send + 'static) {
        self.serving.fetch_add(1, Ordering::SeqCst);
        let shared = Arc::clone(self);
        let thread = thread::Builder::new().stack_size(256 << 10);
        let thread = thread.spawn(move || {
            serve(&shared);
            shared.serving.fetch_sub(1, Ordering::SeqCst);
        });
        thread.expect("a thread");
    }

    /// Serves connections, and judges how each one ended, until the process ends.
    pub(crate) fn serve(
        self: &Arc<Self>,
        listener: TcpListener,
        what: &str,
        answer: fn(&Self, TcpStream) -> io::Result<()>,
    ) {
        for socket in listener.incoming().flatten() {
            let what = what.to_owned();
            self.served(move |shared| {
                let begun = Instant::now();
                let ending = match answer(shared, socket) {
                    Ok(()) => Ending::Complete,
                    Err(error) => Ending::of(&error),
                };
                shared.ledger.judge(&what, begun, &ending);
            });
        }
    }

    /// Clients and servers that have something to do.
    pub(crate) fn busy(&self) -> [usize; 2] {
        [&self.gate.active, &self.serving].map(|count| count.load(Ordering::SeqCst))
    }

    /// Starts the load again.
    pub(crate) fn open(&self) {
        self.gate.closed.store(false, Ordering::SeqCst);
    }

    /// Lets every client finish its last transfer.
    pub(crate) fn close(&self) {
        self.gate.closed.store(true, Ordering::SeqCst);
    }
}
