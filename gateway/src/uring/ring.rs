//! The I/O operations on io_uring.
//!
//! All waiting happens in the ring, as polls for readiness. The transfer itself is a plain non-blocking
//! system call after the poll. A read or send through the ring would cost one more turn of the loop each:
//! half of the latency of a message, and a few per cent of bulk throughput (docs/src/design/decisions.md).

use std::cell::Cell;
use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags, recvmsg, sendmsg,
};
use socket2::{Domain, Protocol, SockRef, Socket as Socket2, TcpKeepalive, Type};

use super::driver::Driver;
use super::no_source::no_source;
use super::resolver::Resolver;
use super::socket_ext::has_given_up;
use super::transparent;
use super::{
    BufferRanges, Capabilities, KernelPipe, Lent, LookUp, Network, SendQueue, Socket, SocketOptions,
};
use crate::sys::tcp_info;
use crate::uring::limits::PARTS_MAX;

/// Starts this thread's ring and runs `main` on it until it ends.
///
/// # Errors
/// The kernel's error for a ring of our size, which `probe` could not detect.
pub fn start<F: Future>(capabilities: &Capabilities, main: F) -> io::Result<F::Output> {
    Driver::run(capabilities.ring()?, main)
}

/// Runs a task in parallel on this thread's ring.
pub fn spawn<F: Future + 'static>(task: F) -> tokio::task::JoinHandle<F::Output> {
    tokio::task::spawn_local(task)
}

/// Waits until `listener` has a connection to accept, or was shut down.
///
/// The accept itself is a plain non-blocking call: a dropped accept in the ring would lose a connection, and
/// one readiness event serves the whole backlog.
///
/// # Errors
/// The kernel's error for the poll.
pub async fn wait_acceptable<L: AsRawFd + 'static>(listener: &Rc<L>) -> io::Result<()> {
    poll(Rc::clone(listener), PollFlags::IN).await
}

/// The operations of this thread's ring.
#[derive(Debug)]
pub struct Ring {
    resolver: Resolver,
}

impl Ring {
    /// With `resolver` for names.
    #[must_use]
    pub fn new(resolver: Resolver) -> Self {
        Self { resolver }
    }
}

impl Network for Ring {
    type Socket = RingSocket;

    fn connect(&self, to: SocketAddr, options: &SocketOptions) -> io::Result<RingSocket> {
        let socket = Socket2::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        // Before the first packet.
        mark(&SockRef::from(&socket), to.is_ipv6(), options.dscp)?;
        if let Some(source) = options.source {
            transparent::bind(&socket, source, to)?;
        }
        match socket.connect(&to.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(IN_PROGRESS) => {}
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                return Err(no_source(to, error));
            }
            Err(error) => return Err(error),
        }
        let mut socket = RingSocket::new(socket.into(), options)?;
        socket.has_connected = true;
        Ok(socket)
    }

    fn pipe(&self) -> io::Result<KernelPipe> {
        KernelPipe::new()
    }

    fn resolve(&self, name: &str) -> LookUp {
        self.resolver.look_up(name)
    }
}

// Marks the packets of a socket. A socket of IPv6 may carry IPv4, which has an option of its own.
fn mark(socket: &SockRef<'_>, is_v6: bool, dscp: Option<u8>) -> io::Result<()> {
    let Some(dscp) = dscp else {
        return Ok(());
    };
    // The two bits behind the DSCP are for ECN, which the kernel sets.
    let class = u32::from(dscp) << 2;
    if is_v6 {
        socket.set_tclass_v6(class)?;
    }
    socket.set_tos_v4(class)
}

const IN_PROGRESS: i32 = Errno::INPROGRESS.raw_os_error();

/// A TCP socket whose operations go through the ring of its thread.
#[derive(Debug)]
pub struct RingSocket {
    // Shared with operations in flight: the file descriptor stays open until the last operation has ended.
    stream: Rc<TcpStream>,
    // Our direction was ended cleanly.
    finished: Cell<bool>,
    // This end opened the connection.
    has_connected: bool,
    // Why the kernel gave up, if it has and has reported it: an error number.
    gave_up: Cell<Option<i32>>,
}

impl RingSocket {
    /// Takes over a connected or connecting socket and sets its options.
    ///
    /// # Errors
    /// The system's error for an option; `options` within the configuration's limits are always accepted.
    pub fn new(stream: TcpStream, options: &SocketOptions) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        // Sends and receives are made non-blocking by a flag per call, which splice does not have.
        stream.set_nonblocking(true)?;
        let socket = SockRef::from(&stream);
        let keepalive = TcpKeepalive::new()
            .with_time(options.keepalive_idle)
            .with_interval(options.keepalive_interval)
            .with_retries(options.keepalive_probes);
        socket.set_tcp_keepalive(&keepalive)?;
        socket.set_tcp_user_timeout(Some(options.user_timeout))?;
        // Urgent data (RFC 6093) stays in its place in the stream; by default Linux removes it.
        socket.set_out_of_band_inline(true)?;
        let is_v6 = stream.local_addr().is_ok_and(|own| own.is_ipv6());
        mark(&socket, is_v6, options.dscp)?;
        // By default every close resets, including the end of the process. A clean end is always requested by
        // `finish`.
        socket.set_linger(Some(Duration::ZERO))?;
        Ok(Self {
            stream: Rc::new(stream),
            finished: Cell::new(false),
            has_connected: false,
            gave_up: Cell::new(None),
        })
    }

    // An async block instead of an async fn, here and below.
    #[expect(clippy::manual_async_fn, reason = "stores its arguments only once")]
    fn at_once_or_wait(
        &self,
        events: PollFlags,
        mut attempt: impl FnMut() -> io::Result<usize>,
    ) -> impl Future<Output = io::Result<usize>> {
        async move {
            loop {
                match attempt() {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        poll(Rc::clone(&self.stream), events).await?;
                    }
                    outcome => return outcome,
                }
            }
        }
    }

    fn receive(&self, into: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let control = &mut RecvAncillaryBuffer::default();
        let received = recvmsg(&*self.stream, into, control, RecvFlags::DONTWAIT);
        let room = into.iter().any(|part| !part.is_empty());
        match self.cause(received.map_err(Into::into))?.bytes {
            0 if room => self.end(),
            count => Ok(count),
        }
    }

    // The meaning of a read that received nothing.
    fn end(&self) -> io::Result<usize> {
        match self.is_reset() {
            true => self.cause(Err(io::ErrorKind::ConnectionReset.into())),
            false => Ok(0),
        }
    }

    // Linux reports only once why it gave up, to the direction that asks first. The other direction sees a reset or a
    // broken pipe, which would hide why the connection ended.
    fn cause<T>(&self, outcome: io::Result<T>) -> io::Result<T> {
        outcome.map_err(|error| match (error.kind(), self.gave_up.get()) {
            (io::ErrorKind::WouldBlock, _) => error,
            (io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe, Some(code)) => {
                io::Error::from_raw_os_error(code)
            }
            _ => {
                if has_given_up(&error) {
                    self.gave_up.set(error.raw_os_error());
                }
                error
            }
        })
    }

    fn send(&self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        let control = &mut SendAncillaryBuffer::default();
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        self.cause(sendmsg(&*self.stream, from, control, flags).map_err(Into::into))
    }

    // Linux reports a reset only once. If a send got the error, a later receive returns 0 as after a clean
    // end. In that case both directions are down, although we ended neither.
    fn is_reset(&self) -> bool {
        let mut polled = [PollFd::new(&*self.stream, PollFlags::IN)];
        let at_once = Timespec::default();
        let down = rustix::event::poll(&mut polled, Some(&at_once)).is_err()
            || polled.iter().any(|p| p.revents().contains(PollFlags::HUP));
        down && !self.finished.get()
    }
}

// A socket that is dropped without `finish` has failed or panicked. A plain close would end it cleanly and
// look complete to the peer. Operations left by a panic keep the file descriptor open, so they are ended
// here.
impl Drop for RingSocket {
    fn drop(&mut self) {
        if !self.finished.get() || Rc::strong_count(&self.stream) > 1 {
            self.abort();
        }
    }
}

impl Socket for RingSocket {
    type Pipe = KernelPipe;

    async fn read(&self, mut bytes: Vec<u8>, room: Range<usize>) -> (io::Result<usize>, Vec<u8>) {
        let outcome = match bytes.get_mut(room) {
            Some(into) => {
                let receive = || self.receive(&mut [IoSliceMut::new(into)]);
                self.at_once_or_wait(READABLE, receive).await
            }
            None => Err(out_of_range()),
        };
        (outcome, bytes)
    }

    async fn write(&self, bytes: Vec<u8>, part: Range<usize>) -> (io::Result<usize>, Vec<u8>) {
        let outcome = match bytes.get(part) {
            Some(from) => {
                let send = || self.send(&[IoSlice::new(from)]);
                self.at_once_or_wait(PollFlags::OUT, send).await
            }
            None => Err(out_of_range()),
        };
        (outcome, bytes)
    }

    #[expect(clippy::manual_async_fn, reason = "stores its arguments only once")]
    fn readv(&self, mut lent: Lent) -> impl Future<Output = (io::Result<usize>, Lent)> {
        async move {
            let receive = || {
                let (bytes, parts) = &mut lent;
                let mut into = std::array::from_fn(|_| IoSliceMut::new(&mut []));
                let count = scatter(bytes, parts, &mut into)?;
                self.receive(into.get_mut(..count).unwrap_or_default())
            };
            let outcome = self.at_once_or_wait(READABLE, receive).await;
            (outcome, lent)
        }
    }

    #[expect(clippy::manual_async_fn, reason = "stores its arguments only once")]
    fn writev(&self, lent: Lent) -> impl Future<Output = (io::Result<usize>, Lent)> {
        async move {
            let send = || {
                let (bytes, parts) = &lent;
                let mut from = [IoSlice::new(&[]); PARTS_MAX];
                let count = gather(bytes, parts, &mut from)?;
                self.send(from.get(..count).unwrap_or_default())
            };
            let outcome = self.at_once_or_wait(PollFlags::OUT, send).await;
            (outcome, lent)
        }
    }

    fn splice_in(&self, pipe: &KernelPipe) -> io::Result<usize> {
        match self.cause(pipe.fill(&*self.stream))? {
            0 => self.end(),
            count => Ok(count),
        }
    }

    async fn splice_out(&self, pipe: &KernelPipe) -> io::Result<usize> {
        let send = || self.cause(pipe.drain(&*self.stream));
        self.at_once_or_wait(PollFlags::OUT, send).await
    }

    fn acknowledge(&self) {
        // If the option cannot be set, the peer gets the acknowledgement later.
        let _ = rustix::net::sockopt::set_tcp_quickack(&*self.stream, true);
    }

    fn send_now(&self, bytes: &[u8]) -> io::Result<()> {
        match self.send(&[IoSlice::new(bytes)])? {
            count if count == bytes.len() => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    fn send_queue(&self) -> io::Result<SendQueue> {
        let info = tcp_info(&*self.stream)?;
        let (count, is_unanswered) = match info.unacked {
            0 => (info.probes, true),
            // Whether bytes were sent again since the last answer. Both times are in kernel ticks, so an
            // answer within the same tick counts. If a window closed over sent bytes, the kernel counts no
            // retransmissions, but still doubles the time between them.
            _ => (info.backoff, info.last_data_sent < info.last_ack_received),
        };
        Ok(SendQueue {
            acked: info.bytes_acked,
            in_flight: info.unacked,
            in_flight_bytes: info.in_flight_bytes(self.has_connected),
            unsent: info.unsent_bytes,
            window: info.send_window,
            unanswered: (is_unanswered && count > 0).then_some(count.into()),
            has_ended: info.has_ended(),
        })
    }

    fn set_user_timeout(&self, limit: Option<Duration>) {
        // This call only fails on a socket that has ended.
        let _ = SockRef::from(&*self.stream).set_tcp_user_timeout(limit);
    }

    async fn wait_readable(&self) -> io::Result<()> {
        poll(Rc::clone(&self.stream), READABLE).await
    }

    // Linux reports a socket as writable when a third of its send buffer is free (`sk_stream_is_writable`).
    // One sixteenth is subtracted for the kernel's own structures. The send buffer grows with the
    // acknowledged bytes, so it is the kernel's estimate of the receiver's speed.
    fn send_room(&self) -> usize {
        let mut polled = [PollFd::new(&*self.stream, PollFlags::OUT)];
        match rustix::event::poll(&mut polled, Some(&Timespec::default())) {
            Ok(0) => 0,
            _ => {
                let size = SockRef::from(&*self.stream).send_buffer_size();
                (size.unwrap_or_default() / 16).saturating_mul(5).max(1)
            }
        }
    }

    async fn wait_writable(&self) -> io::Result<()> {
        poll(Rc::clone(&self.stream), PollFlags::OUT).await
    }

    async fn wait_connected(&self) -> io::Result<()> {
        poll(Rc::clone(&self.stream), PollFlags::OUT).await?;
        match self.stream.take_error()? {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn finish(&self) -> io::Result<()> {
        // Bytes sent before are now delivered even if the socket is closed at once.
        SockRef::from(&*self.stream).set_linger(None)?;
        self.stream.shutdown(std::net::Shutdown::Write)?;
        self.finished.set(true);
        Ok(())
    }

    fn stop_reading(&self) {
        // This call only fails on a socket that has ended, which reads as ended.
        let _ = self.stream.shutdown(std::net::Shutdown::Read);
    }

    fn abort(&self) {
        // On Linux, a connect to an unspecified address resets at once: it sends RST and ends operations in
        // flight. A shutdown would send FIN, which looks like a complete stream. If the connect is not
        // possible any more, linger makes the close reset too.
        let _ = SockRef::from(&*self.stream).set_linger(Some(Duration::ZERO));
        let _ = rustix::net::connect_unspec(&*self.stream);
    }
}

const READABLE: PollFlags = PollFlags::IN.union(PollFlags::RDHUP);

// The parts are in memory order, so each is split off the rest of the previous one.
fn scatter<'b>(
    mut bytes: &'b mut [u8],
    parts: &BufferRanges,
    into: &mut [IoSliceMut<'b>; PARTS_MAX],
) -> io::Result<usize> {
    let mut behind = 0;
    for (slot, part) in into.iter_mut().zip(parts) {
        let gap = part.start.checked_sub(behind).ok_or_else(out_of_range)?;
        let (_, rest) = bytes.split_at_mut_checked(gap).ok_or_else(out_of_range)?;
        let (room, rest) = rest
            .split_at_mut_checked(part.len())
            .ok_or_else(out_of_range)?;
        (*slot, bytes, behind) = (IoSliceMut::new(room), rest, part.end);
    }
    Ok(parts.len().min(into.len()))
}

fn gather<'b>(
    bytes: &'b [u8],
    parts: &BufferRanges,
    from: &mut [IoSlice<'b>; PARTS_MAX],
) -> io::Result<usize> {
    for (slot, part) in from.iter_mut().zip(parts) {
        *slot = IoSlice::new(bytes.get(part.clone()).ok_or_else(out_of_range)?);
    }
    Ok(parts.len().min(from.len()))
}

fn out_of_range() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "range outside of the buffer")
}

async fn poll(file: Rc<impl AsRawFd + 'static>, events: PollFlags) -> io::Result<()> {
    let driver = Driver::current().ok_or(io::ErrorKind::Unsupported)?;
    loop {
        let polled = Rc::clone(&driver).submit_poll(Rc::clone(&file) as Rc<_>, events);
        match polled.await {
            // The completion was lost, and with it the readiness event.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests;
