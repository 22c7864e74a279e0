//! Bounds of a PROXY header.

use std::time::Duration;

/// Bytes of a PROXY header of version 2 with its addresses and TLVs. HAProxy's longest is about 500 bytes; the
/// rest is room for the TLVs of other programs.
///
/// When reached: the connection is refused.
pub const HEADER_BYTES_MAX: usize = 4096;

/// Bytes of a PROXY header of version 1, CR and LF included: the longest line that the specification allows.
///
/// When reached: the connection is refused.
pub(super) const LINE_BYTES_MAX: usize = 107;

/// How long a proxy may take to send its whole header. A proxy sends it with its first packet; the time
/// covers two retransmissions.
///
/// When reached: the connection is refused.
pub const HEADER_WAIT: Duration = Duration::from_secs(5);
