//! The oracle can fail: gateways with sockets that are wrong are caught, and so is wrong use of good
//! ones.

use std::time::Duration;

use gateway::config::{Mode, Protocol};
use gateway::uring::Socket;
use tokio::task::LocalSet;
use tokio::time::timeout;

use crate::chain::Scenario;
use crate::oracle::judge;
use crate::seeds::{PASSTHROUGH, TLS};
use crate::socket::{SimPipe, SimSocket, pair};
use crate::world::{Faults, Flaw, World};

#[test]
fn the_oracle_catches_an_abort_that_ends_in_order() {
    expect_caught(Flaw::AbortsInOrder, &TLS, "short and orderly");
    expect_caught(Flaw::AbortsInOrder, &PASSTHROUGH, "short and orderly");
}

#[test]
fn the_oracle_catches_a_lost_last_write() {
    expect_caught(Flaw::LosesLastWrite, &PASSTHROUGH, "short and orderly");
}

#[test]
fn the_oracle_catches_bytes_sent_twice() {
    expect_caught(Flaw::SendsTwice, &PASSTHROUGH, "altered");
}

#[test]
fn the_oracle_catches_an_altered_octet() {
    expect_caught(Flaw::Alters, &PASSTHROUGH, "altered");
}

#[test]
fn the_oracle_catches_bytes_that_are_thrown_away_by_a_reset() {
    expect_caught(Flaw::HidesQueue, &TLS, "not received");
    expect_caught(Flaw::HidesQueue, &PASSTHROUGH, "not received");
}

// Linux reads so where a send was told of the reset before: the ring's sockets must not.
#[test]
fn the_oracle_catches_a_reset_that_reads_as_an_end() {
    expect_caught(Flaw::ReadsResetAsEnd, &TLS, "short and orderly");
    expect_caught(Flaw::ReadsResetAsEnd, &PASSTHROUGH, "short and orderly");
}

#[test]
fn a_dropped_operation_is_caught() {
    let violations = with_socket(async |socket| {
        let read = socket.read(vec![0; 10], 0..10);
        assert!(timeout(Duration::from_secs(1), read).await.is_err());
    });
    assert_eq!(violations, ["socket 1: a Read in flight was dropped"]);
}

#[test]
fn a_splice_beside_a_read_is_caught() {
    let violations = with_socket(async |socket| {
        let pipe = SimPipe::default();
        let read = socket.read(vec![0; 10], 0..10);
        let splice = async {
            assert!(socket.splice_in(&pipe).is_err());
            socket.abort();
        };
        let _ = tokio::join!(read, splice);
    });
    assert_eq!(violations, ["socket 1: a splice beside a read"]);
}

#[test]
fn two_reads_at_a_time_are_caught() {
    let violations = with_socket(async |socket| {
        let first = socket.wait_readable();
        let second = async {
            let read = socket.read(vec![0; 10], 0..10);
            let (outcome, ()) = tokio::join!(read, async { socket.abort() });
            assert!(outcome.0.is_err());
        };
        let _ = tokio::join!(first, second);
    });
    assert_eq!(violations, ["socket 1: two Read in flight at a time"]);
}

#[test]
fn a_seed_replays_to_the_last_operation() {
    // What rustls makes of an altered key share depends on the key, which is another each time.
    let is_same = |scenario: &Scenario| scenario.natures.iter().all(|n| n.altered.is_none());
    for seed in (1..=100).filter(|seed| is_same(&Scenario::random(*seed, &TLS))) {
        let traces = [(); 2].map(|()| Scenario::random(seed, &TLS).run().trace);
        assert_eq!(traces[0], traces[1], "seed {seed}");
    }
    let other = |seed| Scenario::random(seed, &TLS).run().trace;
    assert_ne!(other(1), other(2));
}

// Bytes that pass through are copied where there is no pipe.
fn expect_caught(flaw: Flaw, chains: &[&[Mode]], as_what: &str) {
    for pipes in [0, 2] {
        let caught = (1..=300).find(|seed| {
            let mut scenario = Scenario::random(*seed, chains);
            scenario.flaw = Some(flaw);
            scenario.pipes = pipes;
            let wrong = judge(&scenario, &scenario.run());
            wrong.iter().any(|wrong| wrong.contains(as_what))
        });
        assert!(
            caught.is_some(),
            "{flaw:?} was not caught in 300 seeds with {pipes} pipes"
        );
    }
}

fn with_socket(use_it: impl AsyncFnOnce(&SimSocket)) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O");
    LocalSet::new().block_on(&runtime, async {
        let natures = Scenario::calm(1, &[Mode::Passthrough], Protocol::Tcp).natures;
        let world = World::new(1, Faults::default(), None, natures);
        let [socket, _other] = pair(&world, 0, [true, false]);
        use_it(&socket).await;
        world.end()
    })
}
