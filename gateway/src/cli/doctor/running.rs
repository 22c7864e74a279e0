//! Whether a gateway runs with this configuration, and what it reports of itself.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::report::{Side, StepFinding};
use crate::cli::limits::DOCTOR_REPLY_WITHIN;
use crate::cli::socket::{ask, parse};
use crate::control::{Command, GatewayStatus, RouteStatus};

/// The gateway that belongs to the configuration.
#[derive(Debug)]
pub(super) enum RunningGateway {
    /// It runs and has replied.
    Yes(Box<GatewayStatus>),
    /// No program has its admin socket.
    No,
    /// It may run: this process may not ask it, or it does not reply. The reason, as a sentence.
    Unknown(String),
}

impl RunningGateway {
    /// Asks the gateway at this admin socket.
    pub(super) fn at(socket: &Path) -> Self {
        if let Err(error) = UnixStream::connect(socket) {
            return match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Self::No,
                _ => Self::Unknown(format!(
                    "the admin socket {} cannot be used: {error}; run this command as root, or as a member of the \
                     service's group",
                    socket.display()
                )),
            };
        }
        let asked = ask(socket, Command::Status, DOCTOR_REPLY_WITHIN);
        let reply = asked.and_then(|text| parse(&text));
        match reply.map(|reply| reply.status) {
            Ok(Some(status)) => Self::Yes(Box::new(status)),
            Ok(None) => Self::Unknown(
                "the gateway did not report its state; use the `wardgate` program that belongs to it"
                    .to_owned(),
            ),
            Err(error) => Self::Unknown(format!(
                "{error:#}; look at the log of the gateway (`journalctl -u wardgate -n 50`)"
            )),
        }
    }

    /// The process that serves.
    pub(super) fn process(&self) -> Option<u32> {
        match self {
            Self::Yes(status) => Some(status.pid),
            Self::No | Self::Unknown(_) => None,
        }
    }

    /// The state of a route; `None` if no gateway runs, or if it does not have the route.
    pub(super) fn route(&self, name: &str) -> Option<&RouteStatus> {
        match self {
            Self::Yes(status) => status.routes.iter().find(|route| route.name == name),
            Self::No | Self::Unknown(_) => None,
        }
    }

    /// The step `gateway`.
    pub(super) fn finding(&self) -> StepFinding {
        let side = Side::ThisGateway;
        match self {
            Self::No => StepFinding::warning(
                side,
                "no gateway runs with this configuration",
                "`systemctl start wardgate`; if it ends at once, `journalctl -u wardgate -n 50` shows why",
            ),
            Self::Unknown(why) => StepFinding::warning_sentence(side, why),
            Self::Yes(status) if status.stopping => StepFinding::warning(
                side,
                format!(
                    "process {} is stopping and accepts no connections",
                    status.pid
                ),
                "start the gateway again when its connections have ended: `systemctl start wardgate`",
            ),
            Self::Yes(status) => match status.problems.first() {
                Some(problem) => StepFinding::warning_sentence(side, problem),
                None => {
                    let plural = if status.connections == 1 { "" } else { "s" };
                    StepFinding::ok(format!(
                        "process {} runs version {}, with {} open connection{plural}",
                        status.pid, status.program, status.connections
                    ))
                }
            },
        }
    }

    /// The limit of open files of the running gateway.
    pub(super) fn descriptors(&self) -> Option<u64> {
        let limits = fs::read_to_string(format!("/proc/{}/limits", self.process()?)).ok()?;
        let line = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"))?;
        line.split_whitespace().next()?.parse().ok()
    }
}
