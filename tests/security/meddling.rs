//! An attacker on the path who changes, drops, repeats, reorders or cuts bytes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use wardgate_tests::{DEADLINE, Pki, Site, free_port, until};

use crate::dice::{Dice, seed};
use crate::meddler::{Act, Deed, Direction, Meddler};
use crate::party::{Outcome, Plan, Told, play_client, start_target};
use crate::plain::{assert_sound, loopback};

const A: &str = "gw.a.example";
const B: &str = "gw.b.example";

const RUNS: u64 = 300;
/// The number of routes, each with its own attacker and one connection at a time.
const LANES: usize = 16;

/// One connection with a change.
struct Run {
    deed: Deed,
    done: Arc<AtomicBool>,
    client: Outcome,
}

/// Goal: whatever an attacker changes between the gateways, no application receives a byte that the other did
/// not send in that order, and none sees a clean end of an incomplete stream. Method: random streams with one
/// random change each; every byte and both endings are compared.
#[test]
fn an_attacker_on_the_path_causes_no_wrong_byte_and_no_clean_end_of_an_incomplete_stream() {
    let seed = seed();
    let plan = move |number| Plan::of(seed, number, false);
    let (told, outcomes) = channel();
    let target = start_target(plan, &told);
    let pki = Pki::new();
    let wan = free_port();
    let b = Site::new(&pki, B)
        .terminate(loopback(wan), loopback(target), &[format!("dns:{A}")])
        .protocol("tcp")
        .timeout("handshake", "\"2s\"")
        .start();
    let mut a = Site::new(&pki, A).timeout("handshake", "\"2s\"");
    let mut lanes = Vec::new();
    for _ in 0..LANES {
        let (entry, meddler) = (free_port(), Meddler::start(wan));
        a = a
            .originate(
                loopback(entry),
                loopback(meddler.port),
                &[format!("dns:{B}")],
            )
            .protocol("tcp");
        lanes.push((entry, meddler));
    }
    let a = a.start();
    let runs = run_all(seed, &lanes);
    for gateway in [&a, &b] {
        until("connections are left open", DEADLINE, || {
            (gateway.metric("wardgate_connections_open") == 0.0).then_some(())
        });
    }
    let targets = at_targets(&outcomes);
    for (number, run) in &runs {
        judge(&plan(*number), run, targets.get(number));
    }
    assert_meaningful(&plan, &runs, &targets);
    for gateway in [a, b] {
        assert_sound(&gateway);
        gateway.stop();
    }
}

fn run_all(seed: u64, lanes: &[(u16, Meddler)]) -> HashMap<u64, Run> {
    let next = AtomicU64::new(0);
    let runs = Mutex::new(HashMap::new());
    std::thread::scope(|scope| {
        for (entry, meddler) in lanes {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= RUNS {
                        return;
                    }
                    let run = run(seed, number, *entry, meddler);
                    runs.lock().expect("no holder panics").insert(number, run);
                }
            });
        }
    });
    runs.into_inner().expect("no holder panics")
}

fn run(seed: u64, number: u64, entry: u16, meddler: &Meddler) -> Run {
    let plan = Plan::of(seed, number, false);
    let mut dice = Dice::of_case(!seed, number);
    let mut deed = Deed::throw(&mut dice, 0);
    if deed.after >= 3_000 || dice.one_in(2) {
        let length = match deed.direction {
            Direction::Up => plan.client.length,
            Direction::Down => plan.target.length,
        };
        deed.after = 1_500 + dice.below(1_500 + length);
    }
    let done = meddler.order(deed);
    let client = play_client(entry, &plan);
    Run { deed, done, client }
}

/// What the target saw of each of its connections; none is still open.
fn at_targets(outcomes: &Receiver<Told>) -> HashMap<u64, Outcome> {
    let mut seen = HashMap::new();
    // The gateway has closed all of them, so the remaining bytes come at once.
    while let Ok(told) = outcomes.recv_timeout(DEADLINE / 10) {
        match told {
            Told::Played(number, outcome) => {
                seen.insert(number, outcome);
            }
            Told::Unnamed(end) => assert!(end.is_failure(), "short and orderly: {end:?}"),
        }
    }
    seen
}

fn judge(plan: &Plan, run: &Run, target: Option<&Outcome>) {
    let done = run.done.load(Ordering::SeqCst);
    let case = format!("{:?} (done: {done}) to {plan:?}", run.deed);
    run.client.assert_whole_or_told(&plan.target, &case);
    if let Some(target) = target {
        target.assert_whole_or_told(&plan.client, &case);
    } else {
        assert!(
            run.client.end.is_failure(),
            "{case}: an end without a beginning"
        );
    }
    if !done {
        let target = target.expect("nothing was done to it");
        assert_eq!(run.client.received, plan.target.length, "{case}");
        assert_eq!(target.received, plan.client.length, "{case}");
    }
}

/// This test would prove nothing with an attacker that does nothing, or gateways that always fail.
fn assert_meaningful(
    plan: &impl Fn(u64) -> Plan,
    runs: &HashMap<u64, Run>,
    targets: &HashMap<u64, Outcome>,
) {
    let done = runs
        .iter()
        .filter(|(_, run)| run.done.load(Ordering::SeqCst));
    let done: Vec<_> = done.collect();
    let told = done.iter().filter(|(number, run)| {
        let target = targets.get(*number);
        run.client.end.is_failure() || target.is_some_and(|target| target.end.is_failure())
    });
    let told = told.count();
    let some_arrived = done.iter().filter(|(number, _)| {
        let target = targets.get(*number);
        target.is_some_and(|target| target.received > 0 && plan(**number).client.length > 0)
    });
    let (done, some_arrived) = (done.len(), some_arrived.count());
    println!("{done} of {RUNS} meddled with, {told} told, {some_arrived} after payload");
    assert!(done as u64 > RUNS / 2, "only {done} were meddled with");
    // A change may have no effect: a bit of the version that every record repeats, or a FIN after
    // close_notify.
    assert!(told * 10 > done * 7, "only {told} of {done} were noticed");
    assert!(
        some_arrived > 10,
        "only {some_arrived} in the middle of payload"
    );
    for act in [Act::Truncate, Act::Cut, Act::Reset] {
        let tried = runs.values().any(|run| run.deed.act == act);
        assert!(tried, "{act:?} was never tried");
    }
}
