//! Bounds of the commands.

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

/// Seconds in which a revocation list must arrive, from the look-up of the name to the last byte. The largest
/// lists need that time at 5 Mbit/s; `--timeout` sets another.
///
/// When reached: the list is not fetched, and the present file stays.
pub(super) const FETCH_SECONDS: u32 = 120;

/// Bytes of the header of an HTTP response with a revocation list. Servers send less than a kilobyte.
///
/// When reached: the list is not fetched, and the present file stays.
pub(super) const FETCH_HEADER_BYTES_MAX: usize = 16 << 10;

/// Characters of an address to which a server redirects that are shown.
///
/// When reached: the rest is not shown.
pub(super) const LOCATION_CHARS_MAX: usize = 200;

/// The reply of a running gateway, in bytes. The state of 1024 routes needs about 300 KB.
///
/// When reached: the reply is not understood.
pub(super) const REPLY_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How long a running gateway may take to reply. A reload reads every file, and an upgrade starts a program.
///
/// When reached: the command ends with an error; the gateway may still carry it out.
pub(super) const REPLY_WITHIN: Duration = Duration::from_secs(120);

/// Bytes of one part of a support bundle. A day's log of a busy gateway has some megabytes.
///
/// When reached: the part begins later; `about.txt` names the number of missing bytes.
pub(super) const BUNDLE_PART_BYTES_MAX: usize = 8 << 20;

/// Bytes that are read of a program's output, a file or the metrics for a support bundle.
///
/// When reached: the rest is not read.
pub(super) const BUNDLE_OUTPUT_BYTES_MAX: u64 = 32 << 20;

/// Lines of the log in a support bundle.
///
/// When reached: earlier lines are not in the bundle.
pub(super) const BUNDLE_LOG_LINES: u32 = 20_000;

/// How long a program that makes a part of a support bundle may run. A diagnosis of all routes takes the longest.
///
/// When reached: the program is ended, and the part is left out.
pub(super) const BUNDLE_PROGRAM_WAIT: Duration = Duration::from_secs(120);

/// How long a running gateway may take to send its metrics for a support bundle.
///
/// When reached: the metrics are left out.
pub(super) const BUNDLE_METRICS_WAIT: Duration = Duration::from_secs(10);
