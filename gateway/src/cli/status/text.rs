//! Text for a terminal: numbers in few characters, and lines of bounded width.

use time::OffsetDateTime;
use time::macros::format_description;

/// Bytes in three digits: `999 B`, `1.2 MB`, `340 GB`.
pub(super) fn bytes(count: u64) -> String {
    let mut value = count;
    let mut tenths = 0;
    for unit in ["B", "kB", "MB", "GB", "TB", "PB"] {
        if value < 1000 || unit == "PB" {
            return match (unit, value < 100) {
                ("B", _) | (_, false) => format!("{value} {unit}"),
                (_, true) => format!("{value}.{tenths} {unit}"),
            };
        }
        tenths = value % 1000 / 100;
        value /= 1000;
    }
    String::new()
}

/// A time in its largest unit: `59 s`, `3 min`, `5 h`, `12 d`.
pub(super) fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A latency: `0.4 ms`, `12 ms`, `3.1 s`; a dash without one.
pub(super) fn latency(micros: Option<u64>) -> String {
    let Some(micros) = micros else {
        return "-".to_owned();
    };
    match micros {
        0..10_000 => format!("{}.{} ms", micros / 1000, micros % 1000 / 100),
        10_000..1_000_000 => format!("{} ms", micros / 1000),
        _ => format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000),
    }
}

/// `2026-11-28 03:12`, in UTC.
pub(super) fn moment(unix: i64) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]");
    let at = OffsetDateTime::from_unix_timestamp(unix).ok();
    at.and_then(|at| at.format(format).ok())
        .unwrap_or_else(|| "-".to_owned())
}

/// The text in at most `width` characters.
pub(super) fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 {
        short.push('~');
    }
    short
}

/// The words of a text in lines of at most `width` characters; a longer word has a line of its own.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let all = [0, 999, 1_000, 99_949, 123_456, 73_400_320, u64::MAX].map(bytes);
        let expected = [
            "0 B", "999 B", "1.0 kB", "99.9 kB", "123 kB", "73.4 MB", "18446 PB",
        ];
        assert_eq!(all, expected);
        assert_eq!(
            [5, 61, 7200, 900_000].map(age),
            ["5 s", "1 min", "2 h", "10 d"]
        );
        let times = [None, Some(420), Some(12_000), Some(3_100_000)].map(latency);
        assert_eq!(times, ["-", "0.4 ms", "12 ms", "3.1 s"]);
    }

    #[test]
    fn text_is_cut_or_wrapped_to_its_width() {
        assert_eq!(
            (fit("abc", 3), fit("abcd", 3)),
            ("abc".into(), "ab~".into())
        );
        assert_eq!(fit("abc", 0), "");
        assert_eq!(wrap("a bb ccc dddd", 6), ["a bb", "ccc", "dddd"]);
    }
}
