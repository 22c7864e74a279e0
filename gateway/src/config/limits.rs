//! Bounds of the configuration.

use std::time::Duration;

/// Identities of one peer, or of all peers of one route. Most routes join two sites; a regional archive has a
/// few hundred.
///
/// When reached: the configuration is refused.
pub(super) const PEERS_MAX: usize = 1024;

/// Targets of one route. The gateway tries them one after the other while the application waits.
///
/// When reached: the configuration is refused.
pub(crate) const TARGETS_MAX: usize = 16;

/// AE titles in one list of a route. A region may have several hundred modalities.
///
/// When reached: the configuration is refused.
pub(super) const AE_TITLES_MAX: usize = 1024;

/// Largest value of a route's limit of open associations. No archive accepts as many, and the process has
/// fewer file descriptors.
///
/// When reached: the configuration is refused.
pub(super) const ASSOCIATIONS_MAX: u32 = 65_536;

/// Shortest interval between two probes of a target. A shorter one would load the peer for no benefit.
///
/// When reached: the configuration is refused.
pub(super) const HEALTH_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Longest interval between two probes of a target. A longer one would not detect failures in useful time.
///
/// When reached: the configuration is refused.
pub(super) const HEALTH_INTERVAL_MAX: Duration = Duration::from_secs(3600);

/// Longest timeout of one probe: the same as for the connections that the probe stands for.
///
/// When reached: the configuration is refused.
pub(crate) const HEALTH_TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// Largest number of probes in a row that a configuration may require before a target counts as up or down.
///
/// When reached: the configuration is refused.
pub(super) const HEALTH_COUNT_MAX: u32 = 100;

/// Bytes of the address in `crl_url`. Addresses in certificates have less than a hundred.
///
/// When reached: the configuration is refused.
pub(super) const CRL_URL_BYTES_MAX: usize = 1024;

/// Shortest slow start of a target; "off" disables it. A shorter one is not noticed.
///
/// When reached: the configuration is refused.
pub(super) const SLOW_START_MIN: Duration = Duration::from_secs(1);

/// Longest slow start of a target. Caches of an archive are warm within minutes.
///
/// When reached: the configuration is refused.
pub(super) const SLOW_START_MAX: Duration = Duration::from_secs(3600);

/// Routes in one configuration. Each has a listener on one core.
///
/// When reached: the configuration is refused.
pub(super) const ROUTES_MAX: usize = 1024;

/// Worker threads. Larger machines have not been tested.
///
/// When reached: the configuration is refused.
pub(super) const CORES_MAX: usize = 128;

/// Longest time that an idle worker may poll before it sleeps. A sleeping worker wakes up in about 50 us, so
/// a message after a pause a thousand times as long has no measurable advantage from polling.
///
/// When reached: the configuration is refused.
pub(super) const BUSY_POLL_MAX: Duration = Duration::from_millis(100);

/// Bytes of a configuration file. A hand-written file is a few KiB.
///
/// When reached: the configuration is refused.
pub(super) const CONFIG_BYTES_MAX: u64 = 4 << 20;

/// Records sealed with one key before the gateway updates it (RFC 8446 section 5.5 allows 2^24.5 for
/// AES-GCM).
///
/// When reached: the key is updated (TLS 1.3); the connection ends (TLS 1.2).
pub const KEY_RECORDS_MAX: u64 = 1 << 24;

/// Configuration problems reported at one time. More would scroll the first ones off the screen.
///
/// When reached: further problems are counted.
pub(super) const CONFIG_PROBLEMS_MAX: usize = 200;

/// Bytes of a route's name. The name appears in every log line and as a label of every metric.
///
/// When reached: the configuration is refused.
pub(crate) const ROUTE_NAME_BYTES_MAX: usize = 64;

/// `[[peer]]` tables. Each has files of its own, which stay in memory while the gateway runs. A site with
/// more partners needs a second gateway.
///
/// When reached: the configuration is refused.
pub(super) const PEER_TABLES_MAX: usize = 1024;

/// Bytes of a service label. Label and prefix must fit into an ALPN protocol name (RFC 7301 section 3.1
/// allows 255).
///
/// When reached: the configuration is refused.
pub(super) const SERVICE_LABEL_BYTES_MAX: usize = 64;

/// Bytes of the name of a network interface (`IFNAMSIZ` of Linux without the final NUL).
///
/// When reached: the configuration is refused.
pub(super) const INTERFACE_BYTES_MAX: usize = 15;

/// Networks in `from` of one route. Every new connection is compared with each.
///
/// When reached: the configuration is refused.
pub(super) const NETWORKS_MAX: usize = 256;

/// Bytes of a Unix socket's path (`sun_path` of unix(7) without the final NUL).
///
/// When reached: the configuration is refused.
pub(super) const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Shortest timeout. A shorter one is below the round-trip times of wide-area links.
///
/// When reached: the configuration is refused.
pub(super) const TIMEOUT_MIN: Duration = Duration::from_millis(100);

/// Longest handshake timeout. A peer that needs a minute only occupies a connection.
///
/// When reached: the configuration is refused.
pub(super) const HANDSHAKE_TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// Longest connect timeout, for all targets of a route together. The kernel's own limit for one address is
/// about two minutes; applications wait for seconds.
///
/// When reached: the configuration is refused.
pub(super) const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// Longest wait for the first byte, unless it is "never". An application that connects in advance may wait
/// for hours; every other application sends at once.
///
/// When reached: the configuration is refused.
pub(super) const FIRST_BYTE_TIMEOUT_MAX: Duration = Duration::from_secs(10 * 60);

/// Longest idle timeout, unless it is "never".
///
/// When reached: the configuration is refused.
pub(super) const IDLE_TIMEOUT_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Shortest time after which an association with nothing outstanding is aborted. Viewers pause for a few
/// seconds between two queries. (Tests use it.)
///
/// When reached: the configuration is refused.
pub(super) const ASSOCIATION_IDLE_MIN: Duration = Duration::from_secs(1);

/// Longest drain time. Each route has its own. A large study over a slow line ends within a day.
///
/// When reached: the configuration is refused.
pub(super) const DRAIN_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// Longest time between the announcement of a drain and its begin. Load balancers ask every few seconds.
///
/// When reached: the configuration is refused.
pub(super) const DRAIN_DELAY_MAX: Duration = Duration::from_secs(5 * 60);

/// Longest keepalive idle time and interval (`MAX_TCP_KEEPIDLE` and `MAX_TCP_KEEPINTVL` of Linux).
///
/// When reached: the configuration is refused.
pub(super) const KEEPALIVE_MAX: Duration = Duration::from_secs(32_767);

/// Largest number of keepalive probes (`MAX_TCP_KEEPCNT` of Linux).
///
/// When reached: the configuration is refused.
pub(super) const KEEPALIVE_PROBES_MAX: u32 = 127;

/// Longest time that a peer may leave sent bytes unacknowledged.
///
/// When reached: the configuration is refused.
pub(super) const USER_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// Longest time that a receiver may acknowledge packets but read nothing, unless it is "never".
///
/// When reached: the configuration is refused.
pub(super) const STALL_TIMEOUT_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Largest value of a route's limit of open connections. The process has fewer file descriptors.
///
/// When reached: the configuration is refused.
pub(super) const ROUTE_CONNECTIONS_MAX: u32 = 1 << 20;

/// Smallest limit of open connections of the process. The shares of unauthenticated clients and peers would
/// otherwise be a few connections.
///
/// When reached: the configuration is refused.
pub(super) const GATEWAY_CONNECTIONS_MIN: u32 = 64;

/// Handshakes that one source may begin in a second unless `handshakes_per_second` is set. A hospital of
/// 5,000 devices behind one NAT address reconnects within 5 s. A core computes 2,000 to 3,000 in a second.
///
/// When reached: the handshake waits for its turn, and is reset if that comes later than
/// `timeouts.handshake`; `wardgate_handshakes_delayed_total`, `wardgate_connections_limited_by_total`.
pub(super) const HANDSHAKES_PER_SECOND: u32 = 1000;

/// Largest number of handshakes of one source in a second. No machine computes as many.
///
/// When reached: the configuration is refused.
pub(super) const HANDSHAKES_PER_SECOND_MAX: u32 = 1_000_000;

/// Ports of `reload_ports`, all ranges together. The kernel keeps a rule for each, and looks one up when a socket is
/// bound or connected. No site adds as many routes without a restart.
///
/// When reached: the configuration is refused.
pub(super) const RELOAD_PORTS_MAX: usize = 16_384;

/// Bytes in the name of a user; the limit of Linux (useradd(8)).
///
/// When reached: the configuration is refused.
pub(super) const USER_NAME_BYTES_MAX: usize = 32;

/// Smallest bandwidth of a route, in bits per second. A turn of 4 KiB takes half a second at this rate.
///
/// When reached: the configuration is refused.
pub(super) const BANDWIDTH_MIN: u64 = 64_000;

/// Largest bandwidth of a route, in bits per second. No machine moves as much.
///
/// When reached: the configuration is refused.
pub(super) const BANDWIDTH_MAX: u64 = 400_000_000_000;

/// Idle time after which a passthrough connection ends unless `idle` is set. The traffic may be MLLP, which
/// is idle overnight; after a whole day the connection is abandoned.
///
/// When reached: the connection is reset; `wardgate_deadlines_passed_total`.
pub(super) const PASSTHROUGH_IDLE: Duration = Duration::from_secs(24 * 3600);
