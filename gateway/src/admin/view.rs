//! The state of the gateway that the HTTP endpoints show.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::watch;

use crate::admin::web::Web;
use crate::audit::Journal;
use crate::metrics;
use crate::route::{RoutePhase, RouteTable};

/// The data that the endpoints show. It lives on the supervisor's thread.
pub(crate) struct View {
    /// The open routes.
    pub table: RefCell<Arc<RouteTable>>,
    /// The counters of each core.
    pub cores: Vec<Arc<metrics::CoreCounters>>,
    /// The results of loading the configuration's files.
    pub files: RefCell<metrics::Files>,
    /// Changes since the start.
    pub reloads: metrics::Reloads,
    /// What the HTTP server refused or ended.
    pub http: Arc<metrics::HttpCounters>,
    /// The start of the process, in seconds since 1970.
    pub started: u64,
    /// The parts of the sandbox, and whether they are on.
    pub sandbox: Vec<(&'static str, bool)>,
    /// The web page, if it is served.
    pub web: Option<Rc<Web>>,
    /// For the number of dropped log events, and for notices.
    pub journal: Journal,
    /// False once the gateway is stopping.
    pub ready: Cell<bool>,
    /// True when another process has taken the listeners over, these among them.
    pub handed_over: watch::Sender<bool>,
}

impl View {
    /// Whether the gateway accepts connections and will do so: it is not stopping, and not every open route drains or
    /// is about to.
    pub(super) fn is_ready(&self) -> bool {
        let table = self.table.borrow();
        let mut routes = table.routes.iter();
        let serves = routes.any(|route| *route.state.phase().borrow() == RoutePhase::Open);
        self.ready.get() && (serves || table.routes.is_empty())
    }

    /// All metrics as text.
    pub(super) fn metrics(&self) -> String {
        let table = self.table.borrow();
        let snapshot = metrics::Snapshot {
            routes: table.metrics(),
            cores: self.cores.clone(),
            targets: table.targets(),
            files: self.files.borrow().clone(),
            reloads: self.reloads.counts(),
            generation: table.generation,
            http: Arc::clone(&self.http),
            log: self.journal.counts(),
            started: self.started,
            sandbox: self.sandbox.clone(),
        };
        snapshot.text()
    }
}
