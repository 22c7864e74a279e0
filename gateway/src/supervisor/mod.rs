//! The main thread: prepares everything, starts the workers, and waits for a signal to stop.
//!
//! The main thread carries no payload. It reports every detectable problem before the first listener opens.
//! After that it serves metrics and handles signals.

mod ambiguity;
mod bind;
mod clock;
mod environment;
mod expiries;
mod limits;
mod nodes;
mod notify;
mod prepare;
mod signals;
mod watchdog;
mod workers;

use std::cell::{Cell, RefCell};
use std::net::TcpListener;
use std::path::Path as FilePath;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::Runtime;
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

pub use environment::{Remark, remarks};
pub use prepare::{Prepared, prepare};
pub use workers::Workers;

use crate::admin::{self, View};
use crate::audit::{Event, Journal, Level, Ready};
use crate::config::{Config, Timeouts};
use crate::control::Command;
use crate::metrics;
use crate::route::{RoutePhase, RouteTable};
use crate::supervisor::limits::{DRAIN_REPORT_EVERY, STOP_EXTENDED, WORKERS_END};
use crate::tls::{CipherChoice, CpuFeatures};
use crate::worker::report_panics;
use expiries::Expiries;
use nodes::Nodes;
use signals::{Ignored, Signals};

/// Why the gateway did not start, or stopped.
#[derive(Debug)]
pub enum RunError {
    /// The configuration or the environment does not allow a start. Each message is one problem.
    Refused(Vec<String>),
    /// A failure at runtime.
    Broken(String),
}

impl RunError {
    /// The first or only reason, for `systemctl status`.
    fn first(&self) -> &str {
        match self {
            Self::Refused(problems) => problems.first().map_or("", String::as_str),
            Self::Broken(reason) => reason,
        }
    }
}

/// Runs the gateway until a signal stops it.
///
/// # Errors
/// All reasons why the gateway cannot start, or the one reason why it stopped.
pub fn run(file: &FilePath) -> Result<(), RunError> {
    let outcome = start(file);
    if let Err(error) = &outcome {
        notify::status(error.first());
    }
    outcome
}

fn start(file: &FilePath) -> Result<(), RunError> {
    environment::close_memory();
    let (runtime, ignored) = main_thread().map_err(|error| RunError::Broken(error.to_string()))?;
    let capabilities = environment::probe().map_err(refused)?;
    let load = || prepare(file, SystemTime::now(), None);
    let mut prepared = load();
    // A certificate that is not valid yet is a problem, so good files are loaded only once.
    let is_good = prepared
        .as_ref()
        .is_ok_and(|prepared| prepared.problems.is_empty());
    let waited = if is_good { None } else { clock::wait(file) };
    if waited.is_some() {
        prepared = load();
    }
    let mut prepared = prepared.map_err(RunError::Refused)?;
    let connections_max = environment::raise_descriptors(&prepared.config).map_err(refused)?;
    let routes = &prepared.table.routes;
    let listeners = bind::routes(&prepared.config, routes).map_err(RunError::Refused)?;
    let metrics = bind::metrics(&prepared.config).map_err(refused)?;

    let (journal, writer) =
        Journal::start(prepared.config.gateway.log).map_err(|e| refused(e.to_string()))?;
    report_panics(journal.clone());
    notice(&journal, Level::Info, format!("io_uring: {capabilities}"));
    let choice = CipherChoice::new(prepared.config.gateway.cipher, CpuFeatures::detect());
    notice(&journal, Level::Info, format!("cipher: {choice}"));
    if let Some(text) = waited {
        notice(&journal, Level::Warn, text);
    }
    for remark in remarks(&prepared) {
        notice(&journal, remark.level, remark.text);
    }
    if let Some(most) = prepared.config.gateway.connections
        && most as usize > connections_max
    {
        let text = format!(
            "[gateway]: connections = {most}, but the limit of open files allows {connections_max}; raise it \
             (LimitNOFILE in the unit), or write a smaller number"
        );
        notice(&journal, Level::Warn, text);
    }
    for text in std::mem::take(&mut prepared.closed) {
        notice(&journal, Level::Error, text);
    }
    let nodes = Nodes::read(FilePath::new(nodes::FOLDER));
    for (level, text) in nodes.remarks(&prepared.config.gateway) {
        notice(&journal, level, text);
    }
    let plan = Plan {
        config: prepared.config.clone(),
        table: Arc::clone(&prepared.table),
        files: std::mem::take(&mut prepared.files),
        expiries: std::mem::take(&mut prepared.expiries),
    };
    let started = Workers::start(
        &plan.config.gateway,
        prepared.table,
        listeners,
        (capabilities, choice.cipher),
        &journal,
        connections_max,
    );
    let outcome = started.map_err(refused).and_then(|workers| {
        let main_thread = (runtime, ignored);
        supervise(plan, workers, metrics, &journal, main_thread)
    });
    writer.finish(LOG_END);
    outcome
}

// How long the journal may take to write the last lines of the log.
const LOG_END: Duration = Duration::from_secs(2);

fn refused(sentence: impl ToString) -> RunError {
    RunError::Refused(vec![sentence.to_string()])
}

// The main thread's runtime, and handlers for signals that must not end the process even during startup.
fn main_thread() -> std::io::Result<(Runtime, Ignored)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ignored = {
        let _inside = runtime.enter();
        Ignored::new()?
    };
    Ok((runtime, ignored))
}

/// The part of the preparation that the main thread keeps.
struct Plan {
    config: Config,
    /// The open routes.
    table: Arc<RouteTable>,
    files: metrics::Files,
    expiries: Expiries,
}

fn supervise(
    mut plan: Plan,
    workers: Workers,
    metrics: Option<TcpListener>,
    journal: &Journal,
    (runtime, ignored): (Runtime, Ignored),
) -> Result<(), RunError> {
    let local = LocalSet::new();
    runtime.block_on(local.run_until(async {
        let mut signals = Signals::new(ignored, journal.clone())
            .map_err(|error| RunError::Broken(error.to_string()))?;
        let view = Rc::new(View {
            table: RefCell::new(Arc::clone(&plan.table)),
            cores: workers.counters.clone(),
            files: std::mem::take(&mut plan.files),
            journal: journal.clone(),
            ready: Cell::new(true),
        });
        if let Some(listener) = metrics {
            let listener = tokio::net::TcpListener::from_std(listener)
                .map_err(|error| RunError::Broken(error.to_string()))?;
            tokio::task::spawn_local(admin::serve(listener, Rc::clone(&view)));
        }
        let routes = &plan.table.routes;
        let config = &plan.config;
        journal.report(Event::Ready(Box::new(Ready {
            listeners: routes
                .iter()
                .map(|route| (route.config.name.clone(), route.config.listen))
                .collect(),
            closed: config.routes.len().saturating_sub(routes.len()),
            metrics: config.gateway.metrics,
            cores: in_words(&config.gateway.cores),
            version: env!("CARGO_PKG_VERSION"),
        })));
        notify::ready(&open_and_closed(&plan));
        if let Some(limit) = notify::watchdog() {
            let workers = workers.pings();
            tokio::task::spawn_local(watchdog::watch(workers, limit, journal.clone()));
        }
        serve(workers, &mut signals, &view, &mut plan, journal).await
    }))
}

async fn serve(
    mut workers: Workers,
    signals: &mut Signals,
    view: &View,
    Plan {
        config, expiries, ..
    }: &mut Plan,
    journal: &Journal,
) -> Result<(), RunError> {
    loop {
        let now = SystemTime::now();
        for (level, text) in expiries.look(now) {
            notice(journal, level, text);
        }
        tokio::select! {
            () = sleep(expiries.rest(now)) => {}
            command = signals.next() => match command {
                Command::Stop => break,
                Command::Reload => notice(journal, Level::Warn, NO_RELOAD.to_owned()),
            },
            lost = workers.lost() => return Err(RunError::Broken(lost)),
        }
    }
    let drain = longest(config, |timeouts| timeouts.drain);
    view.ready.set(false);
    notify::stopping();
    workers.stop_accepting().await;
    let open = workers.open();
    let text = format!(
        "draining: {open} connections are open and have {} s to finish",
        drain.as_secs()
    );
    notice(journal, Level::Info, text);
    workers.enter(RoutePhase::Draining);
    tokio::select! {
        () = workers.emptied() => {}
        () = sleep(drain) => {}
        // A second stop signal ends the drain at once.
        () = signals.stop() => {}
        () = report_drain(&workers) => {}
    }
    // Connections that are still being set up end at their own timeouts.
    let set_up = longest(config, |timeouts| timeouts.connect + timeouts.handshake);
    notify::extend(set_up + 2 * WORKERS_END + LOG_END);
    end(workers, set_up + WORKERS_END, journal).await
}

// Shows the progress in `systemctl status`, and keeps the service manager from ending a drain that takes
// longer than its own timeout. Does not end.
async fn report_drain(workers: &Workers) {
    loop {
        notify::extend(STOP_EXTENDED);
        notify::status(&format!(
            "draining: {} connections are open",
            workers.open()
        ));
        sleep(DRAIN_REPORT_EVERY).await;
    }
}

// For `systemctl status`.
fn open_and_closed(plan: &Plan) -> String {
    let open = plan.table.routes.len();
    let closed = plan.config.routes.len().saturating_sub(open);
    match closed {
        0 => format!("{open} routes are open"),
        _ => format!("{open} routes are open, {closed} are closed: the log names the reasons"),
    }
}

const NO_RELOAD: &str = "SIGHUP: this version cannot reload; restart to use the new configuration";

async fn end(workers: Workers, limit: Duration, journal: &Journal) -> Result<(), RunError> {
    let cut = workers.open();
    if cut > 0 {
        notice(
            journal,
            Level::Warn,
            format!("{cut} connections did not end in time and are reset"),
        );
    }
    workers.enter(RoutePhase::Stopped);
    if timeout(limit, workers.emptied()).await.is_err() {
        let left = workers.open();
        return Err(RunError::Broken(format!(
            "{left} connections could not be ended"
        )));
    }
    workers.join(WORKERS_END).await.map_err(RunError::Broken)
}

// Routes may have different times; the process waits for the longest.
fn longest(config: &Config, of: impl Fn(&Timeouts) -> Duration) -> Duration {
    let each = config.routes.iter().map(|route| of(&route.timeouts));
    each.max().unwrap_or_default()
}

fn notice(journal: &Journal, level: Level, text: String) {
    journal.report(Event::Notice { level, text });
}

fn in_words(cores: &[usize]) -> String {
    cores
        .iter()
        .map(usize::to_string)
        .collect::<Vec<_>>()
        .join(",")
}
