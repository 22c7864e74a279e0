//! The bandwidth of one direction of a route: which of its connections may receive next, and when.
//!
//! A token bucket for all connections of all cores, and a queue of the connections that wait for it. A turn is
//! for one receive of limited size. The order is that of self-clocked fair queueing: each connection has a
//! tag, the bytes that it would have moved if all had got the same share, and the one whose tag would be lowest
//! after its turn is next. So connections with bulk share the bandwidth equally, and one that moves little
//! waits for the turn in progress and not for all bulk before it.
//!
//! Nothing is held back here: a connection that waits does not receive, and TCP slows its sender down. Pure:
//! times come in as arguments, and the caller waits.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::route::limits::{BANDWIDTH_BURST, TURN_BYTES, TURN_TIME};

/// The bandwidth of one direction.
#[derive(Debug)]
pub(crate) struct RouteBandwidth(Mutex<TurnQueue>);

#[derive(Debug)]
struct TurnQueue {
    // Bytes per second; `None` without a limit.
    rate: Option<u64>,
    // When all bytes so far have passed at this rate.
    free_at: Instant,
    // The tag before the last turn.
    virtual_time: u64,
    arrivals: u64,
    // By the tag that is expected after the turn, then by arrival. INVARIANT: one entry for each waiting connection and direction.
    waiting: BTreeMap<Position, Arc<Notify>>,
}

type Position = (u64, u64);

/// One direction of a connection with a share of the bandwidth.
#[derive(Debug)]
pub(crate) struct BandwidthFlow<'r> {
    bandwidth: &'r RouteBandwidth,
    // The tag after its last turn.
    tag: Cell<u64>,
    // The bytes of its last turn, which are expected of the next one; before the first, those of a whole turn.
    last: Cell<Option<u64>>,
    news: Arc<Notify>,
}

/// A place in the queue; left when dropped.
#[derive(Debug)]
pub(crate) struct WaitingTurn<'f> {
    flow: &'f BandwidthFlow<'f>,
    // The tag before the turn.
    tag: u64,
    position: Position,
}

/// What a connection that waits must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TurnStep {
    /// Receive at most this number of bytes, then call `charge`.
    Receive(usize),
    /// Look again at this time, or when notified.
    Until(Instant),
    /// Look again when notified.
    Queued,
}

impl Default for RouteBandwidth {
    fn default() -> Self {
        Self(Mutex::new(TurnQueue {
            rate: None,
            free_at: Instant::now(),
            virtual_time: 0,
            arrivals: 0,
            waiting: BTreeMap::new(),
        }))
    }
}

impl RouteBandwidth {
    /// Changes the bandwidth, in bytes per second; `None` ends the limit. Connections that wait go on with it.
    pub(super) fn set(&self, rate: Option<u64>) {
        let mut queue = self.queue();
        queue.rate = rate;
        queue.notify_first();
    }

    /// A direction of a new connection.
    pub(crate) fn flow(&self) -> BandwidthFlow<'_> {
        BandwidthFlow {
            bandwidth: self,
            tag: Cell::new(0),
            last: Cell::new(None),
            news: Arc::default(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, TurnQueue> {
        // A panic cannot leave it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BandwidthFlow<'_> {
    /// Begins to wait for a turn.
    pub(crate) fn wait(&self) -> WaitingTurn<'_> {
        let mut queue = self.bandwidth.queue();
        // A connection that was away for a moment loses nothing, and one that was away for long gains little.
        let turn = queue.turn_bytes() as u64;
        let credit = CREDIT_TURNS.saturating_mul(turn);
        let tag = self
            .tag
            .get()
            .max(queue.virtual_time.saturating_sub(credit));
        let expected = self.last.get().unwrap_or(turn);
        let position = (tag.saturating_add(expected), queue.arrivals);
        queue.arrivals = queue.arrivals.wrapping_add(1);
        queue.waiting.insert(position, Arc::clone(&self.news));
        WaitingTurn {
            flow: self,
            tag,
            position,
        }
    }

    /// Notified when a look may have another result.
    pub(crate) fn news(&self) -> &Notify {
        &self.news
    }

    /// Ends a turn in which `used` of `allowed` bytes were received.
    pub(crate) fn charge(&self, allowed: usize, used: usize) {
        self.last.set(Some(used as u64));
        let tag = self.tag.get().saturating_add(used as u64);
        self.tag.set(tag);
        let mut queue = self.bandwidth.queue();
        if let Some(rate) = queue.rate {
            let unused = time_of(allowed.saturating_sub(used), rate);
            queue.free_at = queue.free_at.checked_sub(unused).unwrap_or(queue.free_at);
        }
        // The first waits for a time that may be earlier now.
        queue.notify_first();
    }
}

impl WaitingTurn<'_> {
    /// What to do at `now`.
    pub(crate) fn look(&self, now: Instant) -> TurnStep {
        let mut queue = self.flow.bandwidth.queue();
        let Some(rate) = queue.rate else {
            return TurnStep::Receive(usize::MAX);
        };
        if queue
            .waiting
            .first_key_value()
            .is_none_or(|(first, _)| *first != self.position)
        {
            return TurnStep::Queued;
        }
        if queue.free_at > now {
            return TurnStep::Until(queue.free_at);
        }
        let bytes = queue.turn_bytes();
        let least = now.checked_sub(BANDWIDTH_BURST).unwrap_or(now);
        queue.free_at = queue.free_at.max(least) + time_of(bytes, rate);
        queue.virtual_time = queue.virtual_time.max(self.tag);
        self.flow.tag.set(self.tag);
        TurnStep::Receive(bytes)
    }
}

impl Drop for WaitingTurn<'_> {
    fn drop(&mut self) {
        let mut queue = self.flow.bandwidth.queue();
        queue.waiting.remove(&self.position);
        queue.notify_first();
    }
}

impl TurnQueue {
    // The most bytes of one turn.
    fn turn_bytes(&self) -> usize {
        let rate = self.rate.unwrap_or(u64::MAX);
        let nanos = u64::try_from(TURN_TIME.as_nanos()).unwrap_or(u64::MAX);
        let bytes = u128::from(rate) * u128::from(nanos) / 1_000_000_000;
        let [least, most] = TURN_BYTES;
        usize::try_from(bytes).unwrap_or(most).clamp(least, most)
    }

    fn notify_first(&self) {
        if let Some((_, first)) = self.waiting.first_key_value() {
            first.notify_one();
        }
    }
}

// `rate` is at least 1, as configured.
fn time_of(bytes: usize, rate: u64) -> Duration {
    Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64)
}

// Turns of credit that a connection keeps while it does not wait.
const CREDIT_TURNS: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const MEGABYTE: u64 = 1_000_000;

    /// Runs directions for `seconds` of simulated time. The first `sparse` of them receive a message of 200 bytes
    /// now and then, the others always as much as they may. Returns the bytes of each, and the longest wait of a
    /// message.
    fn run(rate: u64, flows: usize, sparse: usize, seconds: u64) -> (Vec<usize>, Duration) {
        let bandwidth = RouteBandwidth::default();
        bandwidth.set(Some(rate));
        let flows: Vec<_> = (0..flows).map(|_| bandwidth.flow()).collect();
        let start = Instant::now();
        let (mut now, end) = (start, start + Duration::from_secs(seconds));
        let mut moved = vec![0; flows.len()];
        let mut turns: Vec<_> = flows.iter().map(|flow| Some(flow.wait())).collect();
        let mut sparse_waits = Duration::ZERO;
        let mut sparse_since = start;
        while now < end {
            let mut next = end;
            let mut has_moved = false;
            for (index, flow) in flows.iter().enumerate() {
                // A sparse direction waits 20 ms after each of its messages.
                let is_sparse = index < sparse;
                if turns[index].is_none() && now >= sparse_since {
                    turns[index] = Some(flow.wait());
                }
                let Some(turn) = &turns[index] else { continue };
                match turn.look(now) {
                    TurnStep::Receive(bytes) => {
                        let used = if is_sparse { bytes.min(200) } else { bytes };
                        turns[index] = None;
                        flow.charge(bytes, used);
                        moved[index] += used;
                        has_moved = true;
                        if is_sparse {
                            sparse_waits = sparse_waits.max(now - sparse_since);
                            sparse_since = now + Duration::from_millis(20);
                        } else {
                            turns[index] = Some(flow.wait());
                        }
                    }
                    TurnStep::Until(time) => next = next.min(time),
                    TurnStep::Queued => {}
                }
            }
            if !has_moved {
                // As late as a timer of the worker is.
                now = (next + Duration::from_millis(1)).min(end);
            }
        }
        (moved, sparse_waits)
    }

    #[test]
    fn all_connections_together_have_the_bandwidth_and_share_it_equally() {
        for rate in [MEGABYTE / 10, 5 * MEGABYTE, 50 * MEGABYTE, 1250 * MEGABYTE] {
            for flows in [1, 2, 9] {
                let (moved, _) = run(rate, flows, 0, 5);
                let all = moved.iter().sum::<usize>() as f64 / 5.0;
                assert!((all / rate as f64 - 1.0).abs() < 0.03, "{rate}: {all}");
                let share = all * 5.0 / flows as f64;
                for of_one in moved {
                    assert!(
                        (of_one as f64 / share - 1.0).abs() < 0.05,
                        "{rate}: {of_one}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_message_waits_for_the_turn_in_progress_and_not_for_all_bulk() {
        for rate in [5 * MEGABYTE, 50 * MEGABYTE, 1250 * MEGABYTE] {
            let (_, waits) = run(rate, 65, 1, 2);
            assert!(waits <= Duration::from_millis(5), "{rate}: {waits:?}");
        }
    }

    #[test]
    fn a_place_that_is_left_lets_the_next_one_go_on() {
        let bandwidth = RouteBandwidth::default();
        bandwidth.set(Some(MEGABYTE));
        let (one, other) = (bandwidth.flow(), bandwidth.flow());
        let now = Instant::now() + Duration::from_millis(1);
        let (first, second) = (one.wait(), other.wait());
        assert_eq!(second.look(now), TurnStep::Queued);
        drop(first);
        assert!(matches!(second.look(now), TurnStep::Receive(_)));
        drop(second);
        assert!(bandwidth.queue().waiting.is_empty());
    }

    #[test]
    fn without_a_limit_every_connection_goes_on() {
        let bandwidth = RouteBandwidth::default();
        bandwidth.set(Some(MEGABYTE));
        let (one, other) = (bandwidth.flow(), bandwidth.flow());
        let (_first, second) = (one.wait(), other.wait());
        bandwidth.set(None);
        assert_eq!(second.look(Instant::now()), TurnStep::Receive(usize::MAX));
    }
}
