//! Rate limits for log lines that unauthenticated clients can cause at will.
//!
//! A line must pass two limits: that of its source, so that a noisy source hides no line of another source, and
//! that of its route, so that many sources cannot flood the log. Both apply to each route for itself: a gateway of
//! another site is one source on many routes, and a fault on one of them must not hide a fault on another.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::audit::limits::{
    ROUTE_LINE_EVERY, ROUTE_LINES_BURST, SOURCE_LINE_EVERY, SOURCE_LINES_BURST, SOURCES_MAX,
    SOURCES_SWEEP_EVERY,
};
use crate::client_source::Source;
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

/// The limits of all sources and routes. The time is an argument.
#[derive(Debug, Default)]
pub(super) struct Rate {
    // INVARIANT: at most SOURCES_MAX keys with a source, and one key without a source for each route and kind.
    sources: HashMap<(Option<Source>, LineClass), Bucket>,
    swept: Option<Instant>,
    // The configuration bounds their number.
    routes: HashMap<LineClass, RouteLines>,
}

/// A route and a kind of line.
type LineClass = (String, LineKind);

#[derive(Debug)]
struct RouteLines {
    bucket: Bucket,
    // Lines of this route and kind since the last that passed, whichever limit held them back.
    suppressed: u64,
}

impl Rate {
    /// Returns the number of lines of this route and kind that were left out since the last one if a line may be
    /// written now, else `None`.
    pub(super) fn allow(
        &mut self,
        route: &str,
        kind: LineKind,
        source: IpAddr,
        now: Instant,
    ) -> Option<u64> {
        let of = (route.to_owned(), kind);
        let of_source = self.source((Some(source.into()), of.clone()), now);
        let is_allowed = of_source.take(SOURCE_LINES_BURST, SOURCE_LINE_EVERY, now);
        let lines = self.routes.entry(of).or_insert(RouteLines {
            bucket: Bucket::full(ROUTE_LINES_BURST, now),
            suppressed: 0,
        });
        // A line that its source may not write takes nothing from the route.
        if is_allowed && lines.bucket.take(ROUTE_LINES_BURST, ROUTE_LINE_EVERY, now) {
            return Some(std::mem::take(&mut lines.suppressed));
        }
        // LIMIT: SOURCE_LINES_BURST or ROUTE_LINES_BURST.
        ReachedBound::LogLines.note();
        lines.suppressed = lines.suppressed.saturating_add(1);
        None
    }

    // The bucket of the source, or that of all sources for which the table has no room.
    fn source(&mut self, mut key: (Option<Source>, LineClass), now: Instant) -> &mut Bucket {
        if !self.sources.contains_key(&key) && !self.has_room(now) {
            // LIMIT: SOURCES_MAX.
            key.0 = None;
        }
        let bucket = self.sources.entry(key);
        bucket.or_insert_with(|| Bucket::full(SOURCE_LINES_BURST, now))
    }

    fn has_room(&mut self, now: Instant) -> bool {
        if self.sources.len() < SOURCES_MAX {
            return true;
        }
        let since = |at| now.saturating_duration_since(at);
        if self.swept.is_some_and(|at| since(at) < SOURCES_SWEEP_EVERY) {
            return false;
        }
        self.swept = Some(now);
        self.sources.retain(|_, bucket| {
            bucket.refill(SOURCE_LINES_BURST, SOURCE_LINE_EVERY, now);
            bucket.tokens < SOURCE_LINES_BURST
        });
        self.sources.len() < SOURCES_MAX
    }
}

#[derive(Debug)]
struct Bucket {
    tokens: u32,
    refilled: Instant,
}

impl Bucket {
    fn full(burst: u32, now: Instant) -> Self {
        Self {
            tokens: burst,
            refilled: now,
        }
    }

    /// Takes a token if there is one.
    fn take(&mut self, burst: u32, every: Duration, now: Instant) -> bool {
        self.refill(burst, every, now);
        let rest = self.tokens.checked_sub(1);
        self.tokens = rest.unwrap_or_default();
        rest.is_some()
    }

    fn refill(&mut self, burst: u32, every: Duration, now: Instant) {
        while self.tokens < burst && now.saturating_duration_since(self.refilled) >= every {
            self.tokens += 1;
            self.refilled += every;
        }
        if self.tokens == burst {
            self.refilled = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const SCAN: LineKind = LineKind::Refused(RefusalClass::Unknown);

    fn source(number: u32) -> IpAddr {
        Ipv4Addr::from(0x0a00_0000 + number).into()
    }

    // The lines that pass out of `count`.
    fn flood(rate: &mut Rate, from: IpAddr, count: u32, now: Instant) -> u32 {
        let lines = (0..count).filter(|_| rate.allow("r", SCAN, from, now).is_some());
        u32::try_from(lines.count()).expect("no more than the flood")
    }

    #[test]
    fn a_noisy_source_causes_a_burst_and_then_one_line_per_interval() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        assert_eq!(flood(&mut rate, source(1), 1000, start), SOURCE_LINES_BURST);
        let later = start + SOURCE_LINE_EVERY;
        let held = u64::from(1000 - SOURCE_LINES_BURST);
        assert_eq!(rate.allow("r", SCAN, source(1), later), Some(held));
        assert_eq!(rate.allow("r", SCAN, source(1), later), None);
        for (route, kind) in [("r", LineKind::Late), ("other", SCAN)] {
            assert_eq!(rate.allow(route, kind, source(1), later), Some(0));
        }
    }

    #[test]
    fn noisy_sources_hide_no_line_of_another_source() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        for second in 0..600 {
            let now = start + Duration::from_secs(second);
            for noisy in 0..5 {
                flood(&mut rate, source(noisy), 20, now);
            }
            let modality = (second % 60 == 0).then(|| rate.allow("r", SCAN, source(100), now));
            assert!(modality.is_none_or(|line| line.is_some()), "{second}");
        }
    }

    #[test]
    fn many_sources_together_do_not_flood_a_route() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        let passed: u32 = (0..4000)
            .map(|number| flood(&mut rate, source(number), 1, start))
            .sum();
        assert_eq!(passed, ROUTE_LINES_BURST);
        let later = start + ROUTE_LINE_EVERY;
        let held = u64::from(4000 - ROUTE_LINES_BURST);
        assert_eq!(rate.allow("r", SCAN, source(20_000), later), Some(held));
        assert_eq!(rate.allow("r", SCAN, source(20_001), later), None);
        assert_eq!(rate.allow("other", SCAN, source(20_002), later), Some(0));
    }

    #[test]
    fn the_written_and_the_suppressed_lines_are_all_lines_of_a_route() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        let (mut written, mut suppressed) = (0, 0);
        for number in 0..50_000 {
            let now = start + Duration::from_millis(u64::from(number));
            if let Some(held) = rate.allow("r", SCAN, source(number % 7000), now) {
                written += 1;
                suppressed += held;
            }
        }
        let last = start + Duration::from_secs(3600);
        let held = rate.allow("r", SCAN, source(0), last).expect("it is quiet");
        assert_eq!(written + suppressed + held, 50_000);
    }

    #[test]
    fn the_table_of_sources_is_bounded_and_forgets_quiet_sources() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        for number in 0..100_000 {
            rate.allow("r", SCAN, source(number), start);
        }
        assert_eq!(rate.sources.len(), SOURCES_MAX + 1, "and the shared one");
        let later = start + SOURCE_LINE_EVERY * SOURCE_LINES_BURST;
        assert_eq!(
            rate.allow("r", SCAN, source(200_000), later).map(|_| ()),
            Some(())
        );
        assert_eq!(rate.sources.len(), 1);
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_source() {
        let (mut rate, now) = (Rate::default(), Instant::now());
        let of = |text: &str| text.parse::<IpAddr>().expect("an address");
        flood(&mut rate, of("2001:db8::1"), 100, now);
        assert_eq!(rate.allow("r", SCAN, of("2001:db8::ffff:2"), now), None);
        assert!(rate.allow("r", SCAN, of("2001:db8:0:1::1"), now).is_some());
        flood(&mut rate, of("10.0.0.1"), 100, now);
        assert_eq!(rate.allow("r", SCAN, of("::ffff:10.0.0.1"), now), None);
    }

    #[test]
    fn a_flood_of_scans_does_not_hide_a_refused_certificate() {
        let (mut rate, now) = (Rate::default(), Instant::now());
        for number in 0..1000 {
            flood(&mut rate, source(number % 9), 1, now);
        }
        for class in [
            RefusalClass::Revoked,
            RefusalClass::NotListed,
            RefusalClass::Unacceptable,
        ] {
            let kind = LineKind::Refused(class);
            assert_eq!(rate.allow("r", kind, source(1), now), Some(0));
        }
    }
}
