//! One worker: a thread pinned to a core, with a ring, buffers, names and counters of its own.
//!
//! It accepts for the routes whose listeners it was given, hands each connection to the least loaded
//! core, and serves those that are handed to it. It waits for nobody: what it has to tell goes into
//! the journal's bounded queue.

mod contain;
mod effort;
mod listener;
mod placement;
mod probes;
mod wakeful;

pub use contain::report_panics;
pub use placement::{Loads, Scales, Seat};

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::audit::{Connection, ConnectionIds, Event, Journal, Level, Reason};
use crate::buffers::Pool;
use crate::metrics::{self, Stage};
use crate::relay::{Accepted, Core, HandshakeLimiter, Path, Stops, serve};
use crate::tls::Cipher;
use crate::upstream::{AddressReport, Names, Upstreams, socket_options};
use crate::uring::{self, Capabilities, Pipes, Ring, RingSocket};
use effort::{Effort, measured};
use probes::Probes;
use wakeful::Wakeful;

/// What a worker is told.
pub enum Message {
    /// Serve this connection.
    Connection(Handed),
    /// Close the listeners and end the probes; open connections go on.
    StopAccepting,
    /// End when the last connection has ended.
    End,
}

/// A connection on its way to the core that serves it.
pub struct Handed {
    /// The route's place in the configuration.
    pub path: usize,
    /// The accepted socket.
    pub socket: TcpStream,
    /// Who connected.
    pub source: SocketAddr,
    /// Its place among the core's connections.
    pub seat: Seat,
}

/// Everything a worker starts with.
pub struct Plan {
    /// The CPU to run on.
    pub cpu: usize,
    /// Its place among the workers, and in `Loads`.
    pub core: usize,
    /// How long to stay awake after the last activity; `None` is not at all.
    pub busy_poll: Option<Duration>,
    /// What seals and opens records in place.
    pub cipher: Cipher,
    /// What the kernel's ring offers.
    pub capabilities: Capabilities,
    /// All routes.
    pub paths: Arc<[Path]>,
    /// The targets of all routes, with what is known of each.
    pub upstreams: Arc<Upstreams>,
    /// The listeners that this worker accepts on, with their routes' places. It also probes the targets
    /// of these routes.
    pub listeners: Vec<(usize, TcpListener)>,
    /// Every worker's mailbox, in the order of the cores.
    pub mailboxes: Vec<mpsc::Sender<Message>>,
    /// This worker's mailbox.
    pub inbox: mpsc::Receiver<Message>,
    /// How many connections each core has, and may have.
    pub loads: Arc<Loads>,
    /// This core's counters.
    pub counters: Arc<metrics::Core>,
    /// Where events go.
    pub journal: Journal,
    /// When open connections must end.
    pub stops: Stops,
}

/// Starts the worker's thread. `ready` is told once how it went.
///
/// # Errors
/// When the system has no thread to give.
pub fn start(
    plan: Plan,
    ready: std::sync::mpsc::Sender<io::Result<()>>,
) -> io::Result<JoinHandle<()>> {
    let name = format!("{}{}", contain::WORKER_PREFIX, plan.cpu);
    std::thread::Builder::new().name(name).spawn(move || {
        if let Err(error) = pin(plan.cpu) {
            let _ = ready.send(Err(error));
            return;
        }
        let capabilities = plan.capabilities;
        let told = ready.clone();
        let main = async move {
            let _ = told.send(Ok(()));
            // A task of its own, so that it is polled when it has something to do.
            let _ = uring::spawn(run(plan)).await;
        };
        if let Err(error) = uring::start(&capabilities, main) {
            let _ = ready.send(Err(error));
        }
    })
}

// Pinned before the ring and the buffers are made, so that their memory is the core's own.
fn pin(cpu: usize) -> io::Result<()> {
    let set = core_affinity::set_for_current(core_affinity::CoreId { id: cpu });
    let now = rustix::thread::sched_getaffinity(None)?;
    if set && now.is_set(cpu) && now.count() == 1 {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "this thread cannot be pinned to CPU {cpu}"
    )))
}

/// What the tasks of one worker share.
struct Shared {
    core: Core<Ring>,
    ids: ConnectionIds,
    place: usize,
    paths: Arc<[Path]>,
    mailboxes: Vec<mpsc::Sender<Message>>,
    scales: RefCell<Scales>,
    // Goes on by one every `placement::TURN` while there are connections.
    clock: Cell<u64>,
    wakeful: Option<Rc<Wakeful>>,
}

async fn run(plan: Plan) {
    let places = Stage::ALL.map(|stage| plan.loads.unauthenticated_max(stage));
    let shared = Rc::new(Shared {
        core: Core {
            verbs: Ring::default(),
            cipher: plan.cipher,
            pool: Pool::default(),
            pipes: Pipes::default(),
            names: names(plan.upstreams, &plan.journal),
            connections_max: plan.loads.connections_max(),
            limiter: HandshakeLimiter::new(places, Arc::clone(&plan.counters)),
            counters: plan.counters,
            journal: plan.journal,
            stops: plan.stops,
        },
        ids: ConnectionIds::new(plan.core, SystemTime::now()),
        place: plan.core,
        paths: plan.paths,
        mailboxes: plan.mailboxes,
        clock: Cell::new(0),
        scales: RefCell::new(Scales::new(&plan.loads, Instant::now())),
        wakeful: plan.busy_poll.map(Wakeful::new),
    });
    let awake = shared.wakeful.clone().map(|wakeful| {
        let keep = async move { wakeful.keep().await };
        uring::spawn(keep)
    });
    let pacing = Rc::clone(&shared);
    let pacing = uring::spawn(async move { pacing.core.limiter.run(uring::turn).await });
    let mut inbox = plan.inbox;
    let mut connections = JoinSet::new();
    let places: Vec<_> = plan.listeners.iter().map(|(path, _)| *path).collect();
    let mut probes = Probes::start(&shared, &places);
    let listeners: Vec<_> = plan
        .listeners
        .into_iter()
        .map(|(path, listener)| listener::start(Rc::clone(&shared), path, listener))
        .collect();
    let accepts = !listeners.is_empty();
    let mut listeners = Some(listeners);
    let mut next_turn = tokio::time::Instant::now();
    loop {
        tokio::select! {
            message = inbox.recv() => match message {
                Some(Message::Connection(handed)) => {
                    connections.spawn_local(connection(Rc::clone(&shared), handed));
                }
                Some(Message::StopAccepting) => {
                    for listener in listeners.take().into_iter().flatten() {
                        listener.stop().await;
                    }
                    probes.stop().await;
                }
                Some(Message::End) | None => break,
            },
            // Reaped as they end, so that a finished task leaves nothing behind.
            Some(_) = connections.join_next() => {}
            // A core that neither serves nor places connections may sleep.
            () = uring::sleep_until(next_turn), if accepts || !connections.is_empty() => {
                next_turn = tokio::time::Instant::now() + placement::TURN;
                turn(&shared);
            }
        }
    }
    for listener in listeners.take().into_iter().flatten() {
        listener.stop().await;
    }
    probes.stop().await;
    while connections.join_next().await.is_some() {}
    shared.core.limiter.end();
    let _ = pacing.await;
    if let (Some(wakeful), Some(awake)) = (&shared.wakeful, awake) {
        wakeful.end();
        let _ = awake.await;
    }
}

// What is known of targets and their addresses, and what of it is logged.
fn names(upstreams: Arc<Upstreams>, journal: &Journal) -> Names {
    let journal = journal.clone();
    Names::new(upstreams).reporting(move |route, report| {
        let level = match report {
            AddressReport::Silent { .. } | AddressReport::Unresolved { .. } => Level::Warn,
            AddressReport::Answers { .. } | AddressReport::Resolved { .. } => Level::Info,
        };
        let text = format!("route \"{}\": {report}", route.name);
        journal.tell(Event::Notice { level, text });
    })
}

fn turn(shared: &Shared) {
    shared.clock.set(shared.clock.get().wrapping_add(1));
    shared.scales.borrow_mut().look(Instant::now());
}

async fn connection(shared: Rc<Shared>, handed: Handed) {
    let Handed {
        path,
        socket,
        source,
        seat,
    } = handed;
    let counters = &shared.core.counters;
    let (Some(path), Some(of_route)) = (shared.paths.get(path), counters.routes.get(path)) else {
        return;
    };
    let id = shared.ids.next();
    let options = socket_options(&path.route.timeouts);
    let account = match RingSocket::new(socket, &options) {
        // It was reset between accept and here, before it carried anything.
        Err(_) => return,
        Ok(socket) => {
            let accepted = Accepted {
                id,
                socket,
                source,
                is_beyond: seat.is_beyond(),
            };
            // Boxed, because a future that is passed on by value is held twice.
            let work = contain::contained(Box::pin(serve(&shared.core, path, accepted)));
            let mut effort = Effort::default();
            let limiter = &shared.core.limiter;
            let clock = || limiter.is_watching().then(Instant::now);
            let each = |bytes, begun: Option<Instant>| {
                if let Some(begun) = begun.filter(|_| bytes > 0) {
                    limiter.note_relayed(begun.elapsed());
                }
                if effort.add(shared.clock.get(), bytes) {
                    counters.at_work.add(1);
                }
                if let Some(wakeful) = &shared.wakeful {
                    wakeful.stir();
                }
            };
            measured(work, || of_route.moved_bytes(), clock, each).await
        }
    };
    let account = account.unwrap_or_else(|panic| {
        Connection::unserved(id, Arc::clone(&path.route), source, Reason::Internal(panic))
    });
    drop(seat);
    shared
        .core
        .journal
        .tell(Event::Connection(Box::new(account)));
}
