//! CPU time of other processes, from `/proc/PID/stat`, and the CPU that this one runs on.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use core_affinity::CoreId;

use crate::report::Report;
use crate::report::plot::{Bars, Plot, Spread};

/// Clock ticks a second in `/proc`: fixed at 100 for programs on x86-64 Linux (`USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

/// What processes had used when the meter was started.
pub(crate) struct Meter {
    before: Vec<(u32, Duration)>,
}

impl Meter {
    /// Reads the processes for the first time.
    ///
    /// # Errors
    ///
    /// There is no such process.
    pub(crate) fn start(pids: &[u32]) -> anyhow::Result<Self> {
        let before = pids.iter().map(|&pid| Ok((pid, used_by(pid)?)));
        let before = before.collect::<anyhow::Result<_>>()?;
        Ok(Self { before })
    }

    /// The time that each process has used since, in the order of the process ids.
    pub(crate) fn read(&self) -> anyhow::Result<Used> {
        let used = self
            .before
            .iter()
            .map(|&(pid, before)| Ok(used_by(pid)?.saturating_sub(before)));
        Ok(Used(used.collect::<anyhow::Result<_>>()?))
    }
}

/// User and system time of each process. Its grain is 10 ms.
#[derive(Debug, Clone)]
pub(crate) struct Used(Vec<Duration>);

impl Used {
    /// Adds the sum as `name`, and each as `process_1_name`, times a factor; nothing for no process.
    pub(crate) fn rows(&self, report: &mut Report, name: &str, factor: f64) {
        if self.0.is_empty() {
            return;
        }
        let sum: Duration = self.0.iter().sum();
        report.real(name, sum.as_secs_f64() * factor);
        for (number, used) in (1..).zip(&self.0) {
            let name = format!("process_{number}_{name}");
            report.real(&name, used.as_secs_f64() * factor);
        }
    }

    /// A bar for each process, times a factor; nothing for no process.
    pub(crate) fn plot(&self, report: &mut Report, unit: &str, factor: f64) {
        if self.0.is_empty() {
            return;
        }
        let bars = self
            .0
            .iter()
            .map(|used| Some(Spread::one(used.as_secs_f64() * factor)));
        let bars = Bars {
            unit: unit.to_owned(),
            groups: (1..=self.0.len()).map(|n| format!("process {n}")).collect(),
            series: vec![("CPU".to_owned(), bars.collect())],
        };
        report.plot("CPU time by process", Plot::Bars(bars));
    }
}

/// User and system time of one process, in steps of 10 ms; threads that have ended are part of it.
pub(crate) fn used_by(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let ticks = ticks(&stat).with_context(|| format!("{path} is of another form"))?;
    Ok(Duration::from_millis(ticks * (1000 / TICKS_PER_SECOND)))
}

/// Fields 14 and 15 (proc(5)), counted from the last `)`: a program's name may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Runs the work on one CPU, with all threads that it starts; without a number, on any CPU.
///
/// The work runs on a separate thread, so the affinity of the caller stays unchanged.
pub(crate) fn pinned<T: Send>(
    cpu: Option<usize>,
    work: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    let Some(id) = cpu else {
        return work();
    };
    thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let own = core_affinity::get_core_ids().unwrap_or_default();
            let pinned =
                own.contains(&CoreId { id }) && core_affinity::set_for_current(CoreId { id });
            anyhow::ensure!(pinned, "cannot run on CPU {id}");
            work()
        });
        thread.join().map_err(|_| anyhow!("the run panicked"))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_found_behind_any_name() {
        let stat = "7 (a ) 9 (b) S 1 7 7 0 -1 4194560 100 0 0 0 250 31 0 0 20 0 1 0 5\n";
        assert_eq!(ticks(stat), Some(281));
        assert_eq!(ticks("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_has_a_time_and_a_missing_one_is_an_error() {
        let meter = Meter::start(&[std::process::id()]).expect("this process is there");
        assert_eq!(meter.read().expect("and still is").0.len(), 1);
        let error = Meter::start(&[u32::MAX]).err().expect("no such process");
        assert!(error.to_string().contains("/proc/4294967295/stat"));
    }

    #[test]
    fn each_process_has_a_row_beside_the_sum() {
        let used = Used(vec![Duration::from_secs(2), Duration::from_secs(4)]);
        let mut report = Report::default();
        used.rows(&mut report, "cpu_seconds_per_gigabyte", 0.5);
        assert_eq!(report.number("cpu_seconds_per_gigabyte"), Some(3.0));
        let second = report.number("process_2_cpu_seconds_per_gigabyte");
        assert_eq!(second, Some(2.0));
    }

    #[test]
    fn pinned_work_and_its_threads_run_on_one_cpu() {
        let cpus = || core_affinity::get_core_ids().expect("Linux tells").len();
        let before = cpus();
        let first = core_affinity::get_core_ids().expect("Linux tells")[0].id;
        let inside = pinned(Some(first), || {
            let child = thread::spawn(cpus).join();
            Ok((cpus(), child.expect("counting does not fail")))
        });
        assert_eq!(inside.expect("the CPU is there"), (1, 1));
        assert_eq!(cpus(), before);
        assert!(pinned(Some(4000), || Ok(())).is_err());
    }
}
