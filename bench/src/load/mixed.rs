//! Mixed: the effect of bulk on the latency of small messages on the same path.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use clap::Args;
use hdrhistogram::Histogram;

use super::bulk::{self, Pieces};
use super::pingpong::{self, MessageSize};
use super::stream::{self, Direction, Moved, Named, Plan, Receiver};
use super::{Between, latency, message, per_second, poll};
use crate::cpu::{self, Meter, Used};
use crate::report::Report;
use crate::server::Server;

/// The bulk, and the messages next to it.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// `--streams` is the number of bulk streams
    #[command(flatten)]
    pub(crate) between: Between,
    #[command(flatten)]
    pub(crate) pieces: Pieces,
    #[command(flatten)]
    pub(crate) size: MessageSize,
    /// Connections with messages
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) talkers: u32,
    /// Messages on each of these connections, without bulk and then with it
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) count: u32,
    /// Messages per second on each of these connections
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: u32,
}

/// Measures without the bulk, then with it.
///
/// # Errors
///
/// A connection fails or stalls, or received bytes are wrong.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let between = &options.between;
    between.with_threads()?;
    cpu::pinned(between.cpu, || {
        let plan = Arc::new(plan(options));
        let server = start(options, &plan)?;
        measure(options, &plan, &server, between.connect)
    })
}

fn plan(options: &Options) -> Plan {
    Plan {
        // Without an end: the streams are stopped.
        size: u64::MAX / 2,
        streams: options.between.streams,
        direction: Direction::There,
        chunk: options.pieces.chunk,
        compare: !options.pieces.count_only,
        stop: false.into(),
        arrived: 0.into(),
        named: Named::default(),
    }
}

/// The far end, with a thread for each connection, so that an answer never waits for bulk there.
fn start(options: &Options, plan: &Arc<Plan>) -> anyhow::Result<Server<Option<Moved>>> {
    let plan = Arc::clone(plan);
    let settings = options.pieces.settings(options.between.stall());
    Server::start(&options.between, move |stream| {
        let mut first = [0];
        stream.peek(&mut first)?;
        if message::begins(&first) {
            return pingpong::answer(stream).map(|()| None);
        }
        let receiver = Receiver::new(Arc::clone(&plan));
        let moved = poll::drive_here(vec![(stream, receiver)], settings);
        let moved = moved.map_err(|error| io::Error::other(format!("{error:#}")))?;
        Ok(moved.first().copied())
    })
}

fn measure(
    options: &Options,
    plan: &Arc<Plan>,
    server: &Server<Option<Moved>>,
    connect: SocketAddr,
) -> anyhow::Result<Report> {
    let between = &options.between;
    let messages = pingpong::Options {
        between: Between {
            streams: options.talkers,
            ..between.clone()
        },
        count: options.count,
        size: options.size,
        rate: Some(options.rate),
    };
    let unloaded = pingpong::converse_all(&messages, connect)?;
    server.wait(options.talkers, between.stall())?;
    let loaded = beside_bulk(options, plan, &messages, connect)?;
    let ended = server.wait(options.talkers + between.streams, between.stall())?;
    let arrived: Vec<Moved> = ended.into_iter().flatten().collect();
    bulk::compare(plan, &loaded.sent, &arrived)?;
    Ok(report(options, &unloaded, &loaded))
}

/// The measurements while bulk moved.
struct Loaded {
    latencies: Histogram<u64>,
    sent: Vec<Moved>,
    /// The bytes of bulk that arrived in the meantime, and this time.
    bulk: u64,
    elapsed: Duration,
    used: Used,
}

fn beside_bulk(
    options: &Options,
    plan: &Arc<Plan>,
    messages: &pingpong::Options,
    connect: SocketAddr,
) -> anyhow::Result<Loaded> {
    let streams = stream::connect_all(plan, connect, &options.between)?;
    let settings = options.pieces.settings(options.between.stall());
    let bulk = thread::spawn(move || poll::drive(streams, settings));
    let measured = until_it_moves(options, plan).and_then(|()| {
        let meter = Meter::start(&options.between.pids)?;
        let (before, begun) = (plan.arrived.load(Ordering::Relaxed), Instant::now());
        let latencies = pingpong::converse_all(messages, connect)?;
        let bulk = plan.arrived.load(Ordering::Relaxed) - before;
        Ok((latencies, bulk, begun.elapsed(), meter.read()?))
    });
    plan.stop.store(true, Ordering::Relaxed);
    let sent = bulk.join().map_err(|_| anyhow!("a generator panicked"))?;
    // If bulk failed, this is also why the messages fail.
    let sent = sent?;
    let (latencies, bulk, elapsed, used) = measured?;
    anyhow::ensure!(
        bulk > 0,
        "the bulk stood still while messages were measured"
    );
    Ok(Loaded {
        latencies,
        sent,
        bulk,
        elapsed,
        used,
    })
}

/// The bytes of each stream after which all buffers on the path are full.
const WARM: u64 = 16 << 20;

/// Waits until the bulk has reached its full rate.
fn until_it_moves(options: &Options, plan: &Plan) -> anyhow::Result<()> {
    let warm = WARM * u64::from(options.between.streams);
    let deadline = Instant::now() + options.between.stall();
    while plan.arrived.load(Ordering::Relaxed) < warm {
        anyhow::ensure!(
            Instant::now() < deadline,
            "the bulk did not get up to speed"
        );
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn report(options: &Options, unloaded: &Histogram<u64>, loaded: &Loaded) -> Report {
    let mut report = Report::default();
    report.text("scenario", "mixed");
    report.whole("streams", options.between.streams.into());
    report.whole("talkers", options.talkers.into());
    report.whole("message_bytes", options.size.bytes.into());
    report.whole("messages_per_second_asked", options.rate.into());
    report.whole("messages", loaded.latencies.len());
    let gigabytes = loaded.bulk as f64 / 1e9;
    let rate = per_second(gigabytes, loaded.elapsed);
    report.real("bulk_gigabytes_per_second", rate);
    latency::rows(&mut report, "unloaded", unloaded);
    latency::rows(&mut report, "loaded", &loaded.latencies);
    for (name, quantile) in [("ratio_p50", 0.5), ("ratio_p99", 0.99)] {
        let of = |times: &Histogram<u64>| times.value_at_quantile(quantile) as f64;
        report.real(name, of(&loaded.latencies) / of(unloaded).max(1.0));
    }
    loaded.used.rows(&mut report, "loaded_cpu_seconds", 1.0);
    let series = [
        ("without bulk", unloaded),
        ("beside bulk", &loaded.latencies),
    ];
    report.plot("Round trips", latency::curves("round trip", &series));
    report
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn options() -> Options {
        Options {
            between: Between::on_loopback(2),
            pieces: Pieces {
                chunk: 65_536,
                count_only: false,
                threads: 1,
            },
            size: MessageSize { bytes: 200 },
            talkers: 2,
            count: 50,
            rate: 500,
        }
    }

    #[test]
    fn both_are_measured_on_the_same_path() {
        let options = options();
        let plan = Arc::new(plan(&options));
        let server = start(&options, &plan).expect("the far end starts");
        let report = measure(&options, &plan, &server, server.address());
        let report = report.expect("everything arrives");
        assert_eq!(report.number("messages"), Some(100.0));
        assert!(report.number("bulk_gigabytes_per_second") > Some(0.0));
        assert!(report.number("ratio_p99") > Some(0.0));
    }

    #[test]
    fn bulk_that_stands_still_is_an_error() {
        let mut options = options();
        options.between.stall = 1;
        let plan = Arc::new(plan(&options));
        let taken = Arc::clone(&plan);
        // Messages are answered; bulk is read only up to its first bytes.
        let server = Server::start(&options.between, move |mut stream| {
            let mut first = [0];
            stream.peek(&mut first)?;
            if message::begins(&first) {
                return pingpong::answer(stream).map(|()| None);
            }
            stream.read_exact(&mut [0; 4])?;
            taken.named.add();
            thread::park_timeout(Duration::from_secs(5));
            Ok(None)
        });
        let server = server.expect("the far end starts");
        let error = measure(&options, &plan, &server, server.address());
        let error = format!("{:#}", error.expect_err("nothing moves"));
        assert!(error.contains("nothing moved"), "{error}");
    }
}
