//! Sizes of records and bounds of buffers.

/// Bytes of payload in one record (RFC 8446 section 5.1).
///
/// When reached: the rest goes into the next record.
pub const PLAINTEXT_ROOM: usize = 16_384;

/// Bytes of a record header (RFC 8446 section 5.1).
pub const RECORD_HEADER: usize = 5;

/// Bytes after the payload of a TLS 1.3 record with AES-GCM: content type 1, tag 16 (RFC 8446 section 5.2).
pub(crate) const RECORD_TRAILER: usize = 17;

/// Bytes of a sealed record of full length, and of the buffer part into which its payload is received.
pub const RECORD_ROOM: usize = RECORD_HEADER + PLAINTEXT_ROOM + RECORD_TRAILER;

/// Records of full length in a small buffer: 64 KiB of payload. Messages and most PDUs fit into one turn, and
/// so does the longest record of TLS 1.2 (RFC 5246 section 6.2.3).
///
/// When reached: the rest waits for the next turn.
pub(crate) const RECORDS_SMALL: usize = 4;

/// Records of full length in a large buffer: 1 MiB of payload. Smaller turns cost more kernel time per byte.
/// Larger turns gain little and delay the other connections of the core.
///
/// When reached: the rest waits for the next turn.
pub(crate) const RECORDS_LARGE: usize = 64;

/// Records of full length in a turn of a bulk connection while other connections exchange messages: 256 KiB.
/// A message then waits about 60 us for a busy core; with large turns it would wait four times as long.
///
/// When reached: the rest waits for the next turn.
pub(super) const RECORDS_MEDIUM: usize = 16;

/// Turns of bulk connections that stay short after another connection exchanged a message: 256 MiB, about 0.1
/// s.
///
/// When reached: turns become long again.
pub(super) const SHORT_TURNS: u32 = 1024;

/// Large buffers that a core lends at one time: 64 directions at full speed, 64 MiB per core.
///
/// When reached: small buffers are used; `wardgate_buffers_exhausted_total`.
pub(super) const POOL_LARGE: usize = 64;

/// Large buffers of a core that may hold the beginning of a record while the worker waits for the rest. When
/// more are lent, the beginning moves to a small buffer. The move costs two copies of a few KiB per wait,
/// which bulk transfer on few connections avoids.
///
/// When reached: the beginning moves to a small buffer.
pub(super) const POOL_LARGE_AT_REST: usize = 8;

/// Returned small buffers that a core keeps, 16 MiB in total. The pool makes more on demand, at most two per
/// open connection.
///
/// When reached: the buffer is returned to the system.
pub(super) const POOL_SMALL: usize = 256;

/// Turns in a row with few bytes before a connection returns to small buffers.
///
/// When reached: small buffers are used.
pub(super) const SMALL_READS_MAX: u32 = 8;
