//! Keeps a worker from sleeping for a while after its connections were last active.
//!
//! A CPU that sleeps takes 10 to 50 us to wake up, and a message that comes meanwhile waits for it.
//! The price is the core itself, which is at full load for as long as it is kept awake.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::uring;

/// A worker that stays awake.
#[derive(Debug)]
pub(super) struct BusyPoller {
    time: Duration,
    active: Cell<Instant>,
    awake: Cell<bool>,
    ended: Cell<bool>,
    news: Notify,
}

impl BusyPoller {
    /// Awake for `time` after each activity.
    pub(super) fn new(time: Duration) -> Rc<Self> {
        Rc::new(Self {
            time,
            active: Cell::new(Instant::now()),
            awake: Cell::new(false),
            ended: Cell::new(false),
            news: Notify::new(),
        })
    }

    /// A connection has just done something.
    pub(super) fn stir(&self) {
        self.active.set(Instant::now());
        if !self.awake.get() {
            self.news.notify_one();
        }
    }

    /// Keeps the worker awake after each activity, until the end.
    pub(super) async fn keep(&self) {
        while !self.ended.get() {
            self.news.notified().await;
            self.awake.set(true);
            while !self.ended.get() && self.active.get().elapsed() < self.time {
                if uring::turn().await.is_err() {
                    break;
                }
            }
            self.awake.set(false);
        }
    }

    /// Lets `keep` return.
    pub(super) fn end(&self) {
        self.ended.set(true);
        self.news.notify_one();
    }
}
