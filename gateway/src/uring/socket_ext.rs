//! Retries of operations that fail temporarily, and operations with a timeout.

use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::pin;
use std::time::Duration;

use super::{Lent, Socket, sleep};
use crate::uring::limits::{RETRIES_MAX, RETRY_PAUSE};

/// Reads and writes that retry temporary failures: interruption, a socket that is not ready after all, a
/// kernel without memory. Any other error ends the socket and is returned.
pub trait SocketExt: Socket {
    /// `read` with retries.
    fn read_some(
        &self,
        bytes: Vec<u8>,
        room: Range<usize>,
    ) -> impl Future<Output = (io::Result<usize>, Vec<u8>)>;

    /// `write` with retries: sends a non-empty part and returns its length, never 0.
    fn write_some(
        &self,
        bytes: Vec<u8>,
        part: Range<usize>,
    ) -> impl Future<Output = (io::Result<usize>, Vec<u8>)>;

    /// `write_some` until all of `bytes[part]` is sent.
    fn write_all(
        &self,
        bytes: Vec<u8>,
        part: Range<usize>,
    ) -> impl Future<Output = (io::Result<()>, Vec<u8>)>;

    /// `readv` with retries.
    fn readv_some(&self, lent: Lent) -> impl Future<Output = (io::Result<usize>, Lent)>;

    /// `writev` with retries: sends a non-empty part and returns its length, never 0.
    fn writev_some(&self, lent: Lent) -> impl Future<Output = (io::Result<usize>, Lent)>;

    /// `splice_out` with retries: returns the number of bytes sent, never 0.
    fn splice_out_some(&self, pipe: &Self::Pipe) -> impl Future<Output = io::Result<usize>>;

    /// `wait_readable` with retries.
    fn readable(&self) -> impl Future<Output = io::Result<()>>;

    /// `wait_writable` with retries.
    fn writable(&self) -> impl Future<Output = io::Result<()>>;
}

impl<S: Socket> SocketExt for S {
    async fn read_some(
        &self,
        mut bytes: Vec<u8>,
        room: Range<usize>,
    ) -> (io::Result<usize>, Vec<u8>) {
        let mut retries = Retries::default();
        loop {
            let (outcome, back) = self.read(bytes, room.clone()).await;
            bytes = back;
            match outcome {
                Err(error) if retries.allow(&error).await => {}
                outcome => return (outcome, bytes),
            }
        }
    }

    async fn write_some(
        &self,
        mut bytes: Vec<u8>,
        part: Range<usize>,
    ) -> (io::Result<usize>, Vec<u8>) {
        let mut retries = Retries::default();
        loop {
            let (outcome, back) = self.write(bytes, part.clone()).await;
            bytes = back;
            match outcome {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), bytes),
                Err(error) if retries.allow(&error).await => {}
                outcome => return (outcome, bytes),
            }
        }
    }

    async fn write_all(
        &self,
        mut bytes: Vec<u8>,
        mut part: Range<usize>,
    ) -> (io::Result<()>, Vec<u8>) {
        while !part.is_empty() {
            let (outcome, back) = self.write_some(bytes, part.clone()).await;
            bytes = back;
            match outcome {
                Ok(sent) => part.start = part.start.saturating_add(sent),
                Err(error) => return (Err(error), bytes),
            }
        }
        (Ok(()), bytes)
    }

    async fn readv_some(&self, mut lent: Lent) -> (io::Result<usize>, Lent) {
        let mut retries = Retries::default();
        loop {
            let (outcome, back) = self.readv(lent).await;
            lent = back;
            match outcome {
                Err(error) if retries.allow(&error).await => {}
                outcome => return (outcome, lent),
            }
        }
    }

    async fn writev_some(&self, mut lent: Lent) -> (io::Result<usize>, Lent) {
        let mut retries = Retries::default();
        loop {
            let (outcome, back) = self.writev(lent).await;
            lent = back;
            match outcome {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), lent),
                Err(error) if retries.allow(&error).await => {}
                outcome => return (outcome, lent),
            }
        }
    }

    async fn splice_out_some(&self, pipe: &S::Pipe) -> io::Result<usize> {
        match again(|| self.splice_out(pipe)).await {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            outcome => outcome,
        }
    }

    async fn readable(&self) -> io::Result<()> {
        again(|| self.wait_readable()).await
    }

    async fn writable(&self) -> io::Result<()> {
        again(|| self.wait_writable()).await
    }
}

// Begins an operation again after each error that passes by itself.
async fn again<T, F: Future<Output = io::Result<T>>>(begin: impl Fn() -> F) -> io::Result<T> {
    let mut retries = Retries::default();
    loop {
        match begin().await {
            Err(error) if retries.allow(&error).await => {}
            outcome => return outcome,
        }
    }
}

#[derive(Default)]
struct Retries(u32);

impl Retries {
    // A pause between attempts, because all of these causes need time to pass.
    async fn allow(&mut self, error: &io::Error) -> bool {
        self.0 = self.0.saturating_add(1);
        if !passes_by_itself(error) || self.0 > RETRIES_MAX {
            return false;
        }
        if error.kind() != io::ErrorKind::Interrupted {
            // Boxed, because otherwise every transfer would reserve memory for this rare case.
            Box::pin(sleep(RETRY_PAUSE)).await;
        }
        true
    }
}

/// Whether an operation with this error may succeed at the next attempt.
pub fn passes_by_itself(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory
    ) || error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error())
}

/// Whether the kernel gave up an established connection after `TCP_USER_TIMEOUT` or keepalive, because nothing was
/// acknowledged. If an ICMP message or a failed address resolution was the last news of the connection, the error is that
/// instead of a timeout (`tcp_write_err` and `icmp_err_convert` of Linux).
pub fn has_given_up(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(
        code,
        Some(
            Errno::TIMEDOUT
                | Errno::HOSTUNREACH
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::NONET
                | Errno::NOPROTOOPT
                | Errno::PROTO
                | Errno::ACCESS
                | Errno::CONNREFUSED
        )
    )
}

/// Awaits `work` to its end. After `limit` it calls `end` once, which must make `work` end soon
/// (`Socket::abort`), and continues to await. Returns the outcome and whether the limit passed.
pub async fn race<W: Future>(work: W, limit: Duration, end: impl FnOnce()) -> (W::Output, bool) {
    let (outcome, late) = until(work, sleep(limit), end).await;
    (outcome, late.is_some())
}

/// Like `race`, with a future that ends the wait and returns the reason.
pub async fn until<W: Future, T>(
    work: W,
    time: impl Future<Output = T>,
    end: impl FnOnce(),
) -> (W::Output, Option<T>) {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        outcome = &mut work => (outcome, None),
        why = time => {
            end();
            (work.await, Some(why))
        }
    }
}
