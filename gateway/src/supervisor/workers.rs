//! The workers as the supervisor sees them: mailboxes, loads, threads.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::Prepared;
use crate::audit::Journal;
use crate::limits::MAILBOX_MAX;
use crate::metrics;
use crate::relay::{Path, Stops};
use crate::tls::Cipher;
use crate::upstream::Upstreams;
use crate::uring::Capabilities;
use crate::worker::{self, Loads, Message, Plan};

/// All workers of this process.
pub(super) struct Workers {
    /// The counters of each core.
    pub(super) counters: Vec<Arc<metrics::Core>>,
    /// The targets of all routes, with what is known of each.
    pub(super) upstreams: Arc<Upstreams>,
    mailboxes: Vec<mpsc::Sender<Message>>,
    threads: Vec<JoinHandle<()>>,
    loads: Arc<Loads>,
    draining: watch::Sender<bool>,
    stop: watch::Sender<bool>,
}

impl Workers {
    /// Starts a worker on each configured core and waits until all are up.
    ///
    /// # Errors
    /// What kept one of them from starting.
    pub(super) fn start(
        prepared: Prepared,
        capabilities: Capabilities,
        cipher: Cipher,
        listeners: Vec<TcpListener>,
        journal: &Journal,
        connections_max: usize,
    ) -> Result<Self, String> {
        let cores = &prepared.config.gateway.cores;
        let busy_poll = prepared.config.gateway.busy_poll;
        let (mailboxes, inboxes): (Vec<_>, Vec<_>) =
            cores.iter().map(|_| mpsc::channel(MAILBOX_MAX)).unzip();
        let counters: Vec<_> = cores
            .iter()
            .map(|cpu| {
                let seen = prepared.paths.iter().map(Path::seen);
                Arc::new(metrics::Core::looking(*cpu, seen))
            })
            .collect();
        let (draining, is_draining) = watch::channel(false);
        let (stop, stopped) = watch::channel(false);
        let stops = Stops {
            draining: is_draining,
            stopped,
        };
        let mut workers = Self {
            loads: Loads::new(counters.clone(), connections_max),
            counters,
            upstreams: Upstreams::new(prepared.paths.iter().map(|path| &*path.route)),
            mailboxes,
            threads: Vec::new(),
            draining,
            stop,
        };
        let mut listeners = dealt(listeners, cores.len());
        let (ready, started) = std::sync::mpsc::channel();
        for (core, (cpu, inbox)) in cores.iter().zip(inboxes).enumerate() {
            let plan = Plan {
                cpu: *cpu,
                core,
                busy_poll,
                cipher,
                capabilities,
                paths: Arc::clone(&prepared.paths),
                upstreams: Arc::clone(&workers.upstreams),
                listeners: listeners
                    .get_mut(core)
                    .map(std::mem::take)
                    .unwrap_or_default(),
                mailboxes: workers.mailboxes.clone(),
                inbox,
                loads: Arc::clone(&workers.loads),
                counters: Arc::clone(&workers.counters[core]),
                journal: journal.clone(),
                stops: stops.clone(),
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

    /// Connections open now.
    pub(super) fn open(&self) -> usize {
        self.loads.open()
    }

    /// Returns when a worker is gone, which none should be; says which.
    pub(super) async fn lost(&mut self) -> String {
        loop {
            if let Some(thread) = self.threads.iter().find(|thread| thread.is_finished()) {
                let name = thread.thread().name().unwrap_or("worker").to_owned();
                return format!("{name} ended by itself; the process ends so that it is restarted");
            }
            sleep(LOOK).await;
        }
    }

    /// Closes all listeners.
    pub(super) async fn stop_accepting(&self) {
        self.tell_all(|| Message::StopAccepting).await;
    }

    /// Ends connections in order that have nothing outstanding, now and as soon as they have.
    pub(super) fn end_at_rest(&self) {
        let _ = self.draining.send(true);
    }

    /// Ends open connections visibly.
    pub(super) fn reset_connections(&self) {
        let _ = self.stop.send(true);
    }

    /// Returns when no connection is open.
    pub(super) async fn emptied(&self) {
        while self.open() > 0 {
            sleep(LOOK_CLOSELY).await;
        }
    }

    /// Lets the workers end, once no connection is open, and waits for them at most `limit`.
    ///
    /// # Errors
    /// When one panicked. One that only waits for the system's resolver is left behind: nothing
    /// depends on it any more.
    pub(super) async fn join(self, limit: Duration) -> Result<(), String> {
        self.tell_all(|| Message::End).await;
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

    async fn tell_all(&self, message: impl Fn() -> Message) {
        for mailbox in &self.mailboxes {
            // A worker that is gone has nothing left to be told.
            let _ = mailbox.send(message()).await;
        }
    }
}

const LOOK: Duration = Duration::from_millis(500);
const LOOK_CLOSELY: Duration = Duration::from_millis(10);

fn cannot_start(cpu: usize, error: &std::io::Error) -> String {
    format!("the worker of CPU {cpu} cannot start: {error}")
}

// Each listener is one core's; the routes are dealt out so that no core accepts for all.
fn dealt(listeners: Vec<TcpListener>, cores: usize) -> Vec<Vec<(usize, TcpListener)>> {
    let mut hands: Vec<_> = (0..cores).map(|_| Vec::new()).collect();
    for (path, listener) in listeners.into_iter().enumerate() {
        if let Some(hand) = hands.get_mut(path.checked_rem(cores).unwrap_or(0)) {
            hand.push((path, listener));
        }
    }
    hands
}
