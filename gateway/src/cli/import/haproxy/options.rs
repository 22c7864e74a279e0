//! The options of `bind` and `server` lines.

use super::super::report::ImportClass;

use ImportClass::{Carried, NotCarried, Stricter};

/// Options that are followed by a value. All others are words of their own.
const WITH_VALUE: [&str; 90] = [
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
    "ktls",
    "quic-cc-algo",
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

/// Whether an option allows TLS 1.3 alone.
pub(super) fn is_13_alone((name, value): &(&str, &str)) -> bool {
    match *name {
        "ssl-min-ver" => *value == "TLSv1.3",
        "force-tlsv13" | "no-tlsv12" => true,
        _ => false,
    }
}

/// What is left of options in the order of the file: some cancel an earlier one, such as that of `default-server`.
pub(super) fn without_cancelled<'a>(all: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut left: Vec<(&str, &str)> = Vec::new();
    for (name, value) in all {
        let cancelled = match *name {
            "enabled" => "disabled",
            "stick" => "non-stick",
            "tls-tickets" => "no-tls-tickets",
            "tlsv12" => "no-tlsv12",
            "tlsv13" => "no-tlsv13",
            name => name.strip_prefix("no-").unwrap_or_default(),
        };
        left.retain(|(known, _)| *known != cancelled);
        left.push((name, value));
    }
    left
}

/// Options that the importer reads for the keys of a route, and names.
const USED: [&str; 30] = [
    "accept-proxy",
    "backup",
    "ca-file",
    "check",
    "check-ssl",
    "crl-file",
    "crt",
    "disabled",
    "enabled",
    "fall",
    "guid",
    "id",
    "inter",
    "interface",
    "maxconn",
    "name",
    "rise",
    "send-proxy",
    "send-proxy-v2",
    "send-proxy-v2-ssl",
    "send-proxy-v2-ssl-cn",
    "slowstart",
    "sni",
    "source",
    "ssl",
    "transparent",
    "usesrc",
    "verify",
    "verifyhost",
    "weight",
];

/// The remark on an option that no route needs a value of. `None` if it is used elsewhere or needs no remark.
pub(super) fn remark(name: &str, value: &str) -> Option<(ImportClass, String)> {
    let (class, sentence) = match name {
        "prefer-client-ciphers"
        | "ciphers"
        | "ciphersuites"
        | "ecdhe"
        | "curves"
        | "sigalgs"
        | "client-sigalgs" => (
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
        "sslv2" | "sslv3" | "tlsv10" | "tlsv11" | "tlsv12" | "tlsv13" => {
            (Stricter, "policy = \"hscn\": TLS 1.2 and TLS 1.3")
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
        "tls-ticket-keys" | "allow-0rtt" | "tls-tickets" | "ssl-reuse" | "no-ssl-reuse" => (
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
        | "check-via-socks4"
        | "accept-netscaler-cip"
        | "proxy-v2-options" => (NotCarried, "wardgate has no key for it"),
        "v6only" => (
            NotCarried,
            "a listener on \"[::]\" takes IPv4 as well; write the IPv6 address of this machine in `listen`",
        ),
        "v4v6" => (Carried, "a listener on \"[::]\" takes IPv4 as well"),
        "resolvers" | "init-addr" | "resolve-net" | "resolve-opts" | "resolve-prefer" => (
            Carried,
            "wardgate asks the resolver of the system, and looks a name up again after 10 s",
        ),
        "tcp-ut" => (
            NotCarried,
            "timeouts.keepalive sets how soon a dead connection is found",
        ),
        "gid" | "group" | "uid" | "user" | "mode" | "level" | "expose-fd" | "severity-output" => (
            Carried,
            "this is for a UNIX socket, and has no effect on a TCP port",
        ),
        "log-proto" => (Carried, "this is for servers of logs"),
        "stick" | "non-stick" => (
            Carried,
            "there are no stick tables: an association stays where it begins",
        ),
        "mss" | "tfo" | "ktls" | "defer-accept" | "backlog" | "nice" | "process" | "thread"
        | "shards" => (
            Carried,
            "wardgate distributes and sizes this by itself: one worker on each core, and `wardgate tune` for the host",
        ),
        name if USED.contains(&name) => return None,
        name if name.starts_with("no-") => (Carried, "it cancels an option of `default-server`"),
        _ => (
            NotCarried,
            "wardgate has no counterpart of this option; HAProxy may not have it either",
        ),
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

    // Of `bind` and `server` lines, as HAProxy 2.6 lists them with `-dKall`: those without a value, and those with one.
    const FLAGS: &str = "accept-proxy agent-check allow-0rtt backup check check-send-proxy check-ssl check-via-socks4 \
        defer-accept disabled enabled force-sslv3 force-tlsv10 force-tlsv11 force-tlsv12 force-tlsv13 \
        generate-certificates no-agent-check no-backup no-ca-names no-check no-check-send-proxy no-check-ssl \
        no-send-proxy no-send-proxy-v2 no-send-proxy-v2-ssl no-send-proxy-v2-ssl-cn no-ssl no-ssl-reuse \
        no-sslv3 no-tfo no-tls-tickets no-tlsv10 no-tlsv11 no-tlsv12 no-tlsv13 non-stick \
        prefer-client-ciphers send-proxy send-proxy-v2 send-proxy-v2-ssl send-proxy-v2-ssl-cn ssl ssl-reuse \
        stick strict-sni tfo tls-tickets transparent v4v6 v6only";
    const VALUES: &str = "accept-netscaler-cip addr agent-addr agent-inter agent-port agent-send alpn backlog ca-file \
        ca-ignore-err ca-sign-file ca-sign-pass ca-verify-file check-alpn check-proto check-sni ciphers \
        ciphersuites cookie crl-file crt crt-ignore-err crt-list curves downinter ecdhe error-limit \
        expose-fd fall fastinter gid group id init-addr inter interface level log-proto max-reuse maxconn \
        maxqueue minconn mode mss name namespace nice npn observe on-error on-marked-down on-marked-up \
        pool-low-conn pool-max-conn pool-purge-delay port process proto proxy-v2-options redir resolve-net \
        resolve-opts resolve-prefer resolvers rise severity-output shards slowstart sni socks4 ssl-max-ver \
        ssl-min-ver tcp-ut thread tls-ticket-keys track uid user verify verifyhost weight ws";

    #[test]
    fn every_option_of_haproxy_is_used_or_has_a_remark() {
        for name in FLAGS.split_whitespace().chain(VALUES.split_whitespace()) {
            let is_read = USED.contains(&name) || is_13_alone(&(name, "TLSv1.3"));
            let (_, sentence) = match remark(name, "x") {
                Some(remark) => remark,
                None => {
                    assert!(is_read, "{name} is dropped silently");
                    continue;
                }
            };
            assert!(!sentence.contains("may not have it either"), "{sentence}");
        }
        let unknown = remark("wrong-option", "").expect("it is reported").1;
        assert!(unknown.contains("may not have it either"), "{unknown}");
        let words: Vec<_> = VALUES.split_whitespace().map(str::to_owned).collect();
        for name in &words {
            let line = [name.clone(), "x".to_owned()];
            assert_eq!(read(&line), [(name.as_str(), "x")], "its value is not read");
        }
        for name in FLAGS.split_whitespace() {
            assert_eq!(
                read(&[name.to_owned(), "x".to_owned()]).len(),
                2,
                "{name} has no value"
            );
        }
    }

    #[test]
    fn an_option_cancels_that_of_default_server() {
        let all = [
            ("ssl", ""),
            ("backup", ""),
            ("disabled", ""),
            ("no-ssl", ""),
            ("enabled", ""),
        ];
        let left = without_cancelled(&all).into_iter().map(|(name, _)| name);
        assert_eq!(left.collect::<Vec<_>>(), ["backup", "no-ssl", "enabled"]);
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
