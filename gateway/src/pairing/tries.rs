//! How often and how long a code may be tried.

use std::time::{Duration, Instant};

use super::error::RejectCode;
use super::limits::{CODE_LIFE, CODE_TRIES};

/// The tries that a code has left. Time is an argument.
#[derive(Debug)]
pub struct Tries {
    until: Instant,
    left: u32,
    is_used: bool,
}

impl Tries {
    /// Those of a code that is shown now.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            until: now + CODE_LIFE,
            left: CODE_TRIES,
            is_used: false,
        }
    }

    /// Makes one try at `now`, with `is_right` as its outcome. A failed one is used up, and the right one ends the
    /// code.
    ///
    /// # Errors
    /// `Void` if the code is void; `is_right` was then not called.
    pub fn attempt(
        &mut self,
        now: Instant,
        is_right: impl FnOnce() -> bool,
    ) -> Result<bool, RejectCode> {
        if self.is_void(now) {
            return Err(RejectCode::Void);
        }
        // LIMIT: CODE_TRIES. Counted first: a check that does not return has been a try.
        self.left = self.left.saturating_sub(1);
        self.is_used = is_right();
        Ok(self.is_used)
    }

    /// Whether no try is left at `now`.
    #[must_use]
    pub fn is_void(&self, now: Instant) -> bool {
        // LIMIT: CODE_LIFE.
        self.is_used || self.left == 0 || now >= self.until
    }

    /// Tries that are left.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.left
    }

    /// The time until the code is void.
    #[must_use]
    pub fn rest(&self, now: Instant) -> Duration {
        self.until.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_void_after_three_wrong_tries() {
        let now = Instant::now();
        let mut tries = Tries::new(now);
        for _ in 0..CODE_TRIES {
            assert_eq!(tries.attempt(now, || false), Ok(false));
        }
        let right = tries.attempt(now, || panic!("a void code is not compared"));
        assert_eq!(right, Err(RejectCode::Void));
    }

    #[test]
    fn a_code_is_void_after_ten_minutes_and_after_its_use() {
        let now = Instant::now();
        let mut tries = Tries::new(now);
        let second = Duration::from_secs(1);
        assert!(!tries.is_void(now + Duration::from_secs(600) - second));
        let late = tries.attempt(now + Duration::from_secs(600), || true);
        assert_eq!(late, Err(RejectCode::Void));
        assert_eq!(tries.attempt(now + second, || true), Ok(true));
        assert_eq!(tries.attempt(now + second, || true), Err(RejectCode::Void));
    }
}
