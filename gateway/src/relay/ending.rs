//! What comes before a reset: what was handed to a socket is delivered first, as far as its receiver takes
//! it.

use std::cell::Cell;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::limits::{DELIVERY_LOOK, DELIVERY_MAX, DELIVERY_STALL, RESET_GRACE};
use crate::uring::{Socket, sleep};

/// Something that happens once in a connection.
#[derive(Debug, Default)]
pub(super) struct Milestone {
    is_reached: Cell<bool>,
    news: Notify,
}

impl Milestone {
    /// Notes that it has happened.
    pub(super) fn reach(&self) {
        if !self.is_reached.replace(true) {
            self.news.notify_waiters();
        }
    }

    /// Whether it has happened.
    pub(super) fn is_reached(&self) -> bool {
        self.is_reached.get()
    }

    /// Waits until it has happened.
    pub(super) async fn reached(&self) {
        while !self.is_reached.get() {
            self.news.notified().await;
        }
    }
}

/// Waits until the receiver at `socket` has taken all that was sent to it, as long as it goes on taking.
/// `moved` is when bytes moved last, and is kept.
pub(super) async fn settle<S: Socket>(socket: &S, moved: &Cell<Instant>) {
    if watch_taking(socket, moved, true).await {
        sleep(RESET_GRACE.saturating_sub(moved.get().elapsed())).await;
    }
}

/// Waits until the receiver at `socket` takes nothing more of what is sent to it, or has had its time.
pub(super) async fn stalls<S: Socket>(socket: &S, moved: &Cell<Instant>) {
    watch_taking(socket, moved, false).await;
}

// Whether all was taken, where that is to end it.
async fn watch_taking<S: Socket>(socket: &S, moved: &Cell<Instant>, ends_when_empty: bool) -> bool {
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
