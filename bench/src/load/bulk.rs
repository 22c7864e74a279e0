//! Bulk: bytes one way through several connections at once, counted and compared at the far end.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use clap::Args;

use crate::load::Between;
use crate::pattern::Pattern;
use crate::report::Report;
use crate::server::{self, Server};
use crate::{cpu, size};

/// How much, and in what pieces.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) between: Between,
    /// Payload of all connections together
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = size::parse)]
    pub(crate) size: u64,
    /// Bytes that are handed to the kernel at once
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = chunk)]
    pub(crate) chunk: usize,
    /// Count what arrives without comparing it: costs the sink less
    #[arg(long)]
    pub(crate) count_only: bool,
}

/// Larger pieces gain nothing, and every connection holds one at each end.
const CHUNK_MAX: usize = 64 << 20;

fn chunk(text: &str) -> Result<usize, String> {
    let size = usize::try_from(size::parse(text)?).unwrap_or(usize::MAX);
    if size > CHUNK_MAX {
        return Err(format!("more than {CHUNK_MAX} bytes"));
    }
    Ok(size)
}

/// Pushes the bytes through and reports how long that took.
///
/// # Errors
///
/// Where a connection fails or stalls, or where the far end got anything but what was sent.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let between = &options.between;
    anyhow::ensure!(
        options.size >= 4 * u64::from(between.streams),
        "a stream spells its number first: --size must be 4 bytes a stream or more"
    );
    let sink = start_sink(options, between.listen)?;
    push(options, &sink, between.connect)
}

fn start_sink(options: &Options, listen: SocketAddr) -> anyhow::Result<Server<Arrived>> {
    let Options {
        chunk, count_only, ..
    } = *options;
    Server::start(listen, options.between.stall(), move |stream| {
        drain(stream, chunk, !count_only)
    })
}

fn push(options: &Options, sink: &Server<Arrived>, connect: SocketAddr) -> anyhow::Result<Report> {
    let between = &options.between;
    let shares = shares(options.size, between.streams);
    let cpu_before = cpu::used(&between.pids)?;
    let elapsed = generate(&shares, options.chunk, connect, between.stall())?;
    let arrived = sink.wait(between.streams, between.stall())?;
    let cpu = cpu::used(&between.pids)?.saturating_sub(cpu_before);
    compare(&shares, &arrived)?;
    Ok(report(options, elapsed, cpu))
}

/// What one connection of the sink got.
#[derive(Debug)]
struct Arrived {
    /// The stream's number, which its first four bytes spell.
    number: u32,
    bytes: u64,
}

/// Even shares of the whole, the first ones a byte larger where it does not divide.
fn shares(size: u64, streams: u32) -> Vec<u64> {
    let streams = u64::from(streams);
    (0..streams)
        .map(|n| size / streams + u64::from(n < size % streams))
        .collect()
}

/// Sends every stream its share from a thread of its own; from the first byte to the last end.
fn generate(
    shares: &[u64],
    chunk: usize,
    connect: SocketAddr,
    stall: Duration,
) -> anyhow::Result<Duration> {
    // Connections first, so that handshakes are no part of the time.
    let streams: Vec<TcpStream> = shares
        .iter()
        .map(|_| server::connect(connect, stall))
        .collect::<Result<_, _>>()?;
    let start = Arc::new(Barrier::new(shares.len() + 1));
    let threads: Vec<_> = (0..)
        .zip(streams)
        .zip(shares)
        .map(|((number, stream), &share)| {
            let start = Arc::clone(&start);
            thread::spawn(move || {
                start.wait();
                send(stream, number, share, chunk)
            })
        })
        .collect();
    start.wait();
    let begun = Instant::now();
    for (number, thread) in threads.into_iter().enumerate() {
        let outcome = thread
            .join()
            .map_err(|_| anyhow!("stream {number} panicked"))?;
        outcome.with_context(|| format!("stream {number} failed at the sending end"))?;
    }
    Ok(begun.elapsed())
}

/// Sends one share, ends its direction, and waits until the far end has done the same.
fn send(mut stream: TcpStream, number: u32, share: u64, chunk: usize) -> io::Result<()> {
    let pattern = Pattern::of_stream(number);
    let mut buffer = vec![0; chunk];
    let mut position = 0;
    while position < share {
        let left = usize::try_from(share - position).unwrap_or(usize::MAX);
        let piece = &mut buffer[..left.min(chunk)];
        pattern.fill(position, piece);
        stream.write_all(piece)?;
        position += piece.len() as u64;
    }
    stream.shutdown(Shutdown::Write)?;
    match stream.read(&mut buffer)? {
        0 => Ok(()),
        n => Err(io::Error::other(format!(
            "{n} bytes came back; the sink sends none"
        ))),
    }
}

/// Reads one stream to its end and compares it with what it must be.
fn drain(mut stream: TcpStream, chunk: usize, compare: bool) -> io::Result<Arrived> {
    let mut number = [0; 4];
    stream.read_exact(&mut number)?;
    let number = u32::from_be_bytes(number);
    let pattern = Pattern::of_stream(number);
    let mut buffer = vec![0; chunk];
    let mut bytes = 4;
    loop {
        let n = match stream.read(&mut buffer)? {
            0 => return Ok(Arrived { number, bytes }),
            n => n,
        };
        if compare && !pattern.holds(bytes, &buffer[..n]) {
            let what = format!("stream {number} differs in the {n} bytes after {bytes}");
            return Err(io::Error::other(what));
        }
        bytes += n as u64;
    }
}

/// Every stream must have arrived once, and whole.
fn compare(shares: &[u64], arrived: &[Arrived]) -> anyhow::Result<()> {
    for (number, &share) in (0..).zip(shares) {
        let mut found = arrived.iter().filter(|stream| stream.number == number);
        let bytes = found.next().map(|stream| stream.bytes);
        anyhow::ensure!(
            bytes == Some(share) && found.next().is_none(),
            "stream {number}: {share} bytes were sent, {bytes:?} arrived"
        );
    }
    Ok(())
}

fn report(options: &Options, elapsed: Duration, cpu: Duration) -> Report {
    let gigabytes = options.size as f64 / 1e9;
    let seconds = elapsed.as_secs_f64().max(1e-9);
    let mut report = Report::default();
    report.text("scenario", "bulk");
    report.whole("streams", options.between.streams.into());
    report.whole("payload_bytes", options.size);
    report.whole("chunk_bytes", options.chunk as u64);
    report.text(
        "compared",
        if options.count_only {
            "count"
        } else {
            "content"
        },
    );
    report.real("elapsed_seconds", seconds);
    report.real("gigabytes_per_second", gigabytes / seconds);
    if !options.between.pids.is_empty() {
        report.real("cpu_seconds", cpu.as_secs_f64());
        report.real("cpu_seconds_per_gigabyte", cpu.as_secs_f64() / gigabytes);
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(streams: u32, size: u64, chunk: usize) -> Options {
        let any = "127.0.0.1:0".parse().expect("an address");
        Options {
            between: Between {
                connect: any,
                listen: any,
                streams,
                stall: 10,
                pids: vec![std::process::id()],
            },
            size,
            chunk,
            count_only: false,
        }
    }

    #[test]
    fn every_byte_of_every_stream_arrives_over_loopback() {
        for (streams, size, chunk) in [(1, 5, 1), (1, 1 << 20, 4096), (7, 3_000_001, 65_536)] {
            let options = options(streams, size, chunk);
            let sink = start_sink(&options, options.between.listen).expect("the sink starts");
            let report = push(&options, &sink, sink.address()).expect("the bytes arrive");
            assert!(report.json().contains(&format!("\"payload_bytes\":{size}")));
            assert!(report.table().contains("cpu_seconds_per_gigabyte"));
        }
    }

    #[test]
    fn a_changed_byte_is_found_by_the_sink() {
        let options = options(1, 100_000, 4096);
        let sink = start_sink(&options, options.between.listen).expect("the sink starts");
        let mut bytes = vec![0; 100_000];
        Pattern::of_stream(0).fill(0, &mut bytes);
        bytes[70_000] ^= 0x10;
        let mut stream = server::connect(sink.address(), Duration::from_secs(10)).expect("up");
        // The sink may close as soon as it has seen the byte.
        let _ = stream.write_all(&bytes);
        drop(stream);
        let error = sink
            .wait(1, Duration::from_secs(10))
            .expect_err("a byte differs");
        assert!(
            format!("{error:#}").contains("stream 0 differs"),
            "{error:#}"
        );
    }

    #[test]
    fn a_stream_that_is_short_or_missing_or_doubled_is_found() {
        let arrived = |number, bytes| Arrived { number, bytes };
        assert!(compare(&[5, 5], &[arrived(1, 5), arrived(0, 5)]).is_ok());
        assert!(compare(&[5, 5], &[arrived(1, 5), arrived(0, 4)]).is_err());
        assert!(compare(&[5, 5], &[arrived(1, 5)]).is_err());
        assert!(compare(&[5], &[arrived(0, 5), arrived(0, 5)]).is_err());
    }

    #[test]
    fn shares_add_up_to_the_whole() {
        assert_eq!(shares(10, 3), [4, 3, 3]);
        assert_eq!(shares(3, 1), [3]);
    }

    #[test]
    fn a_sink_that_nobody_reaches_ends_the_wait() {
        let options = options(1, 5, 1);
        let sink = start_sink(&options, options.between.listen).expect("the sink starts");
        let error = sink
            .wait(1, Duration::from_millis(20))
            .expect_err("nobody came");
        assert!(error.to_string().contains("only 0 of 1"), "{error}");
    }
}
