//! The applications of a measurement: clients one after another, and associations that stay open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::echo::{Association, Failure};
use super::fault::Fault;
use crate::namespaces::inside;

/// Between two clients.
const CLIENT_EVERY: Duration = Duration::from_millis(40);
/// Between two requests on an open association.
const ECHO_EVERY: Duration = Duration::from_millis(100);
/// A client gives up after this time and the next one begins.
const CLIENT_WITHIN: Duration = Duration::from_millis(800);

/// Where applications connect.
pub(super) struct Entry {
    /// The network namespace of the applications.
    pub(super) namespace: String,
    /// The address to which they connect.
    pub(super) to: SocketAddr,
    /// The fault that cuts these applications off from the machine, so that it cannot send them a reset, and no gateway
    /// beside them can send an A-ABORT.
    pub(super) cut_off_by: Option<Fault>,
}

/// What the application of an association does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activity {
    /// It sends one C-ECHO after another.
    Echoes,
    /// It waits for an answer.
    Waits,
}

/// An association that is open.
pub(super) struct Held {
    pub(super) activity: Activity,
    /// Where its application is.
    pub(super) from: String,
    /// Whether the fault is that of the machine that carries it.
    pub(super) is_hit: bool,
    /// How it ended for its application, and when.
    pub(super) end: JoinHandle<(Result<(), Failure>, Instant)>,
}

/// Lets the application of an association go on until `stop`, or until its association ends.
pub(super) fn go_on(
    mut association: Association,
    activity: Activity,
    stop: &Arc<AtomicBool>,
) -> JoinHandle<(Result<(), Failure>, Instant)> {
    let stop = Arc::clone(stop);
    let work = move || {
        if activity == Activity::Waits {
            return association.wait_in_vain();
        }
        while !stop.load(Ordering::Relaxed) {
            association.echo()?;
            association.pause(ECHO_EVERY)?;
        }
        association.release()
    };
    std::thread::spawn(move || (work(), Instant::now()))
}

/// Clients, one after another. Returns when each success was complete, and the number of the others.
pub(super) fn clients(entry: &Entry, stop: &Arc<AtomicBool>) -> JoinHandle<(Vec<Instant>, usize)> {
    let (namespace, to, stop) = (entry.namespace.clone(), entry.to, Arc::clone(stop));
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
