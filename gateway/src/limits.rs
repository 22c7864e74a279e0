//! Every fixed bound, its reason, and compile-time checks between them.

/// Peers that one route may name. A route joins two sites, a regional archive perhaps a few hundred.
pub const PEERS_MAX: usize = 1024;

/// Targets that one route may name. They are tried in order while an application waits.
pub const TARGETS_MAX: usize = 16;

/// Routes in one configuration. Each has a listener on one core.
pub const ROUTES_MAX: usize = 1024;

/// Worker threads. More cores than this have not been tried.
pub const CORES_MAX: usize = 128;

/// Bytes of a configuration file. A hand-written file is a few KiB.
pub const CONFIG_BYTES_MAX: u64 = 4 << 20;

/// Bytes of a certificate, key or CRL file. The largest public CRLs are some tens of MiB.
pub const PKI_FILE_BYTES_MAX: u64 = 64 << 20;

/// Certificates in one chain that a peer may present, the leaf included (RFC 5280 sets no bound).
pub const CHAIN_CERTIFICATES_MAX: usize = 8;

/// Events that may wait for the journal. When it is full, events are counted and dropped: a log that
/// nobody reads must not stop a byte.
pub const EVENTS_MAX: usize = 4096;
