//! Random streams with pieces, pauses and endings by seed, checked against one rule: complete or visibly
//! broken.
//!
//! A stream with an end that looked clean to its reader was complete. If one end reset the stream, the other
//! end saw an error. `WARDGATE_SEED` replays the seed that a failure prints.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wardgate_tests::stream::{Ending, Noise, ending};

use crate::pair::Pair;

/// The number of connections at the same time, and the number of rounds.
const CONNECTIONS: u64 = 10;
const ROUNDS: u64 = 40;

/// The plan of one end.
#[derive(Debug, Clone)]
struct Plan {
    payload: Vec<u8>,
    pieces: Vec<usize>,
    /// Reset after this number of bytes, in place of a finish.
    reset_at: Option<usize>,
}

/// The result of an end's own direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Finished,
    Reset,
    Failed,
}

/// The result of one end.
#[derive(Debug)]
struct Outcome {
    sent: Sent,
    received: Vec<u8>,
    ending: Ending,
}

/// Numbers by seed.
struct Dice(Noise);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        let bytes = self.0.take(8).try_into().expect("eight were asked for");
        usize::try_from(u64::from_le_bytes(bytes) % most as u64).expect("it is below most")
    }

    /// Small numbers as often as large ones.
    fn scaled(&mut self, bits: usize) -> usize {
        let most = 1 << self.below(bits + 1);
        self.below(most)
    }
}

impl Plan {
    fn new(dice: &mut Dice) -> Self {
        let total = dice.scaled(20);
        let mut pieces = Vec::new();
        let mut left = total;
        while left > 0 {
            let piece = (1 + dice.scaled(17)).min(left);
            pieces.push(piece);
            left -= piece;
        }
        Self {
            payload: dice.0.take(total),
            pieces,
            reset_at: (dice.below(4) == 0).then(|| dice.below(total + 1)),
        }
    }

    fn send(&self, stream: &mut TcpStream, dice: &mut Dice) -> Sent {
        let mut at = 0;
        for piece in &self.pieces {
            let end = at + piece;
            if self.reset_at.is_some_and(|reset_at| reset_at <= end) {
                return break_off(stream);
            }
            if dice.below(8) == 0 {
                std::thread::sleep(Duration::from_micros(dice.below(3000) as u64));
            }
            if stream.write_all(&self.payload[at..end]).is_err() {
                return Sent::Failed;
            }
            at = end;
        }
        if self.reset_at.is_some() {
            return break_off(stream);
        }
        match stream.shutdown(Shutdown::Write) {
            Ok(()) => Sent::Finished,
            Err(_) => Sent::Failed,
        }
    }
}

// The reader of this end holds the socket as well, so closing would not end the connection; a RST ends it.
fn break_off(stream: &TcpStream) -> Sent {
    match rustix::net::connect_unspec(stream) {
        Ok(()) => Sent::Reset,
        Err(_) => Sent::Failed,
    }
}

/// Collects the bytes that are read, so that `ending` can check the end.
struct Keeping<'k>(&'k mut TcpStream, Vec<u8>);

impl Read for Keeping<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.read(into)?;
        self.1.extend_from_slice(&into[..count]);
        Ok(count)
    }
}

/// Plays one end as planned, both directions at once.
fn live(mut stream: TcpStream, plan: Plan, seed: u64) -> JoinHandle<Outcome> {
    std::thread::spawn(move || {
        let mut sending = stream.try_clone().expect("descriptors are left");
        let sender =
            std::thread::spawn(move || plan.send(&mut sending, &mut Dice(Noise::new(seed))));
        let mut keeping = Keeping(&mut stream, Vec::new());
        let (_, ending) = ending(&mut keeping);
        let sent = sender.join().expect("a sender does not panic");
        Outcome {
            sent,
            received: keeping.1,
            // Linux reports a reset once: if the sender saw it, the reader may see a clean end after it. The
            // application knows of the reset.
            ending: match sent {
                Sent::Finished => ending,
                Sent::Reset | Sent::Failed => Ending::Reset,
            },
        }
    })
}

/// Compares the bytes that arrived at `to` with the bytes that `from` sent.
fn judge(what: &str, plan: &Plan, from: &Outcome, to: &Outcome) {
    let count = to.received.len();
    assert!(
        plan.payload.starts_with(&to.received),
        "{what}: what arrived is not what was sent"
    );
    let whole = count == plan.payload.len();
    if to.ending == Ending::Orderly {
        let (sent, own) = (from.sent, to.sent);
        assert_eq!(
            sent,
            Sent::Finished,
            "{what}: an end that nobody made ({own:?})"
        );
        assert!(
            whole,
            "{what}: orderly after {count} of {}",
            plan.payload.len()
        );
    } else {
        let broken = from.sent == Sent::Reset || to.sent == Sent::Reset;
        assert!(broken, "{what}: {:?} although nobody broke off", to.ending);
    }
}

#[test]
fn random_streams_are_complete_or_visibly_broken() {
    let seed = std::env::var("WARDGATE_SEED").map_or_else(
        |_| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            now.expect("it is past 1970").as_secs()
        },
        |text| text.parse().expect("WARDGATE_SEED is a number"),
    );
    println!("WARDGATE_SEED={seed}");
    let pair = Pair::start("tcp");
    let mut complete = 0;
    for round in 0..ROUNDS {
        complete += play(&pair, seed.wrapping_mul(1000) + round * CONNECTIONS);
    }
    let total = usize::try_from(ROUNDS * CONNECTIONS).expect("they are few");
    for gateway in [&pair.a, &pair.b] {
        let lines = gateway.wait_for_connections(total);
        let told = lines
            .iter()
            .filter(|line| line.text("reason") == "complete");
        assert_eq!(told.count(), complete, "WARDGATE_SEED={seed}");
    }
}

/// Plays some connections at once and returns how many were not reset by an end.
fn play(pair: &Pair, first: u64) -> usize {
    let running: Vec<_> = (first..first + CONNECTIONS)
        .map(|seed| {
            let mut dice = Dice(Noise::new(seed));
            let plans = [Plan::new(&mut dice), Plan::new(&mut dice)];
            let (client, server) = pair.join();
            let client = live(client, plans[0].clone(), seed);
            let server = live(server, plans[1].clone(), !seed);
            (seed, plans, client, server)
        })
        .collect();
    let mut complete = 0;
    for (seed, plans, client, server) in running {
        let what = |direction| format!("seed {seed}, {direction}");
        let ended = "the threads of an end do not panic";
        let (client, server) = (client.join().expect(ended), server.join().expect(ended));
        judge(&what("to the server"), &plans[0], &client, &server);
        judge(&what("to the client"), &plans[1], &server, &client);
        complete += usize::from(plans.iter().all(|plan| plan.reset_at.is_none()));
    }
    complete
}
