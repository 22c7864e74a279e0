//! Bounds of host tuning.

use std::time::Duration;

/// Largest file that is read. Files of `/proc` and `/sys` that are read here are below 64 KiB, except
/// `/proc/cpuinfo`, of which the beginning is enough; configuration files are smaller.
///
/// When reached: the rest is not read; a file of `wardgate tune` in `/etc` that is longer is left alone.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 20;

/// Largest record of `tune apply`: about 200 bytes for each changed value, and 20 values for each of 512 CPUs.
///
/// When reached: the record is refused, and nothing is changed.
pub(crate) const RECORD_BYTES_MAX: u64 = 8 << 20;

/// Output of `ip`, `tc` or `ethtool` that is read.
///
/// When reached: the rest is dropped.
pub(crate) const PROGRAM_BYTES_MAX: u64 = 1 << 20;

/// How long `ip`, `tc` or `ethtool` may run. A network card that resets itself may need a few seconds.
///
/// When reached: the program is ended, and the setting is not applicable.
pub(crate) const PROGRAM_WAIT: Duration = Duration::from_secs(15);

/// Network cards that are found. An appliance has two to eight.
///
/// When reached: further cards are left alone; `--interface` names them.
pub(crate) const CARDS_MAX: usize = 32;

/// Routes that are tuned. An appliance has a few static routes; a host with a full routing table is a router.
///
/// When reached: further routes are left alone.
pub(crate) const ROUTES_MAX: usize = 64;

/// Highest CPU number in a list. Linux on x86-64 has at most 8192 CPUs.
///
/// When reached: the list is refused.
pub(crate) const CPU_MAX: usize = 8191;

/// Lowest rate of the WAN in bits per second.
///
/// When reached: a lower rate is refused.
pub(crate) const RATE_MIN: u64 = 1_000_000;

/// Highest rate of the WAN in bits per second.
///
/// When reached: a higher rate is refused.
pub(crate) const RATE_MAX: u64 = 400_000_000_000;

/// Shortest round-trip time of the WAN.
///
/// When reached: a shorter time is refused.
pub(crate) const ROUND_TRIP_MIN: Duration = Duration::from_micros(10);

/// Longest round-trip time of the WAN: two satellite hops are 1.2 s.
///
/// When reached: a longer time is refused.
pub(crate) const ROUND_TRIP_MAX: Duration = Duration::from_secs(5);

/// Smallest wanted maximum of a socket buffer: 10 Gbit/s over 6 ms.
///
/// When reached: the buffer is not made smaller for a short line.
pub(crate) const BUFFER_BYTES_MIN: u64 = 16 << 20;

/// Largest wanted maximum of a socket buffer. A TCP window cannot be larger than 1 GiB (RFC 7323).
///
/// When reached: one connection alone does not fill the line.
pub(crate) const BUFFER_BYTES_MAX: u64 = 1 << 30;

/// How long a route may be away after the rings or offloads of its card changed: until the link is up, and the network
/// configuration has set the route again.
///
/// When reached: the route is not applicable, or stays in the record of what is to be undone.
pub(crate) const ROUTE_WAIT: Duration = Duration::from_secs(10);

/// Between two looks for a route that is away.
///
/// When reached: the next look follows.
pub(crate) const ROUTE_POLL: Duration = Duration::from_millis(200);
