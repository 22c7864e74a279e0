//! A pipe of the kernel between two sockets, by splice(2).
//!
//! Plain system calls on the core's own thread, behind readiness from the ring: the ring's own splice
//! is always handed to a kernel thread, one for each that waits.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::pipe::{
    PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice,
};

use super::Pipe;
use crate::limits::{PIPE_ROOM, PIPE_ROOM_MIN};

/// A pipe with both of its ends.
#[derive(Debug)]
pub struct KernelPipe {
    entry: OwnedFd,
    exit: OwnedFd,
    room: usize,
    held: Cell<usize>,
}

impl KernelPipe {
    /// An empty pipe of `PIPE_ROOM`, or what the system gives.
    ///
    /// # Errors
    /// When there is no descriptor left, or the system gives less than `PIPE_ROOM_MIN`: Linux makes
    /// pipes of two pages for an unprivileged user who has many (pipe-user-pages-soft, pipe(7)), and
    /// those cost more than copying.
    pub(super) fn new() -> io::Result<Self> {
        let (exit, entry) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let room = match fcntl_setpipe_size(&entry, PIPE_ROOM) {
            Ok(room) => room,
            Err(_) => fcntl_getpipe_size(&entry)?,
        };
        if room < PIPE_ROOM_MIN {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        Ok(Self {
            entry,
            exit,
            room,
            held: Cell::new(0),
        })
    }

    /// Moves what `socket`, which must be non-blocking, has received into this pipe.
    ///
    /// # Errors
    /// `WouldBlock` where there is nothing, and what splice(2) says. This pipe must be empty: from a
    /// full one Linux says `WouldBlock` as well.
    pub(super) fn fill(&self, socket: impl AsFd) -> io::Result<usize> {
        if self.held.get() > 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let count = splice(socket, None, &self.entry, None, self.room, AT_ONCE)?;
        self.held.set(count);
        Ok(count)
    }

    /// Moves a part of what this pipe holds to `socket`, which must be non-blocking.
    ///
    /// # Errors
    /// `WouldBlock` where the socket has no room, and what splice(2) says.
    pub(super) fn drain(&self, socket: impl AsFd) -> io::Result<usize> {
        let held = self.held.get();
        if held == 0 {
            // Linux would say `WouldBlock`, which no readiness of the socket ends.
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let count = splice(&self.exit, None, socket, None, held, AT_ONCE)?;
        self.held.set(held.saturating_sub(count));
        Ok(count)
    }
}

impl Pipe for KernelPipe {
    fn held(&self) -> usize {
        self.held.get()
    }
}

// This is about the pipe; a socket waits unless it is non-blocking itself.
const AT_ONCE: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);
