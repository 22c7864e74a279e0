//! Many connections at once through both gateways: complete, or a visible failure at both ends.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};

use wardgate_tests::{DEADLINE, Gateway, Pki, Site, free_port, until};

use crate::dice::seed;
use crate::party::{Outcome, Plan, Told, play_client, start_target};
use crate::plain::{End, assert_sound, loopback, of_route};

const A: &str = "gw.a.example";
const B: &str = "gw.b.example";

/// Connections of one run, half of them on a route of each protocol.
const CONNECTIONS: u64 = 480;
/// The connections at a time: each worker has several, and two cores can still keep up.
const AT_ONCE: usize = 24;

/// Goal: clean streams arrive completely at both ends; a reset at either end becomes a visible failure at the
/// other, at any position; the summaries of both gateways agree. Method: random lengths, pieces, pauses,
/// half-closes and resets; each byte is compared.
#[test]
fn random_streams_arrive_whole_or_fail_visibly_at_both_ends() {
    let seed = seed();
    let plan = move |number| Plan::of(seed, number, true);
    let (told, outcomes) = channel();
    let target = start_target(plan, &told);
    let pair = Pair::start(target);
    let next = AtomicU64::new(0);
    let at_clients = std::thread::scope(|scope| {
        let work = || {
            let mut seen = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= CONNECTIONS {
                    return seen;
                }
                let entry = pair.entries[(number % 2) as usize];
                seen.push((number, play_client(entry, &plan(number))));
            }
        };
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        let seen = workers.into_iter().map(std::thread::ScopedJoinHandle::join);
        seen.flat_map(|seen| seen.expect("a client does not panic"))
            .collect::<HashMap<_, _>>()
    });
    let mut at_targets = at_targets(&outcomes, CONNECTIONS);
    for number in 0..CONNECTIONS {
        let case = format!("connection {number} of {:?}", plan(number));
        let client = &at_clients[&number];
        judge(&plan(number), client, at_targets.remove(&number), &case);
    }
    let orderly = (0..CONNECTIONS).filter(|number| plan(*number).is_orderly());
    pair.assert_counted(orderly.count() as u64);
    pair.stop();
}

fn judge(plan: &Plan, client: &Outcome, target: Option<Outcome>, case: &str) {
    client.assert_whole_or_told(&plan.target, case);
    let Some(target) = target else {
        // The client's reset was faster than its first bytes.
        assert!(
            plan.client.reset_after.is_some(),
            "{case}: the target never heard of it"
        );
        return;
    };
    target.assert_whole_or_told(&plan.client, case);
    if plan.is_orderly() {
        assert!(
            client.sent_whole && target.sent_whole,
            "{case}: {client:?} {target:?}"
        );
        assert_eq!(client.received, plan.target.length, "{case}: {client:?}");
        assert_eq!(target.received, plan.client.length, "{case}: {target:?}");
    }
    if plan.client.reset_after.is_some() && target.end != End::Own {
        assert!(target.end.is_failure(), "{case}: {target:?}");
    }
    if plan.target.reset_after.is_some() && client.end != End::Own {
        assert!(client.end.is_failure(), "{case}: {client:?}");
    }
}

/// What the target saw of each of its connections, after all have ended.
fn at_targets(outcomes: &Receiver<Told>, count: u64) -> HashMap<u64, Outcome> {
    let mut seen = HashMap::new();
    let mut unnamed = 0;
    while seen.len() + unnamed < count as usize {
        // A connection that was reset at once may never have reached the target.
        match outcomes.recv_timeout(DEADLINE / 4) {
            Ok(Told::Played(number, outcome)) => {
                seen.insert(number, outcome);
            }
            Ok(Told::Unnamed(end)) => {
                assert!(end.is_failure(), "short and orderly: {end:?}");
                unnamed += 1;
            }
            Err(_) => break,
        }
    }
    seen
}

const ROUTES: [&str; 2] = ["one", "another"];

/// Both gateways, with two routes for any protocol.
struct Pair {
    a: Gateway,
    b: Gateway,
    entries: [u16; 2],
}

impl Pair {
    fn start(target: u16) -> Self {
        let pki = Pki::new();
        let (mut a, mut b) = (Site::new(&pki, A), Site::new(&pki, B));
        let entries = ROUTES.map(|name| {
            let (entry, wan) = (free_port(), free_port());
            a = a
                .clone()
                .originate(loopback(entry), loopback(wan), &[format!("dns:{B}")])
                .name(name)
                .protocol("tcp");
            b = b
                .clone()
                .terminate(loopback(wan), loopback(target), &[format!("dns:{A}")])
                .name(name)
                .protocol("tcp");
            entry
        });
        Self {
            b: b.start(),
            a: a.start(),
            entries,
        }
    }

    /// Waits until no connection is open, and compares how many ended cleanly.
    fn assert_counted(&self, orderly: u64) {
        for gateway in [&self.a, &self.b] {
            let sum = |metric: &str| -> u64 {
                let each = ROUTES.map(|route| of_route(gateway, metric, route));
                each.iter().sum()
            };
            until("connections are left open", DEADLINE, || {
                (sum("wardgate_connections_open") == 0).then_some(())
            });
            assert_eq!(sum("wardgate_connections_complete_total"), orderly);
            assert_eq!(sum("wardgate_handshakes_refused_total"), 0);
        }
    }

    fn stop(self) {
        assert_sound(&self.a);
        assert_sound(&self.b);
        self.a.stop();
        self.b.stop();
    }
}
