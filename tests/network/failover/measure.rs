//! One fault under load: how long no client was served, and what the applications with open associations saw.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use wardgate_tests::Gateway;

use super::echo::{ANSWER, Association};
use super::lab::{LAN_SERVICE, Lab, OTHER_LAN, Place};
use crate::namespaces::inside;

/// What happens to the machine that has the addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// `kill -9` of its gateway.
    Kill,
    /// `wardgate drain`.
    Drain,
    /// Its link to the LAN is down.
    LanDown,
    /// Its link to the WAN is down.
    WanDown,
    /// The other site does not answer this machine.
    PeerLost,
    /// Both machines are started again.
    BothRestarted,
}

/// What was seen.
#[derive(Debug)]
pub(super) struct Measured {
    /// The longest time between two successful associations.
    pub(super) gap: Duration,
    /// Clients that were refused or got no answer in this time.
    pub(super) refused: usize,
    /// Associations that were open.
    pub(super) held: usize,
    /// Those whose application got an error.
    pub(super) with_error: usize,
    /// Those whose application waited for longer than `ANSWER`.
    pub(super) timed_out: usize,
    /// How long the last application waited for its error, from the beginning of the fault.
    pub(super) last_error: Duration,
    /// Whether the addresses moved.
    pub(super) moved: bool,
    /// Whether they moved once more after the repair.
    pub(super) moved_again: bool,
}

/// Between two clients.
const CLIENT_EVERY: Duration = Duration::from_millis(40);
/// Between two requests on an open association.
const ECHO_EVERY: Duration = Duration::from_millis(100);
/// A client gives up after this time and the next one begins.
const CLIENT_WITHIN: Duration = Duration::from_millis(800);
/// Keepalive of the clients of the LAN whose machine loses its link to the LAN. That machine cannot reach them, and the
/// other one does not know their connections: it resets a connection when a packet arrives, such as a probe. A client
/// that only waits without keepalive has no error until its own deadline.
const KEEPALIVE: Duration = Duration::from_secs(2);
/// How long clients go on after the first success behind the fault.
const SETTLED: Duration = Duration::from_millis(1500);

impl Fault {
    pub(super) const ALL: [Self; 6] = [
        Self::Kill,
        Self::Drain,
        Self::LanDown,
        Self::WanDown,
        Self::PeerLost,
        Self::BothRestarted,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Kill => "`kill -9` of the gateway",
            Self::Drain => "planned drain",
            Self::LanDown => "LAN link down",
            Self::WanDown => "WAN link down",
            Self::PeerLost => "WAN peer lost for one machine",
            Self::BothRestarted => "both machines restarted",
        }
    }

    /// Whether the addresses must move to the other machine. Of two that start, either may get them.
    pub(super) fn moves(self) -> bool {
        self != Self::BothRestarted
    }

    fn begin(self, lab: &mut Lab, master: usize) {
        let gateway = |lab: &Lab| lab.machines[master].gateway.as_ref().map(Gateway::process);
        match self {
            Self::Kill => {
                gateway(lab).expect("it runs").signal(Signal::KILL);
            }
            Self::Drain => {
                let gateway = lab.machines[master].gateway.as_ref().expect("it runs");
                gateway.command(&["drain"]).run().expect_success();
            }
            Self::LanDown => lab.set_link(master, "lan0", "down"),
            Self::WanDown => lab.set_link(master, "wan0", "down"),
            Self::PeerLost => lab.lose_peer(master, true),
            Self::BothRestarted => {
                for number in [1 - master, master] {
                    lab.stop_machine(number);
                }
                for number in 0..2 {
                    lab.start_machine(number);
                }
            }
        }
    }

    /// Repairs the machine, and waits until it could take over.
    fn repair(self, lab: &mut Lab, master: usize) {
        match self {
            Self::Kill => {
                lab.machines[master].gateway = None;
                lab.start_gateway(master);
            }
            Self::Drain => {
                let gateway = lab.machines[master].gateway.as_ref().expect("it runs");
                gateway.command(&["drain", "--undo"]).run().expect_success();
            }
            Self::LanDown => lab.set_link(master, "lan0", "up"),
            Self::WanDown => lab.set_link(master, "wan0", "up"),
            Self::PeerLost => lab.lose_peer(master, false),
            Self::BothRestarted => {}
        }
        for number in 0..2 {
            lab.wait_until_good(number);
        }
    }
}

/// Measures one fault, and leaves both machines good.
pub(super) fn measure(lab: &mut Lab, fault: Fault) -> Measured {
    for number in 0..2 {
        lab.wait_until_good(number);
    }
    let master = lab.wait_for_master(None);
    let stop = Arc::new(AtomicBool::new(false));
    let clients = clients(lab, &stop);
    let open: Vec<_> = [(Place::Lan, LAN_SERVICE), (Place::Other, OTHER_LAN)]
        .into_iter()
        .flat_map(|(place, to)| [false, false, true].map(|waits| (place, to, waits)))
        .map(|(place, to, waits)| {
            let keepalive = place == Place::Lan && fault == Fault::LanDown;
            let held = hold(lab, (place, to), waits, keepalive, &stop);
            ((place, waits), held)
        })
        .collect();
    let held = open.len();
    std::thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    fault.begin(lab, master);
    let now = match fault.moves() {
        true => lab.wait_for_master(Some(1 - master)),
        false => lab.wait_for_master(None),
    };
    println!(
        "{fault:?}: machine {now} has the addresses after {:?}",
        began.elapsed()
    );
    std::thread::sleep(SETTLED);
    stop.store(true, Ordering::Relaxed);
    let (successes, refused) = clients.join().expect("it does not panic");
    let gap = successes.windows(2).map(|two| two[1] - two[0]).max();
    let ends: Vec<_> = open
        .into_iter()
        .map(|(what, one)| (what, one.join().expect("it does not panic")))
        .collect();
    let is_late = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
        )
    };
    let (mut with_error, mut timed_out, mut last_error) = (0, 0, Duration::ZERO);
    for ((place, waits), end) in ends {
        let Err((error, at)) = end else { continue };
        let after = at.saturating_duration_since(began);
        println!("{fault:?}: client at {place:?} (waits: {waits}) after {after:?}: {error}");
        match is_late(&error) {
            false => {
                with_error += 1;
                last_error = last_error.max(after);
            }
            true => timed_out += 1,
        }
    }
    fault.repair(lab, master);
    Measured {
        gap: gap.expect("clients are served before and after"),
        refused,
        held,
        with_error,
        timed_out,
        last_error,
        moved: now != master,
        moved_again: lab.wait_for_master(None) != now,
    }
}

/// Clients, one after another. Returns when each success was complete, and the number of the others.
fn clients(lab: &Lab, stop: &Arc<AtomicBool>) -> JoinHandle<(Vec<Instant>, usize)> {
    let (namespace, stop) = (lab.namespace(Place::Lan), Arc::clone(stop));
    let to: SocketAddr = LAN_SERVICE.parse().expect("an address");
    std::thread::spawn(move || {
        inside(&namespace, || {
            let (mut successes, mut refused) = (Vec::new(), 0);
            let begun = Instant::now();
            let mut stopped_at = None;
            // One success after the end of the fault closes the gap.
            while stopped_at.is_none_or(|at| successes.last().is_none_or(|last| *last < at)) {
                if stop.load(Ordering::Relaxed) {
                    stopped_at.get_or_insert_with(Instant::now);
                }
                assert!(
                    begun.elapsed() < Duration::from_secs(120),
                    "no client is served"
                );
                let association = Association::open(to, CLIENT_WITHIN).and_then(|mut one| {
                    one.echo()?;
                    one.release()
                });
                match association {
                    Ok(()) => successes.push(Instant::now()),
                    Err(_) => refused += 1,
                }
                std::thread::sleep(CLIENT_EVERY);
            }
            (successes, refused)
        })
    })
}

/// An association that stays open until `stop`, or waits for an answer. Returns the error that its application saw, and
/// when.
fn hold(
    lab: &Lab,
    (place, to): (Place, &str),
    waits: bool,
    keepalive: bool,
    stop: &Arc<AtomicBool>,
) -> JoinHandle<Result<(), (io::Error, Instant)>> {
    let (namespace, stop) = (lab.namespace(place), Arc::clone(stop));
    let to: SocketAddr = to.parse().expect("an address");
    let open = move || inside(&namespace, || Association::open(to, ANSWER));
    let mut association = open().expect("all is good before the fault");
    if keepalive {
        let set = association.set_keepalive(KEEPALIVE);
        set.expect("every TCP socket has it");
    }
    let go_on = move || {
        if waits {
            return association.wait_in_vain();
        }
        while !stop.load(Ordering::Relaxed) {
            association.echo()?;
            std::thread::sleep(ECHO_EVERY);
        }
        association.release()
    };
    std::thread::spawn(move || go_on().map_err(|error| (error, Instant::now())))
}

/// A line of the table: median and worst time without service, and what became of open associations.
pub(super) fn row(fault: Fault, measured: &[Measured]) -> String {
    let mut gaps: Vec<_> = measured.iter().map(|one| one.gap).collect();
    gaps.sort();
    let seconds = |gap: Option<&Duration>| gap.map_or(0.0, Duration::as_secs_f32);
    let sum = |of: fn(&Measured) -> usize| measured.iter().map(of).sum::<usize>();
    format!(
        "| {} | {:.2} s | {:.2} s | {} | {} of {} | {:.2} s | {} |",
        fault.title(),
        seconds(gaps.get(gaps.len() / 2)),
        seconds(gaps.last()),
        sum(|one| one.refused),
        sum(|one| one.with_error),
        sum(|one| one.held),
        seconds(measured.iter().map(|one| &one.last_error).max()),
        sum(|one| one.timed_out),
    )
}
