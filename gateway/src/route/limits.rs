//! Shares of routes and peers in all connections, and the turns of a bandwidth.

use std::time::Duration;

/// All passthrough routes together may hold at most 1/2 of all connections. Their clients are
/// unauthenticated, and the other routes need places too.
///
/// When reached: an unanswered connection is ended, or the new one is reset;
/// `wardgate_unauthenticated_ended_total`, `wardgate_connections_limited_total`.
pub(super) const PASSTHROUGH_SHARE: usize = 2;

/// One address (IPv6: one /64) may hold at most 1/2 of the connections of all passthrough routes that the
/// target has answered. A whole site may connect from one address, so this share is large; the rest stays
/// free for other addresses.
///
/// When reached: the connection is reset; `wardgate_connections_limited_total`.
pub(super) const PASSTHROUGH_SOURCE_SHARE: usize = 2;

/// Connections of one route that exceed a limit and whose A-ASSOCIATE-RQ the gateway waits for, so that it can
/// reject it in DICOM. Most send it at once.
///
/// When reached: the connection is reset instead; `wardgate_connections_limited_total`.
pub(super) const EXCESS_MAX: u32 = 64;

/// Time that the bandwidth of a route allows for one turn of a connection. A message waits for the turns of
/// other connections about this long.
///
/// When reached: the connection waits for its next turn; `wardgate_bandwidth_delayed_total`.
pub(super) const TURN_TIME: Duration = Duration::from_millis(2);

/// The least and the most bytes of one turn. Fewer cost too many system calls and records, more too much memory.
///
/// When reached: the connection waits for its next turn; `wardgate_bandwidth_delayed_total`.
pub(super) const TURN_BYTES: [usize; 2] = [4 << 10, 256 << 10];

/// Time whose bytes a route may move at once after a pause. Timers and busy cores are late by some
/// milliseconds, and their time must not be lost.
///
/// When reached: the connection waits for its next turn; `wardgate_bandwidth_delayed_total`.
pub(super) const BANDWIDTH_BURST: Duration = Duration::from_millis(25);

/// One peer of terminate routes may hold at most 1/2 of all connections, unless it is the only peer of the
/// only route. The other peers and routes need places when devices of this peer connect again and again.
///
/// When reached: the connection is reset after the handshake; `wardgate_connections_limited_total`.
pub(super) const PEER_SHARE: usize = 2;
