//! The resources that processes have used: CPU time in nanoseconds if available, and memory.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::Context as _;

use crate::cpu::used_by;

/// CPU time of some processes up to a moment.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Cpu {
    /// The nanoseconds of each living thread, by its id.
    threads: BTreeMap<u32, u64>,
    /// The time of the whole processes, including ended threads, in steps of 10 ms.
    whole: Duration,
}

impl Cpu {
    /// # Errors
    ///
    /// Where one of the processes is gone.
    pub(crate) fn of(pids: &[u32]) -> anyhow::Result<Self> {
        let mut threads = BTreeMap::new();
        for &pid in pids {
            read_threads(pid, &mut threads)?;
        }
        let whole = pids
            .iter()
            .map(|&pid| used_by(pid))
            .sum::<anyhow::Result<_>>()?;
        Ok(Self { threads, whole })
    }

    /// The time that was used since. The kernel forgets the nanoseconds of an ended thread. If a thread has
    /// ended (stunnel has one for each connection), the coarse time of the whole process counts.
    pub(crate) fn since(&self, before: &Self) -> Duration {
        let kept = before
            .threads
            .keys()
            .all(|id| self.threads.contains_key(id));
        let coarse = self.whole.saturating_sub(before.whole);
        if !kept {
            return coarse;
        }
        let fine: u64 = self
            .threads
            .iter()
            .map(|(id, now)| now.saturating_sub(before.threads.get(id).copied().unwrap_or(0)))
            .sum();
        let fine = Duration::from_nanos(fine);
        // A thread that began and ended in between is in neither reading.
        if coarse > fine + 2 * STEP {
            coarse
        } else {
            fine
        }
    }
}

/// The step of the coarse time; user and system time are each rounded down to it.
const STEP: Duration = Duration::from_millis(10);

fn read_threads(pid: u32, threads: &mut BTreeMap<u32, u64>) -> anyhow::Result<()> {
    let path = format!("/proc/{pid}/task");
    for entry in fs::read_dir(&path).with_context(|| format!("cannot read {path}"))? {
        let entry = entry?;
        // A thread may end between being listed and being read.
        let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) else {
            continue;
        };
        let id = entry.file_name().to_str().and_then(|id| id.parse().ok());
        let (id, time) = id.zip(time(&text)).context("schedstat has another form")?;
        threads.insert(id, time);
    }
    Ok(())
}

/// The first number: nanoseconds spent on a CPU (proc-schedstat documentation of the kernel).
fn time(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}

/// The memory of the processes: their own, and their part of shared memory.
///
/// # Errors
///
/// One of the processes has ended.
pub(crate) fn memory(pids: &[u32]) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for pid in pids {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        bytes += proportional(&text).with_context(|| format!("{path} has another form"))?;
    }
    Ok(bytes)
}

/// The line `Pss: N kB`, in bytes.
fn proportional(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(threads: &[(u32, u64)], millis: u64) -> Cpu {
        Cpu {
            threads: threads.iter().copied().collect(),
            whole: Duration::from_millis(millis),
        }
    }

    #[test]
    fn living_threads_count_to_the_nanosecond_and_new_ones_from_nothing() {
        let before = cpu(&[(1, 100), (2, 50)], 0);
        let after = cpu(&[(1, 130), (2, 51), (3, 7)], 10);
        assert_eq!(after.since(&before), Duration::from_nanos(38));
    }

    #[test]
    fn a_thread_that_ended_makes_the_coarse_time_count() {
        let before = cpu(&[(1, 100), (2, 50)], 10);
        let after = cpu(&[(1, 200)], 90);
        assert_eq!(after.since(&before), Duration::from_millis(80));
        let unseen = cpu(&[(1, 200), (2, 50)], 90);
        assert_eq!(unseen.since(&before), Duration::from_millis(80));
    }

    #[test]
    fn our_own_time_and_memory_can_be_read() {
        let own = [std::process::id()];
        assert!(!Cpu::of(&own).expect("we are there").threads.is_empty());
        assert!(memory(&own).expect("we are there") > 0);
        assert!(Cpu::of(&[u32::MAX]).is_err());
    }

    #[test]
    fn numbers_are_found_in_what_the_kernel_prints() {
        assert_eq!(time("1142802 0 1\n"), Some(1_142_802));
        assert_eq!(time(""), None);
        let rollup = "5555-7fff ---p [rollup]\nRss:    3000 kB\nPss:    2048 kB\nPss_Dirty: 1 kB\n";
        assert_eq!(proportional(rollup), Some(2_097_152));
    }
}
