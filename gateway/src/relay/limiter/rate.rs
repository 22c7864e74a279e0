//! Limits how many handshakes one source may begin in a second, on all cores together.
//!
//! A token bucket for each source, in the form of the generic cell rate algorithm: the table holds one time
//! for each source, the time at which its bucket is full again. Pure: times come in as arguments.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::client_source::Source;
use crate::measure::ReachedBound;
use crate::relay::limits::{HANDSHAKES_BURST, RATE_SOURCES_MAX};

/// The rates of all sources.
#[derive(Debug)]
pub struct HandshakeRate {
    // The time that one handshake takes from the bucket of its source.
    each: Duration,
    per_second: u32,
    sources_max: usize,
    buckets: Mutex<Buckets>,
}

#[derive(Debug, Default)]
struct Buckets {
    // When the bucket of a source is full again. A source that is missing here has a full bucket.
    full_at: HashMap<Source, Instant>,
    // INVARIANT: the same entries, by time.
    by_time: BTreeSet<(Instant, Source)>,
}

impl HandshakeRate {
    /// At most `per_second` handshakes of one source in a second, and as many at once; at least 1.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        let per_second = per_second.max(1);
        Self {
            each: Duration::from_secs(1) / per_second,
            per_second,
            sources_max: RATE_SOURCES_MAX,
            buckets: Mutex::default(),
        }
    }

    /// The handshakes of one source in a second.
    #[must_use]
    pub fn per_second(&self) -> u32 {
        self.per_second
    }

    /// Takes a handshake of `source` from its bucket and returns how long it must wait. `None` if that is
    /// longer than `patience`; the bucket is then unchanged.
    pub(super) fn take(
        &self,
        source: IpAddr,
        patience: Duration,
        now: Instant,
    ) -> Option<Duration> {
        let source = Source::from(source);
        // A panic cannot leave an entry half made.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.forget_full(now);
        let full_at = buckets.full_at.get(&source).copied().unwrap_or(now);
        let next = full_at + self.each;
        // A handshake may begin while the bucket is not empty.
        let wait = next.saturating_duration_since(now + HANDSHAKES_BURST);
        if wait > patience {
            return None;
        }
        buckets.set(source, next);
        // LIMIT: RATE_SOURCES_MAX. The source whose bucket is full first loses least.
        while buckets.full_at.len() > self.sources_max {
            ReachedBound::RateSources.note();
            buckets.forget_first();
        }
        Some(wait)
    }
}

impl Buckets {
    fn set(&mut self, source: Source, full_at: Instant) {
        if let Some(before) = self.full_at.insert(source, full_at) {
            self.by_time.remove(&(before, source));
        }
        self.by_time.insert((full_at, source));
    }

    // At most two for each call, so that no call takes long.
    fn forget_full(&mut self, now: Instant) {
        for _ in 0..2 {
            if self
                .by_time
                .first()
                .is_some_and(|(full_at, _)| *full_at <= now)
            {
                self.forget_first();
            }
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, source)) = self.by_time.pop_first() {
            self.full_at.remove(&source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn waits(rate: &HandshakeRate, from: &str, count: usize, now: Instant) -> Vec<Duration> {
        let take = |_| rate.take(address(from), PATIENCE, now);
        (0..count).map_while(take).collect()
    }

    #[test]
    fn a_burst_begins_at_once_and_further_handshakes_wait_in_their_turn() {
        let rate = HandshakeRate::new(10);
        let now = Instant::now();
        let waits = waits(&rate, "192.0.2.1", 100, now);
        let tenth = Duration::from_millis(100);
        assert_eq!(waits[..10], [Duration::ZERO; 10]);
        assert_eq!(waits[10..13], [tenth, 2 * tenth, 3 * tenth]);
        // As many as may begin within the patience of the last; the others are refused.
        assert_eq!((waits.len(), waits.last()), (60, Some(&PATIENCE)));
    }

    #[test]
    fn a_source_that_is_refused_does_not_delay_others_and_serves_again_after_a_while() {
        let rate = HandshakeRate::new(10);
        let now = Instant::now();
        assert_eq!(waits(&rate, "2001:db8::1", 100, now).len(), 60);
        // The same /64.
        assert_eq!(rate.take(address("2001:db8::2"), PATIENCE, now), None);
        let other = rate.take(address("2001:db8:0:1::1"), PATIENCE, now);
        assert_eq!(other, Some(Duration::ZERO));
        let later = now + Duration::from_secs(1);
        assert_eq!(waits(&rate, "2001:db8::1", 100, later).len(), 10);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_source_that_used_least() {
        let rate = HandshakeRate {
            sources_max: 100,
            ..HandshakeRate::new(10)
        };
        let now = Instant::now();
        assert_eq!(waits(&rate, "192.0.2.1", 100, now).len(), 60);
        for last in 0..=u8::MAX {
            let other = IpAddr::from([198, 51, 100, last]);
            assert_eq!(rate.take(other, PATIENCE, now), Some(Duration::ZERO));
        }
        let sizes = |rate: &HandshakeRate| {
            let buckets = rate.buckets.lock().expect("no holder panicked");
            (buckets.full_at.len(), buckets.by_time.len())
        };
        assert_eq!(sizes(&rate), (100, 100));
        // The flood is remembered.
        assert_eq!(rate.take(address("192.0.2.1"), PATIENCE, now), None);
        // Full buckets are forgotten with time.
        let later = now + Duration::from_secs(60);
        for _ in 0..60 {
            rate.take(address("192.0.2.9"), PATIENCE, later);
        }
        assert_eq!(sizes(&rate), (1, 1));
    }
}
