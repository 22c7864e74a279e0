//! Bounds of what is read from files, programs and the record.

use std::time::Duration;

/// Largest file that is read, in bytes. Files of `/proc` and `/sys` that are read here are below 64 KiB, except
/// `/proc/cpuinfo`, of which the beginning is enough; configuration files are smaller.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Largest record of `tune apply`, in bytes: about 200 bytes for each changed value, and 20 values for each of 512
/// processors.
pub const RECORD_BYTES_MAX: u64 = 8 << 20;

/// Output of `ip` or `ethtool` that is read, in bytes. The rest is dropped.
pub const PROGRAM_BYTES_MAX: u64 = 1 << 20;

/// How long `ip` or `ethtool` may run. A network card that resets itself may need a few seconds.
pub const PROGRAM_WAIT: Duration = Duration::from_secs(15);

/// Network cards that are tuned. An appliance has two to eight.
pub const CARDS_MAX: usize = 32;

/// Routes that are read. An appliance has a few static routes; a host with a full routing table is a router, and
/// its routes are left alone.
pub const ROUTES_MAX: usize = 64;

/// Highest CPU number that is accepted in a list. Linux on x86-64 has at most 8192.
pub const CPU_MAX: usize = 8191;

/// Lowest rate of the WAN in bits per second.
pub const RATE_MIN: u64 = 1_000_000;

/// Highest rate of the WAN in bits per second: 400 Gbit/s.
pub const RATE_MAX: u64 = 400_000_000_000;

/// Shortest round-trip time of the WAN.
pub const ROUND_TRIP_MIN: Duration = Duration::from_micros(10);

/// Longest round-trip time of the WAN: two satellite hops are 1.2 s.
pub const ROUND_TRIP_MAX: Duration = Duration::from_secs(5);

/// Smallest wanted maximum of a socket buffer in bytes: 10 Gbit/s over 6 ms, and what Linux needs for a link
/// inside a site.
pub const BUFFER_MIN: u64 = 16 << 20;

/// Largest wanted maximum of a socket buffer in bytes. A TCP window cannot be larger than 1 GiB (RFC 7323).
pub const BUFFER_MAX: u64 = 1 << 30;
