//! Bulk has the same rate, and costs the same CPU time, while clients of the metrics do not read and the log cannot be
//! written.
//!
//! Three pairs of gateways carry bulk in turns, so that a busy machine affects all of them: one whose log and metrics
//! work, one whose log is a full pipe, and one whose log is on a full disk. Short connections beside the bulk make lines
//! for the log.

use std::fs::File;
use std::io::{PipeReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::pipe::fcntl_getpipe_size;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;
use wardgate_tests::stream::{accept, bounded, connect};
use wardgate_tests::{DEADLINE, Pki, until, wardgate};

use crate::journal::{BYTES, Unread, bulk};
use crate::pair::{address, listen, local, originate, terminate};

const ROUNDS: usize = 5;
/// If the machine is too busy for a result, more rounds follow. A real difference stays.
const ROUNDS_MAX: usize = 15;
/// The spread of such measurements.
const SAME: f64 = 0.8;
/// Clients of each gateway's metrics that do not read.
const STALLED: usize = 4;
/// Short connections beside each round, through each gateway.
const SHORT: usize = 20;

/// Where the log of a pair goes.
enum Log<'f> {
    /// A file.
    Works(&'f Path),
    /// A pipe that is full, and that nobody reads.
    Stuck,
    /// A file at its size limit, in place of a full disk.
    Full(&'f Path),
}

/// A pair of gateways under bulk: client -> originate -> TLS -> terminate -> server.
struct Measured {
    name: &'static str,
    gateways: [Unread; 2],
    entry: SocketAddr,
    exit: TcpListener,
    /// The passthrough route of each gateway, for short connections to `side_exit`.
    side: [SocketAddr; 2],
    side_exit: TcpListener,
    is_stressed: bool,
    /// Megabytes per second of each round.
    rates: Vec<f64>,
    /// CPU seconds of the workers in each round.
    cpu: Vec<f64>,
    _pipes: Vec<PipeReader>,
}

impl Measured {
    fn start(pki: &Pki, name: &'static str, log: &Log<'_>) -> Self {
        let (entry, wan, side) = (local(), local(), [local(), local()]);
        let (exit, side_exit) = (listen(), listen());
        let far = address(&side_exit);
        let a = originate(pki, entry, wan).protocol("tcp");
        let b = terminate(pki, wan, address(&exit)).protocol("tcp");
        let mut pipes = Vec::new();
        let sites = [b.passthrough(side[1], far), a.passthrough(side[0], far)];
        let mut number = 0;
        let gateways = sites.map(|site| {
            number += 1;
            let file = |folder: &Path| {
                let file = File::create(folder.join(format!("{name} {number}")));
                Stdio::from(file.expect("the folder is ours"))
            };
            let (command, stderr) = match log {
                Log::Works(folder) => (Command::new(wardgate()), file(folder)),
                Log::Stuck => (Command::new(wardgate()), full_pipe(&mut pipes)),
                Log::Full(folder) => (with_file_limit(), file(folder)),
            };
            Unread::with(site, command, stderr)
        });
        Self {
            name,
            gateways,
            entry,
            exit,
            side,
            side_exit,
            is_stressed: !matches!(log, Log::Works(_)),
            rates: Vec::new(),
            cpu: Vec::new(),
            _pipes: pipes,
        }
    }

    fn short_connection(&self, side: SocketAddr) {
        drop((connect(side), accept(&self.side_exit)));
    }

    /// Until lines of the log are lost.
    fn wait_for_lost_lines(&self) {
        for (gateway, side) in self.gateways.iter().rev().zip(self.side) {
            until("lines are lost", 3 * DEADLINE, || {
                // Together, because each waits for several programs; fewer than a listener holds back.
                let clients: Vec<_> = (0..100).map(|_| connect(side)).collect();
                let servers: Vec<_> = clients.iter().map(|_| accept(&self.side_exit)).collect();
                drop((clients, servers));
                (gateway.dropped() > 0).then_some(())
            });
        }
    }

    /// CPU seconds of all workers so far.
    fn cpu_seconds(&self) -> f64 {
        let workers = self
            .gateways
            .iter()
            .flat_map(|gateway| gateway.process().threads_named("worker-"));
        workers.map(|worker| worker.cpu_time.as_secs_f64()).sum()
    }

    fn lost(&self) -> [u64; 2] {
        [0, 1].map(|at| self.gateways[at].dropped())
    }

    fn measure(&mut self) {
        let stalled: Vec<_> = match self.is_stressed {
            true => (0..2 * STALLED)
                .map(|at| stall(self.gateways[at % 2].metrics))
                .collect(),
            false => Vec::new(),
        };
        let (lost, cpu) = (self.lost(), self.cpu_seconds());
        let time = thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..SHORT {
                    self.side
                        .iter()
                        .for_each(|side| self.short_connection(*side));
                    thread::sleep(Duration::from_millis(2));
                }
            });
            bulk(self.entry, &self.exit)
        });
        self.cpu.push(self.cpu_seconds() - cpu);
        self.rates.push(BYTES as f64 / 1e6 / time.as_secs_f64());
        drop(stalled);
        for (before, after) in lost.into_iter().zip(self.lost()) {
            assert_eq!(
                after > before,
                self.is_stressed,
                "{}: {after} lost",
                self.name
            );
        }
    }

    /// What differs from the pair without stress.
    fn difference(&self, quiet: &Self) -> Option<String> {
        let rate = median(&self.rates) / median(&quiet.rates);
        let cpu = median(&quiet.cpu) / median(&self.cpu);
        println!(
            "{}: {rate:.2} of the rate, {cpu:.2} of the bytes per CPU second",
            self.name
        );
        (rate < SAME || cpu < SAME).then(|| {
            let figures = |pair: &Self| format!("{:.3?}, CPU {:.3?}", pair.rates, pair.cpu);
            format!(
                "{}: {}; quiet: {}",
                self.name,
                figures(self),
                figures(quiet)
            )
        })
    }
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The end for writing of a pipe in which there is no room.
fn full_pipe(readers: &mut Vec<PipeReader>) -> Stdio {
    let (reader, mut writer) = std::io::pipe().expect("descriptors are left");
    let size = fcntl_getpipe_size(&writer).expect("it is a pipe");
    writer.write_all(&vec![b'\n'; size]).expect("there is room");
    readers.push(reader);
    writer.into()
}

/// The program with a limit of file sizes that its first lines reach.
fn with_file_limit() -> Command {
    let mut command = Command::new("env");
    command
        .args(["--ignore-signal=XFSZ", "prlimit", "--fsize=512:unlimited"])
        .arg(wardgate());
    command
}

/// A client that asks for the metrics several times and reads nothing. Its window and its segments are small, so that
/// the server waits for it after few answers.
fn stall(metrics: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("descriptors are left");
    socket.set_recv_buffer_size(4096).expect("it has a buffer");
    socket.set_tcp_mss(536).expect("it is TCP");
    socket.connect(&metrics.into()).expect("it listens");
    let mut client = TcpStream::from(socket);
    let request = "GET /metrics HTTP/1.1\r\nHost: wardgate\r\n\r\n".repeat(10);
    client.write_all(request.as_bytes()).expect("it is open");
    let client = bounded(client);
    client.peek(&mut [0]).expect("the first answer has begun");
    client
}

/// Goal: neither clients of the metrics that do not read nor a log that cannot be written take anything from bulk.
/// Method: rounds of all pairs in turns, medians of the rate and of the CPU time.
#[test]
fn bulk_is_as_fast_beside_stalled_metrics_clients_and_a_log_that_is_stuck_or_on_a_full_disk() {
    let (pki, folder) = (Pki::new(), TempDir::new().expect("there is room"));
    let mut quiet = Measured::start(&pki, "quiet", &Log::Works(folder.path()));
    let mut stressed = [
        Measured::start(&pki, "stuck pipe", &Log::Stuck),
        Measured::start(&pki, "full disk", &Log::Full(folder.path())),
    ];
    stressed.iter().for_each(Measured::wait_for_lost_lines);
    let mut differences = Vec::new();
    for round in 1..=ROUNDS_MAX {
        quiet.measure();
        stressed.iter_mut().for_each(Measured::measure);
        if round < ROUNDS {
            continue;
        }
        let found = stressed.iter().filter_map(|pair| pair.difference(&quiet));
        differences = found.collect();
        if differences.is_empty() {
            break;
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
