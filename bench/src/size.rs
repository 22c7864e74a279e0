//! Sizes as people write them: `1GiB`, `64KiB`, `200`.

/// Reads a size in bytes; units are `B`, `KB`, `MB`, `GB` (powers of 1000) and `KiB`, `MiB`, `GiB`.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        other => return Err(format!("unknown unit {other:?}; write 64KiB, 10MB or 1GiB")),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| format!("{text:?} does not begin with a whole number"))?;
    match number.checked_mul(factor) {
        None => Err(format!("{text:?} is more than can be counted")),
        Some(0) => Err("a size of 0 measures nothing".to_owned()),
        Some(size) => Ok(size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_and_without_units_are_read() {
        for (text, bytes) in [
            ("200", 200),
            ("7B", 7),
            ("64KiB", 65_536),
            ("2 MB", 2_000_000),
            ("1GiB", 1 << 30),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn text_that_is_not_a_size_is_refused_with_a_reason() {
        for text in ["", "GiB", "-1", "1.5GiB", "1gib", "0", "99999999999GiB"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
