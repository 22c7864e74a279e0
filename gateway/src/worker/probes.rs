//! Probes a route's targets on the core that listens for the route.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::contain::contained;
use super::{Journal, Shared};
use crate::audit::{Event, messages};
use crate::config::RouteConfig;
use crate::route::{Route, Transport};
use crate::upstream::{Prober, RouteTarget, Transition, watch as watch_target};
use crate::uring;

/// The probes of one route: one task per target.
pub(super) struct Probes {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Probes {
    /// Starts to probe the targets of `route`. The first probe is delayed by `turn`/`of` of the interval, so
    /// that the probes of all routes of the core are spread over time.
    pub(super) fn start(shared: &Rc<Shared>, route: &Arc<Route>, turn: usize, of: usize) -> Self {
        let (stop, stopped) = watch::channel(false);
        let begin = |(index, target): (usize, &Arc<RouteTarget>)| {
            let work = ProbeTask {
                shared: Rc::clone(shared),
                route: Arc::clone(route),
                target: Arc::clone(target),
                stop: stopped.clone(),
            };
            uring::spawn(work.run(turn.saturating_add(index), of))
        };
        let tasks = route.probed().iter().enumerate().map(begin).collect();
        Self { stop, tasks }
    }

    /// Ends all probes, including running ones, and waits until they have ended.
    pub(super) async fn stop(mut self) {
        let _ = self.stop.send(true);
        for task in self.tasks.drain(..) {
            let _ = task.await;
        }
    }
}

/// The parameters of one probe task.
struct ProbeTask {
    shared: Rc<Shared>,
    route: Arc<Route>,
    target: Arc<RouteTarget>,
    stop: watch::Receiver<bool>,
}

impl ProbeTask {
    async fn run(self, turn: usize, of: usize) {
        let (core, journal) = (&self.shared.core, &self.shared.core.journal);
        let route = &*self.route.config;
        let Some(health) = &route.health else {
            return;
        };
        let prober = Prober {
            network: &core.network,
            dns: &core.dns,
            route,
            connector: match &self.route.transport {
                Transport::Originate(connector) => Some(&**connector),
                Transport::Terminate(_) | Transport::Passthrough => None,
            },
            stop: self.stop.clone(),
        };
        let (target, places) = (&*self.target, &self.shared.probes);
        let delay = share(health.interval, turn, of);
        let log = |transition| {
            self.route.state.note_targets_changed();
            log_transition(journal, route, target, &transition);
        };
        let work = watch_target(&prober, target, delay, places, log);
        if let Err(panic) = contained(Box::pin(work)).await {
            give_up(journal, route, target, &panic);
            self.route.state.note_targets_changed();
        }
    }
}

fn share(interval: Duration, turn: usize, of: usize) -> Duration {
    let part = |number| u32::try_from(number).unwrap_or(u32::MAX);
    interval / part(of.max(1)) * part(turn)
}

fn log_transition(
    journal: &Journal,
    route: &RouteConfig,
    target: &RouteTarget,
    transition: &Transition,
) {
    let label = label(route, target);
    let (message, text) = match transition {
        Transition::Down(why) => (&messages::TARGET_DOWN, format!("{label} is down: {why}")),
        Transition::StillDown(why) => (
            &messages::TARGET_STILL_DOWN,
            format!("{label} is still down: {why}"),
        ),
        Transition::Up(after) => {
            let seconds = after.as_secs();
            (
                &messages::TARGET_UP,
                format!("{label} is up again after {seconds} s"),
            )
        }
    };
    journal.report(Event::Notice { message, text });
}

// The target is not probed any more, so its state is unknown.
fn give_up(journal: &Journal, route: &RouteConfig, target: &RouteTarget, panic: &str) {
    target.state.counters.up.set(1);
    let label = label(route, target);
    let text = format!("{label} is not probed any more: internal error: {panic}");
    journal.report(Event::Notice {
        message: &messages::PROBES_ENDED,
        text,
    });
}

fn label(route: &RouteConfig, target: &RouteTarget) -> String {
    format!("route \"{}\": target {}", route.name, target.target)
}
