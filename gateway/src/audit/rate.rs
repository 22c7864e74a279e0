//! Rate limits for log lines that unauthenticated clients can cause at will.

use std::collections::HashMap;
use std::time::Instant;

use crate::audit::limits::{REFUSALS_BURST, REFUSALS_EVERY};
use crate::measure::ReachedBound;
use crate::tls::RefusalClass;

/// A kind of line with its own limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum LineKind {
    Refused(RefusalClass),
    Unreachable,
    SourceNotAllowed,
    /// Warnings about connections with an accepted peer, whose lines are always written.
    Warned,
    Illegal,
    Forbidden,
    Late,
    Limited,
    Broken,
}

/// One bucket per route and kind; the configuration bounds their number.
#[derive(Debug, Default)]
pub(super) struct Rate {
    buckets: HashMap<(String, LineKind), Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: u32,
    refilled: Instant,
    suppressed: u64,
}

impl Rate {
    /// Returns the number of lines suppressed since the last one if a line may be written now, else `None`.
    pub(super) fn allow(&mut self, route: &str, kind: LineKind, now: Instant) -> Option<u64> {
        let full = Bucket {
            tokens: REFUSALS_BURST,
            refilled: now,
            suppressed: 0,
        };
        let bucket = self.buckets.entry((route.to_owned(), kind)).or_insert(full);
        bucket.refill(now);
        match bucket.tokens.checked_sub(1) {
            Some(rest) => {
                bucket.tokens = rest;
                Some(std::mem::take(&mut bucket.suppressed))
            }
            None => {
                ReachedBound::LogLines.note();
                bucket.suppressed = bucket.suppressed.saturating_add(1);
                None
            }
        }
    }
}

impl Bucket {
    fn refill(&mut self, now: Instant) {
        while self.tokens < REFUSALS_BURST
            && now.saturating_duration_since(self.refilled) >= REFUSALS_EVERY
        {
            self.tokens += 1;
            self.refilled += REFUSALS_EVERY;
        }
        if self.tokens == REFUSALS_BURST {
            self.refilled = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_causes_a_burst_and_then_one_line_per_second() {
        let mut rate = Rate::default();
        let start = Instant::now();
        let passed = (0..1000)
            .filter(|_| {
                rate.allow("r", LineKind::Refused(RefusalClass::Unknown), start)
                    .is_some()
            })
            .count();
        assert_eq!(passed, REFUSALS_BURST as usize);
        let later = start + REFUSALS_EVERY;
        assert_eq!(
            rate.allow("r", LineKind::Refused(RefusalClass::Unknown), later),
            Some(1000 - u64::from(REFUSALS_BURST))
        );
        assert_eq!(
            rate.allow("r", LineKind::Refused(RefusalClass::Unknown), later),
            None
        );
        assert_eq!(
            rate.allow("other", LineKind::Refused(RefusalClass::Unknown), later),
            Some(0)
        );
        assert_eq!(rate.allow("r", LineKind::Late, later), Some(0));
    }

    #[test]
    fn a_flood_of_scans_does_not_hide_a_refused_certificate() {
        let mut rate = Rate::default();
        let now = Instant::now();
        for _ in 0..1000 {
            rate.allow("r", LineKind::Refused(RefusalClass::Unknown), now);
        }
        for class in [
            RefusalClass::Revoked,
            RefusalClass::NotListed,
            RefusalClass::Unacceptable,
        ] {
            assert_eq!(rate.allow("r", LineKind::Refused(class), now), Some(0));
        }
    }
}
