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

/// Sources with a limit of their own, counted for each route and kind of line. A client on a LAN is one source, and
/// so is an IPv6 network of 64 bits: less than 1 MiB holds more noisy sources than a hospital has devices.
///
/// When reached: further sources share one limit for each route and kind, until a listed source has been quiet for
/// `SOURCE_LINES_BURST` times `SOURCE_LINE_EVERY`.
pub(super) const SOURCES_MAX: usize = 4096;

/// Lines of one source, route and kind that are logged in a row before the rate limit applies.
///
/// When reached: the line is not logged; the next line of its route and kind has the number in `suppressed`;
/// `wardgate_bound_reached_total{bound="log_lines"}`.
pub(super) const SOURCE_LINES_BURST: u32 = 10;

/// Interval at which lines of a source, route and kind are logged after the burst. Ten noisy sources together stay below
/// the limit of their route (`ROUTE_LINE_EVERY`), so a source that is not noisy is logged.
///
/// When reached: the next line is written.
pub(super) const SOURCE_LINE_EVERY: Duration = Duration::from_secs(10);

/// Lines of one route and kind that are logged in a row before the rate limit applies. More than the bursts of
/// several noisy sources.
///
/// When reached: the line is not logged; the next line of its route and kind has the number in `suppressed`;
/// `wardgate_bound_reached_total{bound="log_lines"}`.
pub(super) const ROUTE_LINES_BURST: u32 = 60;

/// Interval at which lines of a route and kind are logged after the burst: many sources together cannot fill the
/// disk.
///
/// When reached: the next line is written.
pub(super) const ROUTE_LINE_EVERY: Duration = Duration::from_secs(1);

/// Interval at which sources that have been quiet are removed from the full table of sources: each removal reads
/// the whole table.
///
/// When reached: quiet sources are removed.
pub(super) const SOURCES_SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Rows of the last refusals, by route and kind of reason, that `status` reports: more fit on no screen.
///
/// When reached: a new row replaces the one that is the longest without news.
pub(super) const REFUSALS_SHOWN_MAX: usize = 32;

/// Characters of the reason of such a row. The longest reasons, with a chain of certificates, have about 600.
///
/// When reached: the rest is left out; the log has it.
pub(super) const REFUSAL_CHARS_MAX: usize = 1000;
