//! Memory of other processes, from `/proc/PID/smaps_rollup`.

use std::fs;

use anyhow::Context as _;

/// The memory of a process, in KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    /// All pages that are in memory.
    pub(crate) rss: u64,
    /// The same, with each shared page divided by the number of its users.
    pub(crate) pss: u64,
}

impl Memory {
    /// The current memory of each process.
    ///
    /// # Errors
    ///
    /// A process has ended or belongs to another user.
    pub(crate) fn of_all(pids: &[u32]) -> anyhow::Result<Vec<Self>> {
        pids.iter().map(|&pid| Self::of(pid)).collect()
    }

    fn of(pid: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{pid}/smaps_rollup");
        let rollup = fs::read_to_string(&path)
            .with_context(|| format!("cannot read {path} (is it a process of another user?)"))?;
        Self::parse(&rollup).with_context(|| format!("{path} is of another form"))
    }

    fn parse(rollup: &str) -> Option<Self> {
        let field = |name: &str| {
            let mut lines = rollup.lines();
            let value = lines.find_map(|line| line.strip_prefix(name))?;
            value.trim().strip_suffix(" kB")?.parse().ok()
        };
        Some(Self {
            rss: field("Rss:")?,
            pss: field("Pss:")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rss_and_pss_are_found() {
        let rollup = "5-7 ---p 00000000 00:00 0 [rollup]\nRss:   2048 kB\nPss:    1000 kB\n\
                      Pss_Dirty: 3 kB\n";
        let memory = Memory {
            rss: 2048,
            pss: 1000,
        };
        assert_eq!(Memory::parse(rollup), Some(memory));
        assert_eq!(Memory::parse("Rss: 1 kB\n"), None);
    }

    #[test]
    fn this_process_holds_memory_and_a_missing_one_is_an_error() {
        let own = Memory::of_all(&[std::process::id()]).expect("it is ours");
        assert!(own[0].rss >= own[0].pss && own[0].pss > 0);
        assert!(Memory::of_all(&[u32::MAX]).is_err());
    }
}
