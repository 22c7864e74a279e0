//! How a worker that sleeps in its ring is woken by other threads, and none of its wake-ups is lost.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Wake;

use rustix::event::{EventfdFlags, eventfd};

/// Wakes one worker's loop. The worker itself decides when it sleeps; everybody may ring.
///
/// One atomic value holds all there is to know, so that "it rang" and "it sleeps" cannot pass each other:
/// whoever rings changes it to `RUNG` and learns in the same step whether the worker slept, and the worker
/// can only change it to `ASLEEP` where it was `AWAKE`, that is, where nobody rang since the last `take`.
#[derive(Debug)]
pub(super) struct Bell {
    state: AtomicU8,
    // Readable where somebody rang while the worker slept. The ring polls it.
    event: OwnedFd,
}

const AWAKE: u8 = 0;
const RUNG: u8 = 1;
const ASLEEP: u8 = 2;

impl Bell {
    /// A bell that has rung, so that the first turn of the loop looks.
    ///
    /// # Errors
    /// What the system says when it has no descriptor to give.
    pub(super) fn new() -> io::Result<Arc<Self>> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let state = AtomicU8::new(RUNG);
        Ok(Arc::new(Self { state, event }))
    }

    /// Whether it rang since the last call. The worker counts as awake from now on.
    pub(super) fn take(&self) -> bool {
        self.state.swap(AWAKE, Ordering::AcqRel) == RUNG
    }

    /// Says that the worker is about to sleep. False where it must not, because it rang.
    pub(super) fn fall_asleep(&self) -> bool {
        let before = (AWAKE, ASLEEP);
        let changed =
            self.state
                .compare_exchange(before.0, before.1, Ordering::AcqRel, Ordering::Acquire);
        changed.is_ok()
    }

    /// Says that the worker sleeps no more; that it rang meanwhile is not forgotten.
    pub(super) fn wake_up(&self) {
        let _ = self
            .state
            .compare_exchange(ASLEEP, AWAKE, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Makes the descriptor unreadable again.
    pub(super) fn clear(&self) {
        // Nothing is there only where somebody else cleared it, which is as well.
        let _ = rustix::io::read(&self.event, &mut [0; 8]);
    }
}

#[cfg(test)]
impl Bell {
    pub(super) fn descriptor(&self) -> std::os::fd::BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.event)
    }
}

impl AsRawFd for Bell {
    fn as_raw_fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(RUNG, Ordering::AcqRel) == ASLEEP {
            // It fails only where 2^64 - 2 wake-ups wait to be read, and then one more is not needed.
            let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
    }
}
