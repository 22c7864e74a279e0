//! The bandwidth of a route: `bandwidth = "400Mbit/s"`.

use std::fmt;

use super::file;
use super::problem::Problems;
use crate::config::limits::{BANDWIDTH_MAX, BANDWIDTH_MIN};

/// A bandwidth, from `limits::BANDWIDTH_MIN` to `limits::BANDWIDTH_MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bandwidth {
    bits_per_second: u64,
}

impl Bandwidth {
    /// In bytes per second.
    #[must_use]
    pub fn bytes_per_second(self) -> u64 {
        self.bits_per_second / 8
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&written(self.bits_per_second))
    }
}

/// Units with their bits per second. As for network equipment, a kilobit has 1000 bits.
const UNITS: [(&str, u64); 3] = [
    ("kbit/s", 1000),
    ("Mbit/s", 1_000_000),
    ("Gbit/s", 1_000_000_000),
];

/// The bandwidth of a route; `None` if it is not limited.
pub(super) fn resolve(route: &file::Route, problems: &mut Problems) -> Option<Bandwidth> {
    let text = route.bandwidth.value()?;
    problems.accept(&route.scope, "bandwidth", text, bandwidth(&text.value))
}

/// Reads `400Mbit/s`. An error is the end of a sentence.
fn bandwidth(text: &str) -> Result<Bandwidth, String> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit());
    let (digits, unit) = text.split_at(digits_end.unwrap_or(text.len()));
    let shown = digits.get(..12).unwrap_or(digits);
    if digits.is_empty() {
        return Err(format!("is not a bandwidth; {FORM}"));
    }
    let Some((_, bits)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        // A capital B counts bytes.
        if let Some(of_bits) = in_bits(digits, unit.trim()) {
            return Err(format!(
                "is in bytes; write \"{of_bits}\", the same in bits"
            ));
        }
        let plain = unit.trim().to_lowercase();
        return Err(match plain.as_str() {
            "" => format!("has no unit; write \"{shown}Mbit/s\" for megabits per second"),
            "mbps" | "mbit" | "mb/s" | "mbit/s" | "mbits/s" | "m" => {
                format!(
                    "has another spelling of its unit; write \"{shown}Mbit/s\" for megabits per second"
                )
            }
            "gbps" | "gbit" | "gb/s" | "gbit/s" | "gbits/s" | "g" => {
                format!(
                    "has another spelling of its unit; write \"{shown}Gbit/s\" for gigabits per second"
                )
            }
            "kbps" | "kbit" | "kb/s" | "kbit/s" | "kbits/s" | "k" => {
                format!(
                    "has another spelling of its unit; write \"{shown}kbit/s\" for kilobits per second"
                )
            }
            fraction if fraction.starts_with(['.', ',']) => {
                "has a fraction; write a whole number of a smaller unit: \"2500kbit/s\"".to_owned()
            }
            _ => format!("has an unknown unit; {FORM}"),
        });
    };
    let number = digits.parse::<u64>().ok();
    let bits_per_second = number.and_then(|number| number.checked_mul(*bits));
    // LIMIT: `BANDWIDTH_MIN`, `BANDWIDTH_MAX`.
    let allowed = BANDWIDTH_MIN..=BANDWIDTH_MAX;
    match bits_per_second.filter(|bits| allowed.contains(bits)) {
        Some(bits_per_second) => Ok(Bandwidth { bits_per_second }),
        None => Err(format!(
            "is out of range; write \"{}\" to \"{}\"",
            written(BANDWIDTH_MIN),
            written(BANDWIDTH_MAX)
        )),
    }
}

/// A number of kilobytes, megabytes or gigabytes in bits.
fn in_bits(digits: &str, unit: &str) -> Option<String> {
    let (prefix, rest) = unit.split_at_checked(1)?;
    let name = match prefix {
        "k" | "K" => "kbit/s",
        "M" | "m" => "Mbit/s",
        "G" | "g" => "Gbit/s",
        _ => return None,
    };
    let bits = digits.parse::<u64>().ok()?.checked_mul(8)?;
    matches!(rest, "B/s" | "Bps" | "B" | "iB/s" | "byte/s").then(|| format!("{bits}{name}"))
}

/// A bandwidth as an operator would write it.
fn written(bits_per_second: u64) -> String {
    let mut units = UNITS.iter().rev();
    let whole = units.find(|(_, unit)| bits_per_second.is_multiple_of(*unit));
    whole.map_or_else(
        || format!("{bits_per_second}bit/s"),
        |(name, unit)| format!("{}{name}", bits_per_second / unit),
    )
}

const FORM: &str = "write a whole number and its unit: \"800kbit/s\", \"400Mbit/s\" or \"1Gbit/s\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bandwidth_counts_bits_in_powers_of_ten() {
        for (text, bytes) in [
            ("800kbit/s", 100_000),
            ("400Mbit/s", 50_000_000),
            ("1Gbit/s", 125_000_000),
        ] {
            let read = bandwidth(text).expect("it is well written");
            assert_eq!(read.bytes_per_second(), bytes);
            assert_eq!(read.to_string(), text);
        }
    }

    #[test]
    fn another_form_is_refused_with_the_right_one() {
        for (text, remedy) in [
            ("400", "\"400Mbit/s\""),
            ("400Mbps", "\"400Mbit/s\""),
            ("50MB/s", "\"400Mbit/s\", the same in bits"),
            ("100kB/s", "\"800kbit/s\", the same in bits"),
            ("1gbit/s", "\"1Gbit/s\""),
            ("2.5Mbit/s", "\"2500kbit/s\""),
            ("10bananas", "\"400Mbit/s\""),
            ("fast", "\"400Mbit/s\""),
            ("", "\"400Mbit/s\""),
            ("63kbit/s", "\"64kbit/s\" to \"400Gbit/s\""),
            ("401Gbit/s", "\"64kbit/s\" to \"400Gbit/s\""),
            ("99999999999999999999Gbit/s", "is out of range"),
        ] {
            let reason = bandwidth(text).expect_err(text);
            assert!(reason.contains(remedy), "{text}: {reason}");
        }
    }
}
