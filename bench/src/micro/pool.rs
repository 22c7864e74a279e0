//! Buffers: taken from a pool and given back, and batches with their rooms.

use std::hint::black_box;
use std::time::{Duration, Instant};

use gateway::buffers::{Pool, Size};

use super::{Case, Turn};

/// Operations of one turn.
const OPERATIONS: u32 = 1000;

pub(super) fn cases() -> Vec<Case> {
    let case = |name, begin| Case {
        name,
        operations: OPERATIONS,
        bytes: 0,
        begin,
    };
    vec![
        case("pool-take", || Ok(Box::new(Take(Pool::default())))),
        case("batch-lend", || Ok(Box::new(Lend(Pool::default())))),
    ]
}

/// Takes a buffer and gives it back.
struct Take(Pool);

impl Turn for Take {
    fn turn(&mut self) -> Duration {
        let start = Instant::now();
        for _ in 0..OPERATIONS {
            drop(black_box(self.0.take(Size::Large)));
        }
        start.elapsed()
    }
}

/// Takes a batch, lends its rooms to an operation, and gives all of it back.
struct Lend(Pool);

impl Turn for Lend {
    fn turn(&mut self) -> Duration {
        let start = Instant::now();
        for _ in 0..OPERATIONS {
            let mut batch = self.0.batch(Size::Large);
            let lent = black_box(batch.lend());
            batch.restore(lent);
            batch.fill(200);
            drop(black_box(batch.into_records(222)));
        }
        start.elapsed()
    }
}
