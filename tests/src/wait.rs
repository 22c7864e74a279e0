//! Waiting by condition, never by time alone.

use std::time::{Duration, Instant};

/// How long a test waits for something that takes milliseconds when all is well. Generous, because
/// the machine may be building something else; a test that passes never waits for it.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Between two looks at a condition.
const STEP: Duration = Duration::from_millis(4);

/// Asks `probe` again and again until it answers, and returns its answer.
///
/// Panics with `what` when `deadline` has passed without one.
pub fn until<T>(what: &str, deadline: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(
            start.elapsed() < deadline,
            "waited {deadline:?} in vain: {what}"
        );
        std::thread::sleep(STEP);
    }
}

/// Measures up to `rounds` times, until a round is good.
///
/// For times and rates that other programs of the machine can spoil in some rounds; the defect that the test is about
/// must spoil every round. Panics with the reasons of all rounds when none is good.
pub fn one_good_round(rounds: usize, mut measure: impl FnMut() -> Result<(), String>) {
    let mut reasons = Vec::new();
    while reasons.len() < rounds {
        match measure() {
            Ok(()) => return,
            Err(reason) => reasons.push(reason),
        }
    }
    panic!("none of {rounds} rounds is good:\n{}", reasons.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_good_round_of_several_is_enough() {
        let mut round = 0;
        one_good_round(3, || {
            round += 1;
            if round == 3 {
                Ok(())
            } else {
                Err("busy".into())
            }
        });
        assert_eq!(round, 3);
    }

    #[test]
    #[should_panic(expected = "none of 2 rounds is good:\nslow\nslow")]
    fn without_a_good_round_the_test_fails() {
        one_good_round(2, || Err("slow".into()));
    }
}
