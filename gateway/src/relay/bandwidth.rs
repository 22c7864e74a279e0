//! Waits for the turns of a connection on a route with `bandwidth`.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::link::Link;
use super::receive::room_of;
use crate::buffers::{Batch, BufferSizer, Pool};
use crate::metrics::Counter;
use crate::relay::limits::TURN_LOOK;
use crate::route::{BandwidthFlow, TurnStep};
use crate::uring::{Socket, SocketExt, sleep};

/// One direction of a connection on a route with `bandwidth`.
pub(super) struct PacedFlow<'r> {
    pub(super) flow: BandwidthFlow<'r>,
    /// The receives of the route that had to wait.
    pub(super) delayed: &'r Counter,
}

/// A turn: one receive of at most this number of bytes. Charged when dropped.
pub(super) struct PacedTurn<'f> {
    flow: &'f BandwidthFlow<'f>,
    allowed: usize,
    used: Cell<usize>,
}

impl PacedFlow<'_> {
    /// Waits for a turn. A connection that has failed does not wait any longer.
    pub(super) async fn turn<N: Socket, F: Socket>(&self, link: &Link<N, F>) -> PacedTurn<'_> {
        let flow = &self.flow;
        let turn = flow.wait();
        let mut is_first = true;
        let allowed = loop {
            let time = match turn.look(Instant::now().into_std()) {
                TurnStep::Receive(bytes) => break bytes,
                TurnStep::Until(time) => Some(time),
                TurnStep::Queued => None,
            };
            if std::mem::take(&mut is_first) {
                self.delayed.add(1);
            }
            if link.failed() {
                break 0;
            }
            let left =
                time.map(|time| Instant::from_std(time).saturating_duration_since(Instant::now()));
            let wait = left.unwrap_or(TURN_LOOK).min(TURN_LOOK);
            tokio::select! {
                biased;
                () = flow.news().notified() => {}
                () = sleep(wait.max(WAIT_MIN)) => {}
            }
        };
        PacedTurn {
            flow,
            allowed,
            used: Cell::new(0),
        }
    }
}

// The resolution of timers.
const WAIT_MIN: Duration = Duration::from_millis(1);

impl PacedTurn<'_> {
    /// The number of bytes to receive at most; not 0, so that the end of a connection is seen.
    pub(super) fn bytes(&self) -> usize {
        self.allowed.max(1)
    }

    /// Records how many bytes were received.
    pub(super) fn receive(&self, count: usize) {
        self.used.set(count);
    }
}

impl Drop for PacedTurn<'_> {
    fn drop(&mut self) {
        self.flow.charge(self.allowed, self.used.get());
    }
}

/// Receives once for `sink` in a turn of `flow`, if bytes are known to be available. `None` is the end.
pub(super) async fn receive_paced<S: Socket, T: Socket, N: Socket, F: Socket>(
    link: &Link<N, F>,
    (socket, sink): (&S, &T),
    flow: &PacedFlow<'_>,
    pool: &Pool,
    sizer: &mut BufferSizer,
) -> io::Result<Option<Batch>> {
    let most = room_of(sink, sizer.is_bulk()).await;
    let turn = flow.turn(link).await;
    let size = sizer.size(pool);
    let mut batch = pool.batch_within(size, most.min(turn.bytes()));
    let (outcome, lent) = socket.readv_some(batch.lend_within(turn.bytes())).await;
    batch.restore(lent);
    let count = outcome?;
    turn.receive(count);
    batch.fill(count);
    // A turn that was used up means that more is there.
    sizer.note_received(count, batch.room().min(turn.bytes()), pool);
    Ok(Some(batch).filter(|batch| !batch.is_empty()))
}
