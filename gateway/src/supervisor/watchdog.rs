//! The watchdog of the service manager (`WatchdogSec=` of systemd.service(5)): it is notified only while
//! every worker answers.
//!
//! A worker that is stuck serves no connection of its core, and its thread has not ended, so nothing else
//! would notice. The service manager then ends the process and starts it again.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use super::notify;
use crate::audit::{Event, Journal, messages};
use crate::worker::Ping;

/// Pings the workers until the process ends. `limit` is the time that the service manager waits.
pub(super) async fn watch(
    workers: Vec<(String, mpsc::Sender<Ping>)>,
    limit: Duration,
    journal: Journal,
) {
    let mut workers: Vec<_> = workers
        .into_iter()
        .map(|(name, pings)| PingedWorker::new(name, pings))
        .collect();
    loop {
        let now = Instant::now();
        let mut all_answer = true;
        for worker in &mut workers {
            all_answer &= worker.look(now);
            if let Some(text) = worker.report(now, limit) {
                let message = &messages::WORKER_STUCK;
                journal.report(Event::Notice { message, text });
            }
        }
        if all_answer {
            notify::alive();
        }
        // Several rounds in each limit, so that a single late answer does not end the process.
        sleep(limit / ROUNDS).await;
    }
}

/// Rounds of pings in the time that the service manager waits.
const ROUNDS: u32 = 8;

/// A worker and its ping without an answer.
struct PingedWorker {
    name: String,
    pings: mpsc::Sender<Ping>,
    pending: Option<PendingPing>,
}

struct PendingPing {
    since: Instant,
    answer: oneshot::Receiver<()>,
    is_reported: bool,
}

impl PingedWorker {
    fn new(name: String, pings: mpsc::Sender<Ping>) -> Self {
        Self {
            name,
            pings,
            pending: None,
        }
    }

    /// Whether the worker has answered the previous ping; sends the next one if it has.
    fn look(&mut self, now: Instant) -> bool {
        if let Some(pending) = &mut self.pending {
            match pending.answer.try_recv() {
                Ok(()) => self.pending = None,
                Err(oneshot::error::TryRecvError::Empty) => return false,
                // The worker has ended. `Workers::lost` reports a worker that ended too early.
                Err(oneshot::error::TryRecvError::Closed) => return true,
            }
        }
        let (sender, answer) = oneshot::channel();
        match self.pings.try_send(sender) {
            Ok(()) => {
                self.pending = Some(PendingPing {
                    since: now,
                    answer,
                    is_reported: false,
                });
                true
            }
            // Not reached: the channel has room for a ping after the previous one was answered.
            Err(mpsc::error::TrySendError::Full(_)) => false,
            Err(mpsc::error::TrySendError::Closed(_)) => true,
        }
    }

    /// A message about a worker that has not answered for half of `limit`, once for each ping.
    fn report(&mut self, now: Instant, limit: Duration) -> Option<String> {
        let pending = self.pending.as_mut()?;
        let silent = now.saturating_duration_since(pending.since);
        if pending.is_reported || silent < limit / 2 {
            return None;
        }
        pending.is_reported = true;
        Some(format!(
            "{} has not answered for {} s; while the service runs, the service manager restarts it after {} s without an answer",
            self.name,
            silent.as_secs(),
            limit.as_secs()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn watched(room: usize) -> (PingedWorker, mpsc::Receiver<Ping>) {
        let (pings, inbox) = mpsc::channel(room);
        (PingedWorker::new("worker-3".to_owned(), pings), inbox)
    }

    fn answer(inbox: &mut mpsc::Receiver<Ping>) {
        let ping = inbox.try_recv().expect("a ping");
        ping.send(()).expect("the watchdog waits");
    }

    #[test]
    fn a_worker_that_answers_is_pinged_again() {
        let (mut worker, mut inbox) = watched(1);
        let now = Instant::now();
        for _ in 0..3 {
            assert!(worker.look(now));
            answer(&mut inbox);
        }
        assert!(worker.look(now));
        assert_eq!(worker.report(now, LIMIT), None);
    }

    #[test]
    fn a_silent_worker_is_reported_once_and_named() {
        let (mut worker, mut inbox) = watched(1);
        let now = Instant::now();
        assert!(worker.look(now));
        let ping = inbox.try_recv();
        assert!(!worker.look(now + LIMIT / 8));
        assert_eq!(worker.report(now + LIMIT / 8, LIMIT), None);
        let text = worker.report(now + LIMIT / 2, LIMIT).expect("it is due");
        assert!(
            text.starts_with("worker-3 has not answered for 5 s;"),
            "{text}"
        );
        assert_eq!(worker.report(now + LIMIT, LIMIT), None);
        drop(ping);
    }

    #[test]
    fn a_worker_that_ended_does_not_count_as_silent() {
        let (mut worker, inbox) = watched(1);
        drop(inbox);
        assert!(worker.look(Instant::now()));
    }
}
