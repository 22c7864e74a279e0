//! Sockets of both ends, and a listening end with a thread for each connection.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context as _;
use socket2::{Domain, Protocol, Socket, Type};

use crate::load::Between;
use crate::pin;

/// A listening end that works on each connection and returns its result.
///
/// For few connections whose answers must be prompt; `poll::Sink` is for many.
pub(crate) struct Server<T> {
    address: SocketAddr,
    outcomes: Outcomes<T>,
    stopping: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Server<T> {
    /// Listens, and runs `work` on each connection. A read or write that stalls fails.
    pub(crate) fn start<F>(between: &Between, work: F) -> anyhow::Result<Self>
    where
        F: Fn(TcpStream) -> io::Result<T> + Send + Sync + 'static,
    {
        let listener = listen(between)?;
        let address = listener.local_addr()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let (sender, outcomes) = channel();
        let work = Arc::new(work);
        let stall = between.stall();
        let acceptor = thread::spawn(move || {
            pin::as_listening_end();
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let (work, sender) = (Arc::clone(&work), sender.clone());
                thread::spawn(move || {
                    let outcome = stream.and_then(|stream| {
                        prepare(&stream, stall)?;
                        let has_sent = sends_a_byte(&stream)?;
                        has_sent.then(|| work(stream)).transpose()
                    });
                    if let Some(outcome) = outcome.transpose() {
                        // No thread waits any more after the run has failed elsewhere.
                        let _ = sender.send(outcome);
                    }
                });
            }
        });
        Ok(Self {
            address,
            outcomes: Outcomes(outcomes),
            stopping,
            acceptor: Some(acceptor),
        })
    }

    /// The listen address, with the port that the system selected.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the results of this number of connections; the first failure ends the wait.
    pub(crate) fn wait(&self, connections: u32, stall: Duration) -> anyhow::Result<Vec<T>> {
        self.outcomes.wait(connections, stall)
    }
}

impl<T> Drop for Server<T> {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        // Wakes the acceptor; if even this fails, the process is about to end anyway.
        if TcpStream::connect(self.address).is_ok()
            && let Some(acceptor) = self.acceptor.take()
        {
            let _ = acceptor.join();
        }
    }
}

/// Waits for the first byte. A silent connection belongs to a probe and not to the run.
fn sends_a_byte(stream: &TcpStream) -> io::Result<bool> {
    match stream.peek(&mut [0]) {
        Ok(n) => Ok(n > 0),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(false),
        Err(error) => Err(error),
    }
}

/// The result of each connection of a listening end.
pub(crate) struct Outcomes<T>(pub(crate) Receiver<io::Result<T>>);

impl<T> Outcomes<T> {
    /// Waits for this number of results; the first failure ends the wait, and so does no movement for
    /// `stall`.
    pub(crate) fn wait(&self, connections: u32, stall: Duration) -> anyhow::Result<Vec<T>> {
        (0..connections)
            .map(|n| {
                let outcome = self.0.recv_timeout(stall).with_context(|| {
                    format!("only {n} of {connections} connections came to an end")
                })?;
                outcome.context("a connection failed at the listening end")
            })
            .collect()
    }
}

/// Connections that may wait for their acceptance; the kernel lowers it to its own limit.
const BACKLOG: i32 = 4096;

/// Listens as requested; accepted sockets inherit the congestion control.
pub(crate) fn listen(between: &Between) -> anyhow::Result<TcpListener> {
    let address = between.listen;
    let socket = socket(address, between)?;
    socket.set_reuse_address(true)?;
    socket
        .bind(&address.into())
        .and_then(|()| socket.listen(BACKLOG))
        .with_context(|| format!("cannot listen on {address}"))?;
    Ok(socket.into())
}

/// Connects, and sets the options of both ends: no Nagle, and no wait longer than the stall.
pub(crate) fn connect(to: SocketAddr, between: &Between) -> anyhow::Result<TcpStream> {
    let stream = dial(to, between).with_context(|| format!("cannot connect to {to}"))?;
    prepare(&stream, between.stall())?;
    Ok(stream)
}

/// Connects from the first address with a free port.
fn dial(to: SocketAddr, between: &Between) -> anyhow::Result<TcpStream> {
    let mut sources = sources(to);
    loop {
        let socket = socket(to, between)?;
        if let Some(source) = sources.next().flatten() {
            socket.bind(&source.into())?;
        }
        match socket.connect_timeout(&to.into(), between.stall()) {
            Ok(()) => return Ok(socket.into()),
            Err(error) if used_up(&error) && sources.len() > 0 => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The address that the kernel selects, and on loopback others after it: each has its own ports.
fn sources(to: SocketAddr) -> impl ExactSizeIterator<Item = Option<SocketAddr>> {
    let others = match to.ip() {
        IpAddr::V4(ip) if ip.is_loopback() => 8_u8,
        _ => 0,
    };
    (0..=others).map(|n| {
        let source = Ipv4Addr::new(127, 0, 1, n);
        (n > 0).then_some((source, 0).into())
    })
}

fn used_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse
    )
}

fn socket(address: SocketAddr, between: &Between) -> anyhow::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if let Some(name) = &between.congestion {
        socket
            .set_tcp_congestion(name.as_bytes())
            .with_context(|| {
                format!(
                    "cannot set congestion control {name:?}; \
                 see /proc/sys/net/ipv4/tcp_available_congestion_control"
                )
            })?;
    }
    Ok(socket)
}

fn prepare(stream: &TcpStream, stall: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(stall))?;
    stream.set_write_timeout(Some(stall))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn an_unknown_congestion_control_is_refused_by_its_name() {
        let between = Between {
            congestion: Some("nosuch".to_owned()),
            ..Between::on_loopback(1)
        };
        let error = listen(&between).expect_err("there is none of this name");
        assert!(error.to_string().contains("\"nosuch\""), "{error}");
    }

    #[test]
    fn the_congestion_control_is_that_of_every_socket() {
        let between = Between {
            congestion: Some("reno".to_owned()),
            ..Between::on_loopback(1)
        };
        let listener = listen(&between).expect("reno is always there");
        let to = listener.local_addr().expect("it listens");
        let near = connect(to, &between).expect("it accepts");
        let (far, _) = listener.accept().expect("it was connected");
        for stream in [near, far] {
            let name = Socket::from(stream).tcp_congestion().expect("it has one");
            assert!(name.starts_with(b"reno"), "{name:?}");
        }
    }

    #[test]
    fn a_silent_connection_is_not_counted() {
        let between = Between::on_loopback(1);
        let server = Server::start(&between, |_| Ok(())).expect("it listens");
        drop(connect(server.address(), &between).expect("it accepts"));
        let error = server.wait(1, Duration::from_millis(100));
        assert!(error.is_err(), "a probe was counted");
        let mut stream = connect(server.address(), &between).expect("it accepts");
        stream.write_all(b"x").expect("it is open");
        server.wait(1, between.stall()).expect("it was said");
    }

    #[test]
    fn loopback_has_further_addresses_to_connect_from() {
        assert_eq!(sources(([127, 0, 0, 1], 1).into()).len(), 9);
        assert_eq!(sources(([192, 0, 2, 1], 1).into()).len(), 1);
    }
}
