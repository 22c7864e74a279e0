//! The I/O operations of the data plane, and their implementation on io_uring.
//!
//! The relay and the handshake only use the traits of this module. They therefore run on kernel sockets
//! (`ring`) and, in the simulation tests, on sockets in memory under a seeded scheduler. This module and
//! `sys` are the only ones that use the io_uring crate.
//!
//! The main rule: an operation in flight is never dropped. A dropped read would lose the bytes it was about
//! to return, and would keep the file descriptor open. To end an operation early, call `Socket::abort` and
//! then await the operation; `race` does this for a timeout.

mod driver;
mod kernel_pipe;
pub mod limits;
mod linger;
mod no_source;
mod parker;
mod pipes;
mod probe;
mod resolver;
mod ring;
mod sleep;
mod socket_ext;
mod timers;
mod transparent;
mod turn;

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::pin::Pin;
use std::time::Duration;

pub use kernel_pipe::KernelPipe;
pub use linger::linger_close;
pub use pipes::{LentPipe, Pipes};
pub use probe::{Capabilities, Unavailable, probe};
pub use resolver::Resolver;
pub use ring::{Ring, RingSocket, spawn, start, wait_acceptable};
pub use sleep::{Elapsed, sleep, sleep_until, timeout};
pub use socket_ext::{SocketExt, has_given_up, passes_by_itself, race, until};
pub use transparent::may_bind_any;
pub use turn::turn;

/// Parts of a buffer, in order. At most `limits::PARTS_MAX` of them take part in an operation.
pub type BufferRanges = VecDeque<Range<usize>>;

/// A buffer lent to an operation, with the parts that the operation fills or sends.
pub type Lent = (Vec<u8>, BufferRanges);

/// Holds bytes between two sockets without copying them: the kernel passes pages by reference.
pub trait Pipe: 'static {
    /// The number of bytes in the pipe.
    fn held(&self) -> usize;
}

/// One TCP connection.
///
/// At most one read or `wait_readable`, one write, and one `wait_writable` may be in flight at a time. A
/// buffer that is lent to an operation is returned with the outcome. A connection that is dropped without
/// `finish` ends as with `abort`: only `finish` ends it cleanly.
pub trait Socket: 'static {
    /// The pipe that passes bytes from this socket to another one of the same type.
    type Pipe: Pipe;

    /// Receives available bytes into `bytes[room]`. Returns 0 if the peer finished its direction, never after
    /// a reset.
    fn read(
        &self,
        bytes: Vec<u8>,
        room: Range<usize>,
    ) -> impl Future<Output = (io::Result<usize>, Vec<u8>)>;

    /// Sends a part of `bytes[part]` and returns the number of bytes.
    fn write(
        &self,
        bytes: Vec<u8>,
        part: Range<usize>,
    ) -> impl Future<Output = (io::Result<usize>, Vec<u8>)>;

    /// Like `read`, into the parts of a buffer, one after the other.
    fn readv(&self, lent: Lent) -> impl Future<Output = (io::Result<usize>, Lent)>;

    /// Like `write`, of the parts of a buffer, one after the other.
    fn writev(&self, lent: Lent) -> impl Future<Output = (io::Result<usize>, Lent)>;

    /// Moves available bytes into `pipe`, which must be empty, without waiting. Returns the number of bytes;
    /// 0 means the same as for `read`.
    ///
    /// # Errors
    /// `WouldBlock` if no bytes can be moved. Bytes may still be available: urgent data (RFC 6093) can be
    /// read but not passed by reference.
    fn splice_in(&self, pipe: &Self::Pipe) -> io::Result<usize>;

    /// Sends a part of the bytes in `pipe`, which must not be empty, and returns the number of bytes.
    fn splice_out(&self, pipe: &Self::Pipe) -> impl Future<Output = io::Result<usize>>;

    /// Acknowledges received bytes at once. Otherwise the sender may hold back more bytes until the
    /// acknowledgement (Nagle's algorithm, RFC 9293 section 3.7.4), while our kernel delays it to send it
    /// with data (section 3.8.6.3).
    fn acknowledge(&self);

    /// Sends `bytes` at once and completely, while no write is in flight.
    ///
    /// # Errors
    /// `bytes` were not sent, or only in part. Only `abort` may follow.
    fn send_now(&self, bytes: &[u8]) -> io::Result<()>;

    /// The sent bytes that are not acknowledged yet.
    ///
    /// # Errors
    /// The error of the system; `Unsupported` if the system does not know.
    fn send_queue(&self) -> io::Result<SendQueue>;

    /// Sets how long sent bytes may stay unacknowledged before the system ends the connection
    /// (`TCP_USER_TIMEOUT`). `None` uses the system's default.
    fn set_user_timeout(&self, limit: Option<Duration>);

    /// Waits until a read would return at once, with bytes, the peer's end, or an error.
    fn wait_readable(&self) -> impl Future<Output = io::Result<()>>;

    /// The number of bytes that a send accepts at once, at least; 0 while the receiver is behind. Never 0 for
    /// a failed socket, so that a send returns the error.
    fn send_room(&self) -> usize;

    /// Waits until `send_room` is not 0.
    fn wait_writable(&self) -> impl Future<Output = io::Result<()>>;

    /// Waits until the connection that `Network::connect` started is established or has failed.
    fn wait_connected(&self) -> impl Future<Output = io::Result<()>>;

    /// Ends our direction cleanly: the peer reads all sent bytes, then the end (FIN).
    fn finish(&self) -> io::Result<()>;

    /// Stops receiving. Reads and waits for readability end at once, including those in flight. After the
    /// bytes received so far, a read returns 0. The peer is not notified.
    fn stop_reading(&self);

    /// Ends both directions at once, with an error for the peer (RST). Operations in flight end with an
    /// error.
    fn abort(&self);
}

/// A running lookup of a name. After a drop it continues without a receiver: it may occupy a thread of the
/// system resolver for any time.
pub type LookUp = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>>>>;

/// What a connection needs besides its first socket.
pub trait Network: 'static {
    /// The type of the sockets that `connect` creates.
    type Socket: Socket;

    /// Starts a connection; `Socket::wait_connected` returns its outcome.
    ///
    /// # Errors
    /// An immediate error of the system: no file descriptor, no route to that address.
    fn connect(&self, to: SocketAddr, options: &SocketOptions) -> io::Result<Self::Socket>;

    /// Creates a pipe between such sockets.
    ///
    /// # Errors
    /// The error of the system: no file descriptor, or no memory for another pipe.
    fn pipe(&self) -> io::Result<<Self::Socket as Socket>::Pipe>;

    /// Starts to look up a name. The lookup returns the addresses in the order of the system resolver, or the
    /// resolver's error; an empty answer is an error as well.
    fn resolve(&self, name: &str) -> LookUp;
}

/// Bytes that one end of a connection has sent and the other end has not acknowledged.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct SendQueue {
    /// Bytes that the other end acknowledged since the connection began.
    pub acked: u64,
    /// Segments in flight.
    pub in_flight: u32,
    /// Bytes in flight.
    pub in_flight_bytes: u64,
    /// Bytes that are not sent yet.
    pub unsent: u32,
    /// Bytes that the other end has room for (its receive window).
    pub window: u32,
    /// Attempts in a row without any answer, including probes of a closed window; `None` if the last attempt
    /// was answered.
    pub unanswered: Option<u32>,
    /// Whether the connection has ended, so that these bytes will not be delivered.
    pub has_ended: bool,
}

impl SendQueue {
    /// Whether all bytes are acknowledged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.in_flight == 0 && self.unsent == 0
    }

    /// The number of unacknowledged bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.in_flight_bytes.saturating_add(self.unsent.into())
    }

    /// Whether no bytes can be sent because the other end has no room for them.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        // The window may have room, but for less than a segment.
        !self.is_empty() && (self.window == 0 || self.in_flight == 0)
    }
}

/// The socket options of both sides of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketOptions {
    /// Idle time before the first keepalive probe.
    pub keepalive_idle: Duration,
    /// Interval of keepalive probes.
    pub keepalive_interval: Duration,
    /// Unanswered keepalive probes after which the peer counts as dead.
    pub keepalive_probes: u32,
    /// `TCP_USER_TIMEOUT`: detects a dead peer while sent bytes are unacknowledged.
    pub user_timeout: Duration,
    /// The DSCP of sent packets, at most 63; `None` leaves them unmarked.
    pub dscp: Option<u8>,
    /// The address from which a connection is made, which need not be one of this machine (`IP_TRANSPARENT`);
    /// `None` leaves the choice to the system.
    pub source: Option<IpAddr>,
}
