//! Bounds of the metrics server.

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
