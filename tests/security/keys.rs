//! No key of the configuration turns the check of the peer off.

use std::collections::BTreeSet;
use std::fs;

use wardgate_tests::{Pki, Program, Site, tier, wardgate};

/// All keys of a configuration. Before you add a key here, check that it cannot let in a peer that has not
/// authenticated.
const KEYS: &[&str] = &[
    "accept_proxy",
    "admin",
    "ae_bind",
    "association_idle",
    "associations",
    "associations_per_peer",
    "balance",
    "bandwidth",
    "busy_poll",
    "called",
    "called_ae",
    "calling",
    "calling_ae",
    "carried_from",
    "carry_source",
    "certificate",
    "cipher",
    "commands",
    "connect",
    "connections",
    "connections_per_peer",
    "connections_per_source",
    "cores",
    "crl",
    "crl_url",
    "drain",
    "drain_delay",
    "dscp",
    "fall",
    "first_byte",
    "from",
    "gateway",
    "handshake",
    "handshakes_per_second",
    "health",
    "hybrid",
    "identity",
    "idle",
    "interface",
    "interval",
    "keepalive",
    "key",
    "key_records",
    "listen",
    "log",
    "metrics",
    "mode",
    "name",
    "observe",
    "peer",
    "peers",
    "policy",
    "probe",
    "probes",
    "protocol",
    "record_layer",
    "reload_ports",
    "renew",
    "require_pq",
    "return",
    "rise",
    "route",
    "route.ae",
    "route.health",
    "route.identity",
    "route.timeouts",
    "rules",
    "run_as",
    "sandbox",
    "send_proxy",
    "service",
    "slow_start",
    "source",
    "stall",
    "state",
    "targets",
    "timeout",
    "timeouts",
    "trust",
    "user",
    "web",
    "web_token",
    "when_down",
];

/// The annotated reference names every key; a test beside the schema holds it complete.
#[test]
fn the_configuration_has_no_key_that_is_not_listed_here() {
    let file = tier::workspace().join("packaging/etc/wardgate.toml");
    let text = fs::read_to_string(file).expect("it is in the repository");
    let mut found = BTreeSet::new();
    for line in text.lines() {
        let line = line.strip_prefix('#').unwrap_or(line);
        if let Some(table) = line.strip_prefix('[') {
            found.insert(table.trim_matches(['[', ']']));
        } else if let Some((key, value)) = line.split_once(" = ")
            && !key.contains(' ')
        {
            found.insert(key);
            if let Some(inner) = value.strip_prefix("{ ") {
                let keys = inner
                    .split(", ")
                    .filter_map(|part| part.split(" = ").next())
                    // A quoted key is chosen by the operator, such as an AE title.
                    .filter(|key| !key.starts_with('"'));
                found.extend(keys);
            }
        }
    }
    assert_eq!(found, KEYS.iter().copied().collect());
}

/// Names from other programs, and attempts of an operator in a hurry.
#[test]
fn keys_and_values_that_would_turn_the_check_off_are_refused() {
    let pki = Pki::new();
    let site = || {
        Site::new(&pki, "gw.example").terminate(
            "127.0.0.1:2762",
            "127.0.0.1:104",
            &["dns:a.example"],
        )
    };
    let mut wrong = Vec::new();
    for (key, value) in [
        ("verify", "false"),
        ("verify", "\"none\""),
        ("verify_peer", "false"),
        ("verifyPeer", "false"),
        ("insecure", "true"),
        ("skip_verify", "true"),
        ("client_auth", "\"optional\""),
        ("mutual", "false"),
        ("ciphers", "\"ALL\""),
        ("tls_min", "\"1.0\""),
        ("resumption", "true"),
        ("tickets", "true"),
        ("early_data", "true"),
        ("policy", "\"none\""),
        ("policy", "\"legacy\""),
        ("peers", "[]"),
        ("peers", "[\"*\"]"),
        ("peers", "[\"dns:*\"]"),
        ("peers", "[\"dns:*.example\"]"),
        ("peers", "[\"any\"]"),
        ("service", "\"*\""),
        ("service", "false"),
        ("peers", "[\"sha256:\"]"),
        ("peers", "true"),
        ("ae_bind", "{ CT_A = \"dns:stranger.example\" }"),
        ("ae_bind", "{ CT_A = \"*\" }"),
        ("ae_bind", "{ CT_A = [] }"),
        ("observe", "\"none\""),
        ("rules", "\"off\""),
        ("health", "\"plain\""),
    ] {
        wrong.push((format!("{key} = {value}"), site().set(key, value)));
    }
    for (key, value) in [("verify", "false"), ("insecure", "true")] {
        wrong.push((format!("[gateway] {key}"), site().gateway(key, value)));
    }
    for (case, site) in wrong {
        assert_eq!(check(&pki, &site.toml()), Some(78), "{case}");
    }
    let without_peers = site().toml().replace("peers = [\"dns:a.example\"]\n", "");
    assert!(!without_peers.contains("peers"));
    assert_eq!(check(&pki, &without_peers), Some(78), "no peers");
    assert_eq!(check(&pki, &site().toml()), Some(0), "the good one");
}

fn check(pki: &Pki, toml: &str) -> Option<i32> {
    let file = pki.path("checked.toml");
    fs::write(&file, toml).expect("the folder is ours");
    let check = Program::new(wardgate()).args(["check", "--config"]);
    check.arg(&file).run().status?.code()
}
