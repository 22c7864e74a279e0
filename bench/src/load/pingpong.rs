//! Ping-pong: an HL7 message and its answer, repeated, and the time of each.
//!
//! With a rate, messages are due at fixed times, and each time is measured from when the message was *due*:
//! one slow answer also delays the messages after it, as for a user (coordinated omission).

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use clap::Args;
use hdrhistogram::Histogram;

use super::message::{self, Control};
use super::{Between, latency, per_second};
use crate::cpu::{self, Meter};
use crate::report::Report;
use crate::server::{self, Server};

/// The number, size and rate of messages.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) between: Between,
    /// Messages on each connection
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) count: u32,
    #[command(flatten)]
    pub(crate) size: MessageSize,
    /// Messages per second on each connection; without a rate, each message follows the answer to the
    /// previous one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: Option<u32>,
}

/// The message.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct MessageSize {
    /// Length of a message and of its answer, in bytes
    #[arg(long = "message", value_name = "BYTES", default_value_t = 200, value_parser = clap::value_parser!(u32).range(i64::from(message::MESSAGE_MIN)..=i64::from(message::MESSAGE_MAX)))]
    pub(crate) bytes: u32,
}

/// The last part of a wait is a busy loop, because a sleep may end a scheduler tick late.
const SPIN: Duration = Duration::from_micros(200);

/// Messages on each connection before the measurement: they set up both sides.
const WARM_UP: u32 = 10;

/// Sends the messages and reports the latencies.
///
/// # Errors
///
/// A connection fails or stalls, or an answer does not belong to its message.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let between = &options.between;
    between.with_threads()?;
    cpu::pinned(between.cpu, || {
        let server = start_echo(between)?;
        measure(options, &server, between.connect)
    })
}

fn start_echo(between: &Between) -> anyhow::Result<Server<()>> {
    Server::start(between, answer)
}

/// Answers every message until the other side ends.
pub(crate) fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut block = Vec::new();
    while message::read(&mut stream, &mut block)?.is_some() {
        stream.write_all(&message::answer_to(&block)?)?;
    }
    Ok(())
}

fn measure(options: &Options, server: &Server<()>, connect: SocketAddr) -> anyhow::Result<Report> {
    let between = &options.between;
    let meter = Meter::start(&between.pids)?;
    let begun = Instant::now();
    let latencies = converse_all(options, connect);
    let elapsed = begun.elapsed();
    let streams = if latencies.is_ok() {
        between.streams
    } else {
        1
    };
    // The result of the answering end is more precise than the failure of a connection that follows.
    server.wait(streams, between.stall())?;
    let latencies = latencies?;
    let used = meter.read()?;
    let mut report = report(options, &latencies, elapsed);
    let messages = latencies.len().max(1) as f64;
    used.rows(&mut report, "cpu_us_per_message", 1e6 / messages);
    Ok(report)
}

/// The latencies of all connections.
pub(crate) fn converse_all(
    options: &Options,
    connect: SocketAddr,
) -> anyhow::Result<Histogram<u64>> {
    let threads: Vec<_> = (0..options.between.streams)
        .map(|number| {
            let options = options.clone();
            thread::spawn(move || converse(&options, number, connect))
        })
        .collect();
    let mut latencies = latency::histogram();
    for (number, thread) in threads.into_iter().enumerate() {
        let outcome = thread
            .join()
            .map_err(|_| anyhow!("stream {number} panicked"))?;
        let own = outcome.with_context(|| format!("stream {number} failed"))?;
        latencies
            .add(&own)
            .context("histograms have the same bounds")?;
    }
    Ok(latencies)
}

/// The messages and answers of one connection.
fn converse(options: &Options, stream: u32, connect: SocketAddr) -> anyhow::Result<Histogram<u64>> {
    let mut socket = server::connect(connect, &options.between)?;
    let mut latencies = latency::histogram();
    for number in 0..WARM_UP {
        exchange(
            &mut socket,
            options.size,
            Control { stream, number },
            Instant::now,
        )?;
    }
    let schedule = Schedule {
        begin: Instant::now(),
        interval: options.rate.map(|rate| Duration::from_secs(1) / rate),
    };
    for n in 0..options.count {
        let number = n.wrapping_add(WARM_UP);
        let control = Control { stream, number };
        let took = exchange(&mut socket, options.size, control, || schedule.wait(n))?;
        latencies.saturating_record(latency::micros(took));
    }
    Ok(latencies)
}

/// Sends one message when it is due, and returns the time until its answer.
fn exchange(
    socket: &mut TcpStream,
    size: MessageSize,
    control: Control,
    due: impl FnOnce() -> Instant,
) -> anyhow::Result<Duration> {
    let bytes = size.bytes as usize;
    let message = control.message(bytes);
    let expected = control.answer(bytes);
    let mut block = Vec::with_capacity(bytes);
    let due = due();
    socket.write_all(&message)?;
    message::read(socket, &mut block)?.context("the other side ended the connection")?;
    let took = due.elapsed();
    let number = control.number;
    anyhow::ensure!(block == expected, "the answer to message {number} differs");
    Ok(took)
}

/// The times at which messages are due.
struct Schedule {
    begin: Instant,
    interval: Option<Duration>,
}

impl Schedule {
    /// Waits until message `n` is due and returns this time, even if it has long passed.
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

fn report(options: &Options, latencies: &Histogram<u64>, elapsed: Duration) -> Report {
    let mut report = Report::default();
    report.text("scenario", "pingpong");
    report.whole("streams", options.between.streams.into());
    report.whole("message_bytes", options.size.bytes.into());
    report.whole("messages", latencies.len());
    if let Some(rate) = options.rate {
        report.whole("messages_per_second_asked", rate.into());
    }
    let messages = latencies.len() as f64;
    report.real("messages_per_second", per_second(messages, elapsed));
    latency::rows(&mut report, "latency", latencies);
    let curve = latency::curves("round trip", &[("round trips", latencies)]);
    report.plot("Round trips", curve);
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(streams: u32, count: u32, rate: Option<u32>) -> Options {
        Options {
            between: Between::on_loopback(streams),
            count,
            size: MessageSize { bytes: 200 },
            rate,
        }
    }

    /// Answers through `spoil`, which may wait or change the answer to the message with that number.
    fn spoiling(
        between: &Between,
        spoil: impl Fn(u32, &mut Vec<u8>) + Send + Sync + 'static,
    ) -> Server<()> {
        Server::start(between, move |mut stream| {
            let mut block = Vec::new();
            for number in 0.. {
                if message::read(&mut stream, &mut block)?.is_none() {
                    break;
                }
                let mut answer = message::answer_to(&block)?;
                spoil(number, &mut answer);
                stream.write_all(&answer)?;
            }
            Ok(())
        })
        .expect("the echo starts")
    }

    #[test]
    fn every_message_is_answered_and_timed() {
        let options = options(3, 50, None);
        let server = start_echo(&options.between).expect("the echo starts");
        let report = measure(&options, &server, server.address()).expect("the answers come");
        assert_eq!(report.number("messages"), Some(150.0));
        assert!(report.number("latency_p99_us") >= Some(1.0));
    }

    /// An answer that stalls once for 100 ms delays about 100 messages at 1000 per second, not one.
    #[test]
    fn one_slow_answer_counts_for_all_that_it_delayed() {
        const STALL: Duration = Duration::from_millis(100);
        let options = options(1, 300, Some(1000));
        let server = spoiling(&options.between, |number, _| {
            if number == 50 {
                thread::sleep(STALL);
            }
        });
        let latencies = converse(&options, 0, server.address()).expect("the answers come");
        let late = latencies.count_between(20_000, latency::MAX_US);
        assert!(late >= 40, "{late} of 300 were late");
    }

    #[test]
    fn an_answer_that_differs_is_an_error() {
        let options = options(1, 5, None);
        let server = spoiling(&options.between, |number, answer| {
            if number == 12 {
                answer[100] ^= 1;
            }
        });
        let error = converse(&options, 0, server.address()).expect_err("a byte differs");
        let error = format!("{error:#}");
        assert!(error.contains("answer to message 12 differs"), "{error}");
    }

    #[test]
    fn a_message_that_differs_is_named_by_the_answering_end() {
        let options = options(1, 5, None);
        let server = start_echo(&options.between).expect("the echo starts");
        let mut stream = server::connect(server.address(), &options.between).expect("up");
        let control = Control {
            stream: 0,
            number: 4,
        };
        let mut message = control.message(200);
        message[120] ^= 1;
        stream.write_all(&message).expect("it is open");
        let error = server
            .wait(1, Duration::from_secs(10))
            .expect_err("differs");
        let error = format!("{error:#}");
        assert!(error.contains("message 4 of stream 0 differs"), "{error}");
    }

    #[test]
    fn an_answer_that_never_comes_is_an_error() {
        let mut options = options(1, 5, None);
        options.between.stall = 1;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let to = listener.local_addr().expect("it listens");
        assert!(converse(&options, 0, to).is_err());
    }
}
