//! Removes what opens doors from a text: private keys, passwords and tokens.

/// What stands in place of a secret.
pub(super) const REMOVED: &str = "(removed)";

/// Words in the name of a key whose value is a secret.
const SECRET_NAMES: [&str; 8] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "authorization",
    "cookie",
    "api_key",
];

/// `text` without private keys in PEM, values of keys that are named like a secret, and passwords in URLs.
pub(super) fn without(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut is_key = false;
    for line in text.lines() {
        let begins = line.contains("-----BEGIN ") && line.contains("PRIVATE KEY-----");
        if begins && !is_key {
            is_key = true;
            result.push_str(REMOVED);
            result.push('\n');
        }
        if is_key {
            // The end may be on the same line, as in a JSON string.
            is_key = !(line.contains("-----END ") && line.contains("PRIVATE KEY-----"));
            continue;
        }
        result.push_str(&without_passwords(&without_value(line)));
        result.push('\n');
    }
    result
}

/// The line without the value of a key that is named like a secret. The rest of the line is removed with it.
fn without_value(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    let ends = SECRET_NAMES
        .iter()
        .filter_map(|name| lower.find(name).map(|at| at + name.len()));
    for end in ends {
        let Some(rest) = line.get(end..) else {
            continue;
        };
        // The name may go on, and may stand in quotes: `web_token_file = `, `"token": `.
        let name_end = rest.find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '-'));
        let after = name_end.and_then(|at| rest.get(at..)).unwrap_or_default();
        let after = after.trim_start_matches(['"', '\'', ' ', '\t']);
        if after.starts_with(['=', ':']) {
            let kept = line.len() - after.len() + 1;
            let kept = line.get(..kept).unwrap_or_default();
            return format!("{kept} {REMOVED}");
        }
    }
    line.to_owned()
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
        assert_eq!(without(one_line), "(removed)\n");
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
