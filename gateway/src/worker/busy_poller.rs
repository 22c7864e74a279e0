//! Keeps a worker from sleeping for a while after the last activity of its connections.
//!
//! A sleeping CPU takes 10 to 50 us to wake up, which delays the next message. The price of staying awake is
//! a core at full load.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::uring;

/// Keeps one worker awake.
#[derive(Debug)]
pub(super) struct BusyPoller {
    time: Duration,
    active: Cell<Instant>,
    awake: Cell<bool>,
    ended: Cell<bool>,
    news: Notify,
}

impl BusyPoller {
    /// Stays awake for `time` after each activity.
    pub(super) fn new(time: Duration) -> Rc<Self> {
        Rc::new(Self {
            time,
            active: Cell::new(Instant::now()),
            awake: Cell::new(false),
            ended: Cell::new(false),
            news: Notify::new(),
        })
    }

    /// Reports activity of a connection.
    pub(super) fn note_activity(&self) {
        self.active.set(Instant::now());
        if !self.awake.get() {
            self.news.notify_one();
        }
    }

    /// Keeps the worker awake after each activity, until `end` is called.
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

    /// Makes `keep` return.
    pub(super) fn end(&self) {
        self.ended.set(true);
        self.news.notify_one();
    }
}
