//! Schedules the steps of handshakes on one core.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::steps::{QueueAction, QueuePosition, StepQueue};
use crate::client_source::Source;
use crate::metrics;
use crate::uring::{sleep, timeout};

/// The turns of one core. While `run` is not running, steps are not scheduled.
#[derive(Debug)]
pub(super) struct Pacer {
    counters: Arc<metrics::CoreCounters>,
    steps: RefCell<StepQueue<Rc<Waiter>>>,
    is_running: Cell<bool>,
    ended: Cell<bool>,
    // Wakes `run`: a step waits, a step is over, or `run` must end.
    news: Notify,
    is_stepping: Cell<bool>,
    last_step: Cell<Instant>,
    // Whether the time spent on payload is measured, and its sum.
    is_watching: Cell<bool>,
    relayed: Cell<Duration>,
}

/// A task that waits for its turn.
#[derive(Debug, Default)]
struct Waiter {
    state: Cell<TurnState>,
    news: Notify,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum TurnState {
    #[default]
    Waiting,
    // The task has the turn, and `run` waits for it.
    Granted,
    // The task has taken its turn.
    Taken,
}

/// A step in progress; over when dropped.
#[derive(Debug)]
pub(in crate::relay) struct PacedStep<'p> {
    pacer: &'p Pacer,
    source: Source,
    begun: Duration,
}

/// A place in the queue; left when dropped.
struct Line<'p> {
    pacer: &'p Pacer,
    turn: QueuePosition,
    waiter: Rc<Waiter>,
}

// A step that comes this long after the last one has let the other tasks have a turn.
const PAUSE: Duration = Duration::from_micros(200);

// How long payload is measured after the last step that had to wait.
const WATCH: Duration = Duration::from_millis(100);

// The share may change in the meantime.
const WAIT_MAX: Duration = Duration::from_millis(10);

impl Pacer {
    pub(super) fn new(counters: Arc<metrics::CoreCounters>) -> Self {
        let now = Instant::now();
        Self {
            counters,
            steps: RefCell::new(StepQueue::new(now.into_std())),
            is_running: Cell::new(false),
            ended: Cell::new(false),
            news: Notify::new(),
            is_stepping: Cell::new(false),
            last_step: Cell::new(now),
            is_watching: Cell::new(false),
            relayed: Cell::new(Duration::ZERO),
        }
    }

    /// Whether the time spent on payload must be recorded.
    pub(super) fn is_watching(&self) -> bool {
        self.is_watching.get()
    }

    /// Records that payload was moved for `time`.
    pub(super) fn note_relayed(&self, time: Duration) {
        self.relayed.set(self.relayed.get().saturating_add(time));
    }

    /// Waits for the turn of a step of `source`.
    pub(super) async fn turn(&self, source: Source) -> PacedStep<'_> {
        if self.is_running.get() && !self.may_begin() {
            self.counters.steps_delayed.add(1);
            let waiter = Rc::new(Waiter::default());
            let turn = self.steps.borrow_mut().enqueue(source, Rc::clone(&waiter));
            let line = Line {
                pacer: self,
                turn,
                waiter,
            };
            self.news.notify_one();
            line.granted().await;
        }
        self.is_stepping.set(true);
        PacedStep {
            pacer: self,
            source,
            begun: cpu_time(),
        }
    }

    fn may_begin(&self) -> bool {
        let now = Instant::now();
        let has_paused = now.saturating_duration_since(self.last_step.get()) >= PAUSE;
        has_paused && !self.is_stepping.get() && self.steps.borrow_mut().may_begin(now.into_std())
    }

    /// Schedules turns until `end`. `pass` must give every other task of the core a turn.
    pub(super) async fn run<P: Future>(&self, pass: impl Fn() -> P) {
        self.is_running.set(true);
        while !self.ended.get() {
            if timeout(WATCH, self.news.notified()).await.is_err() {
                self.is_watching.set(false);
                self.news.notified().await;
            }
            self.is_watching.set(true);
            self.serve(&pass).await;
        }
        self.is_running.set(false);
    }

    // Until no task waits.
    async fn serve<P: Future>(&self, pass: &impl Fn() -> P) {
        loop {
            pass().await;
            match self.next() {
                QueueAction::Step(_, waiter) => {
                    waiter.state.set(TurnState::Granted);
                    waiter.news.notify_one();
                    while waiter.state.get() == TurnState::Granted || self.is_stepping.get() {
                        self.news.notified().await;
                    }
                }
                QueueAction::Wait(wait) => sleep(wait.min(WAIT_MAX)).await,
                QueueAction::Nobody => return,
            }
        }
    }

    fn next(&self) -> QueueAction<Rc<Waiter>> {
        let now = Instant::now().into_std();
        let relayed = self.relayed.take();
        self.steps.borrow_mut().next(now, relayed)
    }

    /// Makes `run` return as soon as no task waits.
    pub(super) fn end(&self) {
        self.ended.set(true);
        self.news.notify_one();
    }
}

impl Line<'_> {
    async fn granted(self) {
        while self.waiter.state.get() == TurnState::Waiting {
            self.waiter.news.notified().await;
        }
        self.waiter.state.set(TurnState::Taken);
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.pacer.steps.borrow_mut().remove(self.turn);
        self.waiter.state.set(TurnState::Taken);
        self.pacer.news.notify_one();
    }
}

impl Drop for PacedStep<'_> {
    fn drop(&mut self) {
        let cost = cpu_time().saturating_sub(self.begun);
        let micros = u64::try_from(cost.as_micros()).unwrap_or(u64::MAX);
        self.pacer.counters.steps_micros.add(micros);
        let now = Instant::now();
        let mut steps = self.pacer.steps.borrow_mut();
        steps.done(self.source, cost, now.into_std());
        drop(steps);
        self.pacer.is_stepping.set(false);
        self.pacer.last_step.set(now);
        self.pacer.news.notify_one();
    }
}

// The CPU time of this thread: time that other processes use does not count against a client.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
