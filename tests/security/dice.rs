//! Repeatable random numbers: a small generator, and the seed of a test run.

use std::time::{SystemTime, UNIX_EPOCH};

/// Numbers from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The generator of one case out of many: the same for the same seed and number.
    pub(crate) fn of_case(seed: u64, case: u64) -> Self {
        Self(mix(seed ^ mix(case)))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// From 0 to `bound` - 1.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in `n` calls on average.
    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        let index = self.below(items.len() as u64);
        items[index as usize]
    }
}

/// The seed of this run: `WARDGATE_SEED` to replay a failure, else a new one. It is printed, and the test
/// runner shows it when the test fails.
pub(crate) fn seed() -> u64 {
    let replayed = std::env::var("WARDGATE_SEED").ok();
    let seed = match replayed {
        Some(text) => text.parse().expect("WARDGATE_SEED is a decimal number"),
        None => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            // Short enough to type.
            mix(now.expect("the clock is right").as_nanos() as u64) >> 32
        }
    };
    let test = std::thread::current();
    println!(
        "replay: WARDGATE_SEED={seed} cargo test -p wardgate-tests --test security {}",
        test.name().unwrap_or_default()
    );
    seed
}

/// A stream of bytes in which every position can be computed alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pattern(pub(crate) u64);

impl Pattern {
    /// Writes the bytes from position `start` on.
    pub(crate) fn fill(self, start: u64, bytes: &mut [u8]) {
        for (place, byte) in (start..).zip(bytes) {
            *byte = self.at(place);
        }
    }

    /// Whether these are the bytes from position `start` on.
    pub(crate) fn holds(self, start: u64, bytes: &[u8]) -> bool {
        (start..)
            .zip(bytes)
            .all(|(place, byte)| *byte == self.at(place))
    }

    fn at(self, place: u64) -> u8 {
        let word = mix(self.0 ^ (place / 8));
        word.to_le_bytes()[(place % 8) as usize]
    }
}

fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
