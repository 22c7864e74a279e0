//! The versions and suites that the default policy allows, with openssl as the other party.
//!
//! Each suite is offered alone. An offer that openssl cannot use with itself proves nothing and is not
//! counted: an `s_client` and an `s_server` with the same offer connect first.

use std::path::Path;
use std::sync::OnceLock;

use tempfile::TempDir;
use wardgate_tests::pki::{Key, Kind, Leaf};
use wardgate_tests::tier::{self, Need};
use wardgate_tests::{Background, DEADLINE, Gateway, Pki, Program, free_port, until};

use crate::openssl::{Offer, client, lax_server, reversed, run_client, server};
use crate::pair::{A, B, originate, terminate};
use crate::peers::{Echo, loopback};

/// The suites of the default policy (docs/src/guide/routes.md, "TLS policies"), in openssl's names.
const ALLOWED: [&str; 3] = [
    "TLS_AES_256_GCM_SHA384",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
];

/// With fewer weak offers that openssl can use with itself, the matrix would compare almost nothing.
const WEAK_MIN: usize = 30;

/// Security level 0, because openssl would otherwise not present an RSA key of 1024 bits.
const LAX: [&str; 2] = ["-cipher", "DEFAULT:@SECLEVEL=0"];

#[test]
fn terminate_takes_exactly_the_suites_of_the_policy() {
    if !tier::ready("interop", &[Need::Program("openssl")]) {
        return;
    }
    let pki = Pki::new();
    let echo = Echo::start();
    let (ecdsa, rsa) = (free_port(), free_port());
    let site = terminate(&pki, "tcp", ecdsa, echo.port)
        .terminate(loopback(rsa), loopback(echo.port), &[format!("dns:{A}")])
        .protocol("tcp")
        .route_identity(&pki.leaf_with(B, Key::Rsa(2048)))
        .start();
    let own = pki.leaf(A);
    let mut matrix = Matrix::default();
    for offer in feasible() {
        let taken = [ecdsa, rsa]
            .map(|port| run_client(&client(port, Some(&own)).args(offer.options())).is_ok());
        matrix.add(offer, taken.contains(&true));
    }
    matrix.assert_policy();
    // One suite of TLS 1.2 goes with each certificate, the one of TLS 1.3 with both.
    assert_eq!(echo.connections(), 4, "a refused peer reached the target");
    site.stop();
}

#[test]
fn originate_takes_exactly_the_suites_of_the_policy() {
    if !tier::ready("interop", &[Need::Program("openssl")]) {
        return;
    }
    let pki = Pki::new();
    let (entry, wan) = (free_port(), free_port());
    let site = originate(&pki, "tcp", entry, wan).start();
    let mut matrix = Matrix::default();
    let leaves = [pki.leaf(B), pki.leaf_with(B, Key::Rsa(2048))];
    for offer in feasible() {
        let _server = Background::listening(&both_keys(wan, &leaves, offer), wan);
        matrix.add(offer, reversed(entry));
    }
    matrix.assert_policy();
    site.stop();
}

/// A matrix with all suites at once: the gateway, not the order of the client, decides.
#[test]
fn terminate_chooses_aes_256_where_the_client_prefers_others() {
    if !tier::ready("interop", &[Need::Program("openssl")]) {
        return;
    }
    let pki = Pki::new();
    let echo = Echo::start();
    let wan = free_port();
    let site = terminate(&pki, "tcp", wan, echo.port).start();
    let own = pki.leaf(A);
    let weak_first = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384";
    let text = run_client(&client(wan, Some(&own)).args(["-ciphersuites", weak_first]));
    let text = text.expect("one of the suites is allowed");
    assert!(text.contains("Cipher is TLS_AES_256_GCM_SHA384"), "{text}");
    let weak_first = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384";
    let text = run_client(&client(wan, Some(&own)).args(["-tls1_2", "-cipher", weak_first]));
    let text = text.expect("one of the suites is allowed");
    assert!(
        text.contains("Cipher is ECDHE-ECDSA-AES256-GCM-SHA384"),
        "{text}"
    );
    site.stop();
}

#[test]
fn tls13_only_policy_refuses_tls12() {
    if !tier::ready("interop", &[Need::Program("openssl")]) {
        return;
    }
    let pki = Pki::new();
    let echo = Echo::start();
    let wan = free_port();
    let site = terminate(&pki, "tcp", wan, echo.port)
        .set("policy", "\"hscn-tls13\"")
        .start();
    let own = pki.leaf(A);
    assert!(run_client(&client(wan, Some(&own)).arg("-tls1_2")).is_err());
    assert!(run_client(&client(wan, Some(&own)).arg("-tls1_3")).is_ok());
    site.stop();
}

#[test]
fn terminate_refuses_client_without_certificate() {
    if !tier::ready("interop", &[Need::Program("openssl")]) {
        return;
    }
    let pki = Pki::new();
    let echo = Echo::start();
    let wan = free_port();
    let site = terminate(&pki, "tcp", wan, echo.port).start();
    for version in ["-tls1_2", "-tls1_3"] {
        let refused = run_client(&client(wan, None).arg(version));
        assert!(refused.is_err(), "{version}: {refused:?}");
    }
    assert_refused(&site);
    assert_eq!(echo.connections(), 0);
    site.stop();
}

#[test]
fn originate_refuses_server_that_asks_for_no_certificate() {
    if !tier::ready("interop", &[Need::Program("openssl")]) {
        return;
    }
    let pki = Pki::new();
    let (entry, wan) = (free_port(), free_port());
    let site = originate(&pki, "tcp", entry, wan).start();
    for version in ["-tls1_2", "-tls1_3"] {
        let leaf = pki.leaf(B);
        {
            let _server = Background::listening(&lax_server(wan, &leaf).arg(version), wan);
            assert!(!reversed(entry), "{version}");
        }
        // The same server, but with a request for a certificate, is accepted.
        let _server = Background::listening(&server(wan, &leaf).arg(version), wan);
        assert!(reversed(entry), "{version}");
    }
    let line = assert_refused(&site);
    assert!(line.contains("certificate"), "{line}");
    site.stop();
}

/// Without it, an attacker can make two TLS 1.2 sessions share their keys (RFC 7627 section 1).
#[test]
fn both_modes_refuse_tls12_without_extended_master_secret() {
    if !tier::ready("interop", &[Need::Program("openssl")]) {
        return;
    }
    let pki = Pki::new();
    let folder = TempDir::new().expect("there is room");
    let without = folder.path().join("without-ems.cnf");
    write_configuration(&without, "Options = -ExtendedMasterSecret");
    let with = folder.path().join("with-ems.cnf");
    write_configuration(&with, "Options = ExtendedMasterSecret");
    let echo = Echo::start();
    let (entry, wan, target) = (free_port(), free_port(), free_port());
    let b = terminate(&pki, "tcp", wan, echo.port).start();
    let a = originate(&pki, "tcp", entry, target).start();
    let (client_leaf, server_leaf) = (pki.leaf(A), pki.leaf(B));
    for (file, taken) in [(&with, true), (&without, false)] {
        let client = client(wan, Some(&client_leaf)).arg("-tls1_2");
        let outcome = run_client(&client.env("OPENSSL_CONF", file));
        assert_eq!(outcome.is_ok(), taken, "terminate: {outcome:?}");
        let output = outcome.unwrap_or_else(|text| text);
        assert_eq!(
            output.contains("Extended master secret: yes"),
            taken,
            "{output}"
        );
        let server = server(target, &server_leaf).arg("-tls1_2");
        let _server = Background::listening(&server.env("OPENSSL_CONF", file), target);
        assert_eq!(reversed(entry), taken, "originate with {}", file.display());
    }
    assert_refused(&a);
    assert_refused(&b);
    a.stop();
    b.stop();
}

/// P-521, X448 and the finite fields are not in the policy.
#[test]
fn terminate_takes_exactly_the_classical_groups_of_the_policy() {
    if !tier::ready("interop", &[Need::Program("openssl")]) {
        return;
    }
    let pki = Pki::new();
    let echo = Echo::start();
    let wan = free_port();
    let site = terminate(&pki, "tcp", wan, echo.port).start();
    let own = pki.leaf(A);
    for (group, name) in [
        ("X25519", "x25519"),
        ("P-256", "secp256r1"),
        ("P-384", "secp384r1"),
    ] {
        let taken = run_client(&client(wan, Some(&own)).args(["-tls1_3", "-groups", group]));
        assert!(taken.is_ok(), "{group}: {taken:?}");
        let what = format!("a connection with {name}");
        site.wait_for_connection_line(&what, DEADLINE, |line| line.text("tls.curve") == name);
    }
    for group in ["P-521", "X448", "ffdhe3072"] {
        let refused = run_client(&client(wan, Some(&own)).args(["-tls1_3", "-groups", group]));
        assert!(refused.is_err(), "{group}: {refused:?}");
    }
    site.stop();
}

/// RFC 8446 section 4.6.3: either side may request new keys at any time.
#[test]
fn terminate_follows_key_updates_of_openssl() {
    if !tier::ready("interop", &[Need::Program("openssl")]) {
        return;
    }
    let pki = Pki::new();
    let echo = Echo::start();
    let wan = free_port();
    let site = terminate(&pki, "tcp", wan, echo.port).start();
    let program = client(wan, Some(&pki.leaf(A))).args(["-tls1_3", "-no_ign_eof"]);
    let mut client = Background::start(&program);
    client.wait_for_output("Verify return code");
    // `k` updates the client's keys, `K` also requests an update of the server's keys.
    for (number, command) in ["k\n", "K\n", "k\n", "K\n"].into_iter().enumerate() {
        client.try_write(command.as_bytes());
        until("s_client updates its keys", DEADLINE, || {
            (client.output().matches("KEYUPDATE").count() > number).then_some(())
        });
        let output = format!("said under keys number {number}\n");
        client.try_write(output.as_bytes());
        client.wait_for_output(output.trim());
    }
    drop(client);
    site.stop();
}

/// RFC 5746 makes renegotiation safe, but the gateway does not need it, and it doubles an attacker's
/// possibilities.
#[test]
fn terminate_refuses_renegotiation() {
    if !tier::ready("interop", &[Need::Program("openssl")]) {
        return;
    }
    let pki = Pki::new();
    let echo = Echo::start();
    let wan = free_port();
    let site = terminate(&pki, "tcp", wan, echo.port).start();
    let own = pki.leaf(A);
    let program = client(wan, Some(&own)).args(["-tls1_2", "-no_ign_eof"]);
    let mut client = Background::start(&program);
    client.wait_for_output("Extended master secret");
    client.try_write(b"R\n");
    client.wait_for_output("RENEGOTIATING");
    until("s_client ends when it is refused", DEADLINE, || {
        client.has_ended().then_some(())
    });
    let text = client.output();
    assert!(text.contains("error") || text.contains("alert"), "{text}");
    site.stop();
}

/// Certificates that the sites' own software would never make, but an attacker would.
#[test]
fn terminate_refuses_openssl_clients_with_certificates_of_every_odd_kind() {
    if !tier::ready("interop", &[Need::Program("openssl")]) {
        return;
    }
    let pki = Pki::new();
    let echo = Echo::start();
    for (good_ones, (kind, cause)) in Kind::REFUSED.into_iter().enumerate() {
        let wan = free_port();
        let site = terminate(&pki, "tcp", wan, echo.port).crl(&pki.crl());
        let site = site.start();
        let outcome = run_client(&client(wan, Some(&pki.odd(A, kind))).args(LAX));
        assert!(outcome.is_err(), "accepted {kind:?}: {outcome:?}");
        let reason = assert_refused(&site);
        assert!(reason.contains(cause), "{kind:?}: {reason}");
        assert_eq!(echo.connections(), good_ones, "{kind:?} reached the target");
        let good = run_client(&client(wan, Some(&pki.leaf(A))));
        assert!(
            good.is_ok(),
            "the good certificate is refused too: {good:?}"
        );
        site.stop();
    }
}

#[test]
fn originate_refuses_openssl_servers_with_certificates_of_every_odd_kind() {
    if !tier::ready("interop", &[Need::Program("openssl")]) {
        return;
    }
    let pki = Pki::new();
    for (kind, cause) in Kind::REFUSED {
        let (entry, target) = (free_port(), free_port());
        let site = originate(&pki, "tcp", entry, target).crl(&pki.crl());
        let site = site.start();
        {
            let server = server(target, &pki.odd(B, kind)).args(LAX);
            let _server = Background::listening(&server, target);
            assert!(!reversed(entry), "accepted {kind:?}");
        }
        let reason = assert_refused(&site);
        assert!(reason.contains(cause), "{kind:?}: {reason}");
        let _server = Background::listening(&server(target, &pki.leaf(B)), target);
        assert!(reversed(entry), "the good certificate is refused too");
        site.stop();
    }
}

/// The offers, and whether the gateway accepted each.
#[derive(Default)]
struct Matrix {
    taken: Vec<String>,
    refused: Vec<String>,
}

impl Matrix {
    fn add(&mut self, offer: &Offer, taken: bool) {
        let list = if taken {
            &mut self.taken
        } else {
            &mut self.refused
        };
        list.push(offer.suites.clone());
    }

    fn assert_policy(mut self) {
        self.taken.sort();
        let mut allowed = ALLOWED;
        allowed.sort_unstable();
        assert_eq!(self.taken, allowed, "refused: {:?}", self.refused);
        assert!(
            self.refused.len() >= WEAK_MIN,
            "refused only {:?}",
            self.refused
        );
    }
}

/// The offers with which this openssl can connect to itself, with certificates on both sides.
fn feasible() -> &'static [Offer] {
    static OFFERS: OnceLock<Vec<Offer>> = OnceLock::new();
    OFFERS.get_or_init(|| {
        let pki = Pki::new();
        let own = pki.leaf(A);
        let leaves = [pki.leaf(B), pki.leaf_with(B, Key::Rsa(2048))];
        let mut offers = Offer::all();
        offers.retain(|offer| {
            let port = free_port();
            let mut server = Background::start(&both_keys(port, &leaves, offer));
            server.listens_or_ends(port)
                && run_client(&client(port, Some(&own)).args(offer.options())).is_ok()
        });
        offers
    })
}

/// An `s_server` with an ECDSA and an RSA certificate and one offer.
fn both_keys(port: u16, leaves: &[Leaf; 2], offer: &Offer) -> Program {
    let [ecdsa, rsa] = leaves;
    server(port, ecdsa)
        .arg("-dcert")
        .arg(&rsa.certificate)
        .arg("-dkey")
        .arg(&rsa.key)
        .args(offer.options())
}

/// Waits until the gateway has logged a refused handshake, and returns the reason.
fn assert_refused(gateway: &Gateway) -> String {
    let line = gateway.wait_for_connection_line("a refused handshake", DEADLINE, |line| {
        line.text("reason") != "complete" && line.number("opened_bytes") == 0
    });
    line.text("reason").to_owned()
}

/// A configuration of libssl with one command (SSL_CONF_cmd(3)).
fn write_configuration(file: &Path, command: &str) {
    let text = format!(
        "openssl_conf = all\n[all]\nssl_conf = tls\n[tls]\nsystem_default = default\n\
         [default]\n{command}\n"
    );
    std::fs::write(file, text).expect("there is room");
}
