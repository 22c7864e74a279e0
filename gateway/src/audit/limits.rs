//! Bounds of the log.

use std::time::Duration;

/// Events that may wait for the journal. When the queue is full, the gateway counts and drops events: a log
/// that is not read must not stop traffic.
///
/// When reached: the event is dropped; `wardgate_log_events_dropped_total`.
pub(super) const EVENTS_MAX: usize = 4096;

/// Pause of the journal after it has written all waiting events. 10 ms delay no reader, and the gateway does
/// not produce `EVENTS_MAX` events in that time.
///
/// When reached: events wait in the queue meanwhile.
pub(super) const JOURNAL_PAUSE: Duration = Duration::from_millis(10);

/// Listeners that the startup line lists; further ones are counted. The line must fit into what log
/// collectors accept: with the longest names it takes 6 KiB.
///
/// When reached: further listeners are counted.
pub(super) const LISTENERS_SHOWN_MAX: usize = 64;

/// Refusals of one route and kind that are logged in a row before the rate limit applies.
///
/// When reached: the refusal is not logged; the next line has their number in `suppressed`.
pub(super) const REFUSALS_BURST: u32 = 10;

/// Interval at which refusals of a route and kind are logged after the burst.
///
/// When reached: the next line is written.
pub(super) const REFUSALS_EVERY: Duration = Duration::from_secs(1);

/// Rows of the last refusals, by route and kind of reason, that `status` reports: more fit on no screen.
///
/// When reached: a new row replaces the one that is the longest without news.
pub(super) const REFUSALS_SHOWN_MAX: usize = 32;

/// Characters of the reason of such a row. The longest reasons, with a chain of certificates, have about 600.
///
/// When reached: the rest is left out; the log has it.
pub(super) const REFUSAL_CHARS_MAX: usize = 1000;
