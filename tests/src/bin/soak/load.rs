//! The clients and servers of the load, and what they share.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::gateway::Links;
use crate::ledger::Ledger;
use crate::net::{Net, Place, loopback};
use crate::stream::Size;
use crate::{dicom, mllp, stream};

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

    fn enter(&self) -> bool {
        self.active.fetch_add(1, Ordering::SeqCst);
        // Looked at after the entry, so that whoever closes the gate sees this client or keeps it out.
        if self.is_closed() {
            self.leave();
            return false;
        }
        true
    }

    fn leave(&self) {
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

/// After a transfer, a client waits at least so long: a port that refuses gives no endless list.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// The streams' share of the load: how many idle connections stand.
const IDLE: usize = 40;

/// Starts all servers and clients; the gate is closed at first.
pub(crate) fn start(net: &Net, links: &Links, shared: &Arc<Shared>) {
    serve(
        net,
        shared,
        Place::B,
        links.store.target,
        |shared, listener| dicom::serve(shared, listener),
    );
    serve(
        net,
        shared,
        Place::A,
        links.back.target,
        |shared, listener| dicom::serve(shared, listener),
    );
    serve(
        net,
        shared,
        Place::B,
        links.messages.target,
        |shared, listener| mllp::serve(shared, listener),
    );
    for (link, kind) in [
        (&links.bulk, "bulk"),
        (&links.short, "short"),
        (&links.idle, "idle"),
        (&links.meddled, "meddled"),
    ] {
        serve(
            net,
            shared,
            Place::B,
            link.target,
            move |shared, listener| {
                stream::serve(shared, kind, listener);
            },
        );
    }
    let client = |place, pause: u64, work: Work| client(net, shared, place, pause, work);
    let store = loopback(links.store.entry);
    client(
        Place::A,
        200,
        Box::new(move |shared, _| dicom::associate(shared, store, 4, 256 << 10)),
    );
    client(
        Place::A,
        500,
        Box::new(move |shared, _| dicom::associate(shared, store, 40, 20 << 10)),
    );
    let back = loopback(links.back.entry);
    client(
        Place::B,
        500,
        Box::new(move |shared, _| dicom::associate(shared, back, 5, 100 << 10)),
    );
    let messages = loopback(links.messages.entry);
    client(
        Place::A,
        100,
        Box::new(move |shared, _| mllp::converse(shared, messages, 20, 4000)),
    );
    client(
        Place::A,
        700,
        Box::new(move |shared, _| mllp::converse(shared, messages, 3, 200_000)),
    );
    for (link, kind, count, pause, size) in [
        (
            &links.bulk,
            "bulk",
            1,
            100,
            Size {
                up: 8 << 20,
                down: 0,
            },
        ),
        (
            &links.bulk,
            "bulk",
            1,
            100,
            Size {
                up: 0,
                down: 8 << 20,
            },
        ),
        (
            &links.bulk,
            "bulk",
            1,
            100,
            Size {
                up: 3 << 20,
                down: 3 << 20,
            },
        ),
        (&links.short, "short", 3, 100, Size { up: 700, down: 300 }),
        (
            &links.meddled,
            "meddled",
            2,
            300,
            Size {
                up: 400_000,
                down: 400_000,
            },
        ),
    ] {
        let entry = loopback(link.entry);
        for _ in 0..count {
            client(
                Place::A,
                pause,
                Box::new(move |shared, turn| {
                    // Other lengths each time, so that records and segments end at other places.
                    let more = turn * 7919 % 4093;
                    let size = Size {
                        up: size.up + more,
                        down: size.down + more,
                    };
                    stream::transfer(shared, kind, entry, size);
                }),
            );
        }
    }
    let idle = loopback(links.idle.entry);
    for _ in 0..IDLE {
        client(
            Place::A,
            1000,
            Box::new(move |shared, _| stream::idle(shared, "idle", idle)),
        );
    }
}

type Work = Box<dyn FnMut(&Shared, u64) + Send>;

fn client(net: &Net, shared: &Arc<Shared>, place: Place, pause_ms: u64, mut work: Work) {
    let shared = Arc::clone(shared);
    let pause = Duration::from_millis(pause_ms).max(PAUSE_MIN);
    net.spawn(place, move || {
        for turn in 0.. {
            while !shared.gate.enter() {
                thread::sleep(PAUSE_MIN);
            }
            work(&shared, turn);
            shared.gate.leave();
            thread::sleep(pause);
        }
    });
}

fn serve(
    net: &Net,
    shared: &Arc<Shared>,
    place: Place,
    port: u16,
    work: impl FnOnce(&Arc<Shared>, TcpListener) + Send + 'static,
) {
    let shared = Arc::clone(shared);
    let address: SocketAddr = loopback(port);
    let bound = net.spawn(place, move || TcpListener::bind(address));
    let listener = bound.join().expect("no panic").expect("the port is free");
    thread::spawn(move || work(&shared, listener));
}
