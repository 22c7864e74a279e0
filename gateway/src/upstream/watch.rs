//! Probes a target again and again, and keeps what is known of it.

use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::stop::stopped;
use super::{Health, ProbedTarget, Prober, Transition};
use crate::metrics;
use crate::uring::{Network, sleep_until};

/// Probes `watched` for the first time after `delay` and then in the route's interval, until the prober
/// is told to stop; `tell` hears of each change. Each probe takes one of `places`, and waits for it.
///
/// Must not be dropped before it ends.
pub async fn watch<V: Network>(
    prober: &Prober<'_, V>,
    watched: &ProbedTarget,
    delay: Duration,
    places: &Semaphore,
    tell: impl Fn(Transition),
) {
    let Some(settings) = &prober.route.health else {
        return;
    };
    let (rise, fall) = (settings.rise, settings.fall);
    let mut state = match watched.is_down() {
        true => Health::down(rise, fall, Instant::now().into_std()),
        false => Health::new(rise, fall),
    };
    let mut begin = Instant::now() + delay;
    let mut stop = prober.stop.clone();
    loop {
        // LIMIT: PROBES_MAX. Neither the timer nor the wait for a place holds a ring operation.
        let turn = async {
            sleep_until(begin).await;
            places.acquire().await
        };
        let _place = tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            place = turn => place,
        };
        begin = Instant::now() + settings.interval;
        let outcome = prober.probe(watched, settings).await;
        if *stop.borrow() {
            // It may have failed because we stop.
            return;
        }
        if let Some(transition) = note(&mut state, outcome, &watched.counters) {
            tell(transition);
        }
    }
}

fn note(
    state: &mut Health,
    outcome: Result<(), String>,
    counters: &metrics::Target,
) -> Option<Transition> {
    let now = Instant::now().into_std();
    let transition = match outcome {
        Ok(()) => {
            counters.good.add(1);
            state.on_success(now)
        }
        Err(why) => {
            counters.bad.add(1);
            state.on_failure(now, why)
        }
    };
    counters.up.set(state.is_up().into());
    transition
}
