//! The scenarios: what each pushes through, and what it measures.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

pub(crate) mod bulk;
pub(crate) mod pingpong;

/// What stands between.
#[derive(Debug, Clone, Args)]
pub(crate) struct Between {
    /// Where the generator connects
    #[arg(long, value_name = "ADDR")]
    pub(crate) connect: SocketAddr,
    /// Where the other end listens
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// Connections side by side
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) streams: u32,
    /// Give up when nothing moves for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) stall: u64,
    /// Also give the CPU time that these processes used meanwhile
    #[arg(long = "pid", value_name = "PID")]
    pub(crate) pids: Vec<u32>,
}

impl Between {
    pub(crate) fn stall(&self) -> Duration {
        Duration::from_secs(self.stall)
    }
}

/// A scenario's options as the command line has them when it names the two addresses alone.
#[allow(
    dead_code,
    reason = "for a caller that runs scenarios over many chains"
)]
pub(crate) fn defaults<O: Args>(connect: SocketAddr, listen: SocketAddr) -> O {
    let command = O::augment_args(clap::Command::new("defaults").no_binary_name(true));
    let words = [
        "--connect",
        &connect.to_string(),
        "--listen",
        &listen.to_string(),
    ];
    let matches = command.get_matches_from(words);
    O::from_arg_matches(&matches).expect("the two addresses are all that is required")
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
}
