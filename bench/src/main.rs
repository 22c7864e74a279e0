//! `wardgate-bench`: transfers bytes through a program between two addresses, and measures.
//!
//! The generator connects to one address, the sink listens on the other. Between them is a pair of gateways,
//! another program, or nothing. The bench uses no code of the gateway, so that it does not share the
//! gateway's mistakes; only `micro` runs pieces of the gateway.

mod appliance;
mod chain;
mod cpu;
mod load;
mod memory;
mod micro;
mod pattern;
mod peers;
mod pin;
mod relay;
mod report;
mod server;
mod size;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use load::{bulk, dicom, handshake, idle, mixed, pingpong, scale};
use report::html;
use report::machine::Machine;

/// Load generator and measurements for wardgate.
#[derive(Debug, Parser)]
#[command(name = "wardgate-bench", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print one JSON object instead of a table
    #[arg(long, global = true)]
    json: bool,
    /// Also write a page with tables and plots to this file
    #[arg(long, global = true, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure what link this machine can fill with the installed wardgate
    Appliance(appliance::Options),
    /// Transfer bytes through several connections, and compare the received bytes
    Bulk(bulk::Options),
    /// Store DICOM objects through several associations
    Dicom(dicom::Options),
    /// Make full mutual TLS handshakes with a terminating side
    Handshake(handshake::Options),
    /// Run single pieces of the byte path in memory, and measure each
    Micro(micro::Options),
    /// Let many connections rest, and measure the memory of each
    Idle(idle::Options),
    /// Measure the effect of bulk on the latency of small messages
    Mixed(mixed::Options),
    /// Send a message, wait for its echo, and measure the time
    Pingpong(pingpong::Options),
    /// Measure wardgate and comparable programs, all in one run
    Peers(peers::Options),
    /// Relay plain bytes without crypto: the floor for gateways
    Relay(relay::Options),
    /// Run a program on one core
    #[command(hide = true)]
    Pinned(pin::Options),
    /// Transfer bytes through an increasing number of connections
    Scale(scale::Options),
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let report = match &cli.command {
        Command::Appliance(options) => appliance::run(options)?,
        Command::Bulk(options) => bulk::run(options)?,
        Command::Dicom(options) => dicom::run(options)?,
        Command::Handshake(options) => handshake::run(options)?,
        Command::Idle(options) => idle::run(options)?,
        Command::Micro(options) => return micro::run(options).map(|()| ExitCode::SUCCESS),
        Command::Mixed(options) => mixed::run(options)?,
        Command::Pingpong(options) => pingpong::run(options)?,
        Command::Peers(options) => return exit(peers::run(options, cli.html.as_deref())?),
        Command::Relay(options) => return relay::run(options).map(|()| ExitCode::SUCCESS),
        Command::Pinned(options) => return pin::run(options).map(|()| ExitCode::SUCCESS),
        Command::Scale(options) => scale::run(options)?,
    };
    if let Some(file) = &cli.html {
        let title = format!("wardgate-bench: {}", report.name());
        let page = html::page(&title, &Machine::here(), &report.sections("Figures"))?;
        std::fs::write(file, page).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if cli.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.table());
    }
    Ok(ExitCode::SUCCESS)
}

fn exit(good: bool) -> anyhow::Result<ExitCode> {
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
