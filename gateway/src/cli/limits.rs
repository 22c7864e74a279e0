//! Bounds of the commands.

use std::time::Duration;

/// Target names that `wardgate check` looks up, each in its own thread. The configuration of a large region
/// has some tens.
///
/// When reached: `check` reports names that were not looked up.
pub(super) const CHECK_NAMES_MAX: usize = 64;

/// How long `wardgate check` waits for the lookup of target names. A resolver gives up after 5 s per server.
///
/// When reached: `check` reports names that were not looked up.
pub(super) const CHECK_NAMES_WAIT: Duration = Duration::from_secs(5);

/// The reply of a running gateway, in bytes. The state of 1024 routes needs about 300 KB.
///
/// When reached: the reply is not understood.
pub(super) const REPLY_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How long a running gateway may take to reply. A reload reads every file, and an upgrade starts a program.
///
/// When reached: the command ends with an error; the gateway may still carry it out.
pub(super) const REPLY_WITHIN: Duration = Duration::from_secs(120);
