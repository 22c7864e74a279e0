//! Bounds of the metrics server and of the admin socket.

use std::time::Duration;

/// Metrics requests served at one time: half of the reserved file descriptors. A further request ends the
/// oldest one of the address that has the most.
///
/// When reached: a new request ends the oldest of the address that has the most.
pub(super) const METRICS_REQUESTS_MAX: usize = 128;

/// How long a metrics request is protected from being ended by a further one. A client sends its request as
/// soon as it is connected. With `METRICS_REQUESTS_MAX`, this allows 2,560 connections per second.
///
/// When reached: the request may be ended by a new one.
pub(super) const METRICS_GRACE: Duration = Duration::from_millis(50);

/// Bytes of a metrics request.
///
/// When reached: the gateway answers what it has read.
pub(super) const METRICS_REQUEST_BYTES_MAX: usize = 8192;

/// How long a whole metrics request may take.
///
/// When reached: the connection is closed.
pub(super) const METRICS_DEADLINE: Duration = Duration::from_secs(5);

/// How long the header of a metrics request may take: it fits into one packet.
///
/// When reached: the connection is closed.
pub(super) const METRICS_HEADER_DEADLINE: Duration = Duration::from_millis(500);

/// Requests on the admin socket that are answered at one time. An operator, a timer and a monitoring program
/// may ask at once.
///
/// When reached: further clients wait in the kernel's queue.
pub(super) const ADMIN_REQUESTS_MAX: usize = 16;

/// The bytes of a request on the admin socket; a longer one is no request of this protocol.
///
/// When reached: the request is refused.
pub(super) const ADMIN_REQUEST_BYTES_MAX: u64 = 16 * 1024;

/// How long a client of the admin socket may take to send its request.
///
/// When reached: its connection is closed.
pub(super) const ADMIN_REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// How long a client of the admin socket may take to read its reply.
///
/// When reached: its connection is closed.
pub(super) const ADMIN_REPLY_DEADLINE: Duration = Duration::from_secs(10);

/// File descriptors in one message of a hand-over; the kernel allows 253 (`SCM_MAX_FD`).
///
/// When reached: the next ones follow in another message.
pub(crate) const ADMIN_DESCRIPTORS_IN_MESSAGE: usize = 128;

/// How long a process that has the listeners may take until it serves.
///
/// When reached: its connection is closed, and this process goes on.
pub(super) const ADMIN_HAND_OVER_DEADLINE: Duration = Duration::from_secs(120);
