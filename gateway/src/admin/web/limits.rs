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
