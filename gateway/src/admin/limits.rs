//! Bounds of the HTTP server of the metrics, of the web page and of the admin socket.

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

/// Bytes of answers that the kernel holds for one connection (`SO_SNDBUF`; Linux doubles the value). By default, it
/// takes megabytes for a client that does not read: a page that is stuck would be noticed after many minutes.
///
/// When reached: the rest of the answer waits until the client reads, for at most `METRICS_DEADLINE`.
pub(super) const METRICS_SEND_BYTES: usize = 64 * 1024;

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

/// Routes on the page. An operator reads no more, and each costs a browser time.
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

/// Interval of live updates, and the age at which a state is too old for a new page.
pub(super) const LIVE_EVERY: Duration = Duration::from_secs(1);

/// How long a request for the page waits for a newer state. The supervisor may be reading files meanwhile.
///
/// When reached: the page shows the state that is known, with its time.
pub(super) const FRESH_WITHIN: Duration = Duration::from_secs(2);

/// Pages with live updates at one time. Each takes a connection of `METRICS_CONNECTIONS_MAX`.
///
/// When reached: a further page shows the state of its request, and that there are no live updates;
/// `wardgate_http_refused_total{reason="events"}`.
pub(super) const EVENT_STREAMS_MAX: usize = 16;

/// Updates that wait for one page. A page that reads slowly gets fewer of them, with all that changed.
///
/// When reached: the next update waits; a page that reads nothing for `METRICS_DEADLINE` is disconnected.
pub(super) const EVENTS_WAITING_MAX: usize = 1;

/// Wrong tokens of one address in `WRONG_TOKENS_WITHIN`. A person mistypes a few times.
///
/// When reached: further wrong tokens of the address get 429 until the time has passed;
/// `wardgate_http_refused_total{reason="token"}`.
pub(super) const WRONG_TOKENS_MAX: u32 = 10;

/// The time in which wrong tokens of an address are counted.
pub(super) const WRONG_TOKENS_WITHIN: Duration = Duration::from_secs(60);

/// Addresses whose wrong tokens are counted; of IPv6, one is a /64.
///
/// When reached: the address that began first is forgotten.
pub(super) const WRONG_TOKEN_SOURCES_MAX: usize = 256;
