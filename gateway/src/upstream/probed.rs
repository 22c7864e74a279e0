//! The probed targets of a route, with their states.
//!
//! The core that probes a target writes its state once per probe. Every core that connects reads it.

use std::sync::Arc;

use crate::config::{RouteConfig, Target};
use crate::dicom::AeTitle;
use crate::metrics;

/// A probed target.
#[derive(Debug)]
pub struct ProbedTarget {
    /// The target.
    pub target: Target,
    /// The called AE title of a C-ECHO to this target.
    pub called: AeTitle,
    /// The results of its probes.
    pub counters: Arc<metrics::TargetCounters>,
}

impl ProbedTarget {
    /// Whether its probes found it down.
    pub(super) fn is_down(&self) -> bool {
        self.counters.up.get() == 0
    }
}

/// The probed targets of `route`. A target that is in `known` is the same `Arc`, so its health is kept; the
/// others have no probe results yet.
#[must_use]
pub fn probed_targets(route: &RouteConfig, known: &[Arc<ProbedTarget>]) -> Vec<Arc<ProbedTarget>> {
    if route.health.is_none() {
        return Vec::new();
    }
    let by_title = route.dicom.iter().flat_map(|dicom| &dicom.by_title);
    let by_title = by_title.flat_map(|table| &table.targets);
    let mut all: Vec<Arc<ProbedTarget>> = Vec::new();
    for target in route.targets.iter().chain(by_title) {
        // A target in several lists of a route is probed once.
        if all.iter().any(|probed| probed.target == *target) {
            continue;
        }
        let called = route.echo_title(target);
        let mut before = known.iter();
        let before = before.find(|one| one.target == *target && one.called == called);
        all.push(before.cloned().unwrap_or_else(|| {
            let counters = metrics::TargetCounters::new(route.name.clone(), target.to_string());
            Arc::new(ProbedTarget {
                target: target.clone(),
                called,
                counters: Arc::new(counters),
            })
        }));
    }
    all
}
