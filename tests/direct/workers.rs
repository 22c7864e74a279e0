//! One pinned worker for each core, and connections spread over them.

use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use wardgate_tests::stream::{Ending, ending, expect_noise, send_noise};

use crate::pair::{Pair, Through};

#[test]
fn each_configured_core_has_one_worker_pinned_to_it() {
    for cores in [vec![0], all_cores()] {
        let through = Through::with(|site| site.gateway("cores", format!("{cores:?}")));
        let workers = through.gateway.process().threads_named("worker-");
        let mut found: Vec<_> = workers
            .iter()
            .map(|thread| (thread.name.clone(), thread.cpus_allowed.clone()))
            .collect();
        found.sort();
        let mut expected: Vec<_> = cores
            .iter()
            .map(|cpu| (format!("worker-{cpu}"), cpu.to_string()))
            .collect();
        expected.sort();
        assert_eq!(found, expected);
        through.gateway.stop();
    }
}

/// Eight connections move the same bytes at the same time. If they were not distributed evenly, one core
/// would have done most of the work.
#[test]
fn connections_are_spread_over_the_cores() {
    if all_cores().len() < 2 {
        return;
    }
    let pair = Pair::start("tcp");
    let joined: Vec<_> = (0..8).map(|_| pair.join()).collect();
    let movers: Vec<_> = joined
        .into_iter()
        .enumerate()
        .map(|(seed, (client, server))| {
            std::thread::spawn(move || push(seed as u64, client, server))
        })
        .collect();
    for mover in movers {
        mover.join().expect("all bytes arrive");
    }
    let workers = pair.a.process().threads_named("worker-");
    let times: Vec<Duration> = workers.iter().map(|thread| thread.cpu_time).collect();
    let total: Duration = times.iter().sum();
    let even = total / u32::try_from(times.len()).expect("cores are few");
    for time in &times {
        // Bytes cost less in large batches, which a busy core uses: equal work is not equal time.
        assert!(*time > even / 4, "CPU times of the workers: {times:?}");
    }
}

fn push(seed: u64, mut client: TcpStream, mut server: TcpStream) {
    const COUNT: usize = 4 << 20;
    let sender = std::thread::spawn(move || {
        send_noise(&mut client, seed, COUNT);
        client.shutdown(Shutdown::Write).expect("it is connected");
        client
    });
    expect_noise(&mut server, seed, COUNT);
    assert_eq!(ending(&mut server), (0, Ending::Orderly));
    sender.join().expect("all bytes are sent");
}

pub(crate) fn all_cores() -> Vec<usize> {
    let allowed = rustix::thread::sched_getaffinity(None).expect("the kernel knows");
    (0..rustix::thread::CpuSet::MAX_CPU)
        .filter(|cpu| allowed.is_set(*cpu))
        .collect()
}
