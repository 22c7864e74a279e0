//! Single pieces of the byte path in memory: records, buffers, handshakes.
//!
//! The cases take turns, so that a slower machine slows all of them; the result is the median of the turns.
//! With `--iterations` and `--quiet`, a case is only run this number of times, for a tool that counts
//! instructions.

mod handshake;
mod observe;
mod pool;
mod record;
mod refused;

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use gateway::config::CipherSetting;
use gateway::tls::{CipherChoice, CpuFeatures};

/// What to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Only this case; may be given several times
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// Turns of each case
    #[arg(long, value_name = "N", default_value_t = 201, value_parser = clap::value_parser!(u32).range(1..))]
    iterations: u32,
    /// Print nothing
    #[arg(long)]
    quiet: bool,
    /// List the cases
    #[arg(long)]
    list: bool,
}

/// One piece of work that is repeated.
pub(crate) trait Turn {
    /// Runs it once and returns the time of the measured part.
    fn turn(&mut self) -> Duration;
}

/// A piece by its name.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Operations in one turn.
    pub(crate) operations: u32,
    /// The bytes that one operation moves; 0 if that has no meaning.
    pub(crate) octets: usize,
    /// Sets it up.
    pub(crate) begin: fn() -> anyhow::Result<Box<dyn Turn>>,
}

fn all() -> Vec<Case> {
    let groups = [
        record::cases(),
        observe::cases(),
        pool::cases(),
        handshake::cases(),
        refused::cases(),
    ];
    groups.into_iter().flatten().collect()
}

/// Runs the cases and prints their times.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut cases = all();
    if options.list {
        cases.iter().for_each(|case| println!("{}", case.name));
        return Ok(());
    }
    for name in &options.cases {
        let known = cases.iter().any(|case| case.name == name);
        anyhow::ensure!(known, "no case {name:?}; --list names them");
    }
    cases.retain(|case| options.cases.is_empty() || options.cases.iter().any(|n| n == case.name));
    let mut turns = Vec::new();
    for case in &cases {
        let turn = (case.begin)().with_context(|| format!("cannot set {:?} up", case.name))?;
        turns.push((turn, Vec::new()));
    }
    for _ in 0..options.iterations {
        for (turn, times) in &mut turns {
            times.push(turn.turn());
        }
    }
    if !options.quiet {
        let choice = CipherChoice::new(CipherSetting::Auto, CpuFeatures::detect());
        println!("cipher of this machine: {choice}\n");
        println!(
            "{:<16} {:>12} {:>10} {:>10} {:>8}",
            "case", "ns each", "fastest", "slowest", "s/GB"
        );
        for (case, (_, times)) in cases.iter().zip(&mut turns) {
            println!("{}", row(case, times));
        }
    }
    Ok(())
}

/// The median time of a case for each byte, on the calling thread.
///
/// # Errors
///
/// There is no such case, it moves no bytes, or it cannot be set up.
pub(crate) fn nanoseconds_per_byte(name: &str, turns: u32) -> anyhow::Result<f64> {
    let case = all().into_iter().find(|case| case.name == name);
    let case = case.filter(|case| case.octets > 0);
    let case = case.with_context(|| format!("no case {name:?} moves bytes"))?;
    let mut turn = (case.begin)()?;
    let mut times: Vec<_> = (0..turns).map(|_| turn.turn()).collect();
    times.sort_unstable();
    let median = times.get(times.len() / 2).context("no turn")?.as_secs_f64();
    Ok(median * 1e9 / f64::from(case.operations) / case.octets as f64)
}

/// Median, tenth and ninetieth of a hundred.
fn row(case: &Case, times: &mut [Duration]) -> String {
    times.sort_unstable();
    let each = |hundredth: usize| {
        let time = times.get(times.len() * hundredth / 100);
        time.map_or(0.0, Duration::as_secs_f64) / f64::from(case.operations)
    };
    let per_gigabyte = match case.octets {
        0 => "-".to_owned(),
        octets => format!("{:.4}", each(50) / octets as f64 * 1e9),
    };
    let [median, fast, slow] = [50, 10, 90].map(|hundredth| each(hundredth) * 1e9);
    format!(
        "{:<16} {median:>12.1} {fast:>10.1} {slow:>10.1} {per_gigabyte:>8}",
        case.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_runs() {
        for case in all() {
            let mut turn = (case.begin)().expect(case.name);
            assert!(turn.turn() > Duration::ZERO, "{}", case.name);
            turn.turn();
        }
    }
}
