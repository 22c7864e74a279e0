//! Programs that made a system call which their seccomp filter does not allow. A test that started one fails.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::Signal;

/// The end of the line that the gateway writes before it ends (gateway/src/sys/violation.rs).
const VIOLATION: &str = "which its list does not allow; the process ends (SIGSYS)";

/// What systemd logs about a service whose process ended by SIGSYS.
const KILLED: &str = "status=31/SYS";

/// Whether this line, of a program or in a machine's journal, is about a call that a filter has denied.
pub fn is_reported(line: &str) -> bool {
    line.contains(VIOLATION) || line.contains(KILLED)
}

/// Why a test fails whose program ended with `status` and this output; `None` if the program made no such call. The
/// output may be that of several processes.
pub fn found(status: Option<ExitStatus>, output: &str) -> Option<String> {
    let line = output.lines().find(|line| line.contains(VIOLATION));
    let is_killed = status.is_some_and(|status| status.signal() == Some(Signal::SYS.as_raw()));
    match (line, is_killed) {
        (Some(line), _) => Some(line.to_owned()),
        (None, true) => Some(
            "a program was killed by SIGSYS: a system call that its seccomp filter does not allow"
                .to_owned(),
        ),
        (None, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::{Background, DEADLINE, Program, until};

    #[test]
    fn a_violation_is_found_by_the_signal_and_by_the_line() {
        let killed_by = |signal: Signal| Some(ExitStatus::from_raw(signal.as_raw()));
        assert_eq!(found(killed_by(Signal::KILL), "ready\n"), None);
        assert!(found(killed_by(Signal::SYS), "ready\n").is_some());
        let line = format!(
            "wardgate: seccomp: thread \"worker-0\" made the system call 59 (execve), {VIOLATION}"
        );
        assert_eq!(found(None, &format!("ready\n{line}\nend")), Some(line));
    }

    #[test]
    fn a_program_in_the_background_that_a_filter_has_killed_fails_its_test() {
        let ends_by = |signal: &str| {
            let line = format!("kill -{signal} $$");
            let program = Background::start(&Program::new("sh").args(["-c", &line]));
            let process = program.process();
            until("the shell ends", DEADLINE, || {
                process.has_ended().then_some(())
            });
            catch_unwind(AssertUnwindSafe(|| drop(program)))
        };
        ends_by("TERM").expect("the test goes on");
        ends_by("SYS").expect_err("the test fails");
    }
}
