//! CPU time of other processes, from `/proc/PID/stat`.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// Clock ticks a second in `/proc`: fixed at 100 for programs on x86-64 Linux (`USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

/// User and system time that the processes have used so far.
pub(crate) fn used(pids: &[u32]) -> anyhow::Result<Duration> {
    pids.iter().map(|&pid| used_by(pid)).sum()
}

fn used_by(pid: u32) -> anyhow::Result<Duration> {
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
        assert!(used(&[std::process::id()]).is_ok());
        let error = used(&[u32::MAX]).expect_err("there is no such process");
        assert!(error.to_string().contains("/proc/4294967295/stat"));
    }
}
