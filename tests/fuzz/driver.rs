//! A small fuzzer that needs no nightly compiler: it mutates a kept corpus, and keeps inputs with new
//! results.
//!
//! The result of an input is a word from its target, not code coverage: how the connection ended, why, and
//! what was delivered. A panic, an overflow, an assertion of the target or too much memory is a find: the
//! input goes into the corpus, and every run plays it again.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::random::Random;

/// The seconds of fuzzing for each target.
const SECONDS: &str = "WARDGATE_FUZZ_SECONDS";
/// The seed of the mutations.
const SEED: &str = "WARDGATE_FUZZ_SEED";
/// If set, inputs with new results go into the corpus.
const KEEP: &str = "WARDGATE_FUZZ_KEEP";

const SECONDS_USUALLY: u64 = 3;
const INPUT_MAX: usize = 600;

/// Tests of this tier run one at a time, because they measure the memory and the time of the process.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fuzzes `target`, which returns a word for the result of its input, and panics on a fault.
pub(crate) fn fuzz(name: &str, target: fn(&[u8]) -> String) {
    let _alone = alone();
    let mut fuzzer = Fuzzer {
        folder: Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/corpus")
            .join(name),
        target,
        shown: BTreeSet::new(),
        pool: Vec::new(),
        plays: 0,
    };
    let corpus = fuzzer.corpus();
    assert!(!corpus.is_empty(), "{} is empty", fuzzer.folder.display());
    for input in corpus {
        fuzzer.play(&input);
        fuzzer.pool.push(input);
    }
    let kept = fuzzer.pool.len();
    let seed = number(SEED).unwrap_or(1);
    fuzzer.mutate(
        seed,
        Duration::from_secs(number(SECONDS).unwrap_or(SECONDS_USUALLY)),
    );
    println!(
        "{name}: {} inputs from {kept} kept and seed {seed}; {} different outcomes",
        fuzzer.plays,
        fuzzer.shown.len()
    );
}

struct Fuzzer {
    folder: PathBuf,
    target: fn(&[u8]) -> String,
    shown: BTreeSet<String>,
    pool: Vec<Vec<u8>>,
    plays: u64,
}

impl Fuzzer {
    fn corpus(&self) -> Vec<Vec<u8>> {
        let files = fs::read_dir(&self.folder).expect("the corpus lies beside the tests");
        let mut files: Vec<_> = files.map(|file| file.expect("an entry").path()).collect();
        files.sort();
        let read = |file: PathBuf| fs::read(file).expect("a file of the corpus");
        files.into_iter().map(read).collect()
    }

    fn mutate(&mut self, seed: u64, long: Duration) {
        let mut random = Random::new(seed);
        let start = Instant::now();
        while start.elapsed() < long {
            let input = mutation(&mut random, &self.pool);
            if self.play(&input) {
                if std::env::var_os(KEEP).is_some() {
                    self.keep("kept", &input);
                }
                self.pool.push(input);
            }
        }
    }

    // Whether the result of the input is new.
    fn play(&mut self, input: &[u8]) -> bool {
        self.plays += 1;
        let target = self.target;
        match catch_unwind(|| target(input)) {
            Ok(word) => self.shown.insert(word),
            Err(_) => {
                let file = self.keep("find", input);
                panic!("a find: {}", file.display());
            }
        }
    }

    fn keep(&self, kind: &str, input: &[u8]) -> PathBuf {
        let hash = input.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
            (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3)
        });
        let file = self.folder.join(format!("{kind}-{hash:016x}.bin"));
        fs::write(&file, input).expect("the corpus can be written");
        file
    }
}

fn mutation(random: &mut Random, pool: &[Vec<u8>]) -> Vec<u8> {
    let mut input = random.pick(pool);
    for _ in 0..random.length(6) {
        let at = random.length(input.len() + 1) - 1;
        let octet = random.next().to_le_bytes()[0];
        match random.below(7) {
            0 => input.insert(at, octet),
            1 => input.truncate(at),
            2 => input.extend((0..random.length(12)).map(|_| octet)),
            3 => {
                let other = random.pick(pool);
                input.truncate(at);
                input.extend_from_slice(&other[at.min(other.len())..]);
            }
            4 => input.extend((0..random.length(12)).map(|_| random.next().to_le_bytes()[0])),
            5 => flip(&mut input, at, 1 << (octet % 8)),
            _ => flip(&mut input, at, octet),
        }
    }
    input.truncate(INPUT_MAX);
    input
}

fn flip(input: &mut [u8], at: usize, by: u8) {
    if let Some(octet) = input.get_mut(at) {
        *octet ^= by;
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a whole number"))
}
