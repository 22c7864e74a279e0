//! A blocking TCP connection with a deadline, for a program that examines one target.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

/// A connection on which every operation ends at the deadline.
pub(in crate::cli) struct Wire {
    stream: TcpStream,
    until: Instant,
}

impl Wire {
    /// Connects within `within`. `segment` limits the TCP segments of both directions, in bytes.
    ///
    /// # Errors
    /// The error of the kernel; `TimedOut` without an answer.
    pub(in crate::cli) fn connect(
        address: SocketAddr,
        within: Duration,
        segment: Option<u32>,
    ) -> io::Result<Self> {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        if let Some(bytes) = segment {
            // Before the connection: the SYN announces the size to the other end.
            socket.set_tcp_mss(bytes)?;
        }
        socket.connect_timeout(&address.into(), within)?;
        socket.set_tcp_nodelay(true)?;
        Ok(Self {
            stream: socket.into(),
            until: Instant::now() + within,
        })
    }

    /// The same connection with a new deadline.
    pub(in crate::cli) fn within(self, within: Duration) -> Self {
        let until = Instant::now() + within;
        Self { until, ..self }
    }

    /// Receives some bytes; 0 means that the other end has closed its direction.
    ///
    /// # Errors
    /// `TimedOut` at the deadline, or the error of the kernel.
    pub(in crate::cli) fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(room).map_err(as_timeout)
    }

    /// Sends all bytes.
    ///
    /// # Errors
    /// As `read`.
    pub(in crate::cli) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write_all(bytes).map_err(as_timeout)
    }

    /// Segments that were sent and not acknowledged; 0 if the kernel does not report them.
    pub(in crate::cli) fn unacknowledged(&self) -> u32 {
        crate::sys::tcp_info(&self.stream).map_or(0, |info| info.unacked)
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(left)
    }
}

// A socket with a timeout reports EAGAIN.
fn as_timeout(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}
