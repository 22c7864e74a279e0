//! The probes of this core: of the targets of the routes that it listens for.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use super::contain::contained;
use super::{Journal, Shared};
use crate::audit::{Event, Level};
use crate::config::RouteConfig;
use crate::limits::PROBES_MAX;
use crate::relay::Side;
use crate::upstream::{Prober, Transition, Watched, watch as watch_target};
use crate::uring;

/// The probes at work, one task a target.
pub(super) struct Probes {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Probes {
    /// Begins to probe the targets of the routes at these places.
    pub(super) fn start(shared: &Rc<Shared>, paths: &[usize]) -> Self {
        let (stop, stopped) = watch::channel(false);
        let all = targets(shared, paths);
        let places = Rc::new(Semaphore::new(PROBES_MAX));
        let count = all.len();
        let begin = |(turn, (path, watched))| {
            let work = Work {
                shared: Rc::clone(shared),
                path,
                watched,
                places: Rc::clone(&places),
                stop: stopped.clone(),
            };
            // Spread over the interval, so that they do not hold up bytes all at once.
            uring::spawn(work.run(turn, count))
        };
        let tasks = all.into_iter().enumerate().map(begin).collect();
        Self { stop, tasks }
    }

    /// Ends all probes, those under way at once, and waits until they have ended.
    pub(super) async fn stop(&mut self) {
        let _ = self.stop.send(true);
        for task in self.tasks.drain(..) {
            let _ = task.await;
        }
    }
}

// Each target that is probed, with its route's place.
fn targets(shared: &Shared, paths: &[usize]) -> Vec<(usize, Arc<Watched>)> {
    let upstreams = shared.core.names.upstreams();
    let mut all = Vec::new();
    for place in paths {
        let path = shared.paths.get(*place);
        let watched = path.map_or(&[][..], |path| upstreams.of(&path.route));
        all.extend(watched.iter().map(|watched| (*place, Arc::clone(watched))));
    }
    all
}

/// What one task probes.
struct Work {
    shared: Rc<Shared>,
    path: usize,
    watched: Arc<Watched>,
    places: Rc<Semaphore>,
    stop: watch::Receiver<bool>,
}

impl Work {
    async fn run(self, turn: usize, of: usize) {
        let (core, journal) = (&self.shared.core, &self.shared.core.journal);
        let Some(path) = self.shared.paths.get(self.path) else {
            return;
        };
        let Some(health) = &path.route.health else {
            return;
        };
        let prober = Prober {
            verbs: &core.verbs,
            names: &core.names,
            route: &path.route,
            connector: match &path.side {
                Side::Originate(connector) => Some(&**connector),
                Side::Terminate(_) | Side::Passthrough => None,
            },
            stop: self.stop.clone(),
        };
        let (watched, places) = (&*self.watched, &*self.places);
        let delay = share(health.interval, turn, of);
        let tell = |transition| tell(journal, &path.route, watched, &transition);
        let work = watch_target(&prober, watched, delay, places, tell);
        if let Err(panic) = contained(Box::pin(work)).await {
            give_up(journal, &path.route, watched, &panic);
        }
    }
}

fn share(interval: Duration, turn: usize, of: usize) -> Duration {
    let part = |number| u32::try_from(number).unwrap_or(u32::MAX);
    interval / part(of.max(1)) * part(turn)
}

fn tell(journal: &Journal, route: &RouteConfig, watched: &Watched, transition: &Transition) {
    let about = about(route, watched);
    let (level, text) = match transition {
        Transition::Down(why) => (Level::Warn, format!("{about} is down: {why}")),
        Transition::StillDown(why) => (Level::Warn, format!("{about} is still down: {why}")),
        Transition::Up(after) => {
            let seconds = after.as_secs();
            (
                Level::Info,
                format!("{about} is up again after {seconds} s"),
            )
        }
    };
    journal.tell(Event::Notice { level, text });
}

// Nobody looks after it any more, so nothing is known of it.
fn give_up(journal: &Journal, route: &RouteConfig, watched: &Watched, panic: &str) {
    watched.counters.up.set(1);
    let about = about(route, watched);
    let text = format!("{about} is not probed any more: internal error: {panic}");
    journal.tell(Event::Notice {
        level: Level::Error,
        text,
    });
}

fn about(route: &RouteConfig, watched: &Watched) -> String {
    format!("route \"{}\": target {}", route.name, watched.target)
}
