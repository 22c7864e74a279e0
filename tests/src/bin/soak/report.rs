//! The table of a run, and its report as text and JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::gateway::Resources;
use crate::ledger::Totals;
use crate::net::Place;

/// A line of the table: the state at the end of a cycle, at rest.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) at: Duration,
    pub(crate) cycle: u32,
    pub(crate) complete: u64,
    pub(crate) broken: u64,
    pub(crate) bytes: u64,
    pub(crate) resources: [Resources; 2],
}

/// The heading of the table.
pub(crate) const HEADING: &str = "    time cycle  complete    broken         MB  \
     A: MB   fds threads  B: MB   fds threads";

impl Row {
    pub(crate) fn line(&self) -> String {
        let seconds = self.at.as_secs();
        let mut line = format!(
            "{:2}:{:02}:{:02} {:5} {:9} {:9} {:10.1}",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60,
            self.cycle,
            self.complete,
            self.broken,
            self.bytes as f64 / 1e6
        );
        for it in &self.resources {
            let memory = it.memory as f64 / 1e6;
            let _ = write!(line, " {memory:6.1} {:5} {:7} ", it.descriptors, it.threads);
        }
        line
    }

    fn json(&self) -> Value {
        let resources: Vec<_> = self.resources.iter().map(resources).collect();
        json!({
            "seconds": self.at.as_secs_f64(),
            "cycle": self.cycle,
            "complete": self.complete,
            "broken": self.broken,
            "bytes": self.bytes,
            "gateways": resources,
        })
    }
}

fn resources(it: &Resources) -> Value {
    json!({"memory": it.memory, "descriptors": it.descriptors, "threads": it.threads})
}

/// Everything that a run showed.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) took: Duration,
    pub(crate) rows: Vec<Row>,
    pub(crate) totals: BTreeMap<&'static str, Totals>,
    /// Changes and faults with the times that they were made.
    pub(crate) made: BTreeMap<&'static str, u64>,
    pub(crate) repeated: u64,
    pub(crate) compared: u64,
    pub(crate) compared_bytes: u64,
    pub(crate) starts: [u32; 2],
    pub(crate) wrong: Option<(Duration, String)>,
}

impl Report {
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "soak of {:.1} min, {} cycles\n\n{HEADING}\n",
            self.took.as_secs_f64() / 60.0,
            self.rows.len()
        );
        // About 40 lines of a long run.
        let step = self.rows.len().div_ceil(40).max(1);
        for row in self.rows.iter().step_by(step) {
            let _ = writeln!(text, "{}", row.line());
        }
        let _ = writeln!(
            text,
            "\n{:12} {:>9} {:>9} {:>10} {:>9}",
            "transfers", "complete", "broken", "MB", "slowest"
        );
        for (kind, it) in &self.totals {
            let (megabytes, slowest) = (it.bytes as f64 / 1e6, it.slowest.as_secs_f64());
            let _ = writeln!(
                text,
                "{kind:12} {:9} {:9} {megabytes:10.1} {slowest:7.1} s",
                it.complete, it.broken
            );
        }
        let _ = writeln!(text, "\nchanges and faults:");
        for (name, count) in &self.made {
            let _ = writeln!(text, "{count:7} {name}");
        }
        let _ = writeln!(
            text,
            "\ncounters of both gateways equalled what the clients moved {} times, {:.1} MB in all; \
             {} messages repeated; processes started: A {}, B {}",
            self.compared,
            self.compared_bytes as f64 / 1e6,
            self.repeated,
            self.starts[0],
            self.starts[1]
        );
        match &self.wrong {
            None => text.push_str("nothing was wrong\n"),
            Some((at, what)) => {
                let _ = writeln!(text, "WRONG after {:.1} s: {what}", at.as_secs_f64());
            }
        }
        text
    }

    pub(crate) fn json(&self) -> Value {
        let totals: BTreeMap<_, _> = self
            .totals
            .iter()
            .map(|(kind, it)| {
                let value = json!({
                    "complete": it.complete, "broken": it.broken, "bytes": it.bytes,
                    "slowest_seconds": it.slowest.as_secs_f64(), "broken_by": it.ways,
                });
                (*kind, value)
            })
            .collect();
        let rows: Vec<_> = self.rows.iter().map(Row::json).collect();
        let wrong = self.wrong.as_ref();
        json!({
            "seconds": self.took.as_secs_f64(),
            "rows": rows,
            "transfers": totals,
            "made": self.made,
            "messages_repeated": self.repeated,
            "counters_compared": self.compared,
            "counters_compared_bytes": self.compared_bytes,
            "starts": self.starts,
            "wrong": wrong.map(|(at, what)| json!({"seconds": at.as_secs_f64(), "what": what})),
        })
    }
}

/// Memory that a process may need more at rest than when it was at rest first.
const MEMORY_MORE: u64 = 16 << 20;
/// The same for descriptors and threads.
const DESCRIPTORS_MORE: usize = 4;
const THREADS_MORE: u64 = 4;

/// What the processes needed when they were at rest first.
#[derive(Debug, Default)]
pub(crate) struct Baselines {
    processes: BTreeMap<u32, Resources>,
    first: BTreeMap<Place, Resources>,
}

impl Baselines {
    /// Compares a process at rest with its own first rest, and with that of the first process.
    pub(crate) fn check(
        &mut self,
        place: Place,
        process: u32,
        now: Resources,
    ) -> Result<(), String> {
        let first = *self.first.entry(place).or_insert(now);
        let own = *self.processes.entry(process).or_insert(now);
        for (than, before) in [("its own first rest", own), ("the first process", first)] {
            let what = if now.memory > before.memory + MEMORY_MORE {
                "more memory"
            } else if now.descriptors > before.descriptors + DESCRIPTORS_MORE {
                "more descriptors"
            } else if now.threads > before.threads + THREADS_MORE {
                "more threads"
            } else {
                continue;
            };
            return Err(format!(
                "the gateway of {place:?} needs {what} at rest than {than}: {now:?}, before {before:?}"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_needs_more_at_rest_than_before_is_an_error() {
        let good = Resources {
            memory: 20 << 20,
            descriptors: 40,
            threads: 8,
        };
        let mut baselines = Baselines::default();
        baselines.check(Place::A, 1, good).expect("the first");
        baselines.check(Place::A, 2, good).expect("the same");
        for bad in [
            Resources {
                memory: 40 << 20,
                ..good
            },
            Resources {
                descriptors: 50,
                ..good
            },
            Resources {
                threads: 30,
                ..good
            },
        ] {
            assert!(baselines.check(Place::A, 1, bad).is_err(), "{bad:?}");
            assert!(baselines.check(Place::A, 3, bad).is_err(), "{bad:?}");
        }
    }
}
