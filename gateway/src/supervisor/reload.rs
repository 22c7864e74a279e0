//! Changes of a running gateway: a new configuration, or new contents of the files that it names.
//!
//! Everything is read, checked and opened first; then one new table of routes replaces the one in use. If
//! anything is wrong, nothing changes.

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::time::sleep;

use super::drains::DrainCause;
use super::files_watch::Signature;
use super::prepare::{self, Loaded};
use super::running::Running;
use super::{bind, notice, notify};
use crate::audit::Level;
use crate::config::{Config, Problem, RouteConfig};
use crate::control::{Reply, report_changes, restart_only};
use crate::route::{Change, Route, RouteDraft, diff};
use crate::supervisor::limits::{FILES_LOOK_EVERY, LISTENER_CLOSES, STOP_LOOK};

impl Running {
    /// Reads the configuration and its files again, and uses them from now on, unless anything is wrong.
    pub(super) async fn reload(&mut self) -> Reply {
        notify::reloading();
        let reply = match self.load_and_use().await {
            Ok(reply) => {
                self.view.reloads.succeeded();
                reply
            }
            Err(problems) => {
                self.view.reloads.failed();
                let nothing = "nothing was changed".to_owned();
                Reply::refused(problems.into_iter().chain([nothing]))
            }
        };
        notify::ready(&self.summary());
        reply
    }

    async fn load_and_use(&mut self) -> Result<Reply, Vec<String>> {
        let (file, kept) = (self.file.clone(), Arc::clone(&self.materials));
        let load = move || prepare::load(&file, SystemTime::now(), Some(kept));
        let mut loaded = read(load).await?;
        let is_new = |problem: &&Problem| !self.known.contains(&problem.text);
        let new: Vec<_> = loaded.problems.iter().filter(is_new).cloned().collect();
        if !new.is_empty() {
            return Err(prepare::sentences(&self.file, new));
        }
        let restart = restart_only(&self.config.gateway, &loaded.config.gateway);
        loaded.config.gateway = self.config.gateway.clone();
        let seen = std::mem::take(&mut loaded.seen);
        let changes = self.put_to_use(loaded).await?;
        self.watch_files(seen);
        self.complete_at = None;
        self.restart = restart;
        let is_change = |change: &&Change| !matches!(change, Change::Kept(_));
        let count = changes.iter().filter(is_change).count();
        let of = self.config.routes.len();
        let mut lines = vec![match count {
            0 => format!("the configuration is in use; none of {of} routes changed"),
            _ => format!("the configuration is in use; {count} routes changed, of {of} now"),
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
        Ok(Reply {
            changes,
            ..Reply::done(lines)
        })
    }

    /// Reads the files of the configuration again and uses what is good. Where a file is bad, its earlier
    /// contents stay in use. `is_final` is false if the files may still be incomplete: then nothing changes
    /// unless all are good. Returns whether everything was good.
    pub(super) async fn rotate(&mut self, is_final: bool) -> bool {
        let (config, kept) = (self.config.clone(), Arc::clone(&self.materials));
        let load = move || prepare::load_files(&config, SystemTime::now(), kept);
        let loaded = match read(load).await {
            Ok(loaded) => loaded,
            Err(problems) => {
                if is_final {
                    self.view.reloads.rotation_failed();
                    for problem in problems {
                        let text = format!("the new files are not used: {problem}");
                        notice(&self.journal, Level::Error, text);
                    }
                }
                return false;
            }
        };
        let is_new = |problem: &Problem| !self.known.contains(&problem.text);
        let is_good = !loaded.problems.iter().any(is_new);
        if !is_good && !is_final {
            return false;
        }
        let (before, of_before) = (self.problems.clone(), self.files_in_use());
        if !is_good {
            self.view.reloads.rotation_failed();
        }
        match self.put_to_use(loaded).await {
            Ok(changes) => {
                let is_change = |change: &&Change| !matches!(change, Change::Kept(_));
                let changed: Vec<_> = changes.iter().filter(is_change).map(name_of).collect();
                if !changed.is_empty() {
                    self.view.reloads.rotated();
                    let text = format!(
                        "new certificates, keys, CAs or revocation lists are in use on {}",
                        changed.join(", ")
                    );
                    notice(&self.journal, Level::Info, text);
                }
            }
            Err(problems) => {
                for problem in problems {
                    notice(&self.journal, Level::Error, problem);
                }
                return false;
            }
        }
        for problem in &self.problems {
            if !before.contains(problem) {
                notice(&self.journal, Level::Error, problem.clone());
            }
        }
        if of_before != self.files_in_use() {
            notify::status(&self.summary());
        }
        is_good
    }

    /// Watches the files of the configuration, whose state before they were read was `seen`.
    pub(super) fn watch_files(&mut self, seen: Signature) {
        for problem in self.watch.watch(&self.config.routes, seen) {
            let text = format!(
                "changes of files in this folder are noticed within {} s only: {problem}",
                FILES_LOOK_EVERY.as_secs()
            );
            notice(&self.journal, Level::Warn, text);
        }
    }

    // Publishes a new table. Every listener is opened before anything changes.
    async fn put_to_use(&mut self, loaded: Loaded) -> Result<Vec<Change>, Vec<String>> {
        let opened = self.open_listeners(&loaded.config, &loaded.drafts)?;
        let current = Arc::clone(self.workers.table());
        let drafts = loaded.drafts.into_iter().flatten();
        let table = Arc::new(current.next(drafts, &loaded.config.routes));
        let changes = diff(&current, &table);
        let listeners = table.routes.iter().filter_map(|route| {
            let listener = opened.get(&route.config.name)?;
            Some((route.id(), Arc::clone(listener)))
        });
        let listeners = listeners.collect();
        let published = self.workers.publish(Arc::clone(&table), listeners).await;
        published.map_err(|problem| vec![problem])?;
        self.store_listeners();
        let now = Instant::now();
        for change in &changes {
            if let Change::Removed(route) = change {
                self.drains.begin(route, DrainCause::Removed, now);
            }
        }
        self.view.table.replace(table);
        self.view.files.replace(loaded.files);
        self.known = loaded.problems.iter().map(|one| one.text.clone()).collect();
        self.problems = [loaded.closed, loaded.still_used].concat();
        self.expiries.replace(loaded.expiries);
        self.materials = loaded.materials;
        self.config = loaded.config;
        Ok(changes)
    }

    // The listeners that a new table needs, by the names of their routes.
    fn open_listeners(
        &self,
        config: &Config,
        drafts: &[Option<RouteDraft>],
    ) -> Result<HashMap<String, Arc<TcpListener>>, Vec<String>> {
        let (mut opened, mut problems) = (HashMap::new(), Vec::new());
        for draft in drafts.iter().flatten() {
            let wanted = &draft.config;
            let mut current = self.workers.table().routes.iter();
            let known = current.find(|route| route.config.name == wanted.name);
            if known.is_some_and(|route| {
                self.drains.is_by_command(route.id()) || is_same_listener(&route.config, wanted)
            }) {
                continue;
            }
            // Two routes of one configuration never have the same listener, so the route that has it now
            // gives it up.
            let listener = match self.listener_of_another(wanted) {
                Some(listener) => Ok(listener),
                None => bind::route(config, wanted),
            };
            match listener {
                Ok(listener) => {
                    opened.insert(wanted.name.clone(), listener);
                }
                Err(problem) => problems.push(problem),
            }
        }
        match problems.is_empty() {
            true => Ok(opened),
            false => Err(problems),
        }
    }

    fn listener_of_another(&self, wanted: &RouteConfig) -> Option<Arc<TcpListener>> {
        let mut current = self.workers.table().routes.iter();
        let route = current.find(|route| is_same_listener(&route.config, wanted))?;
        self.workers.listener(route.id())
    }

    /// Accepts again for a route whose listener was closed.
    pub(super) async fn listen_again(&mut self, route: &Arc<Route>) -> Result<(), String> {
        let listener = match self.workers.listener(route.id()) {
            Some(listener) => listener,
            None => self.open_when_free(&route.config).await?,
        };
        self.workers.listen(route.id(), listener).await
    }

    // A worker and the service manager may not have closed the route's earlier listener yet.
    async fn open_when_free(&self, route: &RouteConfig) -> Result<Arc<TcpListener>, String> {
        let until = Instant::now() + LISTENER_CLOSES;
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

// Reading files may take long, for example on a network file system. The main thread goes on meanwhile.
async fn read(
    load: impl FnOnce() -> Result<Loaded, Vec<String>> + Send + 'static,
) -> Result<Loaded, Vec<String>> {
    let loaded = tokio::task::spawn_blocking(load).await;
    loaded.unwrap_or_else(|_| {
        Err(vec![
            "a bug: reading the configuration failed; the log has more".to_owned(),
        ])
    })
}

fn is_same_listener(one: &RouteConfig, other: &RouteConfig) -> bool {
    one.listen == other.listen && one.interface == other.interface
}

fn name_of(change: &Change) -> String {
    let (Change::Kept(route)
    | Change::Changed(route)
    | Change::NewListener(route)
    | Change::Added(route)
    | Change::Removed(route)) = change;
    format!("route \"{}\"", route.config.name)
}
