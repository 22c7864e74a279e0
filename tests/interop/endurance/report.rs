//! What was changed, what became of the transfers, and what the processes needed: one table, and the failures.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use wardgate_tests::Gateway;

use super::changes::{Change, Kind};
use super::load::Tally;
use super::{DESCRIPTORS_MORE, MEMORY_MORE};

/// A change that was made.
pub(super) struct Made {
    pub(super) change: Change,
    pub(super) begun: Instant,
    pub(super) took: Duration,
    pub(super) outcome: Result<(), String>,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, role, took) = (self.change.kind.name(), self.change.role, self.took);
        write!(f, "{name} of {role:?}, {:.2} s", took.as_secs_f64())?;
        match &self.outcome {
            Ok(()) => Ok(()),
            Err(why) => write!(f, ": FAILED: {why}"),
        }
    }
}

/// What the processes of one gateway needed; the module's documentation says what is compared with what.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Resources {
    pub(super) rest_first: usize,
    pub(super) rest_last: usize,
    pub(super) warm_first: u64,
    pub(super) warm_last: u64,
    pub(super) end: u64,
}

impl Resources {
    fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        if self.rest_last > self.rest_first + DESCRIPTORS_MORE {
            failures.push("more descriptors at rest".to_owned());
        }
        if self.warm_last > self.warm_first + MEMORY_MORE {
            failures.push("the last process needs more memory than the first one".to_owned());
        }
        if self.end > self.warm_last + MEMORY_MORE {
            failures.push("the memory of the last process grew".to_owned());
        }
        failures
    }
}

/// Everything that a run showed.
pub(super) struct Report {
    start: Instant,
    took: Duration,
    made: Vec<Made>,
    tallies: Vec<Tally>,
    gateways: Vec<(&'static str, Resources, BTreeMap<String, usize>)>,
}

impl Report {
    pub(super) fn new(start: Instant, made: Vec<Made>, tallies: Vec<Tally>) -> Self {
        Self {
            start,
            took: start.elapsed(),
            made,
            tallies,
            gateways: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, name: &'static str, resources: Resources, gateway: &Gateway) {
        let mut endings = BTreeMap::new();
        for line in gateway.connections() {
            let ending = format!("{}: {}", line.text("route"), line.text("reason"));
            *endings.entry(ending).or_default() += 1;
        }
        self.gateways.push((name, resources, endings));
    }

    /// The failed transfers of a client.
    pub(super) fn failed(&self, client: &str) -> usize {
        let tallies = self.tallies.iter().filter(|tally| tally.name == client);
        tallies.map(|tally| tally.failed).sum()
    }

    /// Everything that must not be.
    pub(super) fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        let wrong = self.made.iter().filter(|made| made.outcome.is_err());
        failures.extend(wrong.map(ToString::to_string));
        let is_upgrade = |made: &&Made| made.change.kind == Kind::Upgrade;
        let upgrades = self.made.iter().filter(is_upgrade).count();
        for tally in &self.tallies {
            let name = tally.name;
            if tally.failed > 0 || tally.transfers == 0 {
                let counts = (tally.transfers, tally.failed);
                failures.push(format!("{name}: transfers, failed: {counts:?}"));
            }
            for (begun, failed, why) in &tally.failures {
                let since = |at: &Instant| at.duration_since(self.start).as_secs_f64();
                let (from, to) = (since(begun), since(failed));
                let earlier = self.made.iter().rfind(|made| made.begun < *failed);
                let change = earlier.map_or_else(String::new, |made| {
                    format!(" (after {made} at {:.2} s)", since(&made.begun))
                });
                failures.push(format!("{name}, {from:.2} to {to:.2} s{change}: {why}"));
            }
            // Only the end of an earlier process may cross a message.
            if tally.repeated > upgrades {
                failures.push(format!("{name}: {} messages repeated", tally.repeated));
            }
        }
        for (name, resources, _) in &self.gateways {
            let of = resources.failures().into_iter();
            failures.extend(of.map(|what| format!("{name}: {what}")));
        }
        failures
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:.1} s", self.took.as_secs_f64())?;
        let mut kinds: BTreeMap<Kind, Vec<&Made>> = BTreeMap::new();
        for made in &self.made {
            kinds.entry(made.change.kind).or_default().push(made);
        }
        writeln!(
            f,
            "{:24} {:>6} {:>6} {:>9}",
            "change", "made", "failed", "slowest"
        )?;
        for (kind, made) in kinds {
            let failed = made.iter().filter(|one| one.outcome.is_err()).count();
            let slowest = made.iter().map(|one| one.took).max().unwrap_or_default();
            let (name, seconds) = (kind.name(), slowest.as_secs_f64());
            writeln!(f, "{name:24} {:6} {failed:6} {seconds:7.2} s", made.len())?;
        }
        writeln!(
            f,
            "{:24} {:>6} {:>6} {:>9} {:>9} {:>8}",
            "load", "done", "failed", "slowest", "MB", "repeated"
        )?;
        for tally in &self.tallies {
            let (seconds, megabytes) = (tally.slowest.as_secs_f64(), tally.bytes as f64 / 1e6);
            writeln!(
                f,
                "{:24} {:6} {:6} {seconds:7.2} s {megabytes:9.1} {:8}",
                tally.name, tally.transfers, tally.failed, tally.repeated
            )?;
        }
        for (name, resources, endings) in &self.gateways {
            let mb = |bytes: u64| bytes as f64 / 1e6;
            writeln!(
                f,
                "{name}: memory under load: first process {:.1} MB, last one {:.1} MB, at the end {:.1} MB; \
                 descriptors at rest: {} before, {} after",
                mb(resources.warm_first),
                mb(resources.warm_last),
                mb(resources.end),
                resources.rest_first,
                resources.rest_last
            )?;
            for (ending, count) in endings {
                writeln!(f, "{count:8} connections of {ending}")?;
            }
        }
        Ok(())
    }
}

#[test]
fn a_process_that_needs_more_than_before_is_a_failure() {
    let good = Resources {
        rest_first: 30,
        rest_last: 31,
        warm_first: 16 << 20,
        warm_last: 17 << 20,
        end: 18 << 20,
    };
    assert!(good.failures().is_empty());
    let descriptors = Resources {
        rest_last: 40,
        ..good
    };
    let by_upgrades = Resources {
        warm_last: 30 << 20,
        end: 30 << 20,
        ..good
    };
    let by_reloads = Resources {
        end: 30 << 20,
        ..good
    };
    for bad in [descriptors, by_upgrades, by_reloads] {
        assert_eq!(bad.failures().len(), 1, "{bad:?}");
    }
}
