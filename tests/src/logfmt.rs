//! A strict reader of logfmt: it rejects what a log collector would reject or misread.

/// Reads one line of `key=value` pairs.
///
/// # Errors
/// What is wrong with the line, and where.
pub fn parse(line: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let wrong = |what: &str| Err(format!("{what} at byte {}", line.len() - rest.len()));
        if !pairs.is_empty() {
            match rest.strip_prefix(' ') {
                Some(behind) => rest = behind,
                None => return wrong("no space between two pairs"),
            }
        }
        let Some((key, value)) = rest.split_once('=') else {
            return wrong("no key and value");
        };
        let is_of_key = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if key.is_empty() || !key.chars().all(is_of_key) {
            return wrong("no key");
        }
        if pairs.iter().any(|(known, _)| known == key) {
            return wrong("a key for the second time");
        }
        let end = match value.starts_with('"') {
            true => quoted_end(value),
            false => value.find(' ').or(Some(value.len())),
        };
        let Some(end) = end else {
            return wrong("a quote without an end");
        };
        let (value, behind) = value.split_at(end);
        let text = match value.starts_with('"') {
            // The escapes are those of JSON.
            true => serde_json::from_str(value).map_err(|error| format!("{value}: {error}"))?,
            false => {
                let is_wrong = |c: char| c.is_control() || c.is_whitespace() || "\"=".contains(c);
                if value.is_empty() || value.contains(is_wrong) {
                    return wrong("a value that needs quotes");
                }
                value.to_owned()
            }
        };
        pairs.push((key.to_owned(), text));
        rest = behind;
    }
    Ok(pairs)
}

// Behind the closing quote.
fn quoted_end(value: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (at, c) in value.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_and_everything_else_is_refused() {
        let pairs = parse(r#"time=1 msg="a \"b\" c=d" empty="" rate=0.5"#).expect("it is logfmt");
        let expected = [
            ("time", "1"),
            ("msg", "a \"b\" c=d"),
            ("empty", ""),
            ("rate", "0.5"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(pairs, expected);
        for wrong in [
            "INFO ready routes=1",
            "a=1  b=2",
            "a=",
            "a=b=c",
            r#"a="b"#,
            r#"a="b"c=d"#,
            "a=1 a=2",
            "a=\u{1b}",
            " a=1",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
