//! One core accepts for a route and hands each connection to the least loaded core.

use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinHandle;

use super::{Handed, Message, Shared};
use crate::audit::{Connection, Event, Reason};
use crate::limits::{ACCEPT_BATCH, ACCEPT_PAUSE};
use crate::uring;

/// A route's listener at work.
pub(super) struct Listening {
    listener: Rc<TcpListener>,
    stopping: Rc<Cell<bool>>,
    task: JoinHandle<()>,
}

impl Listening {
    /// Stops accepting and closes the listener. Who connects from now on is refused.
    pub(super) async fn stop(self) {
        self.stopping.set(true);
        // Ends the poll that is in flight; the descriptor closes with the last of its owners.
        let _ = rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both);
        let _ = self.task.await;
    }
}

/// Begins to accept on `listener` for the route at place `path`.
pub(super) fn start(shared: Rc<Shared>, path: usize, listener: TcpListener) -> Listening {
    let listener = Rc::new(listener);
    let stopping = Rc::new(Cell::new(false));
    let work = accept_all(shared, path, Rc::clone(&listener), Rc::clone(&stopping));
    Listening {
        listener,
        stopping,
        task: uring::spawn(work),
    }
}

async fn accept_all(
    shared: Rc<Shared>,
    path: usize,
    listener: Rc<TcpListener>,
    stopping: Rc<Cell<bool>>,
) {
    while !stopping.get() {
        let ready = uring::wait_acceptable(&listener).await;
        if stopping.get() {
            return;
        }
        if ready
            .and_then(|()| accept_some(&shared, path, &listener))
            .is_err()
        {
            // No descriptor or no memory: what waits in the backlog is not lost by waiting.
            shared.core.counters.accept_paused.add(1);
            uring::sleep(ACCEPT_PAUSE).await;
        }
    }
}

fn accept_some(shared: &Rc<Shared>, path: usize, listener: &TcpListener) -> io::Result<()> {
    for _ in 0..ACCEPT_BATCH {
        match listener.accept() {
            Ok((socket, source)) => place(shared, path, socket, source),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => return Ok(()),
                // The next in line may be well.
                io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                _ => return Err(error),
            },
        }
    }
    Ok(())
}

fn place(shared: &Rc<Shared>, path: usize, socket: TcpStream, source: SocketAddr) {
    let source = SocketAddr::new(source.ip().to_canonical(), source.port());
    let counters = shared.core.counters.routes.get(path);
    if let Some(counters) = counters {
        counters.accepted.add(1);
    }
    let full = shared
        .paths
        .get(path)
        .and_then(|path| path.full(shared.core.connections_max));
    let (mut scales, now) = (shared.scales.borrow_mut(), Instant::now());
    let seat = match full {
        None => scales.seat(shared.place, now),
        Some(full) => scales.seat_of_full(shared.place, now, |core| full.can_make_way(core, path)),
    };
    drop(scales);
    let Some(seat) = seat else {
        return turn_away(shared, path, &socket, source, "open connections");
    };
    let core = seat.core();
    let handed = Handed {
        path,
        socket,
        source,
        seat,
    };
    let Some(mailbox) = shared.mailboxes.get(core) else {
        return;
    };
    // LIMIT: MAILBOX_MAX, counted in wardgate_connections_limited_total.
    let sent = mailbox.try_send(Message::Connection(handed));
    if let Some(Message::Connection(handed)) = sent.err().map(TrySendError::into_inner) {
        turn_away(
            shared,
            path,
            &handed.socket,
            source,
            "connections on their way to a core",
        );
    }
}

// Reset, so that the application sees a refusal and not an orderly end.
fn turn_away(
    shared: &Rc<Shared>,
    path: usize,
    socket: &TcpStream,
    source: SocketAddr,
    which: &'static str,
) {
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
    if let Some(counters) = shared.core.counters.routes.get(path) {
        counters.limited.add(1);
    }
    let Some(path) = shared.paths.get(path) else {
        return;
    };
    let route = Arc::clone(&path.route);
    let id = shared.ids.next();
    let account = Connection::unserved(id, route, source, Reason::Limit(which.into()));
    shared
        .core
        .journal
        .tell(Event::Connection(Box::new(account)));
}
