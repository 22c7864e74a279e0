//! The time between the announcement of a drain or a stop and its begin (`drain_delay`).
//!
//! `/readyz` and `/routez` report it at once, so that a load balancer or another machine takes the new connections, and
//! the listeners stay open for those that still come.

use std::time::Instant;

use tokio::time::Instant as Tick;

use super::running::{Leaving, Running};
use super::{longest, notice, notify};
use crate::audit::messages;
use crate::supervisor::limits::STOP_EXTENDED;

impl Running {
    pub(super) async fn begin_announced_drains(&mut self) {
        let due = self.drains.begin_due(Instant::now());
        for route in &due {
            self.workers.stop_listening(*route).await;
        }
        if !due.is_empty() {
            self.store_listeners();
        }
    }

    /// Reports that the gateway is not ready, and stops it after the longest `drain_delay`. Has no effect if it is
    /// stopping.
    pub(super) async fn announce_stop(&mut self, is_restart: bool) {
        let delay = longest(&self.config, |timeouts| timeouts.drain_delay);
        if self.stop.is_some() || delay.is_zero() {
            return self.stop(is_restart).await;
        }
        if self.leaving.is_some() {
            return;
        }
        self.leaving = Some(Leaving {
            until: Tick::now() + delay,
            is_restart,
        });
        self.view.ready.set(false);
        notify::stopping();
        notify::extend(delay + STOP_EXTENDED);
        let text = format!(
            "not ready; new connections are accepted for another {} s (drain_delay), then the gateway drains",
            delay.as_secs_f32()
        );
        notice(&self.journal, &messages::STOP_ANNOUNCED, text);
    }

    pub(super) async fn stop_announced(&mut self) {
        if let Some(leaving) = self.leaving.take() {
            self.stop(leaving.is_restart).await;
        }
    }
}
