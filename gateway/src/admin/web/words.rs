//! Numbers, times and states as the page writes them.

use maud::{Markup, html};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::admin::limits::VALUE_CHARS_MAX;
use crate::control::HealthLevel;

/// `12.3 MB`, in decimal units as network equipment counts.
pub(super) fn bytes(count: u64) -> String {
    let units = [
        (1_000_000_000_000_000_000, "EB"),
        (1_000_000_000_000_000, "PB"),
        (1_000_000_000_000, "TB"),
        (1_000_000_000, "GB"),
        (1_000_000, "MB"),
        (1_000, "kB"),
    ];
    match units.into_iter().find(|(unit, _)| count >= *unit) {
        Some((unit, name)) => format!("{} {name}", decimal(count, unit)),
        None => format!("{count} B"),
    }
}

/// `12.3 MB/s`.
pub(super) fn rate(per_second: u64) -> String {
    format!("{}/s", bytes(per_second))
}

/// `1.5 ms`.
pub(super) fn latency(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{} ms", decimal(micros, 1_000)),
        _ => format!("{} s", decimal(micros, 1_000_000)),
    }
}

// `count / unit`, with one decimal below 100.
fn decimal(count: u64, unit: u64) -> String {
    let whole = count.checked_div(unit).unwrap_or_default();
    let tenth = unit.checked_div(10).unwrap_or(1);
    match whole {
        100.. => whole.to_string(),
        _ => {
            let rest = count.checked_rem(unit).unwrap_or_default();
            format!("{whole}.{}", rest.checked_div(tenth).unwrap_or_default())
        }
    }
}

/// `2 d 3 h`: the two largest units.
pub(super) fn age(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest} s"),
        (0, 0, _) => format!("{minutes} min {rest} s"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// `2026-11-28 22:58:03 UTC`.
pub(super) fn moment(unix: u64) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    let seconds = i64::try_from(unix).ok();
    let moment = seconds.and_then(|unix| OffsetDateTime::from_unix_timestamp(unix).ok());
    let text = moment.and_then(|moment| moment.format(format).ok());
    text.unwrap_or_else(|| "unknown".to_owned())
}

/// `2026-11-28`.
pub(super) fn date(unix: i64) -> String {
    let format = format_description!("[year]-[month]-[day]");
    let moment = OffsetDateTime::from_unix_timestamp(unix).ok();
    let text = moment.and_then(|moment| moment.format(format).ok());
    text.unwrap_or_else(|| "unknown".to_owned())
}

/// `1 route`, `2 routes`.
pub(super) fn plural(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

/// A value from outside, of bounded length. Control characters and marks that change the direction of writing
/// are replaced, so that a name cannot pass for another one.
pub(super) fn outside(text: &str) -> String {
    let is_odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let mut chars = text.chars();
    let shown = chars.by_ref().take(VALUE_CHARS_MAX);
    let mut shown: String = shown
        .map(|c| {
            if is_odd(c) {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect();
    if chars.next().is_some() {
        shown.push_str("...");
    }
    shown
}

/// A sentence in which commands and keys stand between backticks.
pub(super) fn prose(sentence: &str) -> Markup {
    let shown = outside(sentence);
    html! {
        @for (number, part) in shown.split('`').enumerate() {
            @if number % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// The state of a route, in a word or two.
pub(super) fn level(level: HealthLevel) -> &'static str {
    match level {
        HealthLevel::Good => "works",
        HealthLevel::Warning => "needs attention",
        HealthLevel::Failed => "no traffic",
    }
}

/// The class of a level in the style sheet.
pub(super) fn class(level: HealthLevel) -> &'static str {
    match level {
        HealthLevel::Good => "good",
        HealthLevel::Warning => "warning",
        HealthLevel::Failed => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_units_and_at_most_three_digits() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (12_345_678, "12.3 MB"),
            (999_999_999, "999 MB"),
            (u64::MAX, "18.4 EB"),
        ];
        for (count, text) in cases {
            assert_eq!(bytes(count), text);
        }
        for (micros, text) in [(7, "7 µs"), (1_500, "1.5 ms"), (2_000_000, "2.0 s")] {
            assert_eq!(latency(micros), text);
        }
    }

    #[test]
    fn an_age_has_its_two_largest_units() {
        for (seconds, text) in [
            (59, "59 s"),
            (61, "1 min 1 s"),
            (7_260, "2 h 1 min"),
            (183_600, "2 d 3 h"),
        ] {
            assert_eq!(age(seconds), text);
        }
        assert!(age(u64::MAX).ends_with(" h"));
    }

    #[test]
    fn dates_out_of_range_are_unknown() {
        assert_eq!(moment(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(moment(u64::MAX), "unknown");
        assert_eq!(date(i64::MIN), "unknown");
    }

    #[test]
    fn a_value_from_outside_is_cut_and_has_no_control_characters() {
        assert_eq!(outside("CT_1"), "CT_1");
        assert_eq!(outside("a\u{202e}b\nc"), "a\u{fffd}b\u{fffd}c");
        assert_eq!(outside(&"x".repeat(9_999)).len(), VALUE_CHARS_MAX + 3);
    }
}
