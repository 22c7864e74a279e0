//! Bounds of `wardgate check`.

use std::time::Duration;

/// Target names that `wardgate check` looks up, each in its own thread. The configuration of a large region
/// has some tens.
///
/// When reached: `check` reports names that were not looked up.
pub(super) const CHECK_NAMES_MAX: usize = 64;

/// How long `wardgate check` waits for the lookup of target names. A resolver gives up after 5 s per server.
///
/// When reached: `check` reports names that were not looked up.
pub(super) const CHECK_NAMES_WAIT: Duration = Duration::from_secs(5);
