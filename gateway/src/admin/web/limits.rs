//! Bounds of the web page.

use std::time::Duration;

/// Interval of the samples of the last hour. A transfer of a study takes longer.
pub(super) const HISTORY_STEP: Duration = Duration::from_secs(10);

/// Samples that are kept for each route: one hour.
///
/// When reached: the oldest sample is dropped.
pub(super) const HISTORY_SAMPLES: usize = 360;

/// Routes with a history: with all of them, it takes about 1.5 MB.
///
/// When reached: the plots of further routes stay empty.
pub(super) const HISTORY_ROUTES_MAX: usize = 128;

/// Routes on the page. Nobody reads more, and each costs a browser time.
///
/// When reached: the page shows those in the worst state, and how many it leaves out.
pub(super) const ROUTES_SHOWN_MAX: usize = 64;

/// Open connections, certificates and refusals on the page, each.
///
/// When reached: the page shows how many it leaves out, and names the command that shows all.
pub(super) const ROWS_SHOWN_MAX: usize = 50;

/// Sentences about the state in the first section of the page, and of one route.
///
/// When reached: the page shows how many it leaves out.
pub(super) const REASONS_SHOWN_MAX: usize = 12;

/// Characters of a value from outside (a name, an address, an identity, a sentence) on the page.
///
/// When reached: the value is cut and ends with "...".
pub(super) const VALUE_CHARS_MAX: usize = 512;

/// Interval of live updates, and the age at which a state is too old for a new page.
pub(super) const LIVE_EVERY: Duration = Duration::from_secs(1);

/// How long a request for the page waits for a newer state. The supervisor may be reading files meanwhile.
///
/// When reached: the page shows the state that is known, with its time.
pub(super) const FRESH_WITHIN: Duration = Duration::from_secs(2);

/// Pages with live updates at one time. Each takes a connection of `METRICS_CONNECTIONS_MAX`.
///
/// When reached: a further page shows the state of its request, and that there are no live updates;
/// `wardgate_http_refused_total{reason="events"}`.
pub(in crate::admin) const EVENT_STREAMS_MAX: usize = 16;

/// Updates that wait for one page. A page that reads slowly gets fewer of them, with all that changed.
///
/// When reached: the next update waits; a page that reads nothing for `METRICS_DEADLINE` is disconnected.
pub(super) const EVENTS_WAITING_MAX: usize = 1;

/// Wrong tokens of one address in `WRONG_TOKENS_WITHIN`. A person mistypes a few times.
///
/// When reached: the address gets no answer but 429 until the time has passed;
/// `wardgate_http_refused_total{reason="token"}`.
pub(super) const WRONG_TOKENS_MAX: u32 = 10;

/// The time in which wrong tokens of an address are counted.
pub(super) const WRONG_TOKENS_WITHIN: Duration = Duration::from_secs(60);

/// Addresses whose wrong tokens are counted; of IPv6, one is a /64.
///
/// When reached: the address that began first is forgotten.
pub(super) const WRONG_TOKEN_SOURCES_MAX: usize = 256;
