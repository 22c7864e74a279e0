//! Text for messages and logs: lists, dates, numbers, and text from peers escaped and bounded.

use time::OffsetDateTime;
use time::macros::format_description;

use crate::tls::limits::{SHOWN_NAME_CHARS_MAX, SHOWN_NAMES_MAX};

/// The first names of a list, and the number of further names.
pub(super) fn list(names: impl ExactSizeIterator<Item = String>) -> String {
    let hidden = names.len().saturating_sub(SHOWN_NAMES_MAX);
    let shown: Vec<_> = names.take(SHOWN_NAMES_MAX).collect();
    match hidden {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Makes text from outside safe for a terminal and a log: printable ASCII stays, everything else is
/// escaped, and the length is bounded.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::new();
    for letter in text.chars() {
        if shown.len() >= SHOWN_NAME_CHARS_MAX {
            shown.push_str("...");
            break;
        }
        match letter {
            '"' | '\\' => shown.extend(letter.escape_default()),
            ' '..='~' => shown.push(letter),
            // Escapes more than control characters: letters that reverse the reading direction could make a
            // certificate forge a log line.
            _ => shown.extend(letter.escape_unicode()),
        }
    }
    shown
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0x0f]);
    digits
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect()
}

/// A serial number (the content of a DER INTEGER) without the leading zero that only marks it as not
/// negative. RFC 5280 section 4.1.2.2 limits it to 20 bytes and webpki does not, so `printable` does.
pub(super) fn serial(integer: &[u8]) -> String {
    let significant = match integer {
        [0, rest @ ..] if !rest.is_empty() => rest,
        whole => whole,
    };
    let shown = significant
        .get(..=SHOWN_NAME_CHARS_MAX)
        .unwrap_or(significant);
    printable(&hex(shown))
}

/// A date and time in UTC, from seconds since 1970.
pub(super) fn date(seconds: i64) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|moment| moment.format(&format).ok())
        .unwrap_or_else(|| format!("{seconds} s after 1970"))
}
