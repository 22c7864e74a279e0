//! What the metrics show at one moment.

use std::sync::Arc;

use super::{CoreCounters, Files, HttpCounters, ReloadCounts, RouteMetrics, TargetMetrics};

/// The blocks of all cores, and the counts that are kept elsewhere.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The routes.
    pub routes: Vec<RouteMetrics>,
    /// The counters of each core, in the order of the cores.
    pub cores: Vec<Arc<CoreCounters>>,
    /// The targets.
    pub targets: Vec<TargetMetrics>,
    /// The results of loading the configuration's files.
    pub files: Files,
    /// Changes since the start.
    pub reloads: ReloadCounts,
    /// The generation of the table of routes.
    pub generation: u64,
    /// What the HTTP server refused.
    pub http: Arc<HttpCounters>,
    /// The queue of the log.
    pub log: LogCounts,
    /// The start of the process, in seconds since 1970.
    pub started: u64,
    /// The parts of the sandbox, and whether they are on.
    pub sandbox: Vec<(&'static str, bool)>,
}

/// The queue of the log.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogCounts {
    /// Events that were lost because the log was not read.
    pub dropped: u64,
    /// Events that wait to be written.
    pub queued: u64,
}
