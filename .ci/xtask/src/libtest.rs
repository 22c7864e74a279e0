//! Parses the output of Rust's test harness: counts, failed tests, ignored tests.

use std::ops::AddAssign;

/// The numbers of tests by result.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Passed.
    pub(crate) passed: usize,
    /// Failed, or did not run because an earlier step failed.
    pub(crate) failed: usize,
    /// Could not run here, or marked `#[ignore]`.
    pub(crate) skipped: usize,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// A line of the harness with a result.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// The result line of one test binary.
    Result(Counts),
    /// A failed test.
    Failed(&'a str),
    /// A test marked `#[ignore]`, with the reason if there is one.
    Ignored(&'a str, &'a str),
    /// What a failed test printed follows, up to the next of these lines or the list of failures.
    Output(&'a str),
    /// The list of failures follows.
    Failures,
}

/// Parses one line; `None` for output of a test or any other line of the harness.
///
/// A test could print such lines itself. The project's tests do not, and the harness captures the output of
/// passing tests.
pub(crate) fn read(line: &str) -> Option<Line<'_>> {
    if let Some(rest) = line.strip_prefix("test result: ") {
        return counts(rest).map(Line::Result);
    }
    if line == "failures:" {
        return Some(Line::Failures);
    }
    if let Some(rest) = line.strip_prefix("---- ") {
        return rest.strip_suffix(" stdout ----").map(Line::Output);
    }
    let (name, outcome) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    if outcome == "FAILED" {
        return Some(Line::Failed(name));
    }
    let reason = outcome.strip_prefix("ignored")?;
    Some(Line::Ignored(name, reason.trim_start_matches(", ")))
}

/// `ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`
fn counts(rest: &str) -> Option<Counts> {
    let (_, numbers) = rest.split_once(". ")?;
    let mut counts = Counts::default();
    for part in numbers.split("; ") {
        match part.split_once(' ') {
            Some((number, "passed")) => counts.passed = number.parse().ok()?,
            Some((number, "failed")) => counts.failed = number.parse().ok()?,
            Some((number, "ignored")) => counts.skipped = number.parse().ok()?,
            _ => {}
        }
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_line_gives_its_counts() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; \
                    7 filtered out; finished in 0.41s";
        let expected = Counts {
            passed: 12,
            failed: 3,
            skipped: 1,
        };
        assert_eq!(read(line), Some(Line::Result(expected)));
    }

    #[test]
    fn a_result_line_without_numbers_is_not_a_count_of_zero() {
        assert_eq!(read("test result: ok. many passed; 0 failed"), None);
        assert_eq!(read("test result: ok"), None);
    }

    #[test]
    fn failed_and_ignored_tests_are_named() {
        assert_eq!(read("test a::b ... FAILED"), Some(Line::Failed("a::b")));
        assert_eq!(read("---- a::b stdout ----"), Some(Line::Output("a::b")));
        assert_eq!(
            read("test a::c ... ignored, needs a disk"),
            Some(Line::Ignored("a::c", "needs a disk"))
        );
        assert_eq!(
            read("test src/lib.rs - x (line 3) ... ignored"),
            Some(Line::Ignored("src/lib.rs - x (line 3)", ""))
        );
    }

    #[test]
    fn other_lines_mean_nothing() {
        for line in [
            "test a::b ... ok",
            "running 3 tests",
            "",
            "test",
            "hello ... FAILED",
        ] {
            assert_eq!(read(line), None, "{line:?}");
        }
    }

    #[test]
    fn counts_add_up() {
        let mut sum = Counts::default();
        for n in 1..=3 {
            sum += Counts {
                passed: n,
                failed: n * 10,
                skipped: n * 100,
            };
        }
        assert_eq!((sum.passed, sum.failed, sum.skipped), (6, 60, 600));
    }
}
