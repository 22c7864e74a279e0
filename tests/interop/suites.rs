//! Which versions and suites can be had of the default policy, with openssl as the other party.
//!
//! Each suite is offered alone. What openssl cannot do with itself proves nothing and is not counted:
//! an `s_client` and an `s_server` of the same offer talk first.

use std::path::Path;
use std::sync::OnceLock;

use tempfile::TempDir;
use wardgate_tests::pki::{Key, Kind, Leaf};
use wardgate_tests::tier::{self, Need};
use wardgate_tests::{Background, DEADLINE, Gateway, Pki, Program, free_port, until};

use crate::openssl::{Offer, client, lax_server, reversed, server, talk};
use crate::pair::{A, B, originate, terminate};
use crate::peers::{Echo, loopback};

/// What the default policy takes (ARCHITECTURE.md, TLS policy), in openssl's names.
const ALLOWED: [&str; 3] = [
    "TLS_AES_256_GCM_SHA384",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
];

/// Fewer weak offers that openssl can do with itself mean that the matrix compares next to nothing.
const WEAK_MIN: usize = 30;

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
        let taken =
            [ecdsa, rsa].map(|port| talk(&client(port, Some(&own)).args(offer.options())).is_ok());
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
    let text = talk(&client(wan, Some(&own)).args(["-ciphersuites", weak_first]));
    let text = text.expect("one of the suites is allowed");
    assert!(text.contains("Cipher is TLS_AES_256_GCM_SHA384"), "{text}");
    let weak_first = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384";
    let text = talk(&client(wan, Some(&own)).args(["-tls1_2", "-cipher", weak_first]));
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
    assert!(talk(&client(wan, Some(&own)).arg("-tls1_2")).is_err());
    assert!(talk(&client(wan, Some(&own)).arg("-tls1_3")).is_ok());
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
        let refused = talk(&client(wan, None).arg(version));
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
        // The same server, but that it asks, is accepted.
        let _server = Background::listening(&server(wan, &leaf).arg(version), wan);
        assert!(reversed(entry), "{version}");
    }
    let line = assert_refused(&site);
    assert!(line.contains("certificate"), "{line}");
    site.stop();
}

/// Without it, two TLS 1.2 sessions can be made to share their keys (RFC 7627 section 1).
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
        let outcome = talk(&client.env("OPENSSL_CONF", file));
        assert_eq!(outcome.is_ok(), taken, "terminate: {outcome:?}");
        let said = outcome.unwrap_or_else(|text| text);
        assert_eq!(
            said.contains("Extended master secret: yes"),
            taken,
            "{said}"
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

/// RFC 5746 makes renegotiation safe, but there is no need for it here, and it doubles what an
/// attacker can ask for.
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

/// Certificates that the two sites' own software would never make, but an attacker would.
#[test]
fn both_modes_refuse_certificates_of_every_odd_kind_from_openssl() {
    if !tier::ready("interop", &[Need::Program("openssl")]) {
        return;
    }
    let pki = Pki::new();
    let echo = Echo::start();
    let (entry, wan, target) = (free_port(), free_port(), free_port());
    let b = terminate(&pki, "tcp", wan, echo.port)
        .crl(&pki.crl())
        .start();
    let a = originate(&pki, "tcp", entry, target)
        .crl(&pki.crl())
        .start();
    // Level 0, for openssl itself would not show an RSA key of 1024 bits.
    let lax = ["-cipher", "DEFAULT:@SECLEVEL=0"];
    for kind in Kind::REFUSED {
        let outcome = talk(&client(wan, Some(&pki.odd(A, kind))).args(lax));
        assert!(outcome.is_err(), "terminate accepted {kind:?}: {outcome:?}");
        let server = server(target, &pki.odd(B, kind)).args(lax);
        let _server = Background::listening(&server, target);
        assert!(!reversed(entry), "originate accepted {kind:?}");
    }
    assert_eq!(echo.connections(), 0, "a refused peer reached the target");
    let good = talk(&client(wan, Some(&pki.leaf(A))));
    assert!(
        good.is_ok(),
        "the good certificate is refused too: {good:?}"
    );
    let server = server(target, &pki.leaf(B));
    let _server = Background::listening(&server, target);
    assert!(reversed(entry), "the good certificate is refused too");
    a.stop();
    b.stop();
}

/// Offers and whether the gateway took each.
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

/// The offers by which this openssl can talk to itself, with certificates on both sides.
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
                && talk(&client(port, Some(&own)).args(offer.options())).is_ok()
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

/// Waits until the gateway has told of a refused handshake, and returns the reason.
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
