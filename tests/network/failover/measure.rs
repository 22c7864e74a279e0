//! One fault under load: how long no client was served, and what the applications with open associations saw.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::echo::{Association, Failure};
use super::fault::Fault;
use super::load::{Activity, Entry, Held, clients, go_on};

/// Machines of a site that take over from each other, with clients of both sites.
pub(super) trait Cluster {
    /// The faults that it notices.
    const FAULTS: &'static [Fault];
    /// Whether several machines have connections at the same time.
    const IS_SHARED: bool;

    /// Where the clients of this site and those of the other site connect.
    fn entries(&self) -> [Entry; 2];

    /// Waits until every machine can take over.
    fn wait_until_good(&self);

    /// The machine to which the next fault happens.
    fn victim(&self) -> usize;

    /// Opens an association, and returns the machine that carries it.
    fn open(&self, entry: &Entry) -> (Association, usize);

    /// Lets the fault happen to a machine.
    fn begin(&mut self, fault: Fault, victim: usize);

    /// Waits until new connections go to machines without a fault only.
    fn wait_until_moved(&self, fault: Fault, victim: usize);

    /// Ends the fault, and waits until every machine can take over again.
    fn repair(&mut self, fault: Fault, victim: usize);
}

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// How long new connections could go to the machine with the fault.
    pub(super) moved_after: Duration,
    /// The longest time between two successful clients.
    pub(super) gap: Duration,
    /// Clients that were refused, reset, or got no answer in time.
    refused: usize,
    /// Associations that were open on the machine with the fault.
    held: usize,
    /// Those whose application got a reset or an A-ABORT.
    with_error: usize,
    /// Those that ended with a FIN, as if they were complete.
    closed: usize,
    /// Those whose application still waited after 20 s (`ANSWER`).
    late: usize,
    /// How long the last application waited for its error, from the beginning of the fault.
    last_error: Duration,
    /// Associations of a machine without a fault that ended.
    others_ended: usize,
}

/// Keepalive of the clients that the machine cannot reach. Another machine does not know their connections: it resets a
/// connection when a packet arrives, such as a probe. A client that only waits without keepalive has no error until its
/// own deadline.
const KEEPALIVE: Duration = Duration::from_secs(2);
/// Clients that a planned drain may cost: those that connect in the moment of the move.
const DRAIN_REFUSED_MAX: usize = 2;
/// Between the start of the clients and the fault.
const BEFORE: Duration = Duration::from_millis(500);
/// How long clients go on after the first success behind the fault.
const SETTLED: Duration = Duration::from_millis(1500);

/// How often each fault is repeated: `cargo xtask failover` sets more than one.
fn runs() -> usize {
    std::env::var("WARDGATE_FAILOVER").map_or(1, |runs| runs.parse().expect("a number"))
}

/// Measures all faults, prints a table, and returns what was seen.
pub(super) fn table<C: Cluster>(cluster: &mut C) -> Vec<(Fault, Vec<Measured>)> {
    let entries = cluster.entries();
    let measured: Vec<_> = C::FAULTS
        .iter()
        .map(|fault| {
            let measured = (0..runs()).map(|_| measure(cluster, *fault));
            (*fault, measured.collect::<Vec<_>>())
        })
        .collect();
    println!("{HEAD}");
    for (fault, measured) in &measured {
        let is_cut_off = entries.iter().any(|entry| entry.cut_off_by == Some(*fault));
        println!("{}", row(*fault, is_cut_off, measured));
    }
    measured
}

/// Every application on the machine with the fault got an error, and no other one did. A planned drain refuses no client, but
/// for those that connect in the moment of the move.
pub(super) fn expect_errors(table: &[(Fault, Vec<Measured>)]) {
    for (fault, measured) in table {
        for one in measured {
            assert_eq!(one.late, 0, "{fault:?}: applications got no error");
            assert_eq!(one.closed, 0, "{fault:?}: a FIN in an open association");
            assert_eq!(one.with_error, one.held, "{fault:?}: some went on");
            assert_eq!(one.others_ended, 0, "{fault:?}: on the other machine");
            let is_announced = *fault == Fault::Drain;
            assert!(!is_announced || one.refused <= DRAIN_REFUSED_MAX, "{one:?}");
        }
    }
}

/// Measures one fault, and leaves all machines good.
fn measure<C: Cluster>(cluster: &mut C, fault: Fault) -> Measured {
    cluster.wait_until_good();
    let victim = cluster.victim();
    let stop = Arc::new(AtomicBool::new(false));
    let entries = cluster.entries();
    let held: Vec<_> = entries
        .iter()
        .flat_map(|entry| hold(cluster, entry, (fault, victim), &stop))
        .collect();
    let clients = clients(&entries[0], &stop);
    std::thread::sleep(BEFORE);
    let began = Instant::now();
    cluster.begin(fault, victim);
    cluster.wait_until_moved(fault, victim);
    let moved_after = began.elapsed();
    println!("{fault:?}: moved after {moved_after:?}");
    std::thread::sleep(SETTLED);
    stop.store(true, Ordering::Relaxed);
    let (successes, refused) = clients.join().expect("it does not panic");
    let gap = successes.windows(2).map(|two| two[1] - two[0]).max();
    let mut measured = Measured {
        moved_after,
        gap: gap.expect("clients are served before and after"),
        refused,
        ..Measured::default()
    };
    for one in held {
        measured.count(fault, one, began);
    }
    cluster.repair(fault, victim);
    measured
}

impl Measured {
    fn count(&mut self, fault: Fault, one: Held, began: Instant) {
        let (end, at) = one.end.join().expect("it does not panic");
        let after = at.saturating_duration_since(began);
        let (from, activity, is_hit) = (one.from, one.activity, one.is_hit);
        let seen = match &end {
            Ok(()) => "went on".to_owned(),
            Err(failure) => failure.to_string(),
        };
        println!("{fault:?}: {activity:?} at {from} (hit: {is_hit}) after {after:?}: {seen}");
        if !is_hit {
            self.others_ended += usize::from(end.is_err());
            return;
        }
        self.held += 1;
        match end {
            Ok(()) => {}
            Err(Failure::Aborted | Failure::Error(_)) => {
                self.with_error += 1;
                self.last_error = self.last_error.max(after);
            }
            Err(Failure::Closed) => self.closed += 1,
            Err(Failure::Late) => self.late += 1,
            Err(Failure::Unexpected(kind)) => panic!("{fault:?}: PDU {kind}"),
        }
    }
}

/// Three associations on the machine with the fault, and one on another machine where several have connections.
fn hold<C: Cluster>(
    cluster: &C,
    entry: &Entry,
    (fault, victim): (Fault, usize),
    stop: &Arc<AtomicBool>,
) -> Vec<Held> {
    let is_of_one = fault != Fault::BothRestarted;
    let mut hit = vec![Activity::Waits, Activity::Echoes, Activity::Echoes];
    let mut others = match C::IS_SHARED && is_of_one {
        true => vec![Activity::Echoes],
        false => Vec::new(),
    };
    let mut held = Vec::new();
    while !(hit.is_empty() && others.is_empty()) {
        let (association, machine) = cluster.open(entry);
        let is_hit = machine == victim || !is_of_one;
        let wanted = if is_hit { &mut hit } else { &mut others };
        let Some(activity) = wanted.pop() else {
            association.release().expect("all is good before the fault");
            continue;
        };
        if entry.cut_off_by == Some(fault) {
            let set = association.set_keepalive(KEEPALIVE);
            set.expect("every TCP socket has it");
        }
        held.push(Held {
            activity,
            from: entry.namespace.clone(),
            is_hit,
            end: go_on(association, activity, stop),
        });
    }
    held
}

const HEAD: &str = "\
| fault | new connections moved after: median, worst | without service: median, worst | refused clients | open associations that ended with an error | with a clean close | still waiting after 20 s |
|---|---|---|---|---|---|---|";

/// A line of the table: the times, and what became of open associations.
fn row(fault: Fault, is_cut_off: bool, measured: &[Measured]) -> String {
    let times = |of: fn(&Measured) -> Duration| {
        let mut all: Vec<_> = measured.iter().map(of).collect();
        all.sort();
        let seconds = |time: Option<&Duration>| time.map_or(0.0, Duration::as_secs_f32);
        let (median, worst) = (seconds(all.get(all.len() / 2)), seconds(all.last()));
        format!("{median:.2} s, {worst:.2} s")
    };
    let sum = |of: fn(&Measured) -> usize| measured.iter().map(of).sum::<usize>();
    let last = measured.iter().map(|one| one.last_error).max();
    let keepalive = match is_cut_off {
        true => format!(", clients with a keepalive of {} s", KEEPALIVE.as_secs()),
        false => String::new(),
    };
    format!(
        "| {}{keepalive} | {} | {} | {} | {} of {}, the last one after {:.2} s | {} | {} |",
        fault.title(),
        times(|one| one.moved_after),
        times(|one| one.gap),
        sum(|one| one.refused),
        sum(|one| one.with_error),
        sum(|one| one.held),
        last.unwrap_or_default().as_secs_f32(),
        sum(|one| one.closed),
        sum(|one| one.late),
    )
}
