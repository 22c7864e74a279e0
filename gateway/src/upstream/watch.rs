//! Probes a target at regular intervals and records its state.

use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::stop::stopped;
use super::{Prober, RouteTarget, TargetHealth, TargetState, Transition};
use crate::measure::ReachedBound;
use crate::uring::{Network, sleep_until};

/// Probes `watched` for the first time after `delay` and then at the route's interval, until the prober is
/// stopped. Calls `tell` for each change. Each probe waits for one of `places`.
///
/// Must not be dropped before it ends.
pub async fn watch<V: Network>(
    prober: &Prober<'_, V>,
    watched: &RouteTarget,
    delay: Duration,
    places: &Semaphore,
    tell: impl Fn(Transition),
) {
    let Some(settings) = &prober.route.health else {
        return;
    };
    let (rise, fall) = (settings.rise, settings.fall);
    let mut state = match watched.state.is_down() {
        true => TargetHealth::down(rise, fall, Instant::now().into_std()),
        false => TargetHealth::new(rise, fall),
    };
    let mut begin = Instant::now() + delay;
    let mut stop = prober.stop.clone();
    loop {
        // LIMIT: PROBES_MAX. Neither the timer nor the wait for a place holds a ring operation.
        let turn = async {
            sleep_until(begin).await;
            if places.available_permits() == 0 {
                ReachedBound::Probes.note();
            }
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
            // The probe may have failed because the gateway is stopping.
            return;
        }
        if let Some(transition) = note(&mut state, outcome, &watched.state) {
            tell(transition);
        }
    }
}

/// Notes the outcome of one probe.
pub(super) fn note(
    health: &mut TargetHealth,
    outcome: Result<(), String>,
    state: &TargetState,
) -> Option<Transition> {
    let now = Instant::now().into_std();
    let counters = &state.counters;
    let transition = match outcome {
        Ok(()) => {
            counters.good.add(1);
            health.on_success(now)
        }
        Err(why) => {
            counters.bad.add(1);
            health.on_failure(now, why)
        }
    };
    match &transition {
        Some(Transition::Up(_)) => state.note_up(now),
        Some(Transition::Down(why) | Transition::StillDown(why)) => state.note_trouble(why),
        None => {}
    }
    counters.up.set(health.is_up().into());
    transition
}
