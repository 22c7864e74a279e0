//! The handshake alone, between two gateways, over wires of every kind.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use gateway::buffers::Buffer;
use gateway::config::Mode;
use gateway::handshake::{Cause, FailedHandshake, Pace, Secured, Unpaced, handshake};
use gateway::route::Transport;
use gateway::tls::session::Session;
use gateway::uring::SocketExt;
use tokio::task::LocalSet;

use crate::chain::Scenario;
use crate::random::Random;
use crate::seeds::FATAL;
use crate::site::{by_name, transport};
use crate::socket::{SimSocket, pair};
use crate::wire::Nature;
use crate::world::{Fault, Faults, World};

const LIMIT: Duration = Duration::from_secs(5);

/// The result of both ends, connector first, and the number of operations.
struct Outcome {
    ends: [Result<Secured, FailedHandshake>; 2],
    operations: u64,
}

#[test]
fn a_handshake_in_single_bytes_with_temporary_failures_succeeds() {
    for seed in 1..=30 {
        let faults = Faults {
            passing_per_mille: 5,
            at: None,
        };
        let outcome = shake(seed, &single_bytes(), faults, Duration::MAX);
        assert!(outcome.ends.iter().all(Result::is_ok), "seed {seed}");
    }
}

#[test]
fn a_handshake_over_any_wire_succeeds() {
    for seed in 1..=300 {
        let mut random = Random::new(seed);
        let nature = Nature {
            transfer_max: random.pick(&[10, 300, 1000, 16 << 10]),
            capacity: random.pick(&[20, 1000, 64 << 10]),
            ..wire()
        };
        let outcome = shake(seed, &nature, Faults::default(), Duration::MAX);
        assert!(outcome.ends.iter().all(Result::is_ok), "seed {seed}");
    }
}

#[test]
fn each_operation_that_fails_in_a_handshake_ends_it_for_both() {
    let operations = shake(1, &wire(), Faults::default(), LIMIT).operations;
    for at in 1..=operations {
        for cause in FATAL {
            let fault = Fault { cause, lasts: true };
            let faults = Faults {
                passing_per_mille: 0,
                at: Some((at, fault)),
            };
            let outcome = shake(1, &wire(), faults, LIMIT);
            let [connector, acceptor] = outcome.ends.map(|end| end.map(drop));
            // The connector may have sent its last flight before it learns that the handshake failed.
            assert!(acceptor.is_err(), "operation {at}, {cause:?}");
            if let Err(failed) = connector {
                assert!(
                    matches!(failed.cause, Cause::Socket(_) | Cause::Closed),
                    "operation {at}, {cause:?}: {failed:?}"
                );
            }
        }
    }
}

#[test]
fn a_handshake_that_drips_ends_at_its_deadline_at_both_ends() {
    let drip = Duration::from_millis(20);
    let nature = Nature {
        pause: (drip, drip),
        ..single_bytes()
    };
    let outcome = shake(1, &nature, Faults::default(), LIMIT);
    let deadlines = outcome.ends.iter().filter(|end| {
        let failed = end.as_ref().err();
        failed.is_some_and(|failed| matches!(failed.cause, Cause::Deadline))
    });
    assert!(deadlines.count() > 0, "neither end's deadline passed");
    assert!(outcome.ends.iter().all(Result::is_err));
}

#[test]
fn a_byte_altered_anywhere_in_a_handshake_ends_it() {
    let mut succeeded = Vec::new();
    for towards in [0, 1] {
        for position in (0..1800).step_by(7) {
            let nature = Nature {
                altered: Some((towards, position)),
                ..wire()
            };
            let outcome = shake(position, &nature, Faults::default(), LIMIT);
            // The connector is done before its last flight has arrived.
            if outcome.ends[1].is_ok() {
                succeeded.push((towards, position));
            }
        }
    }
    // The version in a record's header has no meaning and is not read (RFC 8446 section 5.1), and neither is
    // the content of a change_cipher_spec; all other bytes are covered by the transcript hash.
    assert!(succeeded.len() < 12, "{succeeded:?}");
}

/// Goal: the bytes that a server must send count as memory of the client that makes it wait. Method: a client
/// sends its hello and reads nothing, over a wire that holds less than the server's flight; the recorded
/// bytes of the server are checked.
#[test]
fn a_flight_that_the_client_does_not_read_counts_as_memory_of_the_handshake() {
    let nature = Nature {
        capacity: 400,
        ..wire()
    };
    let run = async {
        let world = World::new(1, Faults::default(), None, vec![nature]);
        let [client, server] = pair(&world, 0, [true, true]);
        let pace = Holding::default();
        let accepted = handshake(&server, session(Mode::Terminate), LIMIT, &pace);
        let (accepted, client) = tokio::join!(accepted, send_hello(client));
        let failed = accepted.map(drop).expect_err("the client reads nothing");
        assert!(matches!(failed.cause, Cause::Deadline), "{failed:?}");
        drop((client, server));
        assert_eq!(world.end(), [""; 0]);
        pace.0.into_inner()
    };
    let held = LocalSet::new().block_on(&paused(), run);
    // The certificate alone is longer.
    let [.., hello, flight] = held[..] else {
        panic!("{held:?}")
    };
    assert!(flight > hello + 400, "{held:?}");
}

/// Records the memory of a handshake.
#[derive(Default)]
struct Holding(RefCell<Vec<usize>>);

impl Pace for Holding {
    type Step = ();

    async fn step(&self) -> Option<()> {
        Some(())
    }

    fn hold(&self, bytes: usize) {
        self.0.borrow_mut().push(bytes);
    }

    fn cancel(&self) {}
}

async fn send_hello(client: SimSocket) -> SimSocket {
    let mut hello = Vec::new();
    let mut nothing = Buffer::with_room(0);
    session(Mode::Originate)
        .advance(&mut nothing, &mut hello)
        .expect("it begins");
    let all = 0..hello.len();
    client.write_all(hello, all).await.0.expect("it is read");
    client
}

fn wire() -> Nature {
    Scenario::calm(0, &[Mode::Passthrough], gateway::config::Protocol::Tcp).natures[0].clone()
}

fn single_bytes() -> Nature {
    Nature {
        transfer_max: 1,
        ..wire()
    }
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O")
}

fn shake(seed: u64, nature: &Nature, faults: Faults, limit: Duration) -> Outcome {
    let run = async {
        let world = World::new(seed, faults, None, vec![nature.clone()]);
        let [connecting, accepting] = pair(&world, 0, [true, true]);
        let connector = end(&world, connecting, session(Mode::Originate), limit);
        let acceptor = end(&world, accepting, session(Mode::Terminate), limit);
        let (connector, acceptor) = tokio::join!(connector, acceptor);
        let outcome = Outcome {
            ends: [connector.1, acceptor.1],
            operations: world.operations(),
        };
        drop((connector.0, acceptor.0));
        assert_eq!(world.end(), [""; 0], "seed {seed}");
        outcome
    };
    LocalSet::new().block_on(&paused(), run)
}

// The socket of a failed handshake is dropped at once, as in the relay; one that succeeded stays.
async fn end(
    _: &Rc<World>,
    socket: SimSocket,
    session: Session,
    limit: Duration,
) -> (Option<SimSocket>, Result<Secured, FailedHandshake>) {
    match handshake(&socket, session, limit, &Unpaced).await {
        Ok(secured) => (Some(socket), Ok(secured)),
        Err(failed) => (None, Err(failed)),
    }
}

fn session(mode: Mode) -> Session {
    match transport(mode) {
        Transport::Originate(connector) => {
            let target = by_name("gateway.example", 2762);
            connector.start(&target).expect("a DNS name").0.into()
        }
        Transport::Terminate(acceptor) => acceptor.start().expect("it began before").0.into(),
        Transport::Passthrough => unreachable!("passthrough shakes no hands"),
    }
}
