//! Delivers the bytes that were handed to a socket before the socket is reset, as far as its receiver reads.

use std::cell::Cell;
use std::io;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::audit::CloseReason;
use crate::relay::limits::{DELIVERY_LOOK, DELIVERY_MAX, DELIVERY_STALL, RESET_GRACE};
use crate::uring::{Socket, has_given_up, sleep};

/// An event that happens once in a connection.
#[derive(Debug, Default)]
pub(super) struct Milestone {
    is_reached: Cell<bool>,
    news: Notify,
}

impl Milestone {
    /// Records that the event has happened.
    pub(super) fn reach(&self) {
        if !self.is_reached.replace(true) {
            self.news.notify_waiters();
        }
    }

    /// Whether the event has happened.
    pub(super) fn is_reached(&self) -> bool {
        self.is_reached.get()
    }

    /// Waits until the event has happened.
    pub(super) async fn reached(&self) {
        while !self.is_reached.get() {
            self.news.notified().await;
        }
    }
}

/// Waits until the receiver at `socket` has acknowledged all sent bytes, as long as it makes progress.
/// `moved` is updated to the time at which bytes moved last.
pub(super) async fn delivered_or_stalled<S: Socket>(socket: &S, moved: &Cell<Instant>) {
    if watch_delivery(socket, moved, true).await {
        sleep(RESET_GRACE.saturating_sub(moved.get().elapsed())).await;
    }
}

/// Waits until the receiver at `socket` makes no more progress, or its time is over.
pub(super) async fn stalls<S: Socket>(socket: &S, moved: &Cell<Instant>) {
    watch_delivery(socket, moved, false).await;
}

// Returns true when all bytes are acknowledged (only if `ends_when_empty`), and false when the receiver makes no
// more progress.
async fn watch_delivery<S: Socket>(
    socket: &S,
    moved: &Cell<Instant>,
    ends_when_empty: bool,
) -> bool {
    let begun = Instant::now();
    let [mut pause, pause_max] = DELIVERY_LOOK;
    let (mut left, mut since) = (None, begun);
    loop {
        let Some(queue) = socket.send_queue().ok().filter(|queue| !queue.has_ended) else {
            return false;
        };
        if queue.is_empty() && ends_when_empty {
            return true;
        }
        if let Some(before) = left.replace(queue.acked)
            && before != queue.acked
        {
            since = Instant::now();
            moved.set(since);
        }
        // LIMIT: DELIVERY_STALL, DELIVERY_MAX; counted in wardgate_undelivered_bytes_total.
        if since.elapsed() >= DELIVERY_STALL || begun.elapsed() >= DELIVERY_MAX {
            return false;
        }
        sleep(pause).await;
        pause = pause.saturating_mul(2).min(pause_max);
    }
}

/// The reason for the end of a connection whose other end is gone.
pub(super) const GONE: &str = "the other end stopped answering: neither data nor probes were acknowledged \
    (timeouts.user, or keepalive)";

/// Whether a connection ended because its other end stopped answering.
pub(super) fn is_silence(reason: &CloseReason) -> bool {
    matches!(reason, CloseReason::Reset(text) if text.starts_with(GONE))
}

/// The reason for the end of a socket.
pub(super) fn reset(error: &io::Error) -> CloseReason {
    CloseReason::Reset(match error.kind() {
        io::ErrorKind::TimedOut => GONE.to_owned(),
        _ if has_given_up(error) => format!("{GONE}; the network reported: {error}"),
        _ => error.to_string(),
    })
}
