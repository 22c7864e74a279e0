//! Detects which connections move many bytes.

use std::future::Future;
use std::pin::pin;
use std::time::Instant;

/// A connection is active if it moves this many bytes in one tick of the placement clock (four ticks per
/// second). An image transfer over a line of 10 Mbit/s does; an exchange of messages does not.
pub(super) const AT_WORK_BYTES: u64 = 256 << 10;

/// What a connection moved in the current tick of its core's clock.
#[derive(Debug, Default)]
pub(super) struct ActivityMeter {
    turn: u64,
    bytes: u64,
}

impl ActivityMeter {
    /// Adds moved bytes. Returns true once per tick, when the total shows that the connection is active.
    pub(super) fn add(&mut self, turn: u64, bytes: u64) -> bool {
        if turn != self.turn {
            *self = Self { turn, bytes: 0 };
        }
        let before = self.bytes;
        self.bytes = before.saturating_add(bytes);
        before < AT_WORK_BYTES && self.bytes >= AT_WORK_BYTES
    }
}

/// Awaits `work`. After each poll, calls `each` with the growth of `counter` and, if `clock` returns a time,
/// the start of the poll. No other task of this thread may change the counter during a poll.
pub(super) async fn measured<W: Future>(
    work: W,
    counter: impl Fn() -> u64,
    clock: impl Fn() -> Option<Instant>,
    mut each: impl FnMut(u64, Option<Instant>),
) -> W::Output {
    let mut work = pin!(work);
    std::future::poll_fn(|context| {
        let (begun, before) = (clock(), counter());
        let polled = work.as_mut().poll(context);
        each(counter().wrapping_sub(before), begun);
        polled
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_connection_that_moves_many_bytes_is_reported_once_per_tick() {
        let mut activity = ActivityMeter::default();
        let half = AT_WORK_BYTES / 2;
        assert!(!activity.add(1, half));
        assert!(activity.add(1, half));
        assert!(!activity.add(1, AT_WORK_BYTES), "it was reported already");
        assert!(
            !activity.add(2, half),
            "bytes of an earlier tick do not count"
        );
        assert!(activity.add(3, AT_WORK_BYTES));
    }

    #[test]
    fn only_bytes_moved_during_a_poll_are_measured() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let (counter, seen) = (Cell::new(0), Cell::new(0));
        let work = async {
            counter.set(counter.get() + 5);
            tokio::task::yield_now().await;
            counter.set(counter.get() + 7);
        };
        let other = async { counter.set(counter.get() + 1000) };
        let each = |bytes, _| seen.set(seen.get() + bytes);
        let measured = measured(work, || counter.get(), || None, each);
        runtime.block_on(async { tokio::join!(measured, other) });
        assert_eq!((seen.get(), counter.get()), (12, 1012));
    }
}
