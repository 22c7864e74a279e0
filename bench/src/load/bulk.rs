//! Bulk: payload through several connections at once, counted and compared at the far end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;

use super::poll::{self, Settings, Sink};
use super::stream::{self, Direction, Moved, Named, Plan, Receiver};
use super::{Between, per_second};
use crate::cpu::{self, Meter, Used};
use crate::report::Report;
use crate::size;

/// The amount, the direction and the piece size of the payload.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) between: Between,
    #[command(flatten)]
    pub(crate) pieces: Pieces,
    /// Payload of all connections together, in each direction
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = size::parse)]
    pub(crate) size: u64,
    /// Direction of the payload
    #[arg(long, value_enum, default_value = "there")]
    pub(crate) direction: Direction,
}

/// How the payload is passed to the kernel at both ends.
#[derive(Debug, Clone, Args)]
pub(crate) struct Pieces {
    /// Bytes that are passed to the kernel at once
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = chunk)]
    pub(crate) chunk: usize,
    /// Count received bytes without comparing them: costs the receiving end almost nothing
    #[arg(long)]
    pub(crate) count_only: bool,
    /// Threads at each end
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) threads: u8,
}

/// Larger pieces bring no gain, and a vectored write takes 1024 pieces of the pattern's block.
const CHUNK_MAX: usize = 32 << 20;

fn chunk(text: &str) -> Result<usize, String> {
    let size = usize::try_from(size::parse(text)?).unwrap_or(usize::MAX);
    if size > CHUNK_MAX {
        return Err(format!("more than {CHUNK_MAX} bytes"));
    }
    Ok(size)
}

impl Pieces {
    pub(crate) fn settings(&self, stall: Duration) -> Settings {
        Settings {
            threads: self.threads.into(),
            room: self.chunk,
            stall,
        }
    }
}

/// Transfers the bytes and reports the time.
///
/// # Errors
///
/// A connection fails or stalls, or the far end received different bytes.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let between = &options.between;
    anyhow::ensure!(
        options.size >= 4 * u64::from(between.streams),
        "a stream spells its number first: --size must be 4 bytes a stream or more"
    );
    super::allow_descriptors(2 * u64::from(between.streams))?;
    cpu::pinned(between.cpu, || {
        let plan = Arc::new(plan(options));
        let sink = start_sink(options, &plan)?;
        push(options, &plan, &sink, between.connect)
    })
}

fn plan(options: &Options) -> Plan {
    Plan {
        size: options.size,
        streams: options.between.streams,
        direction: options.direction,
        chunk: options.pieces.chunk,
        compare: !options.pieces.count_only,
        stop: false.into(),
        arrived: 0.into(),
        named: Named::default(),
    }
}

fn start_sink(options: &Options, plan: &Arc<Plan>) -> anyhow::Result<Sink<Moved>> {
    let plan = Arc::clone(plan);
    let settings = options.pieces.settings(options.between.stall());
    Sink::start(&options.between, settings, move || {
        Receiver::new(Arc::clone(&plan))
    })
}

fn push(
    options: &Options,
    plan: &Arc<Plan>,
    sink: &Sink<Moved>,
    connect: SocketAddr,
) -> anyhow::Result<Report> {
    let between = &options.between;
    let streams = match stream::connect_all(plan, connect, between) {
        Ok(streams) => streams,
        Err(near) => return Err(with_far(near, sink)),
    };
    let meter = Meter::start(&between.pids)?;
    let begun = Instant::now();
    let sent = poll::drive(streams, options.pieces.settings(between.stall()));
    let elapsed = begun.elapsed();
    let sent = sent.map_err(|near| with_far(near, sink))?;
    let arrived = sink.wait(between.streams, between.stall())?;
    let used = meter.read()?;
    compare(plan, &sent, &arrived)?;
    Ok(report(options, elapsed, &used))
}

/// The error of the sink is more precise than the failure of a generator's connection that follows.
fn with_far(near: anyhow::Error, sink: &Sink<Moved>) -> anyhow::Error {
    match sink.failure() {
        Some(far) => near.context(format!("{far:#}")),
        None => near,
    }
}

/// Every stream must have arrived once and completely, in both directions.
pub(crate) fn compare(plan: &Plan, sent: &[Moved], arrived: &[Moved]) -> anyhow::Result<()> {
    for number in 0..plan.streams {
        let near = one(sent, number, "sending")?;
        let far = one(arrived, number, "listening")?;
        anyhow::ensure!(
            (near.sent, near.arrived) == (far.arrived, far.sent),
            "stream {number}: {} bytes were sent there and {} back, {} and {} arrived",
            near.sent,
            far.sent,
            far.arrived,
            near.arrived
        );
    }
    Ok(())
}

fn one(ends: &[Moved], number: u32, which: &str) -> anyhow::Result<Moved> {
    let mut found = ends.iter().filter(|end| end.number == number);
    match (found.next(), found.next()) {
        (Some(&end), None) => Ok(end),
        (None, _) => anyhow::bail!("stream {number} is missing at the {which} end"),
        (Some(_), Some(_)) => anyhow::bail!("stream {number} is doubled at the {which} end"),
    }
}

fn report(options: &Options, elapsed: Duration, used: &Used) -> Report {
    let directions = if options.direction == Direction::Both {
        2
    } else {
        1
    };
    let payload = options.size * directions;
    let gigabytes = payload as f64 / 1e9;
    let mut report = Report::default();
    report.text("scenario", "bulk");
    report.whole("streams", options.between.streams.into());
    let direction = match options.direction {
        Direction::There => "there",
        Direction::Back => "back",
        Direction::Both => "both",
    };
    report.text("direction", direction);
    report.whole("payload_bytes", payload);
    report.whole("chunk_bytes", options.pieces.chunk as u64);
    let compared = if options.pieces.count_only {
        "count"
    } else {
        "content"
    };
    report.text("compared", compared);
    report.real("elapsed_seconds", elapsed.as_secs_f64());
    report.real("gigabytes_per_second", per_second(gigabytes, elapsed));
    used.rows(&mut report, "cpu_seconds", 1.0);
    used.rows(&mut report, "cpu_seconds_per_gigabyte", 1.0 / gigabytes);
    used.plot(&mut report, "CPU seconds per GB", 1.0 / gigabytes);
    report
}

/// Without a program between the ends.
#[cfg(test)]
pub(crate) fn over_loopback(options: &Options) -> anyhow::Result<Report> {
    let plan = Arc::new(plan(options));
    let sink = start_sink(options, &plan)?;
    push(options, &plan, &sink, sink.address())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{Shutdown, TcpListener};

    use super::*;
    use crate::load::stream::Generator;
    use crate::pattern::Pattern;
    use crate::server;

    fn options(streams: u32, size: u64, chunk: usize, direction: Direction) -> Options {
        Options {
            between: Between {
                pids: vec![std::process::id()],
                ..Between::on_loopback(streams)
            },
            pieces: Pieces {
                chunk,
                count_only: false,
                threads: 2,
            },
            size,
            direction,
        }
    }

    #[test]
    fn every_byte_of_every_stream_arrives_over_loopback() {
        for direction in [Direction::There, Direction::Back, Direction::Both] {
            for (streams, size, chunk) in [
                (1, 4, 1),
                (1, 5, 1),
                (1, 1 << 20, 4096),
                (7, 3_000_001, 65_536),
            ] {
                let mut options = options(streams, size, chunk, direction);
                for count_only in [false, true] {
                    options.pieces.count_only = count_only;
                    let report = over_loopback(&options).expect("the bytes arrive");
                    let ways = if direction == Direction::Both { 2 } else { 1 };
                    let payload = report.number("payload_bytes");
                    assert_eq!(payload, Some((size * ways) as f64));
                    assert!(report.number("cpu_seconds_per_gigabyte").is_some());
                }
            }
        }
    }

    #[test]
    fn a_silent_probe_is_not_a_stream() {
        let options = options(2, 1000, 64, Direction::There);
        let plan = Arc::new(plan(&options));
        let sink = start_sink(&options, &plan).expect("the sink starts");
        drop(server::connect(sink.address(), &options.between).expect("it accepts"));
        push(&options, &plan, &sink, sink.address()).expect("the bytes arrive");
    }

    #[test]
    fn two_thousand_streams_need_two_threads_an_end() {
        let options = options(2000, 20_000_000, 65_536, Direction::Both);
        let options = Options {
            between: Between {
                stall: 60,
                ..options.between.clone()
            },
            ..options
        };
        super::super::allow_descriptors(4000).expect("the system allows them");
        over_loopback(&options).expect("the bytes arrive");
    }

    #[test]
    fn a_changed_byte_is_found_by_the_sink() {
        let options = options(1, 100_000, 4096, Direction::There);
        let plan = Arc::new(plan(&options));
        let sink = start_sink(&options, &plan).expect("the sink starts");
        let mut bytes = vec![0; 100_000];
        Pattern::of_stream(0).fill(0, &mut bytes);
        bytes[70_000] ^= 0x10;
        let mut stream = server::connect(sink.address(), &options.between).expect("up");
        // The sink may close as soon as it has read the byte.
        let _ = stream.write_all(&bytes);
        drop(stream);
        let error = sink
            .wait(1, Duration::from_secs(10))
            .expect_err("a byte differs");
        let error = format!("{error:#}");
        assert!(error.contains("stream 0 differs"), "{error}");
    }

    /// The result of one stream whose far end belongs to the test and sends only these bytes.
    fn against(options: &Options, answer: &[u8], end: bool) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it listens");
        let stream = server::connect(address, &options.between).expect("it listens");
        let (mut far, _) = listener.accept().expect("it was connected");
        far.write_all(answer).expect("the answer fits");
        if end {
            far.shutdown(Shutdown::Write).expect("it is open");
        }
        let generator = Generator::new(Arc::new(plan(options)), 0);
        let settings = options.pieces.settings(options.between.stall());
        let driven = poll::drive(vec![(stream, generator)], settings);
        format!("{:#}", driven.expect_err("the answer is not the payload"))
    }

    #[test]
    fn a_changed_or_missing_byte_on_the_way_back_is_found() {
        let mut options = options(1, 1000, 4096, Direction::Back);
        options.between.stall = 1;
        let mut bytes = vec![0; 1000];
        Pattern::of_stream(1 << 31).fill(0, &mut bytes);
        let error = against(&options, &bytes[..999], true);
        assert!(error.contains("ended by the other side"), "{error}");
        bytes[999] ^= 1;
        let error = against(&options, &bytes, true);
        assert!(error.contains("stream 0 differs"), "{error}");
    }

    #[test]
    fn a_stall_ends_the_run() {
        let mut options = options(1, 1000, 4096, Direction::Back);
        options.between.stall = 1;
        let error = against(&options, &[], false);
        assert!(
            error.contains("nothing moved for 1s, 1 are open"),
            "{error}"
        );
    }

    #[test]
    fn a_stream_that_never_reaches_the_sink_is_an_error() {
        let mut options = options(2, 1000, 4096, Direction::There);
        options.between.stall = 1;
        let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = elsewhere.local_addr().expect("it listens");
        let plan = Arc::new(plan(&options));
        let sink = start_sink(&options, &plan).expect("the sink starts");
        let error = push(&options, &plan, &sink, address).expect_err("nobody answers");
        let error = format!("{error:#}");
        assert!(error.contains("0 streams have reached the sink"), "{error}");
    }

    #[test]
    fn a_stream_that_is_short_or_missing_or_doubled_is_found() {
        let plan = plan(&options(2, 10, 1, Direction::There));
        let near = |number| Moved {
            number,
            sent: 5,
            arrived: 0,
        };
        let far = |number, arrived| Moved {
            number,
            sent: 0,
            arrived,
        };
        let sent = [near(0), near(1)];
        assert!(compare(&plan, &sent, &[far(1, 5), far(0, 5)]).is_ok());
        assert!(compare(&plan, &sent, &[far(1, 5), far(0, 4)]).is_err());
        assert!(compare(&plan, &sent, &[far(1, 5)]).is_err());
        assert!(compare(&plan, &sent, &[far(0, 5), far(0, 5), far(1, 5)]).is_err());
    }

    #[test]
    fn shares_add_up_to_the_whole() {
        let plan = plan(&options(3, 10, 1, Direction::There));
        let shares: Vec<_> = (0..3).map(|number| plan.share(number)).collect();
        assert_eq!(shares, [4, 3, 3]);
    }

    #[test]
    fn a_sink_without_connections_ends_the_wait() {
        let options = options(1, 5, 1, Direction::There);
        let sink = start_sink(&options, &Arc::new(plan(&options))).expect("the sink starts");
        let error = sink
            .wait(1, Duration::from_millis(20))
            .expect_err("nobody came");
        assert!(error.to_string().contains("only 0 of 1"), "{error}");
    }
}
