//! Bounds of the start, the end and the control plane.

use std::time::Duration;

/// Messages that may wait in a worker's mailbox: connections handed over to the worker.
///
/// When reached: reset; `wardgate_connections_limited_total`.
pub(super) const MAILBOX_MAX: usize = 1024;

/// File descriptors that are not for connections: rings, listeners, log, metrics, open files.
///
/// When reached: further connections are reset; `wardgate_connections_limited_total`.
pub(super) const DESCRIPTORS_RESERVED: usize = 256;

/// How often an ignored signal is logged. A program that sends signals in a loop must not fill the log.
pub(super) const SIGNAL_REPORT_EVERY: Duration = Duration::from_secs(60);

/// File problems listed in the log line of a closed route; `check` lists all.
///
/// When reached: further problems are counted; `check` shows all.
pub(super) const SHOWN_PROBLEMS_MAX: usize = 4;

/// Longest interval between two checks of expiry dates. Each warning comes when it is due; this check notices
/// that the clock was changed in between.
///
/// When reached: a changed clock is noticed later by this time.
pub(super) const EXPIRY_LOOK_EVERY: Duration = Duration::from_secs(3600);

/// How often the log repeats that a certificate or a revocation list has expired.
pub(super) const EXPIRY_REPORT_EVERY: Duration = Duration::from_secs(24 * 3600);

/// How long workers may take to end after their connections were asked to close.
///
/// When reached: the process ends with an error.
pub(super) const WORKERS_END: Duration = Duration::from_secs(5);

/// Interval at which a drain is reported to the service manager.
pub(super) const DRAIN_REPORT_EVERY: Duration = Duration::from_secs(1);

/// How long the service manager waits for the next report of a drain.
///
/// When reached: the service manager ends the process.
pub(super) const STOP_EXTENDED: Duration = Duration::from_secs(30);

/// How long a service waits at its start for a clock at which its certificates are valid. A time server
/// answers within seconds of the network's start.
///
/// When reached: the gateway starts at the clock's date, and closes the routes of such certificates.
pub(super) const CLOCK_WAIT: Duration = Duration::from_secs(60);

/// Interval at which the clock is checked in this time.
pub(super) const CLOCK_LOOK: Duration = Duration::from_secs(1);
