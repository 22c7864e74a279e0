//! Removes what opens doors from a text: private keys, passwords and tokens.

use serde_json::Value;

/// What stands in place of a secret.
pub(super) const REMOVED: &str = "(removed)";

/// Words in the name of a key whose value is a secret.
const SECRET_NAMES: [&str; 12] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "pwd",
    "secret",
    "token",
    "authorization",
    "cookie",
    "api_key",
    "private_key",
    "credential",
];

/// The same, as the final word of a name only: `db_pass`, and not `passthrough`.
const SECRET_ENDS: [&str; 1] = ["pass"];

/// Settings of systemd whose values are or may be secrets.
const UNIT_SECRETS: [&str; 3] = ["Environment", "SetCredential", "SetCredentialEncrypted"];

/// Schemes of HTTP that are followed by a secret.
const SCHEMES: [&str; 4] = ["Bearer ", "bearer ", "BEARER ", "Basic "];

/// `text` without private keys in PEM, values of keys that are named like a secret, and passwords in URLs.
pub(super) fn without(text: &str) -> String {
    // A report may take many lines.
    if let Some(json) = without_in_json(text, true) {
        return json;
    }
    let mut result = String::with_capacity(text.len());
    let mut is_key = false;
    for line in text.lines() {
        if !is_key && let Some(json) = without_in_json(line, false) {
            result.push_str(&json);
            continue;
        }
        let begins = line.contains("-----BEGIN ") && line.contains("PRIVATE KEY-----");
        if begins && !is_key {
            is_key = true;
            result.push_str(REMOVED);
            result.push('\n');
        }
        if is_key {
            // The end may be on the same line.
            is_key = !(line.contains("-----END ") && line.contains("PRIVATE KEY-----"));
            continue;
        }
        result.push_str(&without_passwords(&without_schemes(&without_value(line))));
        result.push('\n');
    }
    result
}

/// A unit of systemd, or its properties, without its environment and credentials too.
pub(super) fn without_in_unit(text: &str) -> String {
    // A line that ends in a backslash goes on in the next one.
    let text = text.replace("\\\n", " ");
    let lines = text.lines().map(|line| match line.split_once('=') {
        Some((name, value)) if UNIT_SECRETS.contains(&name.trim()) && !value.is_empty() => {
            format!("{name}={REMOVED}")
        }
        _ => line.to_owned(),
    });
    let lines: Vec<_> = lines.collect();
    without(&lines.join("\n"))
}

/// A JSON object without its secrets; `None` if `text` is none. The other fields stay.
fn without_in_json(text: &str, is_pretty: bool) -> Option<String> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    let value: Value = serde_json::from_str(text).ok()?;
    let mut cleaned = value.clone();
    clean(&mut cleaned);
    // Unchanged text stays as it was, with the order of its fields.
    let mut text = match cleaned == value {
        true => text.to_owned(),
        false if is_pretty && text.trim_end().contains('\n') => {
            serde_json::to_string_pretty(&cleaned).ok()?
        }
        false => cleaned.to_string(),
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Some(text)
}

fn clean(value: &mut Value) {
    match value {
        Value::String(text) => {
            let cleaned = without(text);
            let is_same = cleaned.strip_suffix('\n').unwrap_or(&cleaned)
                == text.strip_suffix('\n').unwrap_or(text);
            if !is_same {
                *text = cleaned.trim_end().to_owned();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(clean),
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::Null | Value::Bool(_) => {}
                    value if is_secret(name) => *value = Value::String(REMOVED.to_owned()),
                    value => clean(value),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn is_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|secret| lower.contains(secret))
        || SECRET_ENDS.iter().any(|end| {
            lower
                .strip_suffix(end)
                .is_some_and(|before| !before.ends_with(char::is_alphanumeric))
        })
}

/// The line without the value of a key that is named like a secret. The rest of the line is removed with it.
fn without_value(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    let names = SECRET_NAMES.iter().chain(&SECRET_ENDS);
    let found = names.flat_map(|name| lower.match_indices(name));
    let kept = found.filter_map(|(at, name)| kept_before_value(line, at, name.len()));
    match kept.min().and_then(|end| line.get(..end)) {
        Some(kept) => format!("{} {REMOVED}", kept.trim_end()),
        None => line.to_owned(),
    }
}

/// Where the value of the key begins whose name has a word of `length` bytes at `at`; `None` if there is no value.
fn kept_before_value(line: &str, at: usize, length: usize) -> Option<usize> {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let rest = line.get(at + length..)?;
    // The name may go on, and may stand in quotes: `web_token_file = `, `"token": `.
    let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
    let (more, after) = rest.split_at_checked(end)?;
    let before = line.get(..at)?;
    let start = before.rfind(|c| !is_part(c)).map_or(0, |found| {
        found + before.get(found..).map_or(0, first_length)
    });
    let name = line.get(start..at + length + more.len())?;
    let value = after.trim_start_matches(['"', '\'', ' ', '\t']);
    let end_of_name = line.len() - after.len();
    let is_option = name.starts_with('-') && after.starts_with([' ', '\t']);
    if !is_secret(name) {
        return None;
    }
    if value.starts_with('=') {
        return Some(line.len() - value.len() + 1);
    }
    // `credential:site.key` is the name of a file, and "pass: " may be prose.
    let is_word = ["pass", "credential"].contains(&name.to_ascii_lowercase().as_str());
    if value.starts_with(':') && !(is_word && after.starts_with(':')) {
        return Some(line.len() - value.len() + 1);
    }
    (is_option && !value.is_empty()).then_some(end_of_name)
}

fn first_length(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

/// The line without the word after `Bearer` or `Basic`.
fn without_schemes(line: &str) -> String {
    let mut line = line.to_owned();
    for scheme in SCHEMES {
        let Some((before, _)) = line.split_once(scheme) else {
            continue;
        };
        let before = before.to_owned();
        let rest = line.get(before.len()..).unwrap_or_default();
        let parts: Vec<_> = rest.split(scheme).skip(1).collect();
        let mut result = before;
        for part in parts {
            let end = part.find([' ', '"', '\'', ',']).unwrap_or(part.len());
            result.push_str(scheme);
            result.push_str(REMOVED);
            result.push_str(part.get(end..).unwrap_or_default());
        }
        line = result;
    }
    line
}

/// The line without user and password in URLs: `http://user:password@host/`.
fn without_passwords(line: &str) -> String {
    let mut result = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("://") {
        result.push_str(before);
        result.push_str("://");
        let host_end = after
            .find(|c: char| c == '/' || c == '"' || c.is_whitespace())
            .unwrap_or(after.len());
        let (authority, following) = after.split_at(host_end);
        match authority.rsplit_once('@') {
            Some((_, host)) => {
                result.push_str(REMOVED);
                result.push('@');
                result.push_str(host);
            }
            None => result.push_str(authority),
        }
        rest = following;
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_keys_are_removed_whole_and_certificates_stay() {
        let text = "before\n-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\nAoGCCq\n-----END EC PRIVATE KEY-----\n\
                    -----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\nafter\n";
        let expected = "before\n(removed)\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\nafter\n";
        assert_eq!(without(text), expected);
        let one_line = r#"{"key":"-----BEGIN PRIVATE KEY-----\nMIG\n-----END PRIVATE KEY-----"}"#;
        assert_eq!(without(one_line), "{\"key\":\"(removed)\"}\n");
        // A key that is cut off ends nowhere.
        let cut = "-----BEGIN PRIVATE KEY-----\nMIG\nmore\n";
        assert_eq!(without(cut), "(removed)\n");
    }

    #[test]
    fn values_of_keys_named_like_a_secret_are_removed() {
        for (line, expected) in [
            ("web_token = \"abc\" # x", "web_token = (removed)"),
            ("  \"Password\": \"abc\",", "  \"Password\": (removed)"),
            ("Authorization: Basic dXNlcg==", "Authorization: (removed)"),
            ("web_token_file='a'", "web_token_file= (removed)"),
            (
                "the token is old, token=abc",
                "the token is old, token= (removed)",
            ),
            ("token=abc password=def", "token= (removed)"),
            ("wardgate run --token abc", "wardgate run --token (removed)"),
            ("db_pass=abc", "db_pass= (removed)"),
            ("PWD = abc", "PWD = (removed)"),
            ("private_key: abc", "private_key: (removed)"),
            ("mode = \"passthrough\"", "mode = \"passthrough\""),
            ("connections pass: all", "connections pass: all"),
            (
                "key = \"credential:site.key\"",
                "key = \"credential:site.key\"",
            ),
            (
                "sent Bearer abc, Basic def",
                "sent Bearer (removed), Basic (removed)",
            ),
            (
                "the token is read from a file",
                "the token is read from a file",
            ),
            (
                "key = \"/etc/wardgate/site.key\"",
                "key = \"/etc/wardgate/site.key\"",
            ),
        ] {
            assert_eq!(without(line).trim_end(), expected);
        }
    }

    #[test]
    fn only_the_secret_is_removed_from_json() {
        let line =
            r#"{"a":1,"web_token":"abc","b":{"passcode":1234,"c":"x --token abc"},"d":null}"#;
        let expected = r#"{"a":1,"b":{"c":"x --token (removed)","passcode":"(removed)"},"d":null,"web_token":"(removed)"}"#;
        assert_eq!(without(line), format!("{expected}\n"));
        let plain = "{\"z\": 1,\n \"a\": \"Bearer of news\\n\"}\n";
        let read: Value = serde_json::from_str(&without(plain)).expect("it stays JSON");
        assert_eq!(read["z"], 1);
        let unchanged = "{\"z\": 1, \"a\": \"x\\n\"}\n";
        assert_eq!(without(unchanged), unchanged);
    }

    #[test]
    fn the_environment_and_the_credentials_of_a_unit_are_removed() {
        let unit = "[Service]\nEnvironment=A=1 \\\n  B=2\nSetCredential=x:abc\nSetCredentialEncrypted=x: \\\n  abc\n\
                    ExecStart=/usr/sbin/wardgate run \\\n  --token \\\n  abc\nUser=wardgate\n";
        let expected = "[Service]\nEnvironment=(removed)\nSetCredential= (removed)\nSetCredentialEncrypted= (removed)\n\
                        ExecStart=/usr/sbin/wardgate run    --token (removed)\nUser=wardgate\n";
        assert_eq!(without_in_unit(unit), expected);
    }

    #[test]
    fn passwords_in_urls_are_removed() {
        for (line, expected) in [
            (
                "a http://u:p@crl.example/a.crl b",
                "a http://(removed)@crl.example/a.crl b",
            ),
            ("http://crl.example/a@b", "http://crl.example/a@b"),
            ("x http://a http://u@b", "x http://a http://(removed)@b"),
            ("://@", "://(removed)@"),
        ] {
            assert_eq!(without(line).trim_end(), expected);
        }
    }
}
