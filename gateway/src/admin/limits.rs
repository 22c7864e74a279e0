//! Bounds of the HTTP server of the metrics and of the admin socket.

use std::time::Duration;

/// Connections of the HTTP server at one time: half of the reserved file descriptors.
///
/// When reached: a new connection ends the oldest of the address that has the most;
/// `wardgate_http_refused_total{reason="connections"}`.
pub(super) const METRICS_CONNECTIONS_MAX: usize = 128;

/// How long a connection to the HTTP server is protected from being ended by a further one. A client sends its
/// request as soon as it is connected. With `METRICS_CONNECTIONS_MAX`, this allows 2,560 connections per second.
///
/// When reached: the connection may be ended by a new one.
pub(super) const METRICS_GRACE: Duration = Duration::from_millis(50);

/// Bytes of the header of an HTTP request, with its first line. Browsers send about 1 KiB.
///
/// When reached: the answer is 431 and the connection is closed;
/// `wardgate_http_refused_total{reason="header_bytes"}`.
pub(super) const METRICS_REQUEST_BYTES_MAX: usize = 8192;

/// Fields of the header of an HTTP request. Browsers send about 20.
///
/// When reached: the answer is 431 and the connection is closed;
/// `wardgate_http_refused_total{reason="header_bytes"}`.
pub(super) const METRICS_FIELDS_MAX: usize = 64;

/// How long the answer to an HTTP request may take, until its last byte is given to the socket.
///
/// When reached: the connection is closed; `wardgate_http_refused_total{reason="deadline"}`.
pub(super) const METRICS_DEADLINE: Duration = Duration::from_secs(5);

/// How long the header of the first request of a connection may take: it fits into one packet.
///
/// When reached: the connection is closed; `wardgate_http_refused_total{reason="header_deadline"}`.
pub(super) const METRICS_HEADER_DEADLINE: Duration = Duration::from_millis(500);

/// How long a connection stays open after an answer, until the header of its next request is complete. A page
/// in a browser asks for its parts within this time.
///
/// When reached: the connection is closed.
pub(super) const METRICS_IDLE: Duration = Duration::from_secs(5);

/// The interval between two requests of one connection. It bounds the CPU time that a client takes that sends
/// its requests without waiting for the answers.
///
/// When reached: the request waits.
pub(super) const METRICS_REQUEST_EVERY: Duration = Duration::from_millis(10);

/// How often an endless answer, such as the events of a page, is checked for a client that does not read.
///
/// When reached: the connection of a client that has not read for `METRICS_DEADLINE` is closed;
/// `wardgate_http_refused_total{reason="deadline"}`.
pub(super) const METRICS_STREAM_LOOK: Duration = Duration::from_secs(1);

/// How long the server reads and drops what a client goes on sending after the last answer. Closing with
/// unread bytes would reset the connection before the client has read the answer.
///
/// When reached: the connection is closed.
pub(super) const METRICS_LINGER: Duration = Duration::from_millis(500);

/// Bytes that are read and dropped in this time.
///
/// When reached: the connection is closed.
pub(super) const METRICS_LINGER_BYTES: usize = 256 * 1024;

/// The part of its time that the supervisor's thread spends on the text of `/metrics`, as a divisor: after a
/// text that took 1 ms, the next one begins 9 ms later. All requests that wait meanwhile get the same text.
///
/// When reached: requests wait for the next text.
pub(super) const METRICS_TIME_PART: u32 = 10;

/// How often the log reports refusals of the HTTP server of one kind.
///
/// When reached: the refusal is not logged; the next line has the number of those before it.
pub(super) const METRICS_REPORT_EVERY: Duration = Duration::from_secs(60);

/// Requests on the admin socket that are answered at one time. An operator, a timer and a monitoring program
/// may ask at once.
///
/// When reached: further clients wait in the kernel's queue;
/// `wardgate_bound_reached_total{bound="admin_requests"}`.
pub(super) const ADMIN_REQUESTS_MAX: usize = 16;

/// The bytes of a request on the admin socket; a longer one is no request of this protocol.
///
/// When reached: the request is refused;
/// `wardgate_bound_reached_total{bound="admin_request_bytes"}`.
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
