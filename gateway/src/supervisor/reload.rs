//! Changes of a running gateway: a new configuration, or new contents of the files that it names.
//!
//! Everything is read, checked and opened first; then one new table of routes replaces the one in use. If
//! anything is wrong, nothing changes.

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use tokio::time::{sleep, timeout};

use super::drains::DrainCause;
use super::files_watch::{FilesState, Rotation};
use super::prepare::{self, LoadedConfig};
use super::running::Running;
use super::{bind, environment, needs, notice, notify};
use crate::audit::messages;
use crate::config::{self, Config, Problem, RouteConfig};
use crate::control::{CommandReply, ListenerPlan, plan_listener, report_changes, restart_only};
use crate::route::{Change, Route, RouteDraft, RouteTable, diff};
use crate::supervisor::limits::{FILES_LOOK_EVERY, FILES_READ_WITHIN, STOP_LOOK};

impl Running {
    /// Reads the configuration and its files again, and uses them from now on, unless anything is wrong.
    pub(super) async fn reload(&mut self) -> CommandReply {
        notify::reloading();
        let reply = match self.load_and_use().await {
            Ok(reply) => {
                self.view.reloads.succeeded();
                reply
            }
            Err(problems) => {
                self.view.reloads.failed();
                let nothing = "nothing was changed".to_owned();
                CommandReply::refused(problems.into_iter().chain([nothing]))
            }
        };
        notify::ready(&self.summary());
        reply
    }

    async fn load_and_use(&mut self) -> Result<CommandReply, Vec<String>> {
        self.check_sandbox()?;
        let (file, kept) = (self.file.clone(), Arc::clone(&self.materials));
        let load = move || prepare::load(&file, SystemTime::now(), Some(kept));
        let mut loaded = self.read_files(load).await??;
        let is_new = |problem: &&Problem| !self.known.contains(&loaded.key(&problem.text));
        let new: Vec<_> = loaded.problems.iter().filter(is_new).cloned().collect();
        if !new.is_empty() {
            return Err(prepare::sentences(&self.file, new));
        }
        // A problem that is known closes no route and refuses no peer that is served now.
        let closed = loaded.closed.iter();
        let lost: Vec<_> = closed
            .filter(|text| !self.known.contains(&loaded.key(text)))
            .cloned()
            .collect();
        if !lost.is_empty() {
            return Err(lost);
        }
        environment::check_transparent(&loaded.config).map_err(|problem| vec![problem])?;
        let (opened, failed) = self.open_listeners(&loaded.config, &loaded.drafts);
        if !failed.is_empty() {
            return Err(failed.into_iter().map(|(_, problem)| problem).collect());
        }
        let restart = restart_only(&self.config.gateway, &loaded.config.gateway);
        loaded.config.gateway = self.config.gateway.clone();
        let seen = std::mem::take(&mut loaded.seen);
        let changes = self.put_to_use(loaded, &opened).await?;
        self.watch_files(seen);
        self.complete_at = None;
        self.restart = restart;
        let is_change = |change: &&Change| !matches!(change, Change::Kept(_));
        let count = changes.iter().filter(is_change).count();
        let of = self.config.routes.len();
        let mut lines = vec![match count {
            0 => "the configuration is in use; no route changed".to_owned(),
            _ => format!("the configuration is in use; routes changed: {count}, routes now: {of}"),
        }];
        let changes = report_changes(&changes);
        let changed = changes.iter().filter(|change| change.change != "kept");
        lines.extend(
            changed.map(|one| format!("route \"{}\": {}: {}", one.route, one.change, one.meaning)),
        );
        if !self.restart.is_empty() {
            let keys = self.restart.join(", ");
            lines.push(format!(
                "[gateway]: {keys}: the new value takes effect at the next start; `wardgate upgrade` starts the \
                 program again without a refused connection"
            ));
        }
        lines.extend(self.problems.iter().cloned());
        lines.extend(self.reload_web_token());
        Ok(CommandReply {
            changes,
            ..CommandReply::done(lines)
        })
    }

    // Before the files are read: the sandbox would show as files that cannot be read.
    fn check_sandbox(&self) -> Result<(), Vec<String>> {
        let Ok(wanted) = config::load(&self.file).config else {
            return Ok(());
        };
        let found = self.sandbox.obstacles(&needs(&self.file, &wanted));
        match found.is_empty() {
            true => Ok(()),
            false => Err(found),
        }
    }

    // Returns why the page is off, or why the earlier token stays in use.
    fn reload_web_token(&self) -> Option<String> {
        self.config.gateway.web.as_ref()?;
        let Some(web) = &self.view.web else {
            let text = "the web page is off, because its token could not be read at the start; `wardgate upgrade` starts \
                        the program again without a refused connection";
            return Some(text.to_owned());
        };
        match prepare::web_token(&self.config.gateway) {
            Ok(token) => {
                web.set_token(token);
                None
            }
            Err(problem) => Some(format!("{}; the earlier token stays in use", problem.text)),
        }
    }

    /// Reads the files of the configuration again and uses what is good. Where a file is bad, its earlier
    /// contents stay in use. Returns whether everything was good.
    pub(super) async fn rotate(&mut self, why: Rotation) -> bool {
        let is_final = why != Rotation::NewFiles;
        let (config, kept) = (self.config.clone(), Arc::clone(&self.materials));
        let load = move || prepare::load_files(&config, SystemTime::now(), kept);
        let mut loaded = match self.read_files(load).await.and_then(|loaded| loaded) {
            Ok(loaded) => loaded,
            Err(problems) => {
                self.report_unused(&problems, is_final);
                return false;
            }
        };
        let is_new = |problem: &Problem| !self.known.contains(&loaded.key(&problem.text));
        let is_good = !loaded.problems.iter().any(is_new);
        if !is_good && !is_final {
            return false;
        }
        if !is_good && why != Rotation::Expiry {
            self.view.reloads.rotation_failed();
        }
        let (opened, failed) = self.open_listeners(&loaded.config, &loaded.drafts);
        for (name, problem) in failed {
            loaded.leave_closed(&name, &problem);
        }
        let of_before = self.files_in_use();
        let closed = loaded.closed.iter().map(|text| (text.clone(), false));
        let still_used = loaded.still_used.iter().map(|text| (text.clone(), true));
        let news: Vec<_> = closed
            .chain(still_used)
            .filter(|(text, _)| !self.known.contains(&loaded.key(text)))
            .collect();
        match self.put_to_use(loaded, &opened).await {
            Ok(changes) => self.report_rotation(&changes),
            Err(problems) => {
                self.report_unused(&problems, is_final);
                return false;
            }
        }
        // The log has named what expired.
        if why != Rotation::Expiry {
            for (problem, is_used) in news {
                let message = match is_used {
                    true => &messages::FILES_REFUSED,
                    false => &messages::FILES_BAD,
                };
                notice(&self.journal, message, problem);
            }
        }
        self.is_stale = false;
        if of_before != self.files_in_use() && self.stop.is_none() {
            notify::status(&self.summary());
        }
        is_good
    }

    fn report_unused(&mut self, problems: &[String], is_final: bool) {
        self.is_stale = true;
        if !is_final {
            return;
        }
        self.view.reloads.rotation_failed();
        for problem in problems {
            let text = format!("the new files are not used: {problem}");
            notice(&self.journal, &messages::FILES_REFUSED, text);
        }
    }

    fn report_rotation(&self, changes: &[Change]) {
        let is_change = |change: &&Change| !matches!(change, Change::Kept(_));
        let changed: Vec<_> = changes.iter().filter(is_change).map(name_of).collect();
        if !changed.is_empty() {
            self.view.reloads.rotated();
            let text = format!(
                "new certificates, keys, CAs or revocation lists are in use on {}",
                changed.join(", ")
            );
            notice(&self.journal, &messages::FILES_IN_USE, text);
        }
    }

    /// Reads files on another thread, for a limited time: a network file system may not answer.
    ///
    /// # Errors
    /// If an earlier reading has not ended, or this one takes too long.
    pub(super) async fn read_files<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Vec<String>> {
        if self.reading.swap(true, Ordering::Relaxed) {
            return Err(vec![format!("{HANGING} since an earlier attempt")]);
        }
        let reading = Reading(Arc::clone(&self.reading));
        let work = move || {
            let _reading = reading;
            read()
        };
        let reading = timeout(FILES_READ_WITHIN, tokio::task::spawn_blocking(work));
        match reading.await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(_)) => Err(vec![
                "a bug: reading the configuration failed; the log has more".to_owned(),
            ]),
            Err(_) => {
                let seconds = FILES_READ_WITHIN.as_secs();
                Err(vec![format!("{HANGING} for {seconds} s")])
            }
        }
    }

    /// Watches the files of the configuration, whose state before they were read was `seen`.
    pub(super) fn watch_files(&mut self, seen: FilesState) {
        for problem in self.watch.watch(&self.config.routes, seen) {
            let text = format!(
                "changed files of this folder are noticed after up to {} s, because it cannot be watched: {problem}",
                FILES_LOOK_EVERY.as_secs()
            );
            notice(&self.journal, &messages::FILES_NOT_WATCHED, text);
        }
    }

    // Publishes a new table, with the listeners that were opened for it.
    async fn put_to_use(
        &mut self,
        loaded: LoadedConfig,
        opened: &HashMap<String, Arc<TcpListener>>,
    ) -> Result<Vec<Change>, Vec<String>> {
        let known = loaded.known();
        let current = Arc::clone(self.workers.table());
        let drafts = loaded.drafts.into_iter().flatten();
        let table = Arc::new(current.next(drafts, &loaded.config.routes));
        let changes = diff(&current, &table);
        let is_kept = |change: &Change| matches!(change, Change::Kept(_));
        if !changes.iter().all(is_kept) {
            self.publish(table, &changes, opened).await?;
        }
        self.view.files.replace(loaded.files);
        self.known = known;
        self.problems = [loaded.closed.as_slice(), &loaded.still_used].concat();
        self.still_used = loaded.still_used;
        self.expiries.replace(loaded.expiries);
        self.materials = loaded.materials;
        self.config = loaded.config;
        Ok(changes)
    }

    async fn publish(
        &mut self,
        table: Arc<RouteTable>,
        changes: &[Change],
        opened: &HashMap<String, Arc<TcpListener>>,
    ) -> Result<(), Vec<String>> {
        let listeners = table.routes.iter().filter_map(|route| {
            let listener = opened.get(&route.config.name)?;
            Some((route.id(), Arc::clone(listener)))
        });
        let listeners = listeners.collect();
        let published = self.workers.publish(Arc::clone(&table), listeners).await;
        published.map_err(|problem| vec![problem])?;
        self.store_listeners();
        let now = Instant::now();
        for change in changes {
            if let Change::Removed(route) = change {
                self.drains.begin(route, DrainCause::Removed, now);
            }
        }
        self.view.table.replace(table);
        Ok(())
    }

    // The listeners that a new table needs, by the names of their routes, and why others cannot be opened. A
    // stopping process opens none.
    fn open_listeners(&self, config: &Config, drafts: &[Option<RouteDraft>]) -> OpenedListeners {
        let (mut opened, mut problems) = OpenedListeners::default();
        if self.stop.is_some() {
            return (opened, problems);
        }
        for draft in drafts.iter().flatten() {
            let wanted = &draft.config;
            let is_drained = |route| self.drains.is_by_command(route);
            let listener = match plan_listener(self.workers.table(), wanted, is_drained) {
                ListenerPlan::Keep | ListenerPlan::Closed => continue,
                ListenerPlan::TakeFrom(route) => match self.workers.listener(route) {
                    Some(listener) => Ok(listener),
                    None => bind::route(config, wanted),
                },
                ListenerPlan::Open => bind::route(config, wanted),
            };
            match listener {
                Ok(listener) => {
                    opened.insert(wanted.name.clone(), listener);
                }
                Err(problem) => {
                    let problem = self.own_listener_in_the_way(wanted).unwrap_or(problem);
                    problems.push((wanted.name.clone(), problem));
                }
            }
        }
        (opened, problems)
    }

    // "In use by another program" is wrong if the other one is a route of this gateway.
    fn own_listener_in_the_way(&self, wanted: &RouteConfig) -> Option<String> {
        let port = wanted.listen.port();
        let mut routes = self.workers.table().routes.iter();
        let own = routes.find(|route| route.config.listen.port() == port)?;
        let (name, listen) = (&own.config.name, own.config.listen);
        Some(format!(
            "route \"{}\": listen \"{}\": route \"{name}\" of the running gateway listens on {listen}, which has \
             the same port; reload once without the new route, or run `wardgate drain {name}`, reload, and `wardgate \
             drain --undo {name}`",
            wanted.name, wanted.listen
        ))
    }

    /// Accepts again for a route that an operator has drained. A port in use may become free until then.
    pub(super) async fn listen_again(
        &mut self,
        route: &Arc<Route>,
        until: Instant,
    ) -> Result<(), String> {
        let listener = match self.workers.listener(route.id()) {
            Some(listener) => listener,
            None => self.open_when_free(&route.config, until).await?,
        };
        // Before the first client is accepted.
        self.drains.undo(route.id());
        self.workers.listen(route.id(), listener).await
    }

    // A worker and the service manager may not have closed the route's earlier listener yet.
    async fn open_when_free(
        &self,
        route: &RouteConfig,
        until: Instant,
    ) -> Result<Arc<TcpListener>, String> {
        loop {
            let opened = bind::route(&self.config, route);
            if opened.is_ok() || Instant::now() >= until {
                return opened;
            }
            sleep(STOP_LOOK).await;
        }
    }

    /// For `systemctl status`.
    pub(super) fn summary(&self) -> String {
        let (open, closed) = self.files_in_use();
        match closed {
            0 => format!("{open} routes are open"),
            _ => format!("{open} routes are open, {closed} are closed: the log names the reasons"),
        }
    }

    fn files_in_use(&self) -> (usize, usize) {
        let open = self.workers.table().routes.len();
        (open, self.config.routes.len().saturating_sub(open))
    }
}

/// OpenedListeners listeners by the names of their routes, and the names of routes whose listeners cannot be opened,
/// with the reasons.
type OpenedListeners = (HashMap<String, Arc<TcpListener>>, Vec<(String, String)>);

const HANGING: &str = "the files cannot be read: their file system has not answered";

/// A reading that has not ended.
struct Reading(Arc<AtomicBool>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

fn name_of(change: &Change) -> String {
    let (Change::Kept(route)
    | Change::Changed(route)
    | Change::NewListener(route)
    | Change::Added(route)
    | Change::Removed(route)) = change;
    format!("route \"{}\"", route.config.name)
}
