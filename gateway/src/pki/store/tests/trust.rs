//! Trust anchors that cannot be used.

use std::time::SystemTime;

use rcgen::date_time_ymd;

use super::{Ca, Site, self_signed};
use crate::config::Mode;

#[test]
fn trust_with_a_private_key_is_refused() {
    let site = Site::new();
    site.write("trust.pem", site.ca.pem() + &site.ca.key.serialize_pem());
    assert_eq!(
        site.problems(),
        [
            "13: trust \"trust.pem\" holds a private key, but trust is handed to others; take it \
             out, and replace that key if anyone had the file"
        ]
    );
}

#[test]
fn trust_with_a_certificate_that_is_no_ca_is_refused() {
    let site = Site::new();
    site.write("trust.pem", site.ca.pem() + &site.read("site.pem"));
    assert_eq!(
        site.problems(),
        [
            "13: trust \"trust.pem\": \"CN=gw.hospital.example\" is not a CA certificate; put that \
             of the CA that issued it there"
        ]
    );
}

#[test]
fn expired_anchors_are_left_out_and_refused_where_no_other_is_left() {
    let site = Site::new();
    let old = Ca::with("Old CA", |ca| ca.not_after = date_time_ymd(2026, 2, 3));
    let older = Ca::with("Older CA", |ca| ca.not_after = date_time_ymd(2025, 2, 3));
    let all = [old.pem(), site.ca.pem(), older.pem()].concat();
    site.write("trust.pem", all);
    let (_, trust) = site.load(Mode::Terminate).expect("one is current");
    assert_eq!(trust.anchors, [site.ca.certificate.der().clone()]);
    site.write("trust.pem", older.pem() + &old.pem());
    assert_eq!(
        site.problems(),
        [
            "13: trust \"trust.pem\" holds expired CAs only, the last (\"CN=Old CA\") until \
             2026-02-03, and this machine's clock says 2026-06-01 12:00 UTC; if the clock is right, get the current \
             CA certificates of your peers"
        ]
    );
}

#[test]
fn anchors_of_the_future_alone_are_refused_with_a_hint_at_the_clock() {
    let site = Site::new();
    let next = Ca::with("Next CA", |ca| ca.not_before = date_time_ymd(2026, 9, 1));
    site.write("trust.pem", next.pem() + &site.ca.pem());
    let (_, trust) = site.load(Mode::Terminate).expect("one is current");
    assert_eq!(trust.anchors.len(), 2);
    site.write("trust.pem", next.pem());
    assert_eq!(
        site.problems(),
        [
            "13: trust \"trust.pem\" holds no CA that is valid today: \"CN=Next CA\" is valid only from \
             2026-09-01, and this machine's clock says 2026-06-01 12:00 UTC; correct the clock"
        ]
    );
}

#[test]
fn more_cas_of_one_name_than_a_handshake_may_try_are_refused() {
    let site = Site::new();
    let all: String = (0..6).map(|_| Ca::new("Hospital CA").pem()).collect();
    site.write("trust.pem", all.clone() + &site.ca.pem());
    site.load(Mode::Terminate).expect("six are taken");
    site.write(
        "trust.pem",
        all + &Ca::new("Hospital CA").pem() + &site.ca.pem(),
    );
    assert_eq!(
        site.problems(),
        [
            "13: trust \"trust.pem\" holds 7 CAs of name \"CN=Hospital CA\", and 6 may have one name; take \
             out those that are no longer used, and give each partner a [[peer]] table with its own CA"
        ]
    );
}

#[test]
fn weak_anchor_is_refused_and_its_own_signature_is_not_judged() {
    let site = Site::new();
    let problems = || site.problems_of(Mode::Terminate, SystemTime::now());
    let keep = (site.read("site.pem"), site.read("site.key"));
    self_signed(
        &site,
        "rsa:1024",
        "-sha1",
        "-addext basicConstraints=critical,CA:TRUE",
    );
    site.write("trust.pem", site.read("site.pem"));
    site.write("site.pem", &keep.0);
    site.write("site.key", &keep.1);
    site.leaf(|leaf| leaf.not_after = date_time_ymd(2999, 1, 1));
    assert_eq!(
        problems(),
        [
            "13: trust \"trust.pem\": \"CN=gw.example\" has a weak key (RSA, 1024 bit; 2048 is the \
             least); get a current one from its CA"
        ]
    );
}
