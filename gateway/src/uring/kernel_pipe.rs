//! A kernel pipe between two sockets, with splice(2).
//!
//! These are plain system calls on the core's own thread, after the ring has reported readiness. The ring's
//! own splice would always run on a kernel thread, one per waiting splice.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::pipe::{
    PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice,
};

use super::Pipe;
use crate::uring::limits::{PIPE_ROOM, PIPE_ROOM_MIN};

/// A pipe with both of its ends.
#[derive(Debug)]
pub struct KernelPipe {
    entry: OwnedFd,
    exit: OwnedFd,
    room: usize,
    held: Cell<usize>,
}

impl KernelPipe {
    /// Creates an empty pipe of `PIPE_ROOM` bytes, or of the size that the system allows.
    ///
    /// # Errors
    /// If no file descriptor is left, or the pipe is smaller than `PIPE_ROOM_MIN`. Linux makes pipes of two
    /// pages for an unprivileged user who has many (pipe-user-pages-soft, pipe(7)), and such pipes cost more
    /// than copying.
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

    /// Moves received bytes of `socket`, which must be non-blocking, into this pipe.
    ///
    /// # Errors
    /// `WouldBlock` if no bytes are available, or the error of splice(2). This pipe must be empty, because
    /// Linux also returns `WouldBlock` for a full pipe.
    pub(super) fn fill(&self, socket: impl AsFd) -> io::Result<usize> {
        if self.held.get() > 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let count = splice(socket, None, &self.entry, None, self.room, AT_ONCE)?;
        self.held.set(count);
        Ok(count)
    }

    /// Moves some bytes of this pipe to `socket`, which must be non-blocking.
    ///
    /// # Errors
    /// `WouldBlock` if the socket has no room, or the error of splice(2).
    pub(super) fn drain(&self, socket: impl AsFd) -> io::Result<usize> {
        let held = self.held.get();
        if held == 0 {
            // Linux would return `WouldBlock`, which no readiness of the socket would end.
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

// Applies to the pipe only; a socket still blocks unless it is non-blocking itself.
const AT_ONCE: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);
