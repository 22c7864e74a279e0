//! Writes log lines in logfmt: `key=value` pairs, with values in quotes if necessary.
//!
//! Each line begins with `time`, `level` and `msg`. A line never contains a control character, so text from a
//! network can neither start a line nor look like a field.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The format of log lines.
#[derive(Debug)]
pub(super) struct Logfmt;

impl<S, N> FormatEvent<S, N> for Logfmt
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut pairs = Pairs::default();
        event.record(&mut pairs);
        writer.write_str("time=")?;
        SystemTime.format_time(&mut writer)?;
        let level = event.metadata().level();
        writeln!(writer, " level={level} msg={}{}", pairs.message, pairs.rest)
    }
}

/// The fields of an event, already formatted.
#[derive(Default)]
struct Pairs {
    message: String,
    rest: String,
}

impl Pairs {
    fn add(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = quoted(value),
            name => {
                let _ = write!(self.rest, " {name}={}", quoted(value));
            }
        }
    }
}

impl Visit for Pairs {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // Without the ".0" that `Debug` appends to a whole number.
        self.add(field, &value.to_string());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format!("{value:?}"));
    }
}

/// A value in logfmt: in quotes with JSON escapes, unless it is plain.
fn quoted(value: &str) -> String {
    let is_plain =
        |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '=' | '\\');
    if !value.is_empty() && value.chars().all(is_plain) {
        return value.to_owned();
    }
    let mut text = String::with_capacity(value.len().saturating_add(2));
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            // All of them are below U+00A0.
            c if c.is_control() => {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ambiguous_values_are_quoted() {
        for plain in [
            "-",
            "10.20.0.5:104",
            "dns:gw.a.example",
            "0.25",
            "Zürich",
            "a,b",
        ] {
            assert_eq!(quoted(plain), plain);
        }
        for (value, expected) in [
            ("", r#""""#),
            ("plain side", r#""plain side""#),
            ("a=b", r#""a=b""#),
            (r#"target "x""#, r#""target \"x\"""#),
            (r"CT\x00", r#""CT\\x00""#),
            ("one\ntwo\r\tthree", r#""one\ntwo\r\tthree""#),
            ("a\u{1b}[2Jb\u{7f}\u{85}", r#""a\u001b[2Jb\u007f\u0085""#),
        ] {
            assert_eq!(quoted(value), expected);
        }
    }
}
