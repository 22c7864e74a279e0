//! The plan of a run: the command line, and the resolved settings.

use std::path::PathBuf;

use clap::Args;

use super::results::Placement;
use super::scenario::Scenario;
use crate::chain::{self, Chain, Program, packages};
use crate::size;

/// The chains, scenarios and number of rounds.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Counted rounds; one more before them is a warm-up [default: 5, with --quick 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// Only these chains: wardgate, haproxy, haproxy-tuned, ... [default: all]
    #[arg(long, value_name = "CHAIN", value_delimiter = ',', value_parser = Chain::named)]
    only: Vec<Chain>,
    /// Only these scenarios [default: all]
    #[arg(long, value_enum, value_name = "SCENARIO", value_delimiter = ',')]
    scenarios: Vec<Scenario>,
    /// Placement of A, B, source and sink [default: both, with --quick one]
    #[arg(long, value_enum, value_name = "PLACEMENT", value_delimiter = ',')]
    placements: Vec<Placement>,
    /// Numbers of streams of the bulk scenario [default: 1,8,64; with --quick 1]
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1000))]
    streams: Vec<u32>,
    /// Payload of one bulk run [default: 1GiB, with --quick 256MiB]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    size: Option<u64>,
    /// Full handshakes of one run [default: 500, with --quick 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    handshakes: Option<u32>,
    /// Messages of one latency run [default: 10000, with --quick 2000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    messages: Option<u32>,
    /// Idle connections [default: 10000, with --quick 200]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    idle: Option<u32>,
    /// CT slices of one DICOM run [default: 500, with --quick 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    objects: Option<u32>,
    /// A short run: fewer rounds, smaller sizes, one placement
    #[arg(long)]
    quick: bool,
    /// Fail if wardgate's CPU time per byte is more than this multiple of HAProxy's as shipped
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    pub(super) at_most: Option<f64>,
    /// The wardgate to measure [default: the installed one, or else the release build, brought up to date]
    #[arg(long, value_name = "FILE")]
    pub(super) wardgate: Option<PathBuf>,
    /// Bytes that a plain relay reads at once: as many as wardgate
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = size::parse)]
    pub(super) batch: u64,
    /// Write every sample, median and spread to this file
    #[arg(long, value_name = "FILE")]
    pub(super) json_file: Option<PathBuf>,
    /// Install no Debian package; fail if one is missing
    #[arg(long)]
    pub(super) no_install: bool,
    /// Set when the program runs in its own network namespace
    #[arg(long, hide = true)]
    pub(super) inside: bool,
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ratio) if f64::is_finite(ratio) && ratio > 0.0 => Ok(ratio),
        _ => Err("a ratio is a number above 0, such as 0.6".to_owned()),
    }
}

/// The resolved plan of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) chains: Vec<Chain>,
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) placements: Vec<Placement>,
    pub(crate) rounds: u32,
    pub(crate) streams: Vec<u32>,
    pub(crate) size: u64,
    pub(crate) handshakes: u32,
    pub(crate) messages: u32,
    pub(crate) idle: u32,
    pub(crate) objects: u32,
}

impl Plan {
    pub(crate) fn of(options: &Options) -> Self {
        let quick = options.quick;
        let by =
            |given: Option<u32>, short, long| given.unwrap_or(if quick { short } else { long });
        let short_placements: &[_] = &[Placement::One];
        let short_streams: &[_] = &[1];
        let (placements, streams) = if quick {
            (short_placements, short_streams)
        } else {
            (&[Placement::One, Placement::Split][..], &[1, 8, 64][..])
        };
        Self {
            chains: given(&options.only, &chain::ALL),
            scenarios: given(&options.scenarios, &Scenario::ALL),
            placements: given(&options.placements, placements),
            rounds: by(options.rounds, 3, 5),
            streams: given(&options.streams, streams),
            size: options
                .size
                .unwrap_or(if quick { 256 << 20 } else { 1 << 30 }),
            handshakes: by(options.handshakes, 100, 500),
            messages: by(options.messages, 2000, 10_000),
            idle: by(options.idle, 200, 10_000),
            objects: by(options.objects, 20, 500),
        }
    }

    /// Scenarios of a round at this placement; scenarios that do not depend on it are measured at the last.
    pub(crate) fn of_round(&self, at: Placement) -> Vec<Scenario> {
        let last = self.placements.last() == Some(&at);
        self.scenarios
            .iter()
            .copied()
            .filter(|scenario| match scenario {
                Scenario::Bulk | Scenario::Handshake | Scenario::Pingpong => true,
                // A shared core is what `one` is about, and it shows the cost of a byte best.
                Scenario::Mixed | Scenario::Store => {
                    at == Placement::One || self.placements.len() == 1
                }
                Scenario::Dicom => last,
                Scenario::Idle => false,
            })
            .collect()
    }

    pub(crate) fn has(&self, scenario: Scenario) -> bool {
        self.scenarios.contains(&scenario)
    }

    /// The files that the run needs, and their packages.
    pub(crate) fn packages(&self) -> Vec<(&'static str, &'static str)> {
        let peers = [Program::Haproxy, Program::Stunnel, Program::Nginx];
        let mut needed: Vec<_> = peers
            .into_iter()
            .filter(|&program| self.chains.iter().any(|chain| chain.has(program)))
            .flat_map(packages::needed_by)
            .copied()
            .collect();
        if self.has(Scenario::Dicom) {
            needed.extend(packages::DICOM);
        }
        needed
    }
}

/// The requested values, each once and in order, or all.
fn given<T: Clone + PartialEq>(asked: &[T], all: &[T]) -> Vec<T> {
    let from = if asked.is_empty() { all } else { asked };
    let mut chosen: Vec<T> = Vec::new();
    for one in from {
        if !chosen.contains(one) {
            chosen.push(one.clone());
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        options: Options,
    }

    fn plan(arguments: &str) -> Result<Plan, String> {
        let arguments = std::iter::once("peers").chain(arguments.split_whitespace());
        match Arguments::try_parse_from(arguments) {
            Ok(arguments) => Ok(Plan::of(&arguments.options)),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn without_arguments_everything_is_measured() {
        let plan = plan("").expect("no word is needed");
        assert_eq!(plan.chains, chain::ALL);
        assert_eq!(plan.scenarios, Scenario::ALL);
        assert_eq!(plan.streams, [1, 8, 64]);
        assert_eq!((plan.rounds, plan.objects, plan.idle), (5, 500, 10_000));
    }

    #[test]
    fn the_quick_run_of_the_tests_is_bulk_through_two_chains_on_one_core() {
        let plan = plan("--quick --only wardgate,haproxy --scenarios bulk --at-most 0.6")
            .expect("these are valid arguments");
        let names: Vec<_> = plan.chains.iter().map(|chain| chain.name).collect();
        assert_eq!(names, ["wardgate", "haproxy"]);
        assert_eq!(plan.scenarios, [Scenario::Bulk]);
        assert_eq!(plan.placements, [Placement::One]);
        assert_eq!(plan.packages(), [("/usr/sbin/haproxy", "haproxy")]);
    }

    #[test]
    fn names_given_twice_are_measured_once() {
        let plan = plan("--only direct,direct --streams 8,8").expect("these are valid arguments");
        assert_eq!((plan.chains.len(), plan.streams.len()), (1, 1));
    }

    #[test]
    fn unknown_chains_and_ratios_are_refused() {
        assert!(plan("--only nosuch").is_err());
        assert!(plan("--at-most -1").is_err());
        assert!(plan("--at-most nan").is_err());
    }

    #[test]
    fn series_are_sent_at_the_last_placement_alone() {
        let plan = plan("--scenarios bulk,dicom,idle").expect("these are valid arguments");
        assert_eq!(plan.of_round(Placement::One), [Scenario::Bulk]);
        let both = [Scenario::Bulk, Scenario::Dicom];
        assert_eq!(plan.of_round(Placement::Split), both);
    }
}
