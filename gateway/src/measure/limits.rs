//! Bounds of measured times.

use std::time::Duration;

/// Shortest time to an answer (of a C-STORE or an MLLP message) that is measured: shorter times are noise of
/// the machine.
///
/// When reached: the time counts as the bound itself.
pub(super) const LATENCY_MIN: Duration = Duration::from_micros(10);

/// Longest time to an answer that is measured: every application has given up before.
///
/// When reached: the time counts as the bound itself.
pub(super) const LATENCY_MAX: Duration = Duration::from_secs(3600);
