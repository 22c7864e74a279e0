//! A worker: a thread pinned to a core, with its own ring, buffers, DNS cache and counters.
//!
//! A worker accepts for the routes whose listeners it has, hands each connection to the least loaded core,
//! and serves the connections that are handed to it. It never waits for the control plane: its reports go
//! into the journal's bounded queue.

mod activity;
mod busy_poller;
mod contain;
pub(crate) mod limits;
mod listener;
mod placement;
mod probes;
mod registry;
mod routes;

pub(crate) use contain::report_panics;
pub(crate) use placement::{ConnectionSlot, Loads, Placement};

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::audit::{
    CloseReason, ConnectionId, ConnectionIds, ConnectionSummary, Event, Journal, messages,
};
use crate::buffers::Pool;
use crate::metrics::{self, ClientStage};
use crate::pairing::desk::RenewalDesk;
use crate::pki::expiry::unix;
use crate::relay::{
    AcceptedConnection, ConnectionHandle, ConnectionView, Core, HandshakeLimiter, HandshakeRate,
    serve,
};
use crate::route::{Route, RouteId, RouteTable};
use crate::thread_sandbox::ThreadSandbox;
use crate::tls::Cipher;
use crate::upstream::{AddressReport, DnsCache, Failures, socket_options};
use crate::uring::{self, Capabilities, Pipes, Resolver, Ring, RingSocket};
use crate::worker::limits::PROBES_MAX;
use activity::{ActivityMeter, measured};
use busy_poller::BusyPoller;
pub(crate) use registry::Registry;
use routes::Routes;

/// What a worker answers, to show that it is not stuck.
pub(crate) type Ping = oneshot::Sender<()>;

/// A worker drops it when it has carried a message out.
pub(crate) type Done = mpsc::Sender<()>;

/// Messages to a worker.
pub(crate) enum Message {
    /// Serve this connection.
    Connection(Handed),
    /// Use these routes from now on. Open connections keep their route.
    Routes(Box<NewRoutes>),
    /// End this connection, and send a value if it was open.
    End(ConnectionId, mpsc::Sender<()>),
    /// Send what the operator may see of the open connections: at most this many of them.
    View(usize, mpsc::Sender<CoreView>),
    /// Close the listener of this route; open connections and probes continue.
    StopListening(RouteId, Done),
    /// Accept on this listener, which was closed by `StopListening` or is new.
    Listen(RouteId, Arc<TcpListener>),
    /// Close the listeners and end the probes; open connections continue.
    StopAccepting(Done),
    /// End after the last connection has ended.
    Finish,
    /// Do what a break-in into this worker would do.
    #[cfg(test)]
    Attack(Box<dyn FnOnce() + Send>),
}

/// The open connections of one core.
pub(crate) struct CoreView {
    /// The index of the core.
    pub core: usize,
    /// All open connections.
    pub open: usize,
    /// Those that have moved the most bytes.
    pub connections: Vec<ConnectionView>,
}

/// A connection on its way to the core that serves it.
pub(crate) struct Handed {
    /// The route that it was accepted for.
    pub route: Arc<Route>,
    /// The accepted socket.
    pub socket: TcpStream,
    /// The client's address.
    pub source: SocketAddr,
    /// Its slot among the core's connections.
    pub slot: ConnectionSlot,
}

/// A table of routes, and the listeners that are new to this worker.
pub(crate) struct NewRoutes {
    /// All routes.
    pub table: Arc<RouteTable>,
    /// Listeners to accept on from now on, with their routes. The worker that accepts for a route also probes
    /// the route's targets.
    pub listeners: Vec<(RouteId, Arc<TcpListener>)>,
}

/// Everything a worker starts with.
pub(crate) struct WorkerSetup {
    /// The CPU to run on.
    pub cpu: usize,
    /// The worker's index in `Loads` and in the counters of a route.
    pub core: usize,
    /// How long to stay awake after the last activity; `None` to sleep at once.
    pub busy_poll: Option<Duration>,
    /// The cipher that seals and opens records in place.
    pub cipher: Cipher,
    /// The features of the kernel's io_uring.
    pub capabilities: Capabilities,
    /// The first routes.
    pub routes: NewRoutes,
    /// Addresses and names that failed recently, shared by all cores.
    pub failures: Arc<Failures>,
    /// Looks names up.
    pub resolver: Resolver,
    /// Every worker's mailbox, in the order of the cores.
    pub mailboxes: Vec<mpsc::Sender<Message>>,
    /// This worker's mailbox.
    pub inbox: mpsc::Receiver<Message>,
    /// Pings of the watchdog, in a channel of their own: a full mailbox is no sign of a stuck worker.
    pub pings: mpsc::Receiver<Ping>,
    /// How many handshakes each source may begin, on all cores together.
    pub handshake_rate: Arc<HandshakeRate>,
    /// How many connections each core has, and the limits.
    pub loads: Arc<Loads>,
    /// This core's counters.
    pub counters: Arc<metrics::CoreCounters>,
    /// Where peers renew their CA certificates.
    pub renewals: RenewalDesk,
    /// The queue for events.
    pub journal: Journal,
    /// What the thread gives up when its ring is there.
    pub sandbox: ThreadSandbox,
}

/// Starts the worker's thread. `ready` receives the result of the startup once.
///
/// # Errors
/// If the system cannot create a thread.
pub(crate) fn start(
    plan: WorkerSetup,
    ready: std::sync::mpsc::Sender<io::Result<()>>,
) -> io::Result<JoinHandle<()>> {
    let name = format!("{}{}", contain::WORKER_PREFIX, plan.cpu);
    std::thread::Builder::new().name(name).spawn(move || {
        if let Err(error) = pin(plan.cpu) {
            let _ = ready.send(Err(error));
            return;
        }
        let capabilities = plan.capabilities;
        let (cpu, journal) = (plan.cpu, plan.journal.clone());
        let started = ready.clone();
        let main = async move {
            // The ring exists: no later system call makes one.
            let entered = plan.sandbox.enter();
            let may_work = entered.is_ok();
            let _ = started.send(entered);
            if !may_work {
                return;
            }
            // A separate task, so that it is only polled when it is woken.
            let _ = uring::spawn(run(plan)).await;
        };
        if let Err(error) = uring::start(&capabilities, main) {
            // If the ring failed after startup, `ready` has no receiver any more.
            journal.report(Event::Notice {
                message: &messages::RING_FAILED,
                text: format!("the ring of CPU {cpu} failed: {error}"),
            });
            let _ = ready.send(Err(error));
        }
    })
}

// Called before the ring and the buffers are created, so that their memory is on the core's NUMA node.
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
    registry: Registry,
    // Permits for concurrent probes.
    probes: Semaphore,
    mailboxes: Vec<mpsc::Sender<Message>>,
    placement: RefCell<Placement>,
    // The tick counter: advances every `placement::TURN` while there are connections.
    clock: Cell<u64>,
    busy_poller: Option<Rc<BusyPoller>>,
}

async fn run(plan: WorkerSetup) {
    let ids = ConnectionIds::new(plan.core, SystemTime::now());
    plan.counters.ids_start.set(ids.start());
    let thread = rustix::thread::gettid().as_raw_nonzero().get();
    plan.counters.thread.set(thread.unsigned_abs().into());
    let places = ClientStage::ALL.map(|stage| plan.loads.unauthenticated_max(stage));
    let shared = Rc::new(Shared {
        core: Core {
            table: RefCell::new(Some(Arc::clone(&plan.routes.table))),
            network: Ring::new(plan.resolver),
            cipher: plan.cipher,
            pool: Pool::default(),
            pipes: Pipes::default(),
            dns: dns(plan.failures, &plan.journal),
            connections_max: plan.loads.connections_max(),
            limiter: HandshakeLimiter::new(places, Arc::clone(&plan.counters))
                .with_rate(plan.handshake_rate),
            counters: plan.counters,
            journal: plan.journal,
            renewals: plan.renewals,
            place: plan.core,
        },
        ids,
        registry: Registry::default(),
        probes: Semaphore::new(PROBES_MAX),
        mailboxes: plan.mailboxes,
        clock: Cell::new(0),
        placement: RefCell::new(Placement::new(&plan.loads, Instant::now())),
        busy_poller: plan.busy_poll.map(BusyPoller::new),
    });
    let awake = shared.busy_poller.clone().map(|busy_poller| {
        let keep = async move { busy_poller.keep().await };
        uring::spawn(keep)
    });
    let pacing = Rc::clone(&shared);
    let pacing = uring::spawn(async move { pacing.core.limiter.run(uring::turn).await });
    let mut inbox = plan.inbox;
    let mut pings = plan.pings;
    let mut connections = JoinSet::new();
    let mut routes = Routes::default();
    routes.take(&shared, plan.routes).await;
    let mut next_turn = tokio::time::Instant::now();
    loop {
        tokio::select! {
            message = inbox.recv() => match message {
                Some(Message::Connection(handed)) => {
                    connections.spawn_local(connection(Rc::clone(&shared), handed));
                }
                Some(Message::Routes(new)) => {
                    let table = Arc::clone(&new.table);
                    // Before the listeners change: a peer that is accepted from now on is checked by this table.
                    shared.core.table.replace(Some(Arc::clone(&table)));
                    routes.take(&shared, *new).await;
                    shared.registry.end_unaccepted(&table, unix(SystemTime::now()));
                }
                Some(Message::End(id, found)) => {
                    if shared.registry.end_one(id) {
                        let _ = found.try_send(());
                    }
                }
                Some(Message::View(most, answer)) => {
                    let (open, connections) = shared.registry.view(most);
                    let core = shared.core.place;
                    note_cpu_time(&shared);
                    // There is a place for the answer of each core.
                    let _ = answer.try_send(CoreView { core, open, connections });
                }
                Some(Message::StopListening(route, _done)) => routes.stop_listening(route).await,
                Some(Message::Listen(route, listener)) => {
                    routes.listen(&shared, route, listener).await;
                }
                Some(Message::StopAccepting(_done)) => routes.stop().await,
                #[cfg(test)]
                Some(Message::Attack(attack)) => attack(),
                Some(Message::Finish) | None => break,
            },
            Some(answer) = pings.recv() => {
                // The receiver is gone only when the process ends.
                let _ = answer.send(());
            }
            // Finished tasks are removed at once, so that they hold no memory.
            Some(_) = connections.join_next() => {}
            // A core that neither serves nor places connections may sleep.
            () = uring::sleep_until(next_turn), if routes.accepts() || !connections.is_empty() => {
                next_turn = tokio::time::Instant::now() + placement::TURN;
                turn(&shared);
            }
        }
    }
    routes.stop().await;
    while connections.join_next().await.is_some() {}
    shared.core.limiter.end();
    let _ = pacing.await;
    if let (Some(busy_poller), Some(awake)) = (&shared.busy_poller, awake) {
        busy_poller.end();
        let _ = awake.await;
    }
}

// Creates the DNS cache, which also logs failures of targets and addresses.
fn dns(failures: Arc<Failures>, journal: &Journal) -> DnsCache {
    let journal = journal.clone();
    DnsCache::new(failures).reporting(move |route, report| {
        let message = match report {
            AddressReport::Silent { .. } => &messages::ADDRESS_SILENT,
            AddressReport::Fails { .. } => &messages::TARGET_FAILS,
            AddressReport::Unresolved { .. } => &messages::NAME_UNRESOLVED,
            AddressReport::Answers { .. } => &messages::ADDRESS_ANSWERS,
            AddressReport::Works { .. } => &messages::TARGET_WORKS,
            AddressReport::Resolved { .. } => &messages::NAME_RESOLVED,
        };
        let text = format!("route \"{}\": {report}", route.name);
        journal.report(Event::Notice { message, text });
    })
}

// Once a second, a peer's certificate that has expired ends its connection.
const EXPIRY_LOOK_TICKS: u64 = 1_000 / placement::TURN.as_millis() as u64;

fn turn(shared: &Shared) {
    let tick = shared.clock.get().wrapping_add(1);
    shared.clock.set(tick);
    if tick.is_multiple_of(EXPIRY_LOOK_TICKS) {
        shared.registry.end_expired(unix(SystemTime::now()));
    }
    let lent = u64::try_from(shared.core.pool.lent()).unwrap_or(u64::MAX);
    shared.core.counters.buffers_lent.set(lent);
    shared.placement.borrow_mut().look(Instant::now());
    note_cpu_time(shared);
}

fn note_cpu_time(shared: &Shared) {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    let used = Duration::try_from(used).unwrap_or_default();
    let micros = u64::try_from(used.as_micros()).unwrap_or(u64::MAX);
    shared.core.counters.cpu_micros.set(micros);
}

async fn connection(shared: Rc<Shared>, handed: Handed) {
    let Handed {
        route,
        socket,
        source,
        slot,
    } = handed;
    let options = socket_options(&route.config);
    // A system call that most routes do not need.
    let passes_on = route.config.source.sends_proxy || route.config.carries_source();
    let local = passes_on.then(|| socket.local_addr().ok()).flatten();
    // The client reset the connection between accept and here, before the first byte.
    let Ok(socket) = RingSocket::new(socket, &options) else {
        return;
    };
    let handle = ConnectionHandle::new(shared.ids.next(), route, source);
    let _registered = shared.registry.enter(Rc::clone(&handle));
    let accepted = AcceptedConnection {
        handle: Rc::clone(&handle),
        socket,
        local,
        is_beyond: slot.is_beyond(),
    };
    // Boxed, because a future that is passed by value exists twice in memory.
    let work = contain::contained(Box::pin(serve(&shared.core, accepted)));
    let (counters, limiter) = (&shared.core.counters, &shared.core.limiter);
    let of_route = handle.route.counters(shared.core.place);
    let mut activity = ActivityMeter::default();
    let clock = || limiter.is_watching().then(Instant::now);
    let each = |bytes, begun: Option<Instant>| {
        if let Some(begun) = begun.filter(|_| bytes > 0) {
            limiter.note_relayed(begun.elapsed());
        }
        counters.moved_bytes.add(bytes);
        if activity.add(shared.clock.get(), bytes) {
            counters.at_work.add(1);
        }
        if let Some(busy_poller) = &shared.busy_poller {
            busy_poller.note_activity();
        }
    };
    let account = measured(work, || of_route.moved_bytes(), clock, each).await;
    let account = account.unwrap_or_else(|panic| {
        let config = Arc::clone(&handle.route.config);
        ConnectionSummary::unserved(handle.id, config, source, CloseReason::Internal(panic))
    });
    drop(slot);
    shared
        .core
        .journal
        .report(Event::Connection(Box::new(account)));
}
