//! The DSCP with which a route's packets are marked: `dscp`.

use std::fmt;

use super::Located;
use super::file;
use super::problem::Problems;
use super::written::Written;

/// A differentiated services code point (RFC 2474): 0 to 63.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dscp(u8);

impl Dscp {
    /// The number; at most 63.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Dscp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = NAMES.iter();
        match names.find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.write_str(name),
            None => self.0.fmt(f),
        }
    }
}

/// The names of RFC 2474 (class selectors), RFC 2597 (assured forwarding) and RFC 3246 (expedited forwarding).
const NAMES: [(&str, u8); 21] = [
    ("CS0", 0),
    ("CS1", 8),
    ("CS2", 16),
    ("CS3", 24),
    ("CS4", 32),
    ("CS5", 40),
    ("CS6", 48),
    ("CS7", 56),
    ("AF11", 10),
    ("AF12", 12),
    ("AF13", 14),
    ("AF21", 18),
    ("AF22", 20),
    ("AF23", 22),
    ("AF31", 26),
    ("AF32", 28),
    ("AF33", 30),
    ("AF41", 34),
    ("AF42", 36),
    ("AF43", 38),
    ("EF", 46),
];

/// The DSCP of a route; `None` if its packets are not marked.
pub(super) fn resolve(route: &file::Route, problems: &mut Problems) -> Option<Dscp> {
    match &route.dscp {
        file::Dscp::Word(word) => {
            let text = word.value()?;
            problems.accept(&route.scope, "dscp", text, dscp(&text.value))
        }
        file::Dscp::Number(written) => number(&route.scope, written, problems),
    }
}

fn number(scope: &str, written: &Written<i64>, problems: &mut Problems) -> Option<Dscp> {
    let Located { value, line } = *written.value()?;
    let read = u8::try_from(value).ok().filter(|number| *number <= MAX);
    if read.is_none() {
        let text = format!("{scope}dscp {value} is out of range; {FORM}");
        problems.wrong(line, text);
    }
    read.map(Dscp)
}

/// Reads a name or a number. An error is the end of a sentence.
fn dscp(text: &str) -> Result<Dscp, String> {
    let mut names = NAMES.iter();
    if let Some((_, number)) = names.find(|(name, _)| name.eq_ignore_ascii_case(text)) {
        return Ok(Dscp(*number));
    }
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text
        .parse()
        .ok()
        .filter(|number| is_number && *number <= MAX);
    number
        .map(Dscp)
        .ok_or_else(|| format!("is not known; {FORM}"))
}

const MAX: u8 = 63;

const FORM: &str =
    "write a name from CS0 to CS7, from AF11 to AF43, or EF, or a number from 0 to 63";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_numbers_of_their_standards() {
        // RFC 2597: AFxy is 8x + 2y; RFC 2474: CSx is 8x.
        for class in 1..=4_u8 {
            for drop in 1..=3_u8 {
                let read = dscp(&format!("AF{class}{drop}"));
                assert_eq!(read.map(Dscp::number), Ok(8 * class + 2 * drop));
            }
        }
        for class in 0..=7_u8 {
            assert_eq!(dscp(&format!("cs{class}")).map(Dscp::number), Ok(8 * class));
        }
        assert_eq!(dscp("EF").map(Dscp::number), Ok(46));
        assert_eq!(dscp("63").map(Dscp::number), Ok(63));
        for (number, shown) in [(18, "AF21"), (0, "CS0"), (63, "63")] {
            assert_eq!(Dscp(number).to_string(), shown);
        }
    }

    #[test]
    fn other_words_are_refused() {
        for text in [
            "AF14",
            "AF51",
            "CS8",
            "64",
            "-1",
            "+1",
            "",
            "0x12",
            "best effort",
        ] {
            dscp(text).expect_err(text);
        }
    }
}
