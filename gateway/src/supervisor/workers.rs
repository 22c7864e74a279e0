//! The workers as the supervisor sees them: mailboxes, loads, threads.

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::audit::{ConnectionId, Journal};
use crate::config::Gateway;
use crate::metrics;
use crate::pairing::desk::{RenewalDesk, RenewalRequest};
use crate::relay::HandshakeRate;
use crate::route::{Change, RouteId, RouteTable, diff};
use crate::supervisor::limits::MAILBOX_MAX;
use crate::thread_sandbox::ThreadSandbox;
use crate::tls::Cipher;
use crate::upstream::Failures;
use crate::uring::{Capabilities, Resolver};
use crate::worker::{self, CoreView, Done, Loads, Message, NewRoutes, Ping, WorkerSetup};

/// All workers of this process.
pub struct Workers {
    /// The counters of each core.
    pub counters: Vec<Arc<metrics::CoreCounters>>,
    table: Arc<RouteTable>,
    // The core that accepts for each route, by the core's index.
    acceptors: HashMap<RouteId, usize>,
    // The listeners; those that are closed are gone.
    listeners: HashMap<RouteId, Weak<TcpListener>>,
    mailboxes: Vec<mpsc::Sender<Message>>,
    // The channels of the watchdog.
    pings: Vec<mpsc::Sender<Ping>>,
    threads: Vec<JoinHandle<()>>,
    loads: Arc<Loads>,
    // What they ask about peers that renew their CA certificates.
    renewals: Option<mpsc::Receiver<RenewalRequest>>,
}

impl Workers {
    /// Starts a worker on each configured core and waits until all are up. The sandboxes are those of a worker and of
    /// the resolver.
    ///
    /// # Errors
    /// Why a worker could not start.
    pub fn start(
        config: &Gateway,
        table: Arc<RouteTable>,
        listeners: Vec<(RouteId, Arc<TcpListener>)>,
        (capabilities, cipher): (Capabilities, Cipher),
        [sandbox, of_resolver]: [ThreadSandbox; 2],
        journal: &Journal,
        connections_max: usize,
    ) -> Result<Self, String> {
        let cores = &config.cores;
        // LIMIT: one ping. The next one is sent after its answer.
        let (pings, pinged): (Vec<_>, Vec<_>) = cores.iter().map(|_| mpsc::channel(1)).unzip();
        let (mailboxes, inboxes): (Vec<_>, Vec<_>) =
            cores.iter().map(|_| mpsc::channel(MAILBOX_MAX)).unzip();
        let counters = cores
            .iter()
            .map(|cpu| Arc::new(metrics::CoreCounters::new(*cpu)));
        let counters: Vec<_> = counters.collect();
        let (desk, renewals) = RenewalDesk::new();
        let mut workers = Self {
            loads: Loads::new(counters.clone(), connections_max),
            counters,
            table: Arc::clone(&table),
            acceptors: HashMap::new(),
            listeners: HashMap::new(),
            mailboxes,
            pings,
            threads: Vec::new(),
            renewals: Some(renewals),
        };
        let failures = Arc::<Failures>::default();
        let resolver = Resolver::start(&of_resolver)
            .map_err(|error| format!("the thread that looks names up cannot start: {error}"))?;
        let handshake_rate = Arc::new(HandshakeRate::new(config.handshakes_per_second));
        let mut listeners = workers.assign_listeners(listeners);
        let (ready, started) = std::sync::mpsc::channel();
        for (core, (cpu, (inbox, pings))) in cores
            .iter()
            .zip(inboxes.into_iter().zip(pinged))
            .enumerate()
        {
            let plan = WorkerSetup {
                cpu: *cpu,
                core,
                busy_poll: config.busy_poll,
                cipher,
                capabilities,
                routes: NewRoutes {
                    table: Arc::clone(&table),
                    listeners: listeners.remove(&core).unwrap_or_default(),
                },
                handshake_rate: Arc::clone(&handshake_rate),
                failures: Arc::clone(&failures),
                resolver: resolver.clone(),
                mailboxes: workers.mailboxes.clone(),
                inbox,
                pings,
                loads: Arc::clone(&workers.loads),
                counters: Arc::clone(&workers.counters[core]),
                journal: journal.clone(),
                renewals: desk.clone(),
                sandbox: sandbox.clone(),
            };
            let thread = worker::start(plan, ready.clone());
            workers
                .threads
                .push(thread.map_err(|error| cannot_start(*cpu, &error))?);
        }
        drop(ready);
        for cpu in cores {
            let outcome = started
                .recv()
                .map_err(std::io::Error::other)
                .and_then(|started| started);
            outcome.map_err(|error| cannot_start(*cpu, &error))?;
        }
        Ok(workers)
    }

    /// The name of each worker's thread, and the channel for its pings.
    pub(super) fn pings(&self) -> Vec<(String, mpsc::Sender<Ping>)> {
        let names = self.threads.iter().map(|thread| thread.thread().name());
        let names = names.map(|name| name.unwrap_or("worker").to_owned());
        names.zip(self.pings.iter().cloned()).collect()
    }

    /// The requests about renewals, at the first call.
    pub(super) fn take_renewals(&mut self) -> Option<mpsc::Receiver<RenewalRequest>> {
        self.renewals.take()
    }

    /// Runs `attack` in the loop of the first worker.
    #[cfg(test)]
    pub(super) fn attack(&self, attack: Box<dyn FnOnce() + Send>) {
        let sent = self.mailboxes[0].try_send(Message::Attack(attack));
        assert!(sent.is_ok(), "the mailbox of a new worker is empty");
    }

    /// The number of open connections.
    pub fn open(&self) -> usize {
        self.loads.open()
    }

    /// Waits until a worker has ended, which is always a fault; returns a message that names it.
    pub async fn lost(&mut self) -> String {
        loop {
            if let Some(thread) = self.threads.iter().find(|thread| thread.is_finished()) {
                let name = thread.thread().name().unwrap_or("worker").to_owned();
                return format!(
                    "{name} ended unexpectedly; the process ends so that the service manager restarts it"
                );
            }
            sleep(LOOK).await;
        }
    }

    /// Closes all listeners, and waits until they are closed.
    pub async fn stop_accepting(&self) {
        self.send_and_wait(Message::StopAccepting).await;
    }

    /// Makes `table` serve connections accepted from now on. `listeners` are those of routes that are new or
    /// have a new address. Open connections continue on their old route; the caller drains those of routes
    /// that are not in `table`.
    ///
    /// # Errors
    /// A worker has ended.
    pub async fn publish(
        &mut self,
        table: Arc<RouteTable>,
        listeners: Vec<(RouteId, Arc<TcpListener>)>,
    ) -> Result<(), String> {
        let changes = diff(&self.table, &table);
        for change in &changes {
            if let Change::NewListener(route) | Change::Removed(route) = change {
                self.acceptors.remove(&route.id());
                self.listeners.remove(&route.id());
            }
        }
        let mut listeners = self.assign_listeners(listeners);
        for (core, mailbox) in self.mailboxes.iter().enumerate() {
            let routes = Box::new(NewRoutes {
                table: Arc::clone(&table),
                listeners: listeners.remove(&core).unwrap_or_default(),
            });
            let sent = mailbox.send(Message::Routes(routes)).await;
            sent.map_err(|_| WORKER_ENDED.to_owned())?;
        }
        self.table = table;
        Ok(())
    }

    /// Ends one connection with an error that both sides notice. Returns whether it was open.
    pub async fn end(&self, id: ConnectionId) -> bool {
        // LIMIT: one answer, because a connection is on one core only.
        let (found, mut answers) = mpsc::channel(1);
        self.send_to_all(|| Message::End(id, found.clone())).await;
        drop(found);
        let answer = timeout(ANSWER_WITHIN, answers.recv()).await;
        answer.is_ok_and(|answer| answer.is_some())
    }

    /// Asks each worker for what an operator may see of its open connections, at most `most` of each. Does not
    /// wait: a worker whose mailbox is full does not answer.
    pub(super) fn views(&self, most: usize) -> mpsc::Receiver<CoreView> {
        // LIMIT: one answer of each core.
        let (answer, answers) = mpsc::channel(self.mailboxes.len().max(1));
        for mailbox in &self.mailboxes {
            let _ = mailbox.try_send(Message::View(most, answer.clone()));
        }
        answers
    }

    /// The table whose routes accept.
    #[must_use]
    pub fn table(&self) -> &Arc<RouteTable> {
        &self.table
    }

    /// The open listener of a route.
    #[must_use]
    pub fn listener(&self, route: RouteId) -> Option<Arc<TcpListener>> {
        self.listeners.get(&route)?.upgrade()
    }

    /// Closes the listener of a route, and waits until it is closed. Its open connections continue.
    pub async fn stop_listening(&mut self, route: RouteId) {
        self.listeners.remove(&route);
        let message = |done| Message::StopListening(route, done);
        self.send_and_wait(message).await;
    }

    /// Accepts for a route of the table on `listener`.
    ///
    /// # Errors
    /// A worker has ended.
    pub async fn listen(
        &mut self,
        route: RouteId,
        listener: Arc<TcpListener>,
    ) -> Result<(), String> {
        let known = self.acceptors.get(&route).copied();
        let core = known.unwrap_or_else(|| self.idlest());
        self.acceptors.insert(route, core);
        self.listeners.insert(route, Arc::downgrade(&listener));
        let mailbox = self.mailboxes.get(core);
        let mailbox = mailbox.ok_or_else(|| WORKER_ENDED.to_owned())?;
        let sent = mailbox.send(Message::Listen(route, listener)).await;
        sent.map_err(|_| WORKER_ENDED.to_owned())
    }

    /// Waits until no connection is open.
    pub async fn emptied(&self) {
        while self.open() > 0 {
            sleep(LOOK_CLOSELY).await;
        }
    }

    /// Ends the workers after the last connection has ended, and waits at most `limit` for them.
    ///
    /// # Errors
    /// If a worker panicked. A worker that only waits for the system resolver is abandoned, because nothing
    /// depends on it any more.
    pub async fn join(self, limit: Duration) -> Result<(), String> {
        self.send_to_all(|| Message::Finish).await;
        let until = Instant::now() + limit;
        for thread in self.threads {
            while !thread.is_finished() && Instant::now() < until {
                sleep(LOOK_CLOSELY).await;
            }
            if thread.is_finished() {
                thread.join().map_err(|_| "a worker panicked".to_owned())?;
            }
        }
        Ok(())
    }

    // Assigns each listener to the core that accepts for the fewest routes, so that accepting is distributed
    // over all cores.
    fn assign_listeners(
        &mut self,
        listeners: Vec<(RouteId, Arc<TcpListener>)>,
    ) -> HashMap<usize, Vec<(RouteId, Arc<TcpListener>)>> {
        let mut hands = HashMap::<_, Vec<_>>::new();
        for (id, listener) in listeners {
            let core = self.idlest();
            self.acceptors.insert(id, core);
            self.listeners.insert(id, Arc::downgrade(&listener));
            hands.entry(core).or_default().push((id, listener));
        }
        hands
    }

    // The core that accepts for the fewest routes.
    fn idlest(&self) -> usize {
        let count = |core: &usize| self.acceptors.values().filter(|of| *of == core).count();
        (0..self.mailboxes.len()).min_by_key(count).unwrap_or(0)
    }

    async fn send_and_wait(&self, message: impl Fn(Done) -> Message) {
        // LIMIT: none is sent; the channel closes when every worker has dropped its end.
        let (done, mut all_done) = mpsc::channel(1);
        self.send_to_all(|| message(done.clone())).await;
        drop(done);
        // A worker that is stuck is the watchdog's concern.
        let _ = timeout(ANSWER_WITHIN, all_done.recv()).await;
    }

    async fn send_to_all(&self, message: impl Fn() -> Message) {
        for mailbox in &self.mailboxes {
            // A worker that has ended needs no message.
            let _ = mailbox.send(message()).await;
        }
    }
}

const WORKER_ENDED: &str = "a worker ended unexpectedly";

// A worker answers between two turns of its loop.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

const LOOK: Duration = Duration::from_millis(500);
const LOOK_CLOSELY: Duration = Duration::from_millis(10);

fn cannot_start(cpu: usize, error: &std::io::Error) -> String {
    format!("the worker of CPU {cpu} cannot start: {error}")
}
