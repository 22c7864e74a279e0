//! The main loop of a running gateway: commands, signals, expiry dates and drains.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;
use tokio::time::{Instant as Tick, sleep, sleep_until};

use super::drains::{DrainCause, Drains};
use super::expiries::Expiries;
use super::fd_store::FdStore;
use super::files_watch::{FilesWatch, Rotation, files_state};
use super::handover::Handover;
use super::materials::Materials;
use super::renewals::{Renewals, next_renewal};
use super::samples::Samples;
use super::signals::{SignalRequest, Signals};
use super::workers::Workers;
use super::{LOG_END, RunError, bind, longest, notice, notify};
use crate::admin::{AdminRequest, View, Web};
use crate::audit::{ConnectionId, Journal, Level, messages};
use crate::config::Config;
use crate::control::{Command, CommandReply, DrainStep};
use crate::hardening::Sandbox;
use crate::route::{Route, RoutePhase};
use crate::supervisor::limits::{
    DRAIN_LOOK, DRAIN_REPORT_EVERY, FILES_COMPLETE, LISTENER_CLOSES, SAMPLE_EVERY, STOP_EXTENDED,
    STOP_LOOK, WORKERS_END,
};

/// A running gateway, as the main thread knows it.
pub(super) struct Running {
    pub(super) file: PathBuf,
    /// The configuration in use. Its `[gateway]` table is that of the start.
    pub(super) config: Config,
    /// What the process has given up.
    pub(super) sandbox: Sandbox,
    pub(super) workers: Workers,
    pub(super) view: Rc<View>,
    pub(super) journal: Journal,
    pub(super) expiries: Expiries,
    /// What is in use, by its files.
    pub(super) materials: Arc<Materials>,
    /// What was reported to the operator, as `LoadedConfig::known` compares it.
    pub(super) known: Vec<String>,
    /// Whether new files were not used, for a reason that may pass.
    pub(super) is_stale: bool,
    /// What these problems mean, as messages.
    pub(super) problems: Vec<String>,
    /// Keys whose new values take effect at the next start.
    pub(super) restart: Vec<String>,
    pub(super) drains: Drains,
    pub(super) watch: FilesWatch,
    pub(super) handover: Handover,
    /// What the service manager keeps for the next process.
    pub(super) fd_store: FdStore,
    /// When files that were bad a moment ago are read again.
    pub(super) complete_at: Option<Tick>,
    /// When drains and upgrades are looked at again.
    pub(super) look_at: Tick,
    /// Whether a thread still reads files.
    pub(super) reading: Arc<AtomicBool>,
    /// What runs with earlier contents of its files, as messages.
    pub(super) still_used: Vec<String>,
    pub(super) renewals: Renewals,
    pub(super) stop: Option<Stop>,
    /// The announced stop that has not begun.
    pub(super) leaving: Option<Leaving>,
    /// When the process began to serve.
    pub(super) began: Instant,
    /// Rates and loads.
    pub(super) samples: Samples,
    /// When they are sampled again.
    pub(super) sample_at: Tick,
}

/// A stop that is announced: `/readyz` reports it, and the listeners are still open.
pub(super) struct Leaving {
    // When the stop begins.
    pub(super) until: Tick,
    // As in `SignalRequest`.
    pub(super) is_restart: bool,
}

/// The end of the process.
pub(super) struct Stop {
    // False if another process has taken the place of this one.
    is_service: bool,
    // Signals that asked for it.
    signals: u32,
    // When the progress was reported last.
    reported: Option<Instant>,
    // When the last connections were reset.
    reset: Option<Instant>,
    cut: u32,
}

impl Running {
    /// Serves until a signal stops the process and its connections have ended.
    pub(super) async fn serve(
        mut self,
        signals: &mut Signals,
        mut requests: mpsc::Receiver<AdminRequest>,
    ) -> Result<(), RunError> {
        let web = self.view.web.clone();
        let mut renewing = self.workers.take_renewals();
        loop {
            if self.stop.is_some() && self.workers.open() == 0 {
                break;
            }
            let now = SystemTime::now();
            if self.report_expiries(now) {
                // The files are problems now, for which earlier contents stay in use.
                self.rotate(Rotation::Expiry).await;
            }
            let (complete, look) = (self.complete_at, self.look_at);
            let stop_at = self.leaving.as_ref().map(|leaving| leaving.until);
            tokio::select! {
                () = sleep(self.expiries.rest(now)) => {}
                () = sleep_until(look), if self.has_to_look() => {
                    self.look_at = Tick::now() + self.look_after();
                    self.look_at_upgrade();
                    self.begin_announced_drains().await;
                    self.look_at_drains()?;
                }
                () = until(stop_at) => self.stop_announced().await,
                () = sleep_until(self.sample_at) => {
                    self.sample_at = Tick::now() + SAMPLE_EVERY;
                    self.take_samples();
                }
                request = signals.next() => self.on_signal(request).await,
                Some(request) = requests.recv() => self.on_request(request).await,
                () = self.watch.changed() => self.on_files().await,
                Some(request) = next_renewal(&mut renewing) => {
                    self.renewals.answer(&self.config, request, Instant::now());
                }
                () = until(complete) => {
                    self.complete_at = None;
                    self.rotate(Rotation::CompleteFiles).await;
                }
                () = web_due(web.as_deref()) => self.update_web(),
                lost = self.workers.lost() => return Err(RunError::Broken(lost)),
            }
        }
        self.end().await
    }

    // Whether something has expired since the last call.
    fn report_expiries(&mut self, now: SystemTime) -> bool {
        let mut has_expired = false;
        for (level, text) in self.expiries.look(now) {
            has_expired |= level == Level::Error;
            let message = match level {
                Level::Error => &messages::FILE_EXPIRED,
                Level::Info | Level::Warn => &messages::FILE_EXPIRES,
            };
            notice(&self.journal, message, text);
        }
        has_expired
    }

    async fn on_files(&mut self) {
        let files = self.watch.files();
        let Ok(state) = self.read_files(move || files_state(&files)).await else {
            return;
        };
        let has_changed = self.watch.take(state.clone());
        // What was bad may be good by now without a change: a certificate that was not valid yet.
        let is_due = self.is_stale || !self.problems.is_empty();
        if !has_changed && !is_due {
            return;
        }
        let is_good = self.rotate(Rotation::NewFiles).await;
        if has_changed {
            self.watch_files(state);
            if !is_good {
                // A certificate without its key, or half a copy: perhaps the rest follows.
                self.complete_at = Some(Tick::now() + FILES_COMPLETE);
            }
        }
    }

    fn has_to_look(&self) -> bool {
        self.drains.any() || self.stop.is_some() || self.handover.upgrade.is_some()
    }

    // A stopping process ends as soon as its last connection has ended.
    fn look_after(&self) -> Duration {
        match self.stop {
            Some(_) => STOP_LOOK,
            None => DRAIN_LOOK,
        }
    }

    async fn on_signal(&mut self, request: SignalRequest) {
        match request {
            SignalRequest::Reload => {
                let reply = match self.is_stopping() {
                    true => CommandReply::refused([STOPPING.to_owned()]),
                    false => self.reload().await,
                };
                self.log_reply("SIGHUP: reload", &reply);
            }
            SignalRequest::Stop | SignalRequest::Restart => {
                let is_second = self.leaving.is_some();
                let is_restart = request == SignalRequest::Restart;
                self.announce_stop(is_restart).await;
                if is_second {
                    self.stop_announced().await;
                }
                let Some(stop) = &mut self.stop else { return };
                let signals = if is_second { 2 } else { 1 };
                stop.signals = stop.signals.saturating_add(signals);
                // A second signal ends the drain at once.
                if stop.signals > 1 {
                    self.drains.hurry(Instant::now());
                }
            }
        }
    }

    async fn on_request(&mut self, request: AdminRequest) {
        let AdminRequest {
            command,
            caller,
            answer,
        } = request;
        if command == Command::Status {
            return self.answer_status(answer);
        }
        let what = format!("admin socket: {} ({caller})", command.name());
        if command == Command::Upgrade && !self.is_stopping() {
            notice(&self.journal, &messages::COMMAND_RECEIVED, what);
            return self.begin_upgrade(answer);
        }
        let outcome = match command {
            Command::HandOver if !self.is_stopping() => self.hand_over(caller),
            Command::TakenOver if !self.is_stopping() => self.taken_over(caller).await.into(),
            _ => self.carry_out(&command).await.into(),
        };
        self.log_reply(&what, &outcome.reply);
        // The client may be gone.
        let _ = answer.send(outcome);
    }

    async fn carry_out(&mut self, command: &Command) -> CommandReply {
        if self.is_stopping() && !matches!(command, Command::End { .. }) {
            return CommandReply::refused([STOPPING.to_owned()]);
        }
        if self.handover.upgrade.is_some()
            && matches!(command, Command::Reload | Command::Drain { .. })
        {
            let why = "an upgrade is running, and the new process would not know of this change; try again when \
                       it has ended";
            return CommandReply::refused([why.to_owned()]);
        }
        match command {
            Command::Stop => {
                self.announce_stop(false).await;
                CommandReply::done(["the gateway drains all routes and then ends".to_owned()])
            }
            Command::Reload => self.reload().await,
            Command::Drain { route, undo: false } => self.drain(route.as_deref()).await,
            Command::Drain { route, undo: true } => self.undo_drain(route.as_deref()).await,
            Command::Maintenance { route, target, off } => self.maintain(route, target, *off),
            Command::End { connection } => self.end_connection(connection).await,
            // Answered before; here only while the process stops.
            Command::Status | Command::Upgrade | Command::HandOver | Command::TakenOver => {
                CommandReply::refused([STOPPING.to_owned()])
            }
        }
    }

    /// Logs the outcome of a command: its first line as the operator reads it, and all others.
    pub(super) fn log_reply(&self, what: &str, reply: &CommandReply) {
        let message = match reply.ok {
            true => &messages::COMMAND_DONE,
            false => &messages::COMMAND_REFUSED,
        };
        for line in &reply.lines {
            notice(&self.journal, message, format!("{what}: {line}"));
        }
    }

    /// The routes that a command names: one, or all.
    fn named(&self, name: Option<&str>) -> Result<Vec<Arc<Route>>, Box<CommandReply>> {
        let routes = &self.workers.table().routes;
        let Some(name) = name else {
            return Ok(routes.clone());
        };
        let found = routes.iter().find(|route| route.config.name == name);
        found.map(|route| vec![Arc::clone(route)]).ok_or_else(|| {
            let names: Vec<_> = routes
                .iter()
                .map(|route| route.config.name.as_str())
                .collect();
            Box::new(CommandReply::refused([format!(
                "there is no open route \"{name}\"; the open routes are {}",
                names.join(", ")
            )]))
        })
    }

    async fn drain(&mut self, name: Option<&str>) -> CommandReply {
        let routes = match self.named(name) {
            Ok(routes) => routes,
            Err(refusal) => return *refusal,
        };
        let now = Instant::now();
        let mut lines = Vec::new();
        for route in routes {
            let (name, open) = (&route.config.name, route.state.open());
            if self.drains.is_by_command(route.id()) {
                lines.push(format!(
                    "route \"{name}\" is draining already; {open} connections are open"
                ));
                continue;
            }
            let delay = route.config.timeouts.drain_delay;
            if !delay.is_zero() {
                self.drains.announce(&route, now + delay);
                lines.push(format!(
                    "route \"{name}\" reports that it is not ready; after {} s (drain_delay) it accepts no new connections, \
                     and open ones have {} s to end; `wardgate drain --undo {name}` ends this",
                    delay.as_secs_f32(),
                    route.config.timeouts.drain.as_secs()
                ));
                continue;
            }
            self.workers.stop_listening(route.id()).await;
            self.drains.begin(&route, DrainCause::Command, now);
            lines.push(format!(
                "route \"{name}\" accepts no new connections; {open} connections are open and have {} s to end; \
                 `wardgate drain --undo {name}` makes the route accept again",
                route.config.timeouts.drain.as_secs()
            ));
        }
        self.store_listeners();
        CommandReply::done(lines)
    }

    async fn undo_drain(&mut self, name: Option<&str>) -> CommandReply {
        let routes = match self.named(name) {
            Ok(routes) => routes,
            Err(refusal) => return *refusal,
        };
        let until = Instant::now() + LISTENER_CLOSES;
        let (mut lines, mut failed) = (Vec::new(), Vec::new());
        for route in routes {
            if !self.drains.is_by_command(route.id()) {
                continue;
            }
            if self.drains.is_announced(route.id()) {
                self.drains.undo(route.id());
                let name = &route.config.name;
                lines.push(format!("route \"{name}\" accepts as before"));
                continue;
            }
            match self.listen_again(&route, until).await {
                Ok(()) => {
                    let (name, listen) = (&route.config.name, route.config.listen);
                    lines.push(format!("route \"{name}\" accepts on {listen} again"));
                }
                Err(problem) => failed.push(problem),
            }
        }
        self.store_listeners();
        if !failed.is_empty() {
            return CommandReply::refused(lines.into_iter().chain(failed));
        }
        if lines.is_empty() {
            lines.push(match name {
                Some(name) => format!("route \"{name}\" is not draining and accepts as before"),
                None => "no route is draining".to_owned(),
            });
        }
        CommandReply::done(lines)
    }

    fn maintain(&self, route: &str, target: &str, off: bool) -> CommandReply {
        let routes = match self.named(Some(route)) {
            Ok(routes) => routes,
            Err(refusal) => return *refusal,
        };
        let set = routes
            .iter()
            .try_for_each(|route| route.set_maintenance(target, !off));
        if let Err(unknown) = set {
            return CommandReply::refused([unknown.to_string()]);
        }
        CommandReply::done([match off {
            true => format!("route \"{route}\": target {target} gets new connections again"),
            false => format!(
                "route \"{route}\": target {target} gets no new connections, and its open ones continue; \
                 `wardgate maintenance {route} {target} --off` ends this"
            ),
        }])
    }

    async fn end_connection(&self, text: &str) -> CommandReply {
        let Ok(id) = text.parse::<ConnectionId>() else {
            return CommandReply::refused([format!(
                "{text:?} is not the id of a connection; log lines about a connection contain it, for example \
                 id=19a00000000-1-2"
            )]);
        };
        match self.workers.end(id).await {
            true => CommandReply::done([format!("connection {id} is reset")]),
            false => CommandReply::refused([format!("no connection {id} is open")]),
        }
    }

    /// Stops accepting on all routes; the process ends after their connections. If the service restarts, clients
    /// wait for the next process; otherwise they are refused.
    pub(super) async fn stop(&mut self, is_restart: bool) {
        // After a hand-over they are those of another process.
        let is_service = self.stop.as_ref().is_none_or(|stop| stop.is_service);
        if is_service && !is_restart {
            self.forget_listeners();
        }
        self.begin_stop(true).await;
    }

    /// Stops accepting on all routes. `is_service` is false if another process is the service now.
    pub(super) async fn begin_stop(&mut self, is_service: bool) {
        if self.stop.is_some() {
            return;
        }
        self.stop = Some(Stop {
            is_service,
            signals: 0,
            reported: None,
            reset: None,
            cut: 0,
        });
        self.view.ready.set(false);
        if is_service {
            notify::stopping();
        }
        self.workers.stop_accepting().await;
        let now = Instant::now();
        for route in &self.workers.table().routes {
            self.drains.begin(route, DrainCause::Stop, now);
        }
        let text = format!(
            "draining: {} connections are open and have {} s to finish",
            self.workers.open(),
            self.drains.longest(now).as_secs()
        );
        notice(&self.journal, &messages::DRAINING, text);
    }

    fn look_at_drains(&mut self) -> Result<(), RunError> {
        let now = Instant::now();
        for (route, step, open) in self.drains.look(now) {
            let name = &route.config.name;
            match (&mut self.stop, step) {
                (Some(stop), DrainStep::Reset) => stop.cut += open,
                (None, DrainStep::Reset) => {
                    let text = format!(
                        "route \"{name}\": {open} connections did not end in time and are reset"
                    );
                    notice(&self.journal, &messages::DRAIN_RESET, text);
                }
                (None, DrainStep::Drained) => {
                    let text = format!("route \"{name}\": drained, no connection is open");
                    notice(&self.journal, &messages::DRAINED, text);
                }
                _ => {}
            }
        }
        self.look_at_stop(now)
    }

    fn look_at_stop(&mut self, now: Instant) -> Result<(), RunError> {
        let open = self.workers.open();
        let Some(stop) = &mut self.stop else {
            return Ok(());
        };
        if !self.drains.all_are_past(now) {
            let is_due = |last: Instant| now.duration_since(last) >= DRAIN_REPORT_EVERY;
            if stop.reported.is_none_or(is_due) {
                stop.reported = Some(now);
                if !stop.is_service {
                    return Ok(());
                }
                notify::extend(STOP_EXTENDED);
                notify::status(&format!("draining: {open} connections are open"));
            }
            return Ok(());
        }
        // Connections that are still being set up end at their own timeouts.
        let set_up = longest(&self.config, |timeouts| {
            timeouts.connect + timeouts.handshake
        });
        let Some(since) = stop.reset else {
            stop.reset = Some(now);
            if stop.cut > 0 {
                let text = format!("{} connections did not end in time and are reset", stop.cut);
                notice(&self.journal, &messages::DRAIN_RESET, text);
            }
            for route in &self.workers.table().routes {
                route.state.enter(RoutePhase::Stopped);
            }
            notify::extend(set_up + 2 * WORKERS_END + LOG_END);
            return Ok(());
        };
        if now.duration_since(since) > set_up + WORKERS_END {
            return Err(RunError::Broken(format!(
                "{open} connections could not be ended"
            )));
        }
        Ok(())
    }

    async fn end(self) -> Result<(), RunError> {
        // Another process may have the admin socket by now.
        let is_service = self.stop.as_ref().is_none_or(|stop| stop.is_service);
        if let Some(path) = bind::admin_path(&self.config).filter(|_| is_service) {
            let _ = std::fs::remove_file(path);
        }
        notify::extend(2 * WORKERS_END + LOG_END);
        let join = self.workers.join(WORKERS_END);
        join.await.map_err(RunError::Broken)
    }

    /// Whether the process ends after its connections.
    pub(super) fn is_stopping(&self) -> bool {
        self.stop.is_some() || self.leaving.is_some()
    }

    fn take_samples(&mut self) {
        let routes = self.workers.table().routes.iter();
        let routes = routes.chain(self.drains.removed());
        let routes: Vec<_> = routes.collect();
        let cores = &self.workers.counters;
        self.samples
            .take(routes.iter().copied(), cores, Instant::now());
    }
}

const STOPPING: &str = "the gateway is stopping";

// Waits for ever without a page.
async fn web_due(web: Option<&Web>) {
    match web {
        Some(web) => web.due().await,
        None => std::future::pending().await,
    }
}

// Waits for ever without a time.
async fn until(time: Option<Tick>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
