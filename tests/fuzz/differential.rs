//! The gateway's record layer and that of rustls: the same records give the same payload, and the same end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gateway::buffers::Buffer;
use gateway::tls::Cipher;
use gateway::tls::session::HandedOver;
use rustls::CipherSuite;

use crate::choices::Choices;
use crate::differences::{Difference, between};
use crate::driver::alone;
use crate::engines::{self, Course, End, Engine, Layer, Outcome};
use crate::pair::{self, Kind, Role};
use crate::random::Random;
use crate::recipe;

/// Additional seconds beyond the usual number of seeds.
const SECONDS: &str = "WARDGATE_DIFFERENTIAL_SECONDS";
/// The only seed to play.
const SEED: &str = "WARDGATE_DIFFERENTIAL_SEED";
const SEEDS: u64 = 4000;

/// The result of a course in both layers.
pub(crate) struct Compared {
    pub(crate) ours: Outcome,
    pub(crate) difference: Option<Difference>,
}

/// Plays the course that `bytes` decide through both layers.
pub(crate) fn play(octets: &[u8]) -> Result<Compared, String> {
    let mut choices = Choices::new(octets);
    let kind = kind(&mut choices);
    let early_of_256 = choices.pick(&[0, 0, 20, 256]);
    let pieces: Vec<usize> = (0..=choices.below(4))
        .map(|_| match choices.octet() % 4 {
            0 => 1 + choices.below(8),
            1 => 1 + choices.below(100),
            2 => 1 + choices.below(20_000),
            _ => usize::MAX,
        })
        .collect();
    let dish = recipe::cook(&mut choices, &mut pair::script(kind).peer);
    let stream = &dish.stream;
    // Single bytes take long, so long streams come in longer pieces.
    let least = stream.len() / 2000;
    let pieces: Vec<usize> = pieces.into_iter().map(|piece| piece.max(least)).collect();
    let course = Course {
        kind,
        stream,
        early: stream.len().min(20_000) * early_of_256 / 256,
        pieces: &pieces,
    };
    let ours = engines::go_in_place(&course);
    let theirs = engines::go(&course, Layer::Rustls);
    let difference = between(&dish, &ours, &theirs)?;
    Ok(Compared { ours, difference })
}

pub(crate) fn kind(choices: &mut Choices<'_>) -> Kind {
    Kind {
        role: choices.pick(&[Role::Client, Role::Server]),
        suite: choices.pick(&[
            CipherSuite::TLS13_AES_256_GCM_SHA384,
            CipherSuite::TLS13_AES_128_GCM_SHA256,
        ]),
    }
}

fn octets(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let most = random.pick(&[20, 60, 60, 400]);
    let length = random.length(most);
    (0..length)
        .map(|_| random.next().to_le_bytes()[0])
        .collect()
}

/// Runs `one` for every seed, or for the one in the environment; a failing seed is printed.
fn seeds(mut one: impl FnMut(u64)) -> u64 {
    if let Ok(seed) = std::env::var(SEED) {
        one(seed.parse().expect("a seed is a number"));
        return 1;
    }
    let seconds = std::env::var(SECONDS).ok();
    let seconds = seconds.map_or(0, |text| text.parse().expect("a number of seconds"));
    let (start, least) = (Instant::now(), Duration::from_secs(seconds));
    let mut seed = 0;
    while seed < SEEDS || start.elapsed() < least {
        one(seed);
        seed += 1;
    }
    seed
}

struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}: play it again with {SEED}={}", self.0, self.0);
        }
    }
}

#[test]
fn the_same_records_give_the_same_payload_and_the_same_end() {
    let _alone = alone();
    let mut differences: BTreeMap<Option<Difference>, u64> = BTreeMap::new();
    let mut ends: BTreeMap<&str, u64> = BTreeMap::new();
    let count = seeds(|seed| {
        let _named = Named(seed);
        match play(&octets(seed)) {
            Ok(compared) => {
                *differences.entry(compared.difference).or_default() += 1;
                *ends.entry(name(&compared.ours)).or_default() += 1;
            }
            Err(unknown) => panic!("the layers differ\n{unknown}"),
        }
    });
    println!("{count} seeds; ends: {ends:?}; differences: {differences:?}");
    if count > 1 {
        for end in ["open", "closed", "refused", "kept"] {
            assert!(
                ends.get(end).is_some_and(|n| *n > count / 200),
                "few end {end}: {ends:?}"
            );
        }
    }
}

fn name(outcome: &Outcome) -> &'static str {
    match outcome.end {
        _ if !outcome.is_in_place => "kept",
        End::Open => "open",
        End::Closed => "closed",
        End::Ours(..) | End::Rustls(_) => "refused",
    }
}

#[test]
fn two_handshakes_with_the_same_chance_are_one() {
    let _alone = alone();
    for role in [Role::Client, Role::Server] {
        let suite = CipherSuite::TLS13_AES_256_GCM_SHA384;
        let kind = Kind { role, suite };
        let (mut one, mut other) = (pair::script(kind), pair::script(kind));
        assert_eq!(one.flights, other.flights);
        assert_eq!(one.peer.record(23, b"x", 0), other.peer.record(23, b"x", 0));
    }
}

#[test]
fn each_record_layer_opens_what_the_other_seals() {
    let _alone = alone();
    let count = seeds(|seed| {
        let _named = Named(seed);
        exchange(&mut Random::new(seed));
    });
    println!("{count} seeds");
}

// Both ends seal batches of any size in any order; the gateway's layer has a limit of a few records per key.
fn exchange(random: &mut Random) {
    let octets: Vec<u8> = (0..8).map(|_| random.next().to_le_bytes()[0]).collect();
    let (session, mut rustls) = pair::both(kind(&mut Choices::new(&octets)));
    let most = random.pick(&[3, 40]);
    let limit = random.length(most);
    let cipher = random.pick(&Cipher::ALL);
    let handed = session
        .hand_over(&[], cipher, limit as u64)
        .expect("a handshake that is done");
    let HandedOver::InPlace(in_place, early) = handed else {
        panic!("nothing keeps our layer from taking over")
    };
    assert!(early.is_empty());
    let mut ours = Engine::InPlace(in_place);
    let (mut at_ours, mut at_rustls) = (Lane::new(), Lane::new());
    for _ in 0..random.length(12) {
        let length = match random.below(8) {
            0 => random.length(100_000),
            1 => 16_384 * random.length(3),
            _ => random.length(500),
        };
        let plain: Vec<u8> = (0..length as u64)
            .map(|at| crate::random::byte(7, at))
            .collect();
        if random.chance(500) {
            at_rustls.send(&seal_and_check(&mut ours, &plain), &plain);
            at_rustls.open(random, |incoming, opened| {
                engines::open_theirs(&mut rustls, incoming, opened)
            });
        } else {
            let mut wrapped = Engine::Rustls(Box::new(rustls));
            at_ours.send(&engines::seal(&mut wrapped, &plain), &plain);
            let Engine::Rustls(back) = wrapped else {
                panic!("it was wrapped as such")
            };
            rustls = *back;
            let Engine::InPlace(in_place) = &mut ours else {
                panic!("ours it is")
            };
            at_ours.open(random, |incoming, opened| {
                engines::open_ours(in_place, incoming, opened)
            });
        }
    }
    at_ours.arrived();
    at_rustls.arrived();
}

fn seal_and_check(engine: &mut Engine, plain: &[u8]) -> Vec<u8> {
    let records = engines::seal(engine, plain);
    let longest = 5 + 16_384 + 17;
    let at_least = plain.len() + plain.len().div_ceil(16_384) * 22;
    assert!(records.len() >= at_least && records.len() <= at_least + longest);
    records
}

/// Records in transit to one end.
struct Lane {
    incoming: Buffer,
    on_their_way: Vec<u8>,
    sealed: Vec<u8>,
    opened: Vec<u8>,
}

impl Lane {
    fn new() -> Self {
        Self {
            incoming: Buffer::with_room(300_000),
            on_their_way: Vec::new(),
            sealed: Vec::new(),
            opened: Vec::new(),
        }
    }

    fn send(&mut self, records: &[u8], plain: &[u8]) {
        self.on_their_way.extend_from_slice(records);
        self.sealed.extend_from_slice(plain);
    }

    fn open(
        &mut self,
        random: &mut Random,
        mut open: impl FnMut(&mut Buffer, &mut Vec<u8>) -> End,
    ) {
        while !self.on_their_way.is_empty() {
            self.incoming.compact();
            let piece = random.length(self.on_their_way.len());
            let taken = self.incoming.append(&self.on_their_way[..piece]);
            self.on_their_way.drain(..taken);
            assert_eq!(open(&mut self.incoming, &mut self.opened), End::Open);
        }
    }

    fn arrived(&self) {
        assert!(self.incoming.is_empty(), "half a record is left");
        assert!(self.opened == self.sealed, "not what was sealed");
    }
}
