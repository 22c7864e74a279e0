//! Bounds of rings, pipes and name look-ups.

use std::time::Duration;

/// Submission entries of a worker's ring. A worker submits what one turn of its loop produced: a few entries
/// per active connection. A full queue is flushed; no entry is rejected.
///
/// When reached: the entries are submitted early.
pub(super) const RING_ENTRIES: u32 = 1024;

/// Completion entries of a worker's ring. Each open connection has two pending operations, so this serves
/// 8,192 connections per core without overflow (after which the kernel continues, more slowly).
///
/// When reached: the kernel keeps the excess, which is slower.
pub(super) const RING_COMPLETIONS: u32 = 16_384;

/// Attempts to create a ring while the kernel says that it has no memory, [`RETRY_PAUSE`] apart.
///
/// When reached: the program does not start, and says which limit of memory it found.
pub(super) const RING_SETUP_ATTEMPTS: u32 = 50;

/// Pause of a worker between two attempts to submit when the kernel has no memory. Short, because all
/// connections of the core wait; long enough to leave the CPU to the code that frees memory.
///
/// When reached: the worker tries again; meanwhile no connection of the core moves data.
pub(super) const RING_RETRY_PAUSE: Duration = Duration::from_millis(1);

/// Longest wait of a worker in its ring while a timer is pending. The kernel adds the wait to its clock
/// without an overflow check, so a wait of 300 years would end in the past.
///
/// When reached: the worker checks its deadlines and waits again.
pub(super) const RING_WAIT_MAX: Duration = Duration::from_secs(24 * 3600);

/// Attempts of an operation that fails temporarily (no memory, not ready) before it counts as failed.
///
/// When reached: the connection fails.
pub(super) const RETRIES_MAX: u32 = 100;

/// Pause between these attempts. With `RETRIES_MAX`, the gateway gives a socket up after one second.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// Memory segments of one send or receive: as many as a large buffer has records.
///
/// When reached: the rest goes into the next operation.
pub(crate) const PARTS_MAX: usize = 64;

/// Bytes of a pipe: as many as a large buffer holds (`fs.pipe-max-size` allows 1 MiB to every user).
///
/// When reached: the rest waits for the next turn.
pub(super) const PIPE_ROOM: usize = 1 << 20;

/// Smallest usable size of a pipe in bytes. This is the default of Linux; smaller pipes cost more than
/// copying.
///
/// When reached: the pipe is not used.
pub(super) const PIPE_ROOM_MIN: usize = 64 << 10;

/// Pipes that a core lends at one time, with two file descriptors each. Linux allows an unprivileged user 64
/// pipes of 1 MiB in total (`fs.pipe-user-pages-soft`), enough for four cores.
///
/// When reached: bytes are copied; `wardgate_pipes_exhausted_total`.
pub const PIPES_MAX: usize = 16;

/// Bytes of a refused peer that the gateway discards while the peer reads its alert.
///
/// When reached: the connection is reset;
/// `wardgate_bound_reached_total{bound="linger_bytes"}`.
pub(super) const LINGER_BYTES_MAX: usize = 1 << 20;

/// Names that are looked up at a time, each on a thread of its own that waits for the system's resolver. A core has one
/// look-up of a name at a time, so a configuration of fewer names on few cores never reaches the bound: a name whose
/// server hangs keeps its own thread, and delays no other name.
///
/// When reached: the next name waits, within the deadline of its connection;
/// `wardgate_bound_reached_total{bound="look_ups"}`.
pub(super) const LOOK_UPS_MAX: usize = 256;
