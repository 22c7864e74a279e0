//! The main thread: prepares everything, starts the workers, and waits for a signal to stop.
//!
//! The main thread carries no payload. It reports every detectable problem before the first listener opens.
//! After that it serves metrics and handles signals.

mod ambiguity;
mod announced_stop;
#[cfg(test)]
mod attacks;
mod bind;
mod clock;
mod drains;
mod environment;
mod expiries;
mod fd_store;
mod files_watch;
mod handover;
mod inherited;
mod kept_listeners;
mod launcher;
mod limits;
mod materials;
mod nodes;
mod notify;
mod prepare;
mod reload;
mod renewals;
mod running;
mod samples;
mod signals;
mod status;
#[cfg(test)]
mod tests;
mod trial;
mod upgrade;
mod watchdog;
mod workers;

use std::cell::{Cell, RefCell};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path as FilePath;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::timeout;

pub(crate) use bind::listener_problem;
pub(crate) use environment::connections_allowed;
pub use environment::{Remark, remarks};
pub(crate) use launcher::{LAUNCHER, run_launcher};
pub(crate) use prepare::prepare_text;
pub use prepare::{Prepared, prepare};
pub use trial::{Trial, trial};
pub use workers::Workers;

use crate::admin::{self, View, Web};
use crate::audit::{Event, Journal, LogMessage, Ready, messages};
use crate::config::{Config, Gateway, Timeouts};
use crate::hardening::{Needs, Role, Sandbox, becomes};
use crate::metrics;
use crate::pairing::state::StateFolder;
use crate::pki::WebToken;
use crate::route::RouteId;
use crate::supervisor::limits::{COMMANDS_MAX, FILES_LOOK_EVERY, REPLIES_WITHIN};
use crate::tls::{CipherChoice, CpuFeatures};
use crate::worker::report_panics;
use drains::Drains;
use fd_store::FdStore;
use files_watch::FilesWatch;
use handover::Handover;
use inherited::{Inherited, Predecessor};
use launcher::Launcher;
use nodes::Nodes;
use running::Running;
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

/// Runs the gateway until a signal stops it. `take_over` is the admin socket of a running gateway in whose
/// place this one starts.
///
/// # Errors
/// All reasons why the gateway cannot start, or the one reason why it stopped.
pub fn run(file: &FilePath, take_over: Option<&FilePath>) -> Result<(), RunError> {
    let outcome = start(file, take_over);
    if let Err(error) = &outcome {
        notify::status(error.first());
        if matches!(error, RunError::Refused(_)) {
            fd_store::forget_passed();
        }
    }
    outcome
}

fn start(file: &FilePath, take_over: Option<&FilePath>) -> Result<(), RunError> {
    let program = std::env::current_exe().unwrap_or_else(|_| "wardgate".into());
    environment::close_memory();
    let (runtime, ignored) = main_thread().map_err(|error| RunError::Broken(error.to_string()))?;
    let capabilities = environment::probe().map_err(refused)?;
    let load = || prepare(file, SystemTime::now());
    let mut prepared = load();
    // A certificate that is not valid yet is a problem, so good files are loaded only once.
    let is_good = prepared
        .as_ref()
        .is_ok_and(|prepared| prepared.problems.is_empty());
    let waited = if is_good { None } else { clock::wait(file) };
    if waited.is_some() {
        prepared = load();
    }
    let prepared = prepared.map_err(RunError::Refused)?;
    let connections_max = environment::raise_descriptors(&prepared.config).map_err(refused)?;
    environment::check_transparent(&prepared.config).map_err(refused)?;
    let routes = &prepared.table.routes;
    let (predecessor, mut inherited) = match take_over {
        Some(socket) => {
            let (predecessor, inherited) = Predecessor::ask(socket).map_err(refused)?;
            (Some(predecessor), inherited)
        }
        None => (None, Inherited::from_service_manager()),
    };
    if predecessor.is_some() {
        let lost = lost_routes(&prepared, &inherited);
        if !lost.is_empty() {
            return Err(RunError::Refused(lost));
        }
    }
    let listeners =
        bind::routes(&prepared.config, routes, &mut inherited).map_err(RunError::Refused)?;
    let metrics = bind::metrics(&prepared.config, &mut inherited).map_err(refused)?;
    let socket = bind::admin(&prepared.config, &mut inherited).map_err(refused)?;

    let admin_path = bind::admin_path(&prepared.config);
    let launcher = Launcher::start(program, file, admin_path.as_deref());
    let was_root = rustix::process::geteuid().is_root();
    let sandbox = enter_sandbox(file, &prepared.config).map_err(RunError::Refused)?;
    let of_journal = sandbox.thread(Role::Journal);
    let (journal, writer) = Journal::start(prepared.config.gateway.log, &of_journal)
        .map_err(|e| refused(e.to_string()))?;
    report_panics(journal.clone(), &of_journal).map_err(|e| refused(e.to_string()))?;
    notice(
        &journal,
        &messages::IO_URING,
        format!("io_uring: {capabilities}"),
    );
    let choice = CipherChoice::new(prepared.config.gateway.cipher, CpuFeatures::detect());
    notice(&journal, &messages::CIPHER, format!("cipher: {choice}"));
    if let Some(text) = waited {
        notice(&journal, &messages::CLOCK_WAITED, text);
    }
    for remark in remarks(&prepared) {
        notice(&journal, remark.message, remark.text);
    }
    if let Some(most) = prepared.config.gateway.connections
        && most as usize > connections_max
    {
        let text = format!(
            "[gateway]: connections = {most}, but the limit of open files allows {connections_max}; raise it \
             (LimitNOFILE in the unit), or write a smaller number"
        );
        notice(&journal, &messages::CONNECTIONS_ABOVE_FILES, text);
    }
    for text in &prepared.closed {
        notice(&journal, &messages::FILES_BAD, text.clone());
    }
    if let Some(text) = environment::unreadable(file, &prepared.config).filter(|_| was_root) {
        notice(&journal, &messages::USER_CANNOT_READ, text);
    }
    let nodes = Nodes::read(FilePath::new(nodes::FOLDER));
    for (message, text) in nodes.remarks(&prepared.config.gateway) {
        notice(&journal, message, text);
    }
    // A process that takes another's place accepts when that one has stopped.
    let (at_once, later) = match predecessor {
        Some(_) => (Vec::new(), listeners),
        None => (listeners, Vec::new()),
    };
    let started = Workers::start(
        &prepared.config.gateway,
        Arc::clone(&prepared.table),
        at_once,
        (capabilities, choice.cipher),
        [Role::Worker, Role::Resolver].map(|role| sandbox.thread(role)),
        &journal,
        connections_max,
    );
    let renewals = renewals::Renewals::start(&sandbox.thread(Role::Renewals), &journal)
        .map_err(|e| refused(e.to_string()))?;
    // All threads that start later have the list of this one.
    let started = started.and_then(|workers| {
        let entered = sandbox.thread(Role::Supervisor).enter();
        entered.map_err(|error| error.to_string())?;
        Ok(workers)
    });
    report_sandbox(&sandbox, &journal);
    let outcome = started.map_err(refused).and_then(|workers| {
        let view = View {
            table: RefCell::new(prepared.table),
            cores: workers.counters.clone(),
            files: RefCell::new(prepared.files),
            reloads: metrics::Reloads::default(),
            http: Arc::default(),
            started: started_at(),
            sandbox: sandbox.parts().iter().map(|one| (one.part.name(), one.state.word() == "on")).collect(),
            web: web_page(&prepared.config.gateway, prepared.web_token),
            journal: journal.clone(),
            ready: Cell::new(true),
            handed_over: tokio::sync::watch::Sender::new(false),
        };
        let (watch, fault) = FilesWatch::new();
        if let Some(fault) = fault {
            let text = format!(
                "replaced files are noticed after up to {} s, because folders cannot be watched: {fault}",
                FILES_LOOK_EVERY.as_secs()
            );
            notice(&journal, &messages::FILES_NOT_WATCHED, text);
        }
        let seen = prepared.seen;
        let sockets = handover::sockets(metrics.as_ref(), socket.as_ref());
        let fd_store = FdStore::new(inherited.left());
        for address in inherited.left().flat_map(TcpListener::local_addr) {
            let text = format!(
                "the earlier process had a listener on {address}; no open route of this process uses it, so it is closed"
            );
            notice(&journal, &messages::LISTENER_UNUSED, text);
        }
        drop(inherited);
        let running = |view| Running {
            file: file.to_owned(),
            config: prepared.config,
            sandbox,
            workers,
            renewals,
            view,
            journal: journal.clone(),
            expiries: prepared.expiries,
            materials: prepared.materials,
            known: prepared.known,
            is_stale: false,
            problems: prepared.closed,
            still_used: Vec::new(),
            restart: Vec::new(),
            drains: Drains::default(),
            watch,
            fd_store,
            complete_at: None,
            look_at: tokio::time::Instant::now(),
            reading: Arc::default(),
            handover: Handover {
                launcher,
                sockets,
                asked_by: None,
                upgrade: None,
                has_successor: false,
            },
            stop: None,
            announced_stop: None,
            began: std::time::Instant::now(),
            samples: samples::Samples::default(),
            sample_at: tokio::time::Instant::now(),
        };
        let running = |view| {
            let mut running = running(view);
            running.watch_files(seen);
            running
        };
        let succession = (predecessor, later);
        supervise(
            running,
            view,
            (metrics, socket),
            succession,
            (runtime, ignored),
        )
    });
    writer.finish(LOG_END);
    outcome
}

// What the process gives up once its sockets are open.
fn enter_sandbox(file: &FilePath, config: &Config) -> Result<Sandbox, Vec<String>> {
    // Both prepare themselves at the first use, which may open files: the source of random numbers of aws-lc, and the
    // clock of rustix.
    let mut bytes = [0; 1];
    let _ = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| vec!["no random numbers are available".to_owned()])?;
    if !config.renewed.is_empty() {
        // The service has it already. Where it cannot be made, an update is refused with the reason.
        let _ = StateFolder::made_for(&config.gateway.state, becomes(&config.gateway));
    }
    Sandbox::enter(&config.gateway, needs(file, config))
}

/// What a configuration in `file` needs of the system after the start.
fn needs(file: &FilePath, config: &Config) -> Needs {
    let admin = bind::admin_path(config);
    let needs = Needs::new(config, files_watch::folders_of_all(file, config));
    let needs = needs
        .with_socket(admin.as_deref())
        .with_state(&config.gateway.state, !config.renewed.is_empty());
    // For names of functions in a backtrace.
    match std::env::current_exe() {
        Ok(program) => needs.with_file(&program),
        Err(_) => needs,
    }
}

fn report_sandbox(sandbox: &Sandbox, journal: &Journal) {
    let parts = sandbox.parts();
    let on = parts.iter().filter(|one| one.state.word() == "on");
    let on: Vec<_> = on.map(ToString::to_string).collect();
    notice(
        journal,
        &messages::SANDBOX,
        format!("sandbox: {}", on.join(", ")),
    );
    for one in parts.iter().filter(|one| one.state.word() != "on") {
        notice(
            journal,
            &messages::SANDBOX_MISSING,
            format!("sandbox: {one}"),
        );
    }
}

// How long the journal may take to write the last lines of the log.
const LOG_END: Duration = Duration::from_secs(2);

// Why routes that the running gateway serves would be closed.
fn lost_routes(prepared: &Prepared, inherited: &Inherited) -> Vec<String> {
    let is_open = |name: &str| prepared.table.by_name(name).is_some();
    let routes = prepared.config.routes.iter();
    let mut lost = routes.filter(|route| {
        !is_open(&route.name) && inherited.has(route.listen, route.interface.as_ref())
    });
    match lost.next() {
        Some(_) => prepared.closed.clone(),
        None => Vec::new(),
    }
}

// The web page, unless its token could not be read.
fn web_page(gateway: &Gateway, token: Option<WebToken>) -> Option<Rc<Web>> {
    let setting = gateway.web.as_ref()?;
    if setting.token.is_some() && token.is_none() {
        return None;
    }
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    Some(Rc::new(Web::new(token, &host)))
}

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

fn supervise(
    running: impl FnOnce(Rc<View>) -> Running,
    view: View,
    (metrics, socket): (Option<TcpListener>, Option<UnixListener>),
    (predecessor, listeners): (Option<Predecessor>, Vec<(RouteId, Arc<TcpListener>)>),
    (runtime, ignored): (Runtime, Ignored),
) -> Result<(), RunError> {
    let broken = |error: std::io::Error| RunError::Broken(error.to_string());
    let local = LocalSet::new();
    let outcome = runtime.block_on(local.run_until(async {
        let journal = view.journal.clone();
        let mut signals = Signals::new(ignored, journal.clone()).map_err(broken)?;
        let view = Rc::new(view);
        if let Some(listener) = metrics {
            let listener = tokio::net::TcpListener::from_std(listener).map_err(broken)?;
            tokio::task::spawn_local(admin::serve(listener, Rc::clone(&view)));
        }
        // LIMIT: COMMANDS_MAX; further commands wait in the tasks of their connections.
        let (commands, requests) = mpsc::channel(COMMANDS_MAX);
        let answering = socket.map(|listener| {
            let handed_over = view.handed_over.subscribe();
            tokio::task::spawn_local(admin::serve_requests(listener, commands, handed_over))
        });
        let of_sockets = Rc::clone(&view);
        let mut running = running(view);
        if let Some(predecessor) = predecessor {
            predecessor.take_over().map_err(RunError::Broken)?;
            for (route, listener) in listeners {
                let listening = running.workers.listen(route, listener).await;
                listening.map_err(RunError::Broken)?;
            }
        }
        let (table, gateway) = (running.workers.table(), &running.config.gateway);
        journal.report(Event::Ready(Box::new(Ready {
            listeners: table
                .routes
                .iter()
                .map(|route| (route.config.name.clone(), route.config.listen))
                .collect(),
            closed: running
                .config
                .routes
                .len()
                .saturating_sub(table.routes.len()),
            metrics: gateway.metrics,
            cores: in_words(&gateway.cores),
            version: env!("CARGO_PKG_VERSION"),
        })));
        notify::ready(&running.summary());
        running.store_listeners();
        if let Some(limit) = notify::watchdog() {
            let workers = running.workers.pings();
            tokio::task::spawn_local(watchdog::watch(workers, limit, journal));
        }
        let outcome = running.serve(&mut signals, requests).await;
        // Clients that have their answers, of an upgrade for example, receive them.
        of_sockets.handed_over.send_replace(true);
        if let Some(answering) = answering {
            let _ = timeout(REPLIES_WITHIN, answering).await;
        }
        outcome
    }));
    // A thread that reads files of a file system that does not answer is left behind.
    runtime.shutdown_background();
    outcome
}

// Routes may have different times; the process waits for the longest.
fn longest(config: &Config, of: impl Fn(&Timeouts) -> Duration) -> Duration {
    let each = config.routes.iter().map(|route| of(&route.timeouts));
    each.max().unwrap_or_default()
}

// Seconds since 1970.
fn started_at() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

fn notice(journal: &Journal, message: &'static LogMessage, text: String) {
    journal.report(Event::Notice { message, text });
}

fn in_words(cores: &[usize]) -> String {
    cores
        .iter()
        .map(usize::to_string)
        .collect::<Vec<_>>()
        .join(",")
}
