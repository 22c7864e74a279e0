//! The options of `bind` and `server` lines.

use super::super::report::ImportClass;

use ImportClass::{Carried, NotCarried, Stricter};

/// Options that are followed by a value. All others are words of their own.
const WITH_VALUE: [&str; 88] = [
    "accept-netscaler-cip",
    "addr",
    "agent-addr",
    "agent-inter",
    "agent-port",
    "agent-send",
    "alpn",
    "backlog",
    "ca-file",
    "ca-ignore-err",
    "ca-sign-file",
    "ca-sign-pass",
    "ca-verify-file",
    "check-alpn",
    "check-proto",
    "check-sni",
    "ciphers",
    "ciphersuites",
    "client-sigalgs",
    "cookie",
    "crl-file",
    "crt",
    "crt-ignore-err",
    "crt-list",
    "curves",
    "default-crt",
    "downinter",
    "ecdhe",
    "error-limit",
    "expose-fd",
    "fall",
    "fastinter",
    "gid",
    "group",
    "guid",
    "hash-key",
    "id",
    "init-addr",
    "inter",
    "interface",
    "level",
    "log-proto",
    "max-reuse",
    "maxconn",
    "maxqueue",
    "minconn",
    "mode",
    "mss",
    "name",
    "namespace",
    "nice",
    "npn",
    "observe",
    "ocsp-update",
    "on-error",
    "on-marked-down",
    "on-marked-up",
    "pool-low-conn",
    "pool-max-conn",
    "pool-purge-delay",
    "port",
    "process",
    "proto",
    "proxy-v2-options",
    "redir",
    "resolve-net",
    "resolve-opts",
    "resolve-prefer",
    "resolvers",
    "rise",
    "severity-output",
    "shard",
    "shards",
    "sigalgs",
    "slowstart",
    "sni",
    "socks4",
    "source",
    "ssl-max-ver",
    "ssl-min-ver",
    "tcp-ut",
    "thread",
    "tls-ticket-keys",
    "track",
    "uid",
    "usesrc",
    "verify",
    "verifyhost",
];

/// Further options with a value that is a single word.
const MORE_WITH_VALUE: [&str; 3] = ["weight", "user", "ws"];

/// The options in `words`, each with its value.
pub(super) fn read(words: &[String]) -> Vec<(&str, &str)> {
    let mut options = Vec::new();
    let mut rest = words.iter().map(String::as_str);
    while let Some(word) = rest.next() {
        let has_value = WITH_VALUE.contains(&word) || MORE_WITH_VALUE.contains(&word);
        options.push((
            word,
            if has_value {
                rest.next().unwrap_or_default()
            } else {
                ""
            },
        ));
    }
    options
}

/// The remark on an option that no route needs a value of. `None` if it is used elsewhere or needs no remark.
pub(super) fn remark(name: &str, value: &str) -> Option<(ImportClass, String)> {
    let (class, sentence) = match name {
        "ciphers" | "ciphersuites" | "ecdhe" | "curves" | "sigalgs" | "client-sigalgs" => (
            Stricter,
            "policy = \"hscn\" sets suites, groups and signatures: AES-256-GCM with ECDHE only",
        ),
        "ssl-min-ver" | "ssl-max-ver" if value == "TLSv1.3" => return None,
        "ssl-min-ver" if value == "TLSv1.2" => (Carried, "policy = \"hscn\" begins with TLS 1.2"),
        "ssl-min-ver" | "ssl-max-ver" => (
            Stricter,
            "policy = \"hscn\": TLS 1.2 and TLS 1.3; a peer that has older versions alone must be updated first",
        ),
        "no-sslv3" | "no-tlsv10" | "no-tlsv11" | "no-tls-tickets" | "no-renegotiation" => {
            (Carried, "wardgate always does so")
        }
        "no-tlsv12" | "force-tlsv13" => return None,
        "no-tlsv13" | "force-tlsv12" => (
            Stricter,
            "TLS 1.3 is used when the other end has it, and is at least as strict",
        ),
        "force-sslv3" | "force-tlsv10" | "force-tlsv11" => (
            Stricter,
            "only TLS 1.2 and TLS 1.3 are possible; the other end must be updated first",
        ),
        "alpn" | "npn" => (
            Stricter,
            "a route without `service` uses no ALPN; a peer that requires one refuses the connection",
        ),
        "tls-ticket-keys" | "allow-0rtt" | "tls-tickets" => (
            Stricter,
            "wardgate keeps no sessions and no tickets: every connection verifies both certificates again",
        ),
        "crt-list"
        | "default-crt"
        | "strict-sni"
        | "generate-certificates"
        | "ca-sign-file"
        | "ca-sign-pass" => (
            NotCarried,
            "a listener has one certificate, and does not choose by the server name",
        ),
        "ca-verify-file" | "ca-ignore-err" | "crt-ignore-err" | "no-ca-names" => (
            NotCarried,
            "no error of a certificate is ignored; `trust` of the peer holds the CA that counts",
        ),
        "ocsp-update" => (
            NotCarried,
            "wardgate uses no OCSP; write `crl` in the [[peer]] table",
        ),
        "cookie" | "redir" | "ws" | "proto" | "max-reuse" | "pool-low-conn" | "pool-max-conn"
        | "pool-purge-delay" => (
            Carried,
            "this is for HTTP; a TCP connection has no use for it",
        ),
        "agent-check" | "agent-addr" | "agent-inter" | "agent-port" | "agent-send" | "track"
        | "observe" | "error-limit" | "on-error" | "on-marked-down" | "on-marked-up" | "addr"
        | "port" | "fastinter" | "downinter" | "check-alpn" | "check-proto" | "check-sni"
        | "check-send-proxy" => (
            NotCarried,
            "probes go to the target's own port, at one interval; a target that fails is tried after the others at once, \
             and its open connections stay",
        ),
        "minconn" | "maxqueue" => (
            NotCarried,
            "connections do not queue: above `connections` a DICOM client gets a transient rejection",
        ),
        "namespace"
        | "socks4"
        | "shard"
        | "hash-key"
        | "accept-netscaler-cip"
        | "proxy-v2-options" => (NotCarried, "wardgate has no key for it"),
        "mss" | "tfo" | "defer-accept" | "backlog" | "nice" | "process" | "thread" | "shards" => (
            Carried,
            "wardgate distributes and sizes this by itself: one worker on each core, and `wardgate tune` for the host",
        ),
        _ => return None,
    };
    Some((class, format!("{name}: {sentence}")))
}

/// A time of HAProxy in milliseconds: without a unit it is in milliseconds already.
pub(super) fn millis(text: &str) -> Option<u64> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end)?;
    let number: u64 = digits.parse().ok()?;
    let factor = match unit {
        "us" => return Some(number / 1000),
        "" | "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_units_of_haproxy() {
        let cases = [
            ("5000", 5000),
            ("5s", 5000),
            ("2m", 120_000),
            ("1d", 86_400_000),
            ("900us", 0),
        ];
        for (text, expected) in cases {
            assert_eq!(millis(text), Some(expected), "{text}");
        }
        for wrong in [
            "",
            "s",
            "5w",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert_eq!(millis(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn options_take_their_values() {
        let words = [
            "ssl", "crt", "a.pem", "verify", "required", "check", "weight",
        ]
        .map(str::to_owned);
        let expected = [
            ("ssl", ""),
            ("crt", "a.pem"),
            ("verify", "required"),
            ("check", ""),
            ("weight", ""),
        ];
        assert_eq!(read(&words), expected);
    }
}
