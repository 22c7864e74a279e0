//! Single values: keywords of a fixed set, and durations with their unit.
//!
//! Every function here returns the end of a sentence as its error; the caller puts the key before it.

use std::time::Duration;

use super::problem::quoted;
use super::suggest;

/// Reads a keyword of a fixed set and returns its value.
pub(super) fn word<T: Copy>(text: &str, known: &[(&'static str, T)]) -> Result<T, String> {
    if let Some((_, meant)) = known.iter().find(|(word, _)| *word == text) {
        return Ok(*meant);
    }
    let words: Vec<_> = known.iter().map(|(word, _)| quoted(word)).collect();
    let known = known.iter().map(|(word, _)| *word);
    match suggest::nearest(text, known) {
        Some(near) => Err(format!("is not known; did you mean {near:?}?")),
        None => Err(format!("is not known; write one of {}", words.join(", "))),
    }
}

/// The units of a duration, in microseconds.
const UNITS: [(&str, u64); 5] = [
    ("us", 1),
    ("ms", 1000),
    ("s", 1_000_000),
    ("min", 60_000_000),
    ("h", 3_600_000_000),
];

/// Reads `"50us"`, `"250ms"`, `"5s"`, `"5min"` or `"1h"`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits_end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    if digits.is_empty() {
        return Err(
            "is not a duration; write a whole number and its unit: \"250ms\", \"5s\", \
            \"5min\" or \"1h\""
                .to_owned(),
        );
    }
    let Some((_, unit_micros)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(unit_remedy(digits, unit));
    };
    let micros = digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(*unit_micros));
    let micros = micros.ok_or("is longer than any duration; write a smaller number")?;
    Ok(Duration::from_micros(micros))
}

fn unit_remedy(digits: &str, unit: &str) -> String {
    let digits = digits.get(..12).unwrap_or(digits);
    let plain = unit.trim().to_lowercase();
    let meant = match plain.as_str() {
        "" => {
            return format!(
                "has no unit; write \"{digits}s\" for seconds, \"{digits}ms\" for milliseconds"
            );
        }
        "m" => {
            return format!(
                "has the unit \"m\"; write \"{digits}min\" for minutes, \"{digits}ms\" for \
                 milliseconds"
            );
        }
        "d" | "day" | "days" => {
            return "is in days; write it in hours: \"24h\" for one day".to_owned();
        }
        "usec" | "micros" | "microseconds" | "us" | "\u{b5}s" | "\u{3bc}s" => "us",
        "msec" | "millis" | "milliseconds" | "ms" => "ms",
        "sec" | "secs" | "second" | "seconds" | "s" => "s",
        "mins" | "minute" | "minutes" | "min" => "min",
        "hr" | "hrs" | "hour" | "hours" | "h" => "h",
        other if other.starts_with(['.', ',']) => {
            return "has a fraction; write a whole number of a smaller unit: \"1500ms\" for one and \
                a half seconds".to_owned();
        }
        _ => {
            return format!(
                "has an unknown unit {}; write us, ms, s, min or h",
                quoted(unit)
            );
        }
    };
    format!("has another spelling of its unit; write \"{digits}{meant}\"")
}

/// A duration as an operator would write it.
pub(super) fn written(duration: Duration) -> String {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let mut units = UNITS.iter().rev();
    let whole = units.find(|(_, unit)| micros >= *unit && micros % unit == 0);
    whole.map_or("0s".to_owned(), |(name, unit)| {
        format!("{}{name}", micros / unit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_every_unit() {
        let read = |text| duration(text).expect("it is well written");
        assert_eq!(read("50us"), Duration::from_micros(50));
        assert_eq!(read("250ms"), Duration::from_millis(250));
        assert_eq!(read("5s"), Duration::from_secs(5));
        assert_eq!(read("5min"), Duration::from_secs(300));
        assert_eq!(read("1h"), Duration::from_secs(3600));
        for text in ["50us", "1500us", "250ms", "5s", "5min", "1h", "90s"] {
            assert_eq!(written(read(text)), text);
        }
    }

    #[test]
    fn durations_without_a_clear_unit_are_refused_with_the_right_one() {
        for (text, remedy) in [
            ("5", "write \"5s\""),
            ("5m", "write \"5min\""),
            ("5 s", "write \"5s\""),
            ("5SEC", "write \"5s\""),
            ("1d", "\"24h\""),
            ("1.5s", "\"1500ms\""),
            ("5 fortnights", "write us, ms, s, min or h"),
            ("50µs", "write \"50us\""),
            ("soon", "write a whole number and its unit"),
            ("", "write a whole number and its unit"),
            ("-5s", "write a whole number and its unit"),
            ("99999999999999999999s", "write a smaller number"),
            ("18446744073709551615h", "write a smaller number"),
        ] {
            let reason = duration(text).expect_err(text);
            assert!(reason.contains(remedy), "{text}: {reason}");
        }
    }
}
