//! Connections are distributed so that each core carries the same load, and only the workers carry traffic.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use wardgate_tests::stream::{Ending, ending, expect_noise, send_noise};
use wardgate_tests::{DEADLINE, Gateway, until};

use crate::pair::{Pair, Through};
use crate::workers::all_cores;

/// Connections that open before any of them has carried a byte are distributed evenly. Each core then carries
/// the same load, because all connections carry the same.
#[test]
fn heavy_connections_are_shared_evenly_by_the_cores() {
    for count in [4, 16] {
        let (through, cores) = on_two_cores();
        let joined: Vec<_> = (0..count).map(|_| through.join()).collect();
        let even = vec![count as u64 / cores; cores as usize];
        let open = by_core(&through.gateway, "wardgate_core_connections_open");
        assert_eq!(open, even, "{count} connections");
        push_all(joined);
        through.gateway.wait_for_connections(count);
        let moved = by_core(&through.gateway, "wardgate_core_bytes_total");
        let even = vec![(count * SIZE) as u64 / cores; cores as usize];
        assert_eq!(moved, even, "{count} connections of {SIZE} bytes each");
        until("all places are given back", DEADLINE, || {
            let open = by_core(&through.gateway, "wardgate_core_connections_open");
            (open.iter().sum::<u64>() == 0).then_some(())
        });
    }
}

/// If connections open while others are busy, each goes to the core with the lowest load.
#[test]
fn heavy_connections_are_shared_evenly_while_others_are_at_work() {
    let (through, cores) = on_two_cores();
    let mut streams = Vec::new();
    for count in 1..=8 {
        streams.push(Stream::start(through.join()));
        // The connection is busy, and was for a while, before the next one opens.
        let moved = || through.gateway.metric("wardgate_core_bytes_total") as u64;
        let aim = moved() + 20 * count * PIECE as u64;
        until("the streams flow", DEADLINE, || {
            (moved() >= aim).then_some(())
        });
    }
    let open = by_core(&through.gateway, "wardgate_core_connections_open");
    let spread = open.iter().max().zip(open.iter().min());
    let spread = spread.map(|(most, least)| most - least);
    // On a machine that is busy with other work, one core may carry less for a while, and then get one
    // connection more.
    assert!(spread <= Some(2), "8 streams on {cores} cores: {open:?}");
    streams.into_iter().for_each(Stream::stop);
}

/// An operation that the ring cannot do at once is done when the socket is ready, and never on a kernel
/// thread (`iou-wrk-...`), which would run on any core. Checked while connections are made, during
/// handshakes, with bulk in both directions, and with peers that do not read.
#[test]
fn kernel_carries_nothing_on_threads_of_its_own() {
    let pair = Pair::start("tcp");
    let mut streams = Vec::new();
    for _ in 0..8 {
        let (client, server) = pair.join();
        streams.push(Stream::start((client, server)));
        let (client, server) = pair.join();
        streams.push(Stream::start((server, client)));
        expect_no_kernel_threads(&pair);
    }
    let moved = || pair.b.metric("wardgate_core_bytes_total") as u64;
    let aim = moved() + (64 << 20);
    until("the streams flow", DEADLINE, || {
        expect_no_kernel_threads(&pair);
        (moved() >= aim).then_some(())
    });
    streams.into_iter().for_each(Stream::stop);
    // Nobody reads: in the end every buffer is full, and one send waits in each ring.
    let (mut client, _server) = pair.join();
    client.set_nonblocking(true).expect("it is a socket");
    let mut last = 0;
    until("the way is full", DEADLINE, || {
        expect_no_kernel_threads(&pair);
        while client.write(&[0; PIECE]).is_ok() {}
        let before = std::mem::replace(&mut last, moved());
        (last == before).then_some(())
    });
    expect_no_kernel_threads(&pair);
}

/// With `busy_poll`, a worker polls for this time after a message, and then sleeps.
#[test]
fn busy_worker_stays_awake_for_its_time_and_then_sleeps() {
    let through = Through::with(|site| site.gateway("busy_poll", "\"100ms\""));
    let (mut client, mut server) = through.join();
    until("the workers sleep", DEADLINE, || {
        samples(&through, |awake| awake == 0).then_some(())
    });
    // A message takes a few hundred microseconds. On a busy machine the test may check too late to see the
    // worker polling, and tries again.
    until("a worker is awake long after a message", DEADLINE, || {
        send_noise(&mut client, 1, 100);
        expect_noise(&mut server, 1, 100);
        samples(&through, |awake| awake > 0).then_some(())
    });
    until("the workers sleep again", DEADLINE, || {
        samples(&through, |awake| awake == 0).then_some(())
    });
    drop((client, server));
    through.gateway.stop();
}

/// Whether `accept` holds for the number of polling workers, at ten moments 2 ms apart.
fn samples(through: &Through, accept: impl Fn(usize) -> bool) -> bool {
    let process = through.gateway.process();
    let awake = || {
        let workers = process.threads_named("worker-");
        let workers = workers.iter().filter(|worker| {
            let file = format!("/proc/{}/task/{}/stat", process.id(), worker.id);
            let text = std::fs::read_to_string(file).expect("the worker lives");
            // The state follows the name, which has no bracket: running, or waiting for a CPU.
            text.rsplit(") ")
                .next()
                .is_some_and(|rest| rest.starts_with('R'))
        });
        workers.count()
    };
    (0..10).all(|_| {
        std::thread::sleep(Duration::from_millis(2));
        accept(awake())
    })
}

fn expect_no_kernel_threads(pair: &Pair) {
    for gateway in [&pair.a, &pair.b] {
        let threads = gateway.process().threads_named("");
        let named = |prefix| threads.iter().filter(move |t| t.name.starts_with(prefix));
        assert!(named("worker-").count() > 0, "{threads:?}");
        assert_eq!(named("iou-").count(), 0, "{threads:?}");
    }
}

/// A route on two cores, or on one if the machine has only one, and the number of cores.
fn on_two_cores() -> (Through, u64) {
    let mut cores = all_cores();
    cores.truncate(2);
    let through = Through::with(|site| site.gateway("cores", format!("{cores:?}")));
    (through, cores.len() as u64)
}

fn by_core(gateway: &Gateway, name: &str) -> Vec<u64> {
    let text = gateway.metrics();
    let samples = text.lines().filter_map(|line| line.strip_prefix(name));
    let samples = samples.filter(|rest| rest.starts_with("{cpu="));
    samples
        .map(|rest| rest.rsplit(' ').next().expect("a sample has a value"))
        .map(|value| value.parse().expect("it is a number"))
        .collect()
}

const SIZE: usize = 4 << 20;

fn push_all(joined: Vec<(TcpStream, TcpStream)>) {
    let pushes: Vec<_> = (0..)
        .zip(joined)
        .map(|(seed, (client, server))| std::thread::spawn(move || push(seed, client, server)))
        .collect();
    for push in pushes {
        push.join().expect("all bytes arrive");
    }
}

fn push(seed: u64, mut client: TcpStream, mut server: TcpStream) {
    let sender = std::thread::spawn(move || {
        send_noise(&mut client, seed, SIZE);
        client.shutdown(Shutdown::Write).expect("it is connected");
        client
    });
    expect_noise(&mut server, seed, SIZE);
    assert_eq!(ending(&mut server), (0, Ending::Orderly));
    sender.join().expect("all bytes are sent");
}

const PIECE: usize = 256 << 10;

/// A connection that carries 25 MB/s until it is stopped: too little to fill a core.
struct Stream {
    stopping: Arc<AtomicBool>,
    sender: JoinHandle<()>,
    receiver: JoinHandle<()>,
}

impl Stream {
    fn start((mut from, mut to): (TcpStream, TcpStream)) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stopping);
        let sender = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                send_noise(&mut from, 7, PIECE);
                std::thread::sleep(Duration::from_millis(10));
            }
            from.shutdown(Shutdown::Write).expect("it is connected");
        });
        let receiver = std::thread::spawn(move || {
            std::io::copy(&mut to, &mut std::io::sink()).expect("it ends in order");
        });
        Self {
            stopping,
            sender,
            receiver,
        }
    }

    fn stop(self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.sender.join().expect("it could send");
        self.receiver.join().expect("it could receive");
    }
}
