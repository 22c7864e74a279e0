//! Bounds of one worker thread.

use std::time::Duration;

/// Connections accepted in one turn before other tasks of the worker run.
///
/// When reached: other tasks get their turn first.
pub(super) const ACCEPT_BATCH: usize = 64;

/// Connections that the kernel queues for a busy listener (bounded by net.core.somaxconn).
///
/// When reached: the kernel drops the SYN, and the client tries again.
pub(crate) const LISTEN_BACKLOG: i32 = 4096;

/// Pause between attempts to listen again after all targets were down, if another program listens on the port.
///
/// When reached: the gateway tries again; `wardgate_listener_closed` stays 1.
pub(super) const LISTEN_AGAIN_PAUSE: Duration = Duration::from_secs(1);

/// Pause of a listener when file descriptors or memory are exhausted.
///
/// When reached: the listener accepts again; `wardgate_accept_paused_total`.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long the report of a panic that ends the process may take to write. A standard error that is not read
/// must not keep the process from ending, because systemd restarts it only then.
///
/// When reached: the process ends without the report.
pub(super) const PANIC_REPORT: Duration = Duration::from_secs(1);

/// Reports of panics that wait to be written. More than one thread at a time hardly ever panics.
///
/// When reached: the process ends, or goes on, without the report.
pub(super) const PANIC_REPORTS_MAX: usize = 8;

/// A client with an incomplete handshake may hold at most 1/2 of all places.
///
/// When reached: the oldest connection of the address that has the most is reset;
/// `wardgate_unauthenticated_ended_total`.
pub(super) const HANDSHAKES_SHARE: usize = 2;

/// Each of these may hold at most 1/4 of all places: clients that have sent no first message to an originate
/// route, clients of passthrough routes that the target has not answered, and accepted peers that have sent
/// no first message.
///
/// When reached: the oldest connection of the address that has the most is reset;
/// `wardgate_unauthenticated_ended_total`.
pub(super) const OPENERS_SHARE: usize = 4;

/// Connections above the number of places. Each of them ends an unauthenticated client that is still closing.
///
/// When reached: each further connection ends an unauthenticated client, or is reset;
/// `wardgate_unauthenticated_ended_total`, `wardgate_connections_limited_total`.
pub(super) const OVERFLOW_MAX: usize = 64;

/// Probes that a core runs at one time; further probes wait. So many handshakes at once delay other traffic
/// by some tens of milliseconds. A silent target occupies a probe until its timeout.
///
/// When reached: the next probe waits, and its interval begins later;
/// `wardgate_bound_reached_total{bound="probes"}`.
pub(crate) const PROBES_MAX: usize = 32;
