//! Bounds of what the observer of MLLP remembers and what a probe accepts.

/// Junk bytes (CR, LF, NUL) before the first MLLP frame of a stream. Programs that write line ends around
/// their messages send one to four.
///
/// When reached: the stream does not begin as MLLP.
pub const MLLP_START_JUNK_MAX: usize = 8;

/// Junk bytes in a row between two MLLP frames before the stream counts as another protocol. A sender of one
/// junk byte per second, to keep a connection alive, is accepted as MLLP for most of a day.
///
/// When reached: the stream is not MLLP: the connection ends, or is no longer observed, and the log says so.
pub(super) const MLLP_JUNK_MAX: u64 = 64 << 10;

/// Bytes of an MLLP frame in which the observer looks for message type and code. MSH takes some hundreds.
///
/// When reached: the message counts as type "other", without a code.
pub const MLLP_HEAD_BYTES_MAX: usize = 4096;

/// Bytes after which an MLLP frame counts as too long. The frame still passes: reports with pictures take
/// tens of MiB, and receivers have their own limits.
///
/// When reached: the message is counted in the connection's summary, and forwarded.
pub(super) const MLLP_OVERSIZE_BYTES: u64 = 64 << 20;

/// Messages of an MLLP connection whose acknowledgement times are measured. Most senders wait for each
/// acknowledgement; the others have some tens outstanding.
///
/// When reached: the message is counted in the connection's summary without a time;
/// `wardgate_bound_reached_total{bound="mllp_pending"}`.
pub const MLLP_PENDING_MAX: usize = 256;

/// Message types of one MLLP connection that are counted separately. An interface carries a handful.
///
/// When reached: further types count as "other";
/// `wardgate_bound_reached_total{bound="mllp_types"}`.
pub const MLLP_TYPES_MAX: usize = 32;

/// Bytes that a receiver may send in answer to an HL7 probe. An acknowledgement takes some hundreds; other
/// messages may come before it.
///
/// When reached: the probe fails; `wardgate_health_probes_total`.
pub(super) const PROBE_ANSWER_BYTES_MAX: usize = 64 << 10;
