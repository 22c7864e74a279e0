//! The listening end: a thread for each connection, all of them ended when the server goes.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context as _;

/// A listening end that works on each connection and hands over what came of it.
pub(crate) struct Server<T> {
    address: SocketAddr,
    outcomes: Receiver<io::Result<T>>,
    stopping: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Server<T> {
    /// Listens, and does `work` on each connection. A read or write that stalls for `stall` fails.
    pub(crate) fn start<F>(listen: SocketAddr, stall: Duration, work: F) -> anyhow::Result<Self>
    where
        F: Fn(TcpStream) -> io::Result<T> + Send + Sync + 'static,
    {
        let listener =
            TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
        let address = listener.local_addr()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let (sender, outcomes) = channel();
        let work = Arc::new(work);
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let (work, sender) = (Arc::clone(&work), sender.clone());
                thread::spawn(move || {
                    let outcome = stream.and_then(|stream| {
                        prepare(&stream, stall)?;
                        work(stream)
                    });
                    // Nobody waits any more once the run has failed elsewhere.
                    let _ = sender.send(outcome);
                });
            }
        });
        Ok(Self {
            address,
            outcomes,
            stopping,
            acceptor: Some(acceptor),
        })
    }

    /// Where it listens, the port included that the system gave.
    #[cfg(test)]
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for what came of so many connections; the first failure ends the wait.
    pub(crate) fn wait(&self, connections: u32, stall: Duration) -> anyhow::Result<Vec<T>> {
        (0..connections)
            .map(|n| {
                let outcome = self.outcomes.recv_timeout(stall).with_context(|| {
                    format!("only {n} of {connections} connections came to an end")
                })?;
                outcome.context("a connection failed at the listening end")
            })
            .collect()
    }
}

impl<T> Drop for Server<T> {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        // Wakes the acceptor; where even this fails, the process is about to end anyway.
        if TcpStream::connect(self.address).is_ok()
            && let Some(acceptor) = self.acceptor.take()
        {
            let _ = acceptor.join();
        }
    }
}

/// Connects, and sets what both ends set: no Nagle, and no wait longer than `stall`.
pub(crate) fn connect(to: SocketAddr, stall: Duration) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, stall)
        .with_context(|| format!("cannot connect to {to}"))?;
    prepare(&stream, stall)?;
    Ok(stream)
}

fn prepare(stream: &TcpStream, stall: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(stall))?;
    stream.set_write_timeout(Some(stall))
}
