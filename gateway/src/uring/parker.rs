//! Wakes a worker that waits in its ring from other threads, without losing a wake-up.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Wake;

use rustix::event::{EventfdFlags, eventfd};

/// Parks and notifies one worker. Only the worker itself parks; every thread may notify it, as the waker of
/// its root task.
///
/// One atomic value holds the whole state, so that a notification and the decision to park cannot miss each
/// other. A notification sets `NOTIFIED`, and the same atomic step returns whether the worker was parked. The
/// worker can set `PARKED` only if the state is `RUNNING`, which means that no notification has arrived since
/// the last `take_notification`.
#[derive(Debug)]
pub(super) struct Parker {
    state: AtomicU8,
    // An eventfd that the ring polls. It is readable after a notification that arrived while the worker was
    // parked.
    event: OwnedFd,
}

const RUNNING: u8 = 0;
const NOTIFIED: u8 = 1;
const PARKED: u8 = 2;

impl Parker {
    /// A parker that is already notified, so that the first turn of the loop polls the root task.
    ///
    /// # Errors
    /// The system's error when no descriptor is available.
    pub(super) fn new() -> io::Result<Arc<Self>> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let state = AtomicU8::new(NOTIFIED);
        Ok(Arc::new(Self { state, event }))
    }

    /// Whether a notification has arrived since the last call. Sets the state to `RUNNING`.
    pub(super) fn take_notification(&self) -> bool {
        self.state.swap(RUNNING, Ordering::AcqRel) == NOTIFIED
    }

    /// Announces that the worker is about to wait. Returns false if a notification has arrived; the worker
    /// must then not wait.
    pub(super) fn try_park(&self) -> bool {
        self.exchange(RUNNING, PARKED)
    }

    /// Announces that the worker no longer waits. A notification that arrived in the meantime is kept.
    pub(super) fn unpark(&self) {
        self.exchange(PARKED, RUNNING);
    }

    /// Reads the eventfd, so that it is no longer readable.
    pub(super) fn clear_event(&self) {
        // The read fails only if the eventfd is not readable.
        let _ = rustix::io::read(&self.event, &mut [0; 8]);
    }

    fn exchange(&self, before: u8, after: u8) -> bool {
        self.state
            .compare_exchange(before, after, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

#[cfg(test)]
impl Parker {
    pub(super) fn event(&self) -> &OwnedFd {
        &self.event
    }
}

impl AsRawFd for Parker {
    fn as_raw_fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(NOTIFIED, Ordering::AcqRel) == PARKED {
            // The write fails only if the counter is full, and then the eventfd is readable already.
            let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
    }
}
