//! `wardgate-bench`: pushes bytes through whatever stands between two addresses, and measures.
//!
//! The generator connects to one address, the sink listens on the other; what lies between is a pair
//! of gateways, another program, or nothing. It uses threads and blocking sockets and no code of the
//! gateway, so that it does not share the gateway's mistakes.

mod bulk;
mod cpu;
mod pattern;
mod pingpong;
mod report;
mod server;
mod size;

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// Load generator and measurements for wardgate.
#[derive(Debug, Parser)]
#[command(name = "wardgate-bench", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print one JSON object instead of a table
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Push bytes one way through several connections, and count what arrives
    Bulk(bulk::Options),
    /// Send a message, wait for its echo, and measure how long that took
    Pingpong(pingpong::Options),
}

/// What stands between.
#[derive(Debug, Clone, Args)]
struct Between {
    /// Where the generator connects
    #[arg(long, value_name = "ADDR")]
    connect: SocketAddr,
    /// Where the other end listens
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
    /// Connections side by side
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    streams: u32,
    /// Give up when nothing moves for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    stall: u64,
    /// Also give the CPU time that these processes used meanwhile
    #[arg(long = "pid", value_name = "PID")]
    pids: Vec<u32>,
}

impl Between {
    fn stall(&self) -> Duration {
        Duration::from_secs(self.stall)
    }
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let report = match &cli.command {
        Command::Bulk(options) => bulk::run(options)?,
        Command::Pingpong(options) => pingpong::run(options)?,
    };
    if cli.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.table());
    }
    Ok(())
}
