//! The page of bounds, from the constants and their comments in `gateway/src/*/limits.rs` and in `tuning/src`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context as _;

/// Where the constants are, below the root of the project.
pub(crate) const SOURCE: &str = "gateway/src/*/limits.rs";

/// The file of `wardgate tune`, after those of the gateway's modules.
const TUNING: &str = "tuning/src/limits.rs";

const OPENING: &str = "# Bounds

Every queue, table, wait and buffer of the gateway has a bound: a constant with its reason in the `limits.rs` of the module that
enforces it. The last column describes what happens when the bound is reached, and names the metric if this event is counted. The
column is empty for sizes and intervals, such as the bytes of a record header or the time between two log lines: they cannot be reached.
";

/// What begins the last paragraph of a constant's comment.
const REACHED: &str = "When reached: ";

/// The page, from the files below the root of the project.
pub(crate) fn page(root: &Path) -> anyhow::Result<String> {
    let modules = root.join("gateway/src");
    let entries = fs::read_dir(&modules).context("cannot read gateway/src")?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.context("cannot read gateway/src")?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let files = names
        .iter()
        .map(|name| format!("gateway/src/{name}/limits.rs"));
    let mut page = OPENING.to_owned();
    for file in files.chain([TUNING.to_owned()]) {
        let path = root.join(&file);
        if !path.exists() {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {file}"))?;
        page += &section(&file, &text).context(file)?;
    }
    Ok(page)
}

/// The section of one file: its title and a row for each constant.
fn section(file: &str, text: &str) -> anyhow::Result<String> {
    let title = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("//! "));
    let title = title.context("no title")?.trim_end_matches('.');
    let mut page = format!(
        "\n## {title}\n\n`{file}`\n\n| constant | value | bound and reason | when reached |\n|---|---|---|---|\n"
    );
    let mut comment: Vec<&str> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("///") {
            comment.push(rest.trim());
        } else if let Some((_, declared)) = line.split_once("const ") {
            let mut declared = declared.to_owned();
            while !declared.ends_with(';') {
                let line = lines.next().context("a constant without an end")?;
                declared.push(' ');
                declared += line.trim();
            }
            if !declared.starts_with("_:") {
                page += &row(&declared, &comment)?;
            }
            comment.clear();
        }
    }
    Ok(page)
}

/// The row of one constant, from `NAME: TYPE = VALUE;` and the lines of its comment.
fn row(declared: &str, comment: &[&str]) -> anyhow::Result<String> {
    let (name, rest) = declared
        .split_once(": ")
        .context("a constant without type")?;
    anyhow::ensure!(!comment.is_empty(), "{name} has no comment");
    let (_, value) = rest.split_once(" = ").context("a constant without value")?;
    let text = comment.join(" ");
    let (reason, reached) = text.split_once(REACHED).unwrap_or((&text, ""));
    let mut row = String::new();
    let [reason, reached] = [reason, reached].map(|text| text.trim().replace('|', "\\|"));
    let value = shown(name, value.trim_end_matches(';'));
    writeln!(row, "| `{name}` | {value} | {reason} | {reached} |")?;
    Ok(row)
}

/// A value as a reader expects it: with a unit where the constant has one, otherwise as it is in the source.
fn shown(name: &str, value: &str) -> String {
    let call = value.strip_prefix("Duration::from_");
    let unit = call.and_then(|call| call.trim_end_matches(')').split_once('('));
    let number = number(unit.map_or(value, |(_, number)| number));
    match (unit, number) {
        (Some(("secs", _)), Some(number)) => span(number),
        (Some(("millis", _)), Some(number)) => format!("{number} ms"),
        (Some(("micros", _)), Some(number)) => format!("{number} µs"),
        (None, Some(number)) if is_bytes(name) => bytes(number),
        (None, Some(number)) if name.ends_with("_SHARE") => format!("1/{number}"),
        (None, Some(number)) => thousands(number),
        _ => format!("`{value}`"),
    }
}

fn is_bytes(name: &str) -> bool {
    name.contains("BYTES") || name.ends_with("_ROOM")
}

/// The value of a product or a shift of numbers.
fn number(text: &str) -> Option<u64> {
    if let Some((number, shift)) = text.split_once(" << ") {
        let shift = shift.parse().ok()?;
        return self::number(number)?.checked_shl(shift);
    }
    let mut product: u64 = 1;
    for factor in text.split(" * ") {
        let factor = factor.replace('_', "");
        let factor = match factor.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => factor.parse(),
        };
        product = product.checked_mul(factor.ok()?)?;
    }
    Some(product)
}

/// Seconds in the largest unit that gives a whole number of at least 2.
fn span(seconds: u64) -> String {
    let units = [(24 * 3600, "days"), (3600, "h"), (60, "min")];
    let fits = |&&(unit, _): &&(u64, &str)| seconds.is_multiple_of(unit) && seconds / unit > 1;
    match units.iter().find(fits) {
        Some((unit, name)) => format!("{} {name}", seconds / unit),
        None if seconds == 3600 => "1 h".to_owned(),
        None => format!("{seconds} s"),
    }
}

/// Bytes in the largest unit that gives a whole number.
fn bytes(number: u64) -> String {
    let units = [(1 << 20, "MiB"), (1 << 10, "KiB")];
    let fits = |&&(unit, _): &&(u64, &str)| number >= unit && number.is_multiple_of(unit);
    match units.iter().find(fits) {
        Some((unit, name)) => format!("{} {name}", number / unit),
        None => format!("{} bytes", thousands(number)),
    }
}

/// A number with a comma between groups of three digits.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_becomes_a_row_with_its_value_reason_and_consequence() {
        let text = "//! Bounds of things.\n\n/// Bytes of a\n/// thing: few.\n///\n/// When reached: refused.\n\
                    pub(super) const THING_BYTES_MAX: usize = 64 << 10;\n\nconst _: () = assert!(true);\n";
        let page = section("things", text).expect("it is well-formed");
        let expected = "| `THING_BYTES_MAX` | 64 KiB | Bytes of a thing: few. | refused. |\n";
        assert!(page.starts_with("\n## Bounds of things\n"), "{page}");
        assert!(page.ends_with(expected), "{page}");
    }

    #[test]
    fn a_constant_without_a_comment_is_refused() {
        let text = "//! Bounds of things.\n\npub const THINGS_MAX: usize = 1;\n";
        let error = section("things", text).expect_err("the comment is missing");
        assert_eq!(error.to_string(), "THINGS_MAX has no comment");
    }

    #[test]
    fn values_have_units() {
        let cases = [
            ("WAIT", "Duration::from_secs(24 * 3600)", "24 h"),
            ("WAIT", "Duration::from_secs(30 * 24 * 3600)", "30 days"),
            ("WAIT", "Duration::from_millis(250)", "250 ms"),
            ("RECORDS_MAX", "1 << 24", "16,777,216"),
            ("PIPE_ROOM", "1 << 20", "1 MiB"),
            ("MESSAGE_MAX", "0xffff", "65,535"),
            (
                "RECORD_ROOM",
                "RECORD_HEADER + PLAINTEXT_ROOM",
                "`RECORD_HEADER + PLAINTEXT_ROOM`",
            ),
            ("PEER_SHARE", "2", "1/2"),
        ];
        for (name, value, expected) in cases {
            assert_eq!(shown(name, value), expected);
        }
    }
}
