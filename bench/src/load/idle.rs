//! Idle: many connections that exchange one message each and then rest, and the memory of each.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use clap::Args;
use rustix::event::epoll::EventFlags;

use super::message::{self, Control};
use super::poll::{Settings, Sink, Task};
use super::{Between, per_second};
use crate::cpu;
use crate::memory::Memory;
use crate::report::Report;
use crate::report::plot::{Bars, Plot, Spread};
use crate::server;

/// The number of connections, and the time of rest.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// `--streams` is how many rest
    #[command(flatten)]
    pub(crate) between: Between,
    /// Seconds of rest before the last measurement of memory
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub(crate) rest: u64,
}

/// Connections that are set up at the same time: a full accept queue would cost seconds.
const AT_ONCE: u32 = 32;

/// The bytes of the message.
const MESSAGE_BYTES: usize = 200;

/// Opens the connections, lets them rest, and reports their cost.
///
/// # Errors
///
/// A connection cannot be opened, gets a wrong answer, or does not last until the end.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let between = &options.between;
    super::allow_descriptors(2 * u64::from(between.streams))?;
    cpu::pinned(between.cpu, || {
        let sink = start_sink(between)?;
        measure(options, &sink, between.connect)
    })
}

fn start_sink(between: &Between) -> anyhow::Result<Sink<()>> {
    let settings = Settings {
        threads: 1,
        room: 64 << 10,
        stall: between.stall(),
    };
    Sink::start(between, settings, Answering::default)
}

fn measure(options: &Options, sink: &Sink<()>, connect: SocketAddr) -> anyhow::Result<Report> {
    let between = &options.between;
    let before = Memory::of_all(&between.pids)?;
    let begun = Instant::now();
    let resting = open_all(between, connect)?;
    let set_up = begun.elapsed();
    let after = Memory::of_all(&between.pids)?;
    thread::sleep(Duration::from_secs(options.rest));
    let rested = Memory::of_all(&between.pids)?;
    finish(&resting)?;
    sink.wait(between.streams, between.stall())?;
    let mut report = Report::default();
    report.text("scenario", "idle");
    report.whole("connections", between.streams.into());
    report.whole("rest_seconds", options.rest);
    report.real("set_up_seconds", set_up.as_secs_f64());
    let connections = f64::from(between.streams);
    report.real("connections_per_second", per_second(connections, set_up));
    rows(&mut report, between, &[before, after, rested]);
    Ok(report)
}

/// Opens all connections, a few at a time, and sends a message on each.
fn open_all(between: &Between, connect: SocketAddr) -> anyhow::Result<Vec<TcpStream>> {
    let threads: Vec<_> = (0..AT_ONCE)
        .map(|first| {
            let between = between.clone();
            let numbers = (first..between.streams).step_by(AT_ONCE as usize);
            thread::spawn(move || {
                numbers
                    .map(|number| {
                        open(&between, connect, number)
                            .with_context(|| format!("connection {number} failed"))
                    })
                    .collect::<anyhow::Result<Vec<_>>>()
            })
        })
        .collect();
    let mut streams = Vec::new();
    for thread in threads {
        let opened = thread.join().map_err(|_| anyhow!("a generator panicked"))?;
        streams.extend(opened?);
    }
    Ok(streams)
}

fn open(between: &Between, connect: SocketAddr, number: u32) -> anyhow::Result<TcpStream> {
    let mut stream = server::connect(connect, between)?;
    let control = Control {
        stream: number,
        number: 0,
    };
    stream.write_all(&control.message(MESSAGE_BYTES))?;
    let mut answer = vec![0; MESSAGE_BYTES];
    stream.read_exact(&mut answer)?;
    anyhow::ensure!(
        answer == control.answer(MESSAGE_BYTES),
        "its answer differs"
    );
    Ok(stream)
}

/// Every connection must still be open and silent.
fn finish(resting: &[TcpStream]) -> anyhow::Result<()> {
    for (number, stream) in resting.iter().enumerate() {
        stream.set_nonblocking(true)?;
        match (&*stream).read(&mut [0; 1]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(0) => anyhow::bail!("connection {number} was ended while it rested"),
            Ok(_) => anyhow::bail!("connection {number} got more than its answer"),
            Err(error) => {
                let what = format!("connection {number} failed while it rested");
                return Err(anyhow::Error::new(error).context(what));
            }
        }
        stream.shutdown(Shutdown::Write)?;
    }
    Ok(())
}

/// For each process: its memory at each moment, and the memory per connection.
fn rows(report: &mut Report, between: &Between, moments: &[Vec<Memory>; 3]) {
    let [before, after, rested] = moments;
    let connections = f64::from(between.streams);
    let mut bars = Bars {
        unit: "RSS in KiB per connection, at rest".to_owned(),
        series: vec![("RSS".to_owned(), Vec::new())],
        ..Bars::default()
    };
    for (n, pid) in between.pids.iter().enumerate() {
        let name = |what: &str| format!("process_{}_{what}", n + 1);
        report.whole(&name("pid"), (*pid).into());
        let mut moment = |which: &str, memory: Memory| {
            report.whole(&name(&format!("rss_{which}_kib")), memory.rss);
            report.whole(&name(&format!("pss_{which}_kib")), memory.pss);
            // The memory may also have shrunk.
            let grown = |now: u64, then: u64| (now as f64 - then as f64) / connections;
            let rss = grown(memory.rss, before[n].rss);
            let pss = grown(memory.pss, before[n].pss);
            if which != "before" {
                report.real(&name(&format!("rss_{which}_per_connection_kib")), rss);
                report.real(&name(&format!("pss_{which}_per_connection_kib")), pss);
            }
            rss
        };
        moment("before", before[n]);
        moment("after", after[n]);
        let rss = moment("rested", rested[n]);
        bars.groups.push(format!("process {}", n + 1));
        bars.series[0].1.push(Some(Spread::one(rss)));
    }
    if !between.pids.is_empty() {
        report.plot("Memory by process", Plot::Bars(bars));
    }
}

/// Answers each message, on one of very many connections.
#[derive(Debug, Default)]
struct Answering {
    /// The received part of a message.
    block: Vec<u8>,
    /// The rest of an answer that is not written yet.
    answer: Vec<u8>,
}

impl Task for Answering {
    type Outcome = ();

    fn turn(
        &mut self,
        mut stream: &TcpStream,
        ready: EventFlags,
        room: &mut [u8],
    ) -> io::Result<Option<()>> {
        if ready.contains(EventFlags::OUT) && !self.answer.is_empty() {
            let n = stream.write(&self.answer)?;
            self.answer.drain(..n);
        }
        if !ready.contains(EventFlags::IN) {
            return Ok(None);
        }
        match stream.read(room) {
            Ok(0) if self.block.is_empty() => Ok(Some(())),
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                self.block.extend_from_slice(&room[..n]);
                if message::is_whole(&self.block) {
                    self.answer = message::answer_to(&self.block)?;
                    // An idle connection of the bench also holds as little memory as possible.
                    self.block = Vec::new();
                }
                Ok(None)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn wants(&self) -> EventFlags {
        if self.answer.is_empty() {
            EventFlags::IN
        } else {
            EventFlags::OUT
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Server;

    fn options(connections: u32) -> Options {
        Options {
            between: Between {
                pids: vec![std::process::id()],
                ..Between::on_loopback(connections)
            },
            rest: 0,
        }
    }

    #[test]
    fn connections_are_set_up_and_their_memory_is_reported() {
        let options = options(500);
        crate::load::allow_descriptors(1000).expect("the system allows them");
        let sink = start_sink(&options.between).expect("the sink starts");
        let report = measure(&options, &sink, sink.address()).expect("all are answered");
        assert_eq!(report.number("connections"), Some(500.0));
        assert!(report.number("process_1_rss_before_kib") > Some(0.0));
        assert!(
            report
                .number("process_1_rss_rested_per_connection_kib")
                .is_some()
        );
    }

    #[test]
    fn an_answer_that_differs_is_an_error() {
        let between = Between::on_loopback(1);
        let server = Server::start(&between, |mut stream| {
            let mut block = Vec::new();
            message::read(&mut stream, &mut block)?;
            let mut answer = message::answer_to(&block)?;
            answer[50] ^= 1;
            stream.write_all(&answer)
        });
        let server = server.expect("it starts");
        let error = open_all(&between, server.address()).expect_err("a byte differs");
        let error = format!("{error:#}");
        assert!(
            error.contains("connection 0 failed: its answer differs"),
            "{error}"
        );
    }

    #[test]
    fn a_connection_that_does_not_outlast_the_rest_is_an_error() {
        let between = Between::on_loopback(1);
        let server = Server::start(&between, |mut stream| {
            let mut block = Vec::new();
            message::read(&mut stream, &mut block)?;
            stream.write_all(&message::answer_to(&block)?)
        });
        let server = server.expect("it starts");
        let resting = open_all(&between, server.address()).expect("it is answered");
        server
            .wait(1, between.stall())
            .expect("the far end is done");
        // The FIN is in transit: wait for it without reading it.
        let _ = resting[0].peek(&mut [0]).expect("an end is no error");
        let error = finish(&resting).expect_err("it was ended");
        assert!(
            error.to_string().contains("ended while it rested"),
            "{error}"
        );
    }
}
