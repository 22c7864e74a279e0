//! Accepts connections for a route on one core and hands each to the least loaded core.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::sync::Notify;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinHandle;

use super::{Handed, Message, Shared};
use crate::audit::{CloseReason, ConnectionSummary, Event, LogMessage, messages};
use crate::config::WhenDown;
use crate::metrics::ConnectionLimit;
use crate::route::Route;
use crate::uring;
use crate::worker::limits::{ACCEPT_BATCH, ACCEPT_PAUSE, LISTEN_AGAIN_PAUSE, LISTEN_BACKLOG};

/// A route's open listener.
pub(super) struct Listening {
    accepting: Rc<Accepting>,
    task: JoinHandle<()>,
}

/// State shared by the listener's task and the owner that stops it.
struct Accepting {
    #[expect(
        clippy::redundant_allocation,
        reason = "the ring counts its references in one thread, and the supervisor shares the listener"
    )]
    listener: Rc<Arc<TcpListener>>,
    // The route that serves connections accepted from now on.
    route: RefCell<Arc<Route>>,
    is_stopping: Cell<bool>,
    stopping: Notify,
}

impl Listening {
    /// Starts to accept on `listener` for `route`.
    pub(super) fn start(shared: Rc<Shared>, route: Arc<Route>, listener: Arc<TcpListener>) -> Self {
        let accepting = Rc::new(Accepting {
            listener: Rc::new(listener),
            route: RefCell::new(route),
            is_stopping: Cell::new(false),
            stopping: Notify::new(),
        });
        let work = accept_all(shared, Rc::clone(&accepting));
        Self {
            accepting,
            task: uring::spawn(work),
        }
    }

    /// Makes `route` serve connections accepted from now on.
    pub(super) fn accept_for(&self, route: Arc<Route>) {
        route.state.note_targets_changed();
        *self.accepting.route.borrow_mut() = route;
    }

    /// Stops accepting and closes the file descriptor, unless the listener serves another route from now on. If
    /// another process also holds the socket, it continues to listen; otherwise the kernel refuses new
    /// clients.
    pub(super) async fn stop(self) {
        self.accepting.is_stopping.set(true);
        self.accepting.stopping.notify_one();
        let _ = self.task.await;
    }
}

async fn accept_all(shared: Rc<Shared>, accepting: Rc<Accepting>) {
    let mut can_close = true;
    while !accepting.is_stopping.get() {
        let route = Arc::clone(&accepting.route.borrow());
        if can_close && route.refuses_connections() {
            can_close = refuse_while_down(&shared, &accepting).await;
            continue;
        }
        let ready = tokio::select! {
            biased;
            () = accepting.stopping.notified() => return,
            () = route.state.targets_changed() => continue,
            ready = uring::wait_acceptable(&accepting.listener) => ready,
        };
        if ready
            .and_then(|()| accept_some(&shared, &accepting))
            .is_err()
        {
            // Out of file descriptors or memory. Connections in the backlog survive the pause.
            shared.core.counters.accept_paused.add(1);
            uring::sleep(ACCEPT_PAUSE).await;
        }
    }
}

// Closes the listener while the route refuses connections (`when_down = "refuse"`). The socket stays bound, so no
// other program can take the port, and no privilege is needed to listen again. Waiting connections are reset.
// Returns whether the listener could be closed.
async fn refuse_while_down(shared: &Shared, accepting: &Accepting) -> bool {
    let route = || Arc::clone(&accepting.route.borrow());
    let counters = Arc::clone(route().counters(shared.core.place));
    if let Err(error) = rustix::net::connect_unspec(&*accepting.listener) {
        report(
            shared,
            &route(),
            &messages::LISTENER_CANNOT_REFUSE,
            |listen| {
                format!(
                    "all targets are down, but {listen} cannot refuse connections (when_down): {error}; it accepts \
                 them as without when_down"
                )
            },
        );
        return false;
    }
    counters.listener_closed.set(1);
    report(shared, &route(), &messages::LISTENER_REFUSES, |listen| {
        format!(
            "all targets are down or in maintenance: {listen} refuses connections until one is up (when_down)"
        )
    });
    let mut has_failed = false;
    while !accepting.is_stopping.get() {
        if route().refuses_connections() {
            accepting.pause(&route(), None).await;
            continue;
        }
        match rustix::net::listen(&*accepting.listener, LISTEN_BACKLOG) {
            Ok(()) => {
                let why = match route().config.when_down {
                    WhenDown::Refuse => "a target is up",
                    WhenDown::Accept => "when_down has changed",
                };
                report(shared, &route(), &messages::LISTENER_ACCEPTS, |listen| {
                    format!("{why}: {listen} accepts connections again")
                });
                break;
            }
            Err(error) if !has_failed => report(
                shared,
                &route(),
                &messages::LISTENER_CANNOT_ACCEPT,
                |listen| {
                    format!(
                        "{listen} cannot accept connections again: {error}; if another program listens there, stop \
                     it: the gateway tries again each second"
                    )
                },
            ),
            Err(_) => {}
        }
        has_failed = true;
        accepting.pause(&route(), Some(LISTEN_AGAIN_PAUSE)).await;
    }
    counters.listener_closed.set(0);
    true
}

fn report(
    shared: &Shared,
    route: &Route,
    message: &'static LogMessage,
    text: impl Fn(SocketAddr) -> String,
) {
    let (name, text) = (&route.config.name, text(route.config.listen));
    let text = format!("route \"{name}\": {text}");
    shared.core.journal.report(Event::Notice { message, text });
}

impl Accepting {
    // Waits until the listener is stopped or the targets of `route` change, and for no longer than `limit`.
    async fn pause(&self, route: &Route, limit: Option<Duration>) {
        let time = async {
            match limit {
                Some(limit) => uring::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.stopping.notified() => {}
            () = route.state.targets_changed() => {}
            () = time => {}
        }
    }
}

fn accept_some(shared: &Rc<Shared>, accepting: &Accepting) -> io::Result<()> {
    for _ in 0..ACCEPT_BATCH {
        match accepting.listener.accept() {
            Ok((socket, source)) => {
                let route = Arc::clone(&accepting.route.borrow());
                place(shared, route, socket, source);
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => return Ok(()),
                // This connection failed before accept; the next one may be fine.
                io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                // Another process that holds the socket has closed it for all, with `when_down`.
                io::ErrorKind::InvalidInput => {
                    rustix::net::listen(&*accepting.listener, LISTEN_BACKLOG)?;
                    return Ok(());
                }
                _ => return Err(error),
            },
        }
    }
    Ok(())
}

fn place(shared: &Rc<Shared>, route: Arc<Route>, socket: TcpStream, source: SocketAddr) {
    let source = SocketAddr::new(source.ip().to_canonical(), source.port());
    let own = shared.core.place;
    let counters = route.counters(own);
    counters.accepted.add(1);
    if let Err(reason) = may_connect(&route, source) {
        counters.sources_refused.add(1);
        return reset_connection(shared, &route, &socket, source, reason);
    }
    let full = route.full(shared.core.connections_max);
    let (mut placement, now) = (shared.placement.borrow_mut(), Instant::now());
    let slot = match full {
        None => placement.slot(own, now),
        Some(full) => placement.slot_of_full(own, now, |place, core| {
            full.can_free_place(core, place, &route)
        }),
    };
    drop(placement);
    let Some(slot) = slot else {
        counters.limited_by(ConnectionLimit::All).add(1);
        return refuse(shared, &route, &socket, source, "open connections");
    };
    let core = slot.core();
    let handed = Handed {
        route,
        socket,
        source,
        slot,
    };
    let Some(mailbox) = shared.mailboxes.get(core) else {
        return;
    };
    // LIMIT: MAILBOX_MAX, counted in wardgate_connections_limited_total.
    let sent = mailbox.try_send(Message::Connection(handed));
    if let Some(Message::Connection(handed)) = sent.err().map(TrySendError::into_inner) {
        refuse(
            shared,
            &handed.route,
            &handed.socket,
            source,
            "connections on their way to a core",
        );
    }
}

// Behind a proxy, `from` is about the addresses that the proxy names, which are read later.
fn may_connect(route: &Route, source: SocketAddr) -> Result<(), CloseReason> {
    let (from, proxies) = (&route.config.from, &route.config.source.accept_proxy);
    let (allowed, refusal) = match proxies {
        Some(_) => (proxies, CloseReason::ProxyNotListed),
        None => (from, CloseReason::SourceNotAllowed),
    };
    let mut networks = allowed.iter().flatten();
    match allowed.is_none() || networks.any(|network| network.contains(source.ip())) {
        true => Ok(()),
        false => Err(refusal),
    }
}

// Resets a connection for which there is no place.
fn refuse(
    shared: &Rc<Shared>,
    route: &Route,
    socket: &TcpStream,
    source: SocketAddr,
    which: &'static str,
) {
    route.counters(shared.core.place).limited.add(1);
    let reason = CloseReason::Limit(which.into());
    reset_connection(shared, route, socket, source, reason);
}

// Resets the connection, so that the client sees an error and not a clean end.
fn reset_connection(
    shared: &Rc<Shared>,
    route: &Route,
    socket: &TcpStream,
    source: SocketAddr,
    reason: CloseReason,
) {
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
    let id = shared.ids.next();
    let config = Arc::clone(&route.config);
    let account = ConnectionSummary::unserved(id, config, source, reason);
    shared
        .core
        .journal
        .report(Event::Connection(Box::new(account)));
}
