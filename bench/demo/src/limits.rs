//! Bounds of the demonstration.

use std::time::Duration;

/// Byte strings that are searched for on the wire. Each one costs a pass over all bytes.
pub(crate) const NEEDLES_MAX: usize = 12;

/// The relay reads this much at once, so that it takes little CPU time from the gateways.
pub(crate) const WIRE_BUFFER_BYTES: usize = 1 << 20;

/// The longest PDU that the archive accepts. Headers cost nothing at this length. A longer PDU would cost
/// more, because the DICOM library collects and copies a PDU before it hands it out.
pub(crate) const PDU_BYTES: u32 = 1 << 18;

/// The demonstration gives up when no byte has moved for this long, and reports where the transfer stopped.
pub(crate) const STALL: Duration = Duration::from_secs(30);

/// How long a gateway may take to log that it is ready.
pub(crate) const READY: Duration = Duration::from_secs(20);

/// How long a gateway may take to end after SIGTERM before it is killed.
pub(crate) const STOP: Duration = Duration::from_secs(3);

/// Lines about connections that are kept of a gateway's log. A run writes a few.
pub(crate) const LOG_LINES_MAX: usize = 10_000;

/// Files that are taken from a folder. A large study has some thousands.
pub(crate) const FILES_MAX: usize = 100_000;

/// The smallest study that is made: one slice and one frame.
pub(crate) const SIZE_MIN_BYTES: u64 = 1 << 20;

/// The largest study that is made. The headers of its slices are held in memory, about 2 KiB each.
pub(crate) const SIZE_MAX_BYTES: u64 = 32 << 30;
