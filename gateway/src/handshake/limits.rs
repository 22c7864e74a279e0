//! Bounds of one handshake.

use std::time::Duration;

use crate::buffers::limits::PLAINTEXT_ROOM;

/// Bytes of one handshake flight that the gateway holds: the longest legal message (RFC 8446 section 4: a
/// uint24, which rustls bounds to 64 KiB) in records with their headers.
///
/// When reached: the handshake is refused; `wardgate_connections_limited_total`.
pub const HANDSHAKE_BYTES_MAX: usize = 128 << 10;

/// How long the gateway waits for a refused peer to read its alert before it resets the connection.
///
/// When reached: the connection is reset.
pub(crate) const ALERT_LINGER: Duration = Duration::from_secs(1);

const _: () = assert!(HANDSHAKE_BYTES_MAX > 65_536 + PLAINTEXT_ROOM);
