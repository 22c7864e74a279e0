//! Steps about this machine: clock, kernel, limits, host settings, and the listeners.

use std::io;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use wardgate_tuning::{Goal, Host, Options, Verdict};

use super::holder;
use super::report::{Side, StepFinding};
use super::running::RunningGateway;
use crate::config::{Config, RouteConfig, WhenDown};
use crate::supervisor::{connections_allowed, listener_problem};
use crate::sys::{self, ClockState};
use crate::uring;

/// The synchronisation of the clock. A wrong clock makes valid certificates look expired or not yet valid.
pub(super) fn clock() -> StepFinding {
    of_clock(sys::clock_state())
}

fn of_clock(state: io::Result<ClockState>) -> StepFinding {
    match state {
        Ok(state) if state.is_synchronised => {
            let error = Duration::from_micros(state.error_max_micros);
            StepFinding::ok(format!(
                "synchronised, with an error of at most {} ms",
                error.as_millis()
            ))
        }
        Ok(_) => StepFinding::warning(
            Side::ThisGateway,
            "no program keeps the clock of this machine synchronised",
            "start chrony or systemd-timesyncd (`timedatectl` shows its state): with a wrong clock, valid certificates \
             count as expired or not yet valid",
        ),
        Err(error) => StepFinding::warning(
            Side::ThisGateway,
            format!("the state of the clock cannot be read: {error}"),
            "compare the output of `date` with another clock",
        ),
    }
}

/// io_uring of this kernel, as this process may use it.
pub(super) fn kernel(running: &RunningGateway) -> StepFinding {
    match (uring::probe(), running) {
        (Ok(found), _) => StepFinding::ok(format!("available; {found}")),
        // The service may be allowed what this process is not.
        (Err(_), RunningGateway::Yes(status)) => StepFinding::ok(format!(
            "process {} uses io_uring; this command may not",
            status.pid
        )),
        (Err(error), _) => StepFinding::failed_sentence(Side::ThisGateway, &error.to_string()),
    }
}

/// The limit of open files: that of the running gateway, else that of this process.
pub(super) fn descriptors(config: &Config, running: &RunningGateway) -> StepFinding {
    let own = || getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let (most, whose) = match running.descriptors() {
        Some(most) => (most, "the running gateway"),
        None => (own(), "this command"),
    };
    match connections_allowed(config, most) {
        Ok(connections) => StepFinding::ok(format!(
            "{whose} may open {most} files, which allows {connections} connections"
        )),
        Err(problem) => {
            StepFinding::failed_sentence(Side::ThisGateway, &format!("{whose}: {problem}"))
        }
    }
}

/// The settings of this host, as `wardgate tune check` compares them.
pub(super) fn tuning() -> StepFinding {
    of_host(&Host::running())
}

/// Never a failure: connections pass with any settings, only slower.
fn of_host(host: &Host) -> StepFinding {
    let goal = Goal::new(host, Options::default());
    let report = wardgate_tuning::check(host, &goal);
    let differing = report
        .settings
        .iter()
        .filter(|setting| setting.verdict == Verdict::Differs);
    let names: Vec<_> = differing.map(|setting| setting.setting.as_str()).collect();
    match names.len() {
        0 => StepFinding::ok("no setting of this host that matters differs"),
        count => StepFinding::warning(
            Side::ThisGateway,
            format!("{count} settings of this host differ: {}", names.join(", ")),
            "`wardgate tune check` explains each, and `wardgate tune apply` changes them",
        ),
    }
}

/// The listener of a route: held by the running gateway, or free for it.
pub(super) fn listener(
    config: &Config,
    route: &RouteConfig,
    running: &RunningGateway,
) -> StepFinding {
    let problem = listener_problem(config, route);
    match running {
        RunningGateway::Yes(status) => of_running(route, running, status.pid, problem),
        RunningGateway::No => match problem {
            None => StepFinding::ok("the address is free; no gateway runs"),
            Some((io::ErrorKind::PermissionDenied, text)) => {
                StepFinding::warning_sentence(Side::ThisGateway, &text)
            }
            Some((io::ErrorKind::AddrInUse, _)) => taken(route),
            Some((_, text)) => StepFinding::failed_sentence(Side::ThisGateway, &text),
        },
        RunningGateway::Unknown(_) => match problem {
            Some((io::ErrorKind::AddrInUse, _)) => StepFinding::ok(
                "a program listens there; whether it is the gateway could not be examined",
            ),
            Some((_, text)) => StepFinding::warning_sentence(Side::ThisGateway, &text),
            None => StepFinding::warning(
                Side::ThisGateway,
                "no program listens there",
                "`systemctl status wardgate` shows whether the gateway runs",
            ),
        },
    }
}

fn of_running(
    route: &RouteConfig,
    running: &RunningGateway,
    process: u32,
    problem: Option<(io::ErrorKind, String)>,
) -> StepFinding {
    let (side, name) = (Side::ThisGateway, &route.name);
    let Some(status) = running.route(name).filter(|it| it.state != "removed") else {
        return StepFinding::failed(
            side,
            format!("process {process} runs without this route"),
            "`wardgate reload` makes it use the configuration",
        );
    };
    if status.listen != route.listen {
        return StepFinding::failed(
            side,
            format!("process {process} listens on {} instead", status.listen),
            "`wardgate reload` makes it use the configuration",
        );
    }
    match (status.state.as_str(), problem) {
        ("closed", Some((io::ErrorKind::AddrInUse, _))) => taken(route),
        ("closed", _) => StepFinding::failed(
            side,
            "the running gateway keeps this route closed",
            "fix the file that the steps before name; the gateway notices it, and the log names it too",
        ),
        ("draining" | "drained", _) => StepFinding::failed(
            side,
            format!("the route is {}: it accepts no connections", status.state),
            format!("`wardgate drain {name} --undo` makes it accept again"),
        ),
        (_, None) if route.when_down == WhenDown::Refuse => StepFinding::warning(
            side,
            "the running gateway does not listen, as it does while all targets are down (`when_down`)",
            "the steps about the targets name the fault",
        ),
        (_, None) => StepFinding::failed(
            side,
            format!("process {process} does not listen there"),
            "the log of the gateway names the reason; `systemctl restart wardgate` opens the listener again",
        ),
        (_, Some(_)) => StepFinding::ok(format!("process {process} listens")),
    }
}

fn taken(route: &RouteConfig) -> StepFinding {
    let port = route.listen.port();
    let who = match holder::of_port(port) {
        Some(who) => format!("by {who}"),
        None => "by another program".to_owned(),
    };
    StepFinding::failed(
        Side::ThisGateway,
        format!("listen \"{}\": the port is in use {who}", route.listen),
        format!(
            "stop that program (`ss -ltnp 'sport = :{port}'` names it), or listen on another port"
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use wardgate_tuning::NoPrograms;

    use super::super::report::{DoctorStep, StepName, StepResult};
    use super::*;

    fn clock_step(state: io::Result<ClockState>) -> DoctorStep {
        of_clock(state).step(StepName::Clock, None, Instant::now())
    }

    fn state(is_synchronised: bool) -> io::Result<ClockState> {
        let error_max_micros = 1_500;
        Ok(ClockState {
            is_synchronised,
            error_max_micros,
        })
    }

    #[test]
    fn a_clock_that_is_not_synchronised_or_not_readable_is_a_warning_with_a_remedy() {
        let good = clock_step(state(true));
        assert_eq!((good.result, good.side), (StepResult::Ok, None));
        assert!(good.text.contains("at most 1 ms"), "{good:?}");
        let denied = Err(io::ErrorKind::PermissionDenied.into());
        for (state, text, remedy) in [
            (state(false), "no program keeps the clock", "start chrony"),
            (denied, "cannot be read: permission denied", "`date`"),
        ] {
            let step = clock_step(state);
            let expected = (StepResult::Warning, Some(Side::ThisGateway));
            assert_eq!((step.result, step.side), expected, "{step:?}");
            assert!(step.text.contains(text), "{step:?}");
            assert!(step.remedy.is_some_and(|it| it.contains(remedy)), "{text}");
        }
    }

    #[test]
    fn settings_of_the_host_that_differ_are_a_warning_and_never_a_failure() {
        let folder = tempfile::tempdir().expect("a folder");
        let host = Host::below(folder.path(), NoPrograms);
        assert!(!of_host(&host).has_failed(), "nothing can be read");
        let settings = folder.path().join("proc/sys/net/core");
        fs::create_dir_all(&settings).expect("the folder is ours");
        fs::write(settings.join("somaxconn"), "128\n").expect("the folder is ours");
        let step = of_host(&host).step(StepName::Tuning, None, Instant::now());
        assert_eq!(step.result, StepResult::Warning, "{step:?}");
        assert!(step.text.contains("net.core.somaxconn"), "{step:?}");
        assert!(step.remedy.is_some_and(|it| it.contains("wardgate tune")));
    }
}
