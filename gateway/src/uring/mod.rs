//! The I/O verbs that the data plane uses, and their implementation on io_uring.
//!
//! The relay and the handshake are written against the traits here and nothing else, so they run on
//! sockets of the kernel (`ring`) as well as on sockets in memory under a seeded scheduler, which the
//! simulation tests bring along. This and `sys` are the only modules that name the crate of the ring.
//!
//! The rule that everything here serves: an operation in flight is never dropped. A dropped read
//! loses the bytes it was about to return and keeps the descriptor open. What must end early is
//! ended by `Socket::abort` and then awaited; `race` does that for a deadline.

mod driver;
mod kernel_pipe;
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
pub use socket_ext::{SocketExt, passes_by_itself, race, until};
pub use turn::turn;

/// Parts of a buffer, in order: at most `limits::PARTS_MAX` of them take part in an operation.
pub type Parts = VecDeque<Range<usize>>;

/// A buffer that is lent to an operation with the parts of it that it fills or sends.
pub type Lent = (Vec<u8>, Parts);

/// Where bytes wait between two sockets without being copied: they pass by reference.
pub trait Pipe: 'static {
    /// Octets that are in it.
    fn held(&self) -> usize;
}

/// One TCP connection.
///
/// At most one read or `wait_readable`, one write, and one `wait_writable` may be in flight at a time. A buffer
/// that is lent to an operation comes back with its outcome. Dropped without `finish`, a connection
/// ends as by `abort`: only who says so ends it in order.
pub trait Socket: 'static {
    /// What bytes pass through from this socket to another of its kind.
    type Pipe: Pipe;

    /// Receives what is there into `bytes[room]`; 0 means that the peer finished its direction, and
    /// never that the connection was reset.
    fn read(
        &self,
        bytes: Vec<u8>,
        room: Range<usize>,
    ) -> impl Future<Output = (io::Result<usize>, Vec<u8>)>;

    /// Sends a part of `bytes[part]` and says how much.
    fn write(
        &self,
        bytes: Vec<u8>,
        part: Range<usize>,
    ) -> impl Future<Output = (io::Result<usize>, Vec<u8>)>;

    /// As `read`, into the parts of a buffer, one after the other.
    fn readv(&self, lent: Lent) -> impl Future<Output = (io::Result<usize>, Lent)>;

    /// As `write`, of the parts of a buffer, one after the other.
    fn writev(&self, lent: Lent) -> impl Future<Output = (io::Result<usize>, Lent)>;

    /// Moves what is there into `pipe`, which must be empty, at once, and says how much; 0 means what
    /// it means for `read`.
    ///
    /// # Errors
    /// `WouldBlock` where nothing can be moved so. That is not only where nothing is there: urgent
    /// data (RFC 6093) can be read, but not passed by reference.
    fn splice_in(&self, pipe: &Self::Pipe) -> io::Result<usize>;

    /// Sends a part of what `pipe` holds, which must be something, and says how much.
    fn splice_out(&self, pipe: &Self::Pipe) -> impl Future<Output = io::Result<usize>>;

    /// Has what was received acknowledged at once: the sender may hold back more until then, as
    /// Nagle's algorithm does (RFC 9293 section 3.7.4), while we would wait for something to send with
    /// it (section 3.8.6.3).
    fn acknowledge(&self);

    /// Sends `words`, at once and whole, while no write is in flight.
    ///
    /// # Errors
    /// They were not sent, or not whole: nothing may follow but `abort`.
    fn send_now(&self, words: &[u8]) -> io::Result<()>;

    /// What was sent and is not acknowledged yet.
    ///
    /// # Errors
    /// What the system says; `Unsupported` where it does not know.
    fn send_queue(&self) -> io::Result<SendQueue>;

    /// Sets how long sent bytes may stay unacknowledged before the system ends the connection
    /// (`TCP_USER_TIMEOUT`); `None` leaves it to the system.
    fn set_user_timeout(&self, limit: Option<Duration>);

    /// Waits until a read would return at once: bytes, the peer's end, or an error.
    fn wait_readable(&self) -> impl Future<Output = io::Result<()>>;

    /// How many bytes a send takes at once, at least: 0 while the receiver is behind. Never 0 for a
    /// socket that has failed, so that a send finds out why.
    fn send_room(&self) -> usize;

    /// Waits until `send_room` is not 0.
    fn wait_writable(&self) -> impl Future<Output = io::Result<()>>;

    /// Waits until the connection that `Network::connect` began is there or has failed.
    fn wait_connected(&self) -> impl Future<Output = io::Result<()>>;

    /// Ends our direction in order: the peer reads all that was sent, then the end (FIN).
    fn finish(&self) -> io::Result<()>;

    /// Receives nothing any more: reads and waits for something to read end at once, also those in flight, and
    /// a read returns 0 when what was received before is read. The peer is not told.
    fn stop_reading(&self);

    /// Ends both directions at once and visibly (RST). Operations in flight end with an error.
    fn abort(&self);
}

/// A look-up of a name under way. Dropped, it goes on without anybody who hears of its end: it may hold
/// a thread of the system's resolver for as long as that likes.
pub type LookUp = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>>>>;

/// What a connection needs beyond its first socket.
pub trait Network: 'static {
    /// The sockets that `connect` makes.
    type Socket: Socket;

    /// Begins a connection; `Socket::wait_connected` tells how it went.
    ///
    /// # Errors
    /// What the system says at once: no descriptor, no route to that address.
    fn connect(&self, to: SocketAddr, options: &SocketOptions) -> io::Result<Self::Socket>;

    /// Makes a pipe between such sockets.
    ///
    /// # Errors
    /// What the system says: no descriptor, or no memory for another pipe.
    fn pipe(&self) -> io::Result<<Self::Socket as Socket>::Pipe>;

    /// Begins to look up a name. It gives the addresses in the order of the system's resolver, or what
    /// the resolver says; an empty answer is an error as well.
    fn resolve(&self, name: &str) -> LookUp;
}

/// What one end of a connection has sent that the other end has not acknowledged.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct SendQueue {
    /// Bytes that the other end acknowledged since the connection began.
    pub acked: u64,
    /// Segments that are on their way.
    pub in_flight: u32,
    /// Bytes of these.
    pub in_flight_bytes: u64,
    /// Bytes that wait to be sent.
    pub unsent: u32,
    /// Bytes that the other end has room for (its receive window).
    pub window: u32,
    /// Attempts in a row without any answer, probes of a closed window included; `None` where the last
    /// one was answered.
    pub unanswered: Option<u32>,
    /// Whether the connection has ended, so that nothing of this will be delivered any more.
    pub has_ended: bool,
}

impl SendQueue {
    /// Whether all is acknowledged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.in_flight == 0 && self.unsent == 0
    }

    /// Bytes that are not acknowledged.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.in_flight_bytes.saturating_add(self.unsent.into())
    }

    /// Whether nothing can be sent because the other end has no room for it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        // A window may have room, but less than a segment.
        !self.is_empty() && (self.window == 0 || self.in_flight == 0)
    }
}

/// What every socket of the data plane is set to (both sides of a route).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketOptions {
    /// Silence before the first keepalive probe.
    pub keepalive_idle: Duration,
    /// Between keepalive probes.
    pub keepalive_interval: Duration,
    /// Unanswered probes after which the peer is dead.
    pub keepalive_probes: u32,
    /// `TCP_USER_TIMEOUT`: finds a dead peer while data waits for acknowledgement.
    pub user_timeout: Duration,
}
