//! Ping-pong: a message and its echo, again and again, and how long each took.
//!
//! With a rate, messages are due at fixed times, and each is timed from when it was *due*: one slow
//! echo makes those behind it late, and a user would have felt that (coordinated omission).

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use clap::Args;
use hdrhistogram::Histogram;

use crate::cpu;
use crate::load::Between;
use crate::pattern::Pattern;
use crate::report::Report;
use crate::server::{self, Server};

/// How many messages, how large, how often.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) between: Between,
    /// Messages on each connection
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) count: u32,
    /// Bytes of a message
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=(16 << 20)))]
    pub(crate) bytes: u32,
    /// Messages a second on each connection; without it, each follows the echo of the one before
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: Option<u32>,
}

/// Microseconds from which on an echo counts as this long; longer than any stall may be.
const LATENCY_MAX_US: u64 = 3_600_000_000;

/// Significant digits that the histogram keeps.
const DIGITS: u8 = 3;

/// The last part of a wait is spun: a sleep may end a scheduler's tick late.
const SPIN: Duration = Duration::from_micros(200);

/// Sends the messages and reports the latencies.
///
/// # Errors
///
/// Where a connection fails or stalls, or an echo is not what was sent.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let server = start_echo(options, options.between.listen)?;
    let report = measure(options, options.between.connect)?;
    server.wait(options.between.streams, options.between.stall())?;
    Ok(report)
}

fn start_echo(options: &Options, listen: SocketAddr) -> anyhow::Result<Server<()>> {
    Server::start(listen, options.between.stall(), echo)
}

/// Sends back whatever comes, until the other side ends.
fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n])?,
        }
    }
}

fn measure(options: &Options, connect: SocketAddr) -> anyhow::Result<Report> {
    let cpu_before = cpu::used(&options.between.pids)?;
    let begun = Instant::now();
    let threads: Vec<_> = (0..options.between.streams)
        .map(|number| {
            let options = options.clone();
            thread::spawn(move || converse(&options, number, connect))
        })
        .collect();
    let mut latencies = histogram();
    for (number, thread) in threads.into_iter().enumerate() {
        let outcome = thread
            .join()
            .map_err(|_| anyhow!("stream {number} panicked"))?;
        let own = outcome.with_context(|| format!("stream {number} failed"))?;
        latencies
            .add(&own)
            .context("histograms have the same bounds")?;
    }
    let elapsed = begun.elapsed();
    let cpu = cpu::used(&options.between.pids)?.saturating_sub(cpu_before);
    Ok(report(options, &latencies, elapsed, cpu))
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_US, DIGITS).expect("the bounds are constants")
}

/// One connection's messages and echoes.
fn converse(options: &Options, number: u32, connect: SocketAddr) -> anyhow::Result<Histogram<u64>> {
    let mut stream = server::connect(connect, options.between.stall())?;
    let pattern = Pattern::of_stream(number);
    let mut message = vec![0; options.bytes as usize];
    let mut latencies = histogram();
    let schedule = Schedule {
        begin: Instant::now(),
        interval: options.rate.map(|rate| Duration::from_secs(1) / rate),
    };
    for n in 0..options.count {
        let position = u64::from(n) * u64::from(options.bytes);
        pattern.fill(position, &mut message);
        let due = schedule.wait(n);
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
        let took = due.elapsed();
        anyhow::ensure!(pattern.holds(position, &message), "echo {n} differs");
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        latencies.saturating_record(micros.max(1));
    }
    Ok(latencies)
}

/// When messages are due.
struct Schedule {
    begin: Instant,
    interval: Option<Duration>,
}

impl Schedule {
    /// Waits until message `n` is due and gives that moment, even where it has long passed.
    fn wait(&self, n: u32) -> Instant {
        let Some(interval) = self.interval else {
            return Instant::now();
        };
        let due = self.begin + interval * n;
        if let Some(left) = due.checked_duration_since(Instant::now() + SPIN) {
            thread::sleep(left);
        }
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        due
    }
}

fn report(
    options: &Options,
    latencies: &Histogram<u64>,
    elapsed: Duration,
    cpu: Duration,
) -> Report {
    let mut report = Report::default();
    report.text("scenario", "pingpong");
    report.whole("streams", options.between.streams.into());
    report.whole("message_bytes", options.bytes.into());
    report.whole("messages", latencies.len());
    if let Some(rate) = options.rate {
        report.whole("messages_per_second_asked", rate.into());
    }
    let messages = latencies.len() as f64;
    report.real(
        "messages_per_second",
        messages / elapsed.as_secs_f64().max(1e-9),
    );
    report.real("latency_mean_us", latencies.mean());
    for (name, quantile) in [
        ("latency_p50_us", 0.5),
        ("latency_p90_us", 0.9),
        ("latency_p99_us", 0.99),
        ("latency_p999_us", 0.999),
    ] {
        report.whole(name, latencies.value_at_quantile(quantile));
    }
    report.whole("latency_max_us", latencies.max());
    if !options.between.pids.is_empty() {
        report.real(
            "cpu_us_per_message",
            cpu.as_secs_f64() * 1e6 / messages.max(1.0),
        );
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(streams: u32, count: u32, rate: Option<u32>) -> Options {
        let any = "127.0.0.1:0".parse().expect("an address");
        Options {
            between: Between {
                connect: any,
                listen: any,
                streams,
                stall: 10,
                pids: Vec::new(),
            },
            count,
            bytes: 200,
            rate,
        }
    }

    #[test]
    fn every_message_is_echoed_and_timed() {
        let options = options(3, 50, None);
        let server = start_echo(&options, options.between.listen).expect("the echo starts");
        let report = measure(&options, server.address()).expect("the echoes come");
        server
            .wait(3, Duration::from_secs(10))
            .expect("all connections end");
        assert!(
            report.json().contains("\"messages\":150"),
            "{}",
            report.json()
        );
    }

    /// An echo that stalls once for 100 ms makes about 100 messages late at 1000 a second, not one.
    #[test]
    fn one_slow_echo_counts_for_all_that_it_delayed() {
        const STALL: Duration = Duration::from_millis(100);
        let options = options(1, 300, Some(1000));
        let server = Server::start(options.between.listen, STALL * 50, |mut stream| {
            let mut message = [0; 200];
            for n in 0..300 {
                stream.read_exact(&mut message)?;
                if n == 50 {
                    thread::sleep(STALL);
                }
                stream.write_all(&message)?;
            }
            Ok(())
        })
        .expect("the echo starts");
        let latencies = converse(&options, 0, server.address()).expect("the echoes come");
        let late = latencies.count_between(20_000, LATENCY_MAX_US);
        assert!(late >= 40, "{late} of 300 were late");
    }

    #[test]
    fn an_echo_that_differs_is_an_error() {
        let options = options(1, 5, None);
        let server = Server::start(options.between.listen, Duration::from_secs(10), |stream| {
            let mut message = [0; 200];
            (&stream).read_exact(&mut message)?;
            message[100] ^= 1;
            (&stream).write_all(&message)
        })
        .expect("the echo starts");
        let error = converse(&options, 0, server.address()).expect_err("a byte differs");
        assert!(error.to_string().contains("echo 0 differs"), "{error}");
    }
}
