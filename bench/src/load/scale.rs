//! Scale: bulk over an increasing number of connections, with the same payload each time.
//!
//! The gateways decide how many cores they use: run this once for each number of cores, with a label.

use clap::Args;

use super::Between;
use super::bulk::{self, Pieces};
use super::stream::Direction;
use crate::report::Report;
use crate::report::plot::{Lines, Plot};
use crate::size;

/// The numbers of connections.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// `--streams` has no effect here
    #[command(flatten)]
    pub(crate) between: Between,
    #[command(flatten)]
    pub(crate) pieces: Pieces,
    /// Numbers of connections, in the order of the runs
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_value = "1,10,100,1000", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) connections: Vec<u32>,
    /// Payload of all connections together, in each run
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = size::parse)]
    pub(crate) size: u64,
    /// The direction of the payload
    #[arg(long, value_enum, default_value = "there")]
    pub(crate) direction: Direction,
    /// A label of the gateways for the report: "2 cores"
    #[arg(long, value_name = "TEXT", default_value = "gateways")]
    pub(crate) label: String,
}

/// Runs `bulk` with each number of connections.
///
/// # Errors
///
/// One of the runs fails.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    collect(options, bulk::run)
}

fn collect(
    options: &Options,
    bulk: impl Fn(&bulk::Options) -> anyhow::Result<Report>,
) -> anyhow::Result<Report> {
    let mut report = Report::default();
    report.text("scenario", "scale");
    report.text("label", &options.label);
    report.whole("payload_bytes_each", options.size);
    let mut rates = Vec::new();
    let mut costs = Vec::new();
    for &connections in &options.connections {
        let row = bulk(&one(options, connections))
            .map_err(|error| error.context(format!("with {connections} connections")))?;
        for (name, number) in row.numbers() {
            if name.ends_with("_per_second") || name.ends_with("_per_gigabyte") {
                report.real(&format!("connections_{connections}_{name}"), number);
            }
        }
        let across = f64::from(connections);
        let point = |name| row.number(name).map(|number| (across, number));
        rates.extend(point("gigabytes_per_second"));
        costs.extend(point("cpu_seconds_per_gigabyte"));
    }
    for (title, up, points) in [
        ("Rate", "GB per second", rates),
        ("CPU time", "CPU seconds per GB", costs),
    ] {
        if points.is_empty() {
            continue;
        }
        let lines = Lines {
            across: "connections".to_owned(),
            up: up.to_owned(),
            logarithmic: true,
            series: vec![(options.label.clone(), points)],
        };
        report.plot(title, Plot::Lines(lines));
    }
    Ok(report)
}

fn one(options: &Options, connections: u32) -> bulk::Options {
    bulk::Options {
        between: Between {
            streams: connections,
            ..options.between.clone()
        },
        pieces: options.pieces.clone(),
        size: options.size,
        direction: options.direction,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options {
            between: Between::on_loopback(1),
            pieces: Pieces {
                chunk: 65_536,
                count_only: false,
                threads: 1,
            },
            connections: vec![1, 20, 300],
            size: 3_000_000,
            direction: Direction::There,
            label: "none".to_owned(),
        }
    }

    #[test]
    fn each_number_of_connections_has_its_rows() {
        let report = collect(&options(), bulk::over_loopback).expect("everything arrives");
        for connections in [1, 20, 300] {
            let name = format!("connections_{connections}_gigabytes_per_second");
            assert!(report.number(&name) > Some(0.0), "{name}");
        }
        assert_eq!(report.sections("x").len(), 2);
    }

    #[test]
    fn a_run_that_fails_is_named_by_its_connections() {
        let fail = |options: &bulk::Options| {
            anyhow::ensure!(options.between.streams < 20, "nothing moved");
            Ok(Report::default())
        };
        let error = collect(&options(), fail).expect_err("the second fails");
        assert_eq!(format!("{error:#}"), "with 20 connections: nothing moved");
    }
}
