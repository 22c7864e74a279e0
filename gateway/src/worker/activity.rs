//! Which connections are at work, seen from outside of them.

use std::future::Future;
use std::pin::pin;
use std::time::Instant;

/// A connection is at work while it moves so many octets in a turn of the clock, four times a second:
/// a study over a line of 10 Mbit/s does, and no conversation.
pub(super) const AT_WORK_BYTES: u64 = 256 << 10;

/// What a connection did in this turn of its core's clock.
#[derive(Debug, Default)]
pub(super) struct ActivityMeter {
    turn: u64,
    bytes: u64,
}

impl ActivityMeter {
    /// Adds octets moved; true once in each turn, when it shows that the connection is at work.
    pub(super) fn add(&mut self, turn: u64, bytes: u64) -> bool {
        if turn != self.turn {
            *self = Self { turn, bytes: 0 };
        }
        let before = self.bytes;
        self.bytes = before.saturating_add(bytes);
        before < AT_WORK_BYTES && self.bytes >= AT_WORK_BYTES
    }
}

/// Awaits `work`, and tells `each` how much `counter` grew each time that it had something to do, and
/// since when, where `clock` gives a time. Nobody else on this thread changes the counter meanwhile.
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
    fn who_moves_much_is_at_work_once_a_turn() {
        let mut activity = ActivityMeter::default();
        let half = AT_WORK_BYTES / 2;
        assert!(!activity.add(1, half));
        assert!(activity.add(1, half));
        assert!(!activity.add(1, AT_WORK_BYTES), "it was told already");
        assert!(
            !activity.add(2, half),
            "what was moved in another turn is past"
        );
        assert!(activity.add(3, AT_WORK_BYTES));
    }

    #[test]
    fn only_what_the_work_itself_moves_is_measured() {
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
