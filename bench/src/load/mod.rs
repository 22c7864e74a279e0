//! The scenarios: the traffic and the measurements of each.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub(crate) mod bulk;
mod delay;
pub(crate) mod dicom;
pub(crate) mod handshake;
pub(crate) mod idle;
mod latency;
mod message;
pub(crate) mod mixed;
pub(crate) mod pingpong;
mod poll;
pub(crate) mod scale;
mod stream;

/// The addresses of the tested program, and the behaviour of both ends.
#[derive(Debug, Clone, Args)]
pub(crate) struct Between {
    /// Address that the generator connects to
    #[arg(long, value_name = "ADDR")]
    pub(crate) connect: SocketAddr,
    /// Address on which the other end listens
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// Number of parallel connections
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) streams: u32,
    /// Give up when nothing moves for this number of seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) stall: u64,
    /// Also report the CPU time and memory of this process; may be repeated, with separate rows for each
    #[arg(long = "pid", value_name = "PID")]
    pub(crate) pids: Vec<u32>,
    /// Congestion control of both ends: reno, cubic, ...
    #[arg(long, value_name = "NAME")]
    pub(crate) congestion: Option<String>,
    /// Run both ends on this CPU only
    #[arg(long, value_name = "N")]
    pub(crate) cpu: Option<usize>,
}

impl Between {
    pub(crate) fn stall(&self) -> Duration {
        Duration::from_secs(self.stall)
    }

    /// Without a program between the ends, on a port that the system selects.
    #[cfg(test)]
    pub(crate) fn on_loopback(streams: u32) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            connect: any,
            listen: any,
            streams,
            stall: 10,
            pids: Vec::new(),
            congestion: None,
            cpu: None,
        }
    }

    /// For scenarios with a thread for each connection.
    fn with_threads(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.streams <= THREADS_MAX,
            "this scenario has a thread for each stream: --streams is {THREADS_MAX} at most"
        );
        Ok(())
    }
}

/// The threads of an end in scenarios with one thread for each connection.
const THREADS_MAX: u32 = 256;

/// The options of a scenario if the command line gives only the two addresses; for scenarios that need no
/// more.
pub(crate) fn defaults<O: Args>(connect: SocketAddr, listen: SocketAddr) -> O {
    let command = O::augment_args(clap::Command::new("defaults").no_binary_name(true));
    let arguments = [
        "--connect",
        &connect.to_string(),
        "--listen",
        &listen.to_string(),
    ];
    let matches = command.get_matches_from(arguments);
    O::from_arg_matches(&matches).expect("the two addresses are all that is required")
}

/// Events per second.
fn per_second(count: f64, elapsed: Duration) -> f64 {
    count / elapsed.as_secs_f64().max(1e-9)
}

/// The descriptors that the process needs besides its connections.
pub(crate) const DESCRIPTORS_BESIDE: u64 = 200;

/// Raises the limit of descriptors if this number of sockets needs it.
pub(crate) fn allow_descriptors(sockets: u64) -> anyhow::Result<()> {
    let needed = sockets + DESCRIPTORS_BESIDE;
    let limit = getrlimit(Resource::Nofile);
    // No limit is enough for every number.
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let maximum = limit.maximum.map(|maximum| maximum.max(needed));
    let raised = Rlimit {
        current: Some(needed),
        maximum,
    };
    setrlimit(Resource::Nofile, raised).with_context(|| {
        format!(
            "{sockets} sockets need {needed} descriptors, and the hard limit is {}: raise it \
             (ulimit -Hn {needed}, or run as root)",
            limit.maximum.unwrap_or(u64::MAX)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_command_line() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let options: pingpong::Options = defaults(address(1), address(2));
        assert_eq!(options.between.connect, address(1));
        assert_eq!(options.between.listen, address(2));
        assert_eq!(options.between.streams, 1);
        assert_eq!(options.rate, None);
    }

    #[test]
    fn more_descriptors_than_the_kernel_has_are_refused_with_what_is_needed() {
        let error = allow_descriptors(1 << 40).expect_err("no machine has so many");
        assert!(error.to_string().contains("ulimit -Hn"), "{error}");
    }
}
