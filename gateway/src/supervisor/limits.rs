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

/// How long an operator who undoes a drain at once waits for the earlier listener to be closed.
///
/// When reached: the command reports that the port is in use.
pub(super) const LISTENER_CLOSES: Duration = Duration::from_secs(1);

/// How long the service manager may take to read a message about one listener.
///
/// When reached: it does not keep the listeners that are left; a warning in the log.
pub(super) const FD_STORE_WITHIN: Duration = Duration::from_secs(1);

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

/// Interval at which draining routes are looked at.
pub(super) const DRAIN_LOOK: Duration = Duration::from_millis(250);

/// The same while the process ends.
pub(super) const STOP_LOOK: Duration = Duration::from_millis(10);

/// Commands of the admin socket that wait for the supervisor. More cannot arrive at one time
/// (`ADMIN_REQUESTS_MAX`).
pub(super) const COMMANDS_MAX: usize = 16;

/// How long the folders of certificates must be quiet after a change before the files are read, because a
/// certificate and its key arrive one after the other.
pub(super) const FILES_QUIET: Duration = Duration::from_millis(200);

/// The longest wait for a quiet folder.
///
/// When reached: the files are read although their folder is still busy.
pub(super) const FILES_SETTLED: Duration = Duration::from_secs(2);

/// How long new files may be incomplete before the log names what is wrong with them.
///
/// When reached: the log names the fault, and the earlier contents stay in use.
pub(super) const FILES_COMPLETE: Duration = Duration::from_secs(2);

/// Interval at which the files are looked at without an event.
pub(super) const FILES_LOOK_EVERY: Duration = Duration::from_secs(30);

/// Symbolic links that are followed on the way to one file; the kernel follows 40.
///
/// When reached: changes of further links are noticed by the look from time to time only.
pub(super) const LINKS_MAX: usize = 40;

/// How long a gateway may take to answer the request to hand its listeners over.
///
/// When reached: the new process ends with an error, and the running one goes on.
pub(super) const HAND_OVER_WITHIN: Duration = Duration::from_secs(10);

/// The reply that precedes the listeners, in bytes: a line for 1024 routes has about 50 KB.
///
/// When reached: the new process ends with an error, and the running one goes on.
pub(super) const REPLY_LINE_BYTES_MAX: usize = 1024 * 1024;

/// How long the launcher may take to start the new program.
///
/// When reached: the upgrade is refused.
pub(super) const LAUNCH_WITHIN: Duration = Duration::from_secs(5);

/// A line of the launcher, in bytes: a short word, or an error of the system.
///
/// When reached: the launcher counts as lost, and an upgrade is refused.
pub(super) const LAUNCHER_LINE_BYTES_MAX: usize = 4096;

/// How long the new program may take until it serves. It may wait for the clock before that.
///
/// When reached: the new program is ended, and the running one goes on.
pub(super) const UPGRADE_WITHIN: Duration = Duration::from_secs(90);

/// How long the files of a configuration may take to read. The main thread waits meanwhile.
///
/// When reached: what is in use stays in use, and the log names the reason.
pub(super) const FILES_READ_WITHIN: Duration = Duration::from_secs(5);

/// How long the end of the process waits for clients of the admin socket to receive their replies.
///
/// When reached: the process ends, and such a client gets no reply.
pub(super) const REPLIES_WITHIN: Duration = Duration::from_secs(1);

/// Interval at which the counters of routes and cores are read, for rates.
pub(super) const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// Samples of counters that are kept: rates are averages over 5 s.
///
/// When reached: a new sample replaces the oldest.
pub(super) const SAMPLES_MAX: usize = 6;

/// How long the refusal of a TLS peer is a warning of the route's health, if another one was accepted before.
///
/// When reached: the refusal is in the table of refusals only.
pub(super) const REFUSAL_WARNS_FOR: Duration = Duration::from_secs(300);

/// How long a limit that refused a connection is part of the state.
///
/// When reached: the state reports the limit no longer.
pub(super) const LIMIT_SHOWN_FOR: Duration = Duration::from_secs(60);

/// How long the workers may take to send what is known of their connections. A worker answers within a
/// millisecond, between two turns of its loop.
///
/// When reached: `status` reports the worker as silent, and leaves its connections out.
pub(super) const VIEWS_WITHIN: Duration = Duration::from_millis(500);

/// Days before the expiry of a peer's certificate at which `status` warns. The other site has its own warnings
/// before; short-lived certificates must not cause one.
pub(super) const PEER_WARNING_DAYS: i64 = 7;
