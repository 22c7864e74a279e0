//! Patience with operations that fail for a moment, and the end of it.

use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::pin;
use std::time::Duration;

use super::{Lent, Socket, sleep};
use crate::limits::{RETRIES_MAX, RETRY_PAUSE};

/// Reads and writes that outlast what passes by itself: interruption, a socket that is not ready
/// after all, a kernel short of memory. Everything else is the socket's end and returned.
pub trait SocketExt: Socket {
    /// `read` with patience.
    fn read_some(
        &self,
        bytes: Vec<u8>,
        room: Range<usize>,
    ) -> impl Future<Output = (io::Result<usize>, Vec<u8>)>;

    /// `write` with patience: a part of what is not empty, and how much that was, never 0.
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

    /// `readv` with patience.
    fn readv_some(&self, lent: Lent) -> impl Future<Output = (io::Result<usize>, Lent)>;

    /// `writev` with patience: a part of what is not empty, and how much that was, never 0.
    fn writev_some(&self, lent: Lent) -> impl Future<Output = (io::Result<usize>, Lent)>;

    /// `splice_out` with patience: how much was sent, never 0.
    fn splice_out_some(&self, pipe: &Self::Pipe) -> impl Future<Output = io::Result<usize>>;

    /// `wait_readable` with patience.
    fn readable(&self) -> impl Future<Output = io::Result<()>>;

    /// `wait_writable` with patience.
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
        let mut retries = Retries::default();
        loop {
            match self.splice_out(pipe).await {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Err(error) if retries.allow(&error).await => {}
                outcome => return outcome,
            }
        }
    }

    async fn readable(&self) -> io::Result<()> {
        let mut retries = Retries::default();
        loop {
            match self.wait_readable().await {
                Err(error) if retries.allow(&error).await => {}
                outcome => return outcome,
            }
        }
    }

    async fn writable(&self) -> io::Result<()> {
        let mut retries = Retries::default();
        loop {
            match self.wait_writable().await {
                Err(error) if retries.allow(&error).await => {}
                outcome => return outcome,
            }
        }
    }
}

#[derive(Default)]
struct Retries(u32);

impl Retries {
    // A pause between tries, because all of these pass with time and none with haste.
    async fn allow(&mut self, error: &io::Error) -> bool {
        self.0 = self.0.saturating_add(1);
        if !passes_by_itself(error) || self.0 > RETRIES_MAX {
            return false;
        }
        if error.kind() != io::ErrorKind::Interrupted {
            // Boxed, because every transfer would hold room for what hardly ever happens.
            Box::pin(sleep(RETRY_PAUSE)).await;
        }
        true
    }
}

/// Whether an operation that failed so may succeed when it is tried again.
pub fn passes_by_itself(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory
    ) || error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error())
}

/// Awaits `work` to its end; where `limit` passes first, calls `end` once, which must make `work`
/// end soon (`Socket::abort`), and goes on awaiting. Returns the outcome and whether time was up.
pub async fn race<W: Future>(work: W, limit: Duration, end: impl FnOnce()) -> (W::Output, bool) {
    let (outcome, late) = until(work, sleep(limit), end).await;
    (outcome, late.is_some())
}

/// As `race`, with a future that says when it is time, and why.
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
