//! Bounds of connections to targets, names and probes.

use std::time::Duration;

/// Bytes of protocol messages that TLS itself has queued for the peer at one time: a key update and an alert.
///
/// When reached: the connection fails.
pub const CONTROL_ROOM: usize = 2304;

/// Names whose addresses a core caches. Routes name a handful.
///
/// When reached: further names are looked up each time;
/// `wardgate_bound_reached_total{bound="names"}`.
pub(super) const NAMES_MAX: usize = 1024;

/// How long an address is used before its name is looked up again.
///
/// When reached: the name is looked up again.
pub(super) const NAME_FRESH: Duration = Duration::from_secs(10);

/// How long an address may still be used when the lookup of its name fails: a resolver outage must not stop
/// the image traffic.
///
/// When reached: the address is no longer used.
pub(super) const NAME_STALE: Duration = Duration::from_secs(3600);

/// How long a connection waits for a lookup if a usable address is cached.
///
/// When reached: the cached address is used.
pub(super) const LOOK_UP_HASTE: Duration = Duration::from_millis(500);

/// Addresses of one name that are tried.
///
/// When reached: further addresses are not tried.
pub(super) const ADDRESSES_MAX: usize = 8;

/// How long an attempt at one address of a name runs before the next address is tried in parallel (RFC 8305
/// section 5 recommends this value): longer than the round trip of any link between hospitals.
///
/// When reached: the next address is tried; the delay is shorter if the target's part of `connect` is short.
pub(super) const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// How long an address that did not answer is tried after the others. When the address answers again, the
/// gateway prefers it again within this time. Until then one connection in this time waits for an attempt at
/// it.
///
/// When reached: one connection tries the address first again.
pub(super) const ADDRESS_SILENT: Duration = Duration::from_secs(60);

/// How often the log repeats that an address does not answer.
pub(super) const ADDRESS_REPORT_EVERY: Duration = Duration::from_secs(3600);

/// Addresses without an answer that the gateway remembers. Routes have a handful of addresses.
///
/// When reached: a further address is not remembered, and is tried in its order;
/// `wardgate_bound_reached_total{bound="dead_addresses"}`.
pub(super) const DEAD_ADDRESSES_MAX: usize = 1024;

/// Failed probes in a row with the same new cause before the log reports this cause for a target that is
/// already down. A cause that changes more often would flood the log.
///
/// When reached: a less frequent cause is not logged.
pub(super) const CAUSE_CHANGES_AFTER: u32 = 3;

/// Bytes that a target may send to one probe after the handshake, including TLS records. The answer takes
/// some hundreds; payload may come before it.
///
/// When reached: the probe fails; `wardgate_health_probes_total`.
pub(super) const PROBE_BYTES_MAX: usize = 256 << 10;

/// How long other targets are tried first after a connection to a target failed: the first time. A program
/// that restarts is back within some seconds.
///
/// When reached: one connection tries the target again.
pub(super) const BACK_OFF_FIRST: Duration = Duration::from_secs(1);

/// The longest back-off; each failure in a row doubles it. A target that is back is used again within this
/// time, or at once when a probe finds it up.
///
/// When reached: one connection tries the target again.
pub(super) const BACK_OFF_MAX: Duration = Duration::from_secs(30);

/// Back-offs in a row after which the log reports that connections to a target fail. After a single one the
/// program there may only have restarted.
pub(super) const BACK_OFF_REPORTED: u32 = 2;

/// How long other connections wait for the result of the one that tries a target after its back-off. It is
/// longer than the default of `connect`. The connection may have no result, because its client has gone.
///
/// When reached: the next connection tries the target.
pub(super) const BACK_OFF_TRIAL: Duration = Duration::from_secs(5);

/// The share of a target at the beginning of its slow start is 1/16 of its full share: small, and still some
/// connections.
pub(super) const SLOW_START_LEAST: u64 = 16;
