//! Files that several identities and peers share.

use std::sync::Arc;

use rcgen::{RevokedCertParams, SerialNumber, date_time_ymd};

use super::super::Store;
use super::{Ca, Site, now};
use crate::config::{IdentityFiles, Located, Mode, TrustFiles};

fn at(site: &Site, name: &str, line: usize) -> Located<std::path::PathBuf> {
    Located {
        value: site.path(name),
        line,
    }
}

fn trust(site: &Site, trust: &str, crl: &[&str]) -> Arc<TrustFiles> {
    Arc::new(TrustFiles {
        trust: at(site, trust, 21),
        crl: crl.iter().map(|name| at(site, name, 22)).collect(),
    })
}

fn revoked(serial: u64) -> RevokedCertParams {
    RevokedCertParams {
        serial_number: SerialNumber::from(serial),
        revocation_time: date_time_ymd(2026, 5, 19),
        reason_code: None,
        invalidity_date: None,
    }
}

#[test]
fn a_list_file_is_kept_once_for_all_peers_that_name_it() {
    let site = Site::new();
    site.write("ca.crl", site.ca.crl(|_| {}));
    let mut store = Store::new(now());
    let [one, other] = [(); 2].map(|()| {
        let files = trust(&site, "trust.pem", &["ca.crl"]);
        store.trust("", &files).expect("good files")
    });
    assert!(Arc::ptr_eq(&one.crls[0], &other.crls[0]));
    let files = trust(&site, "trust.pem", &["ca.crl"]);
    let first = store.trust("", &files).expect("good files");
    let second = store.trust("", &files).expect("good files");
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(store.problems(), []);
}

#[test]
fn problems_of_a_shared_file_are_reported_where_each_peer_names_it() {
    let site = Site::new();
    site.write("other.crl", Ca::new("Other CA").crl(|_| {}));
    let mut store = Store::new(now());
    for scope in ["peer \"a\": ", "peer \"b\": "] {
        let files = trust(&site, "trust.pem", &["other.crl"]);
        assert!(store.trust(scope, &files).is_none());
    }
    let problems = store.problems();
    let begins = ["peer \"a\": crl \"", "peer \"b\": crl \""];
    assert_eq!(problems.len(), 2);
    for (problem, begin) in problems.iter().zip(begins) {
        assert_eq!(problem.line, Some(22));
        assert!(problem.text.starts_with(begin), "{}", problem.text);
        let end = "of \"CN=Other CA\" belongs to no CA in \"trust\"; name the list of that CA, and put this list's CA into \"trust\" only if it \
             is the peer's own";
        assert!(problem.text.ends_with(end), "{}", problem.text);
    }
}

#[test]
fn two_lists_of_a_renewed_ca_load_beside_each_other() {
    let mut site = Site::new();
    let renewed = Ca::new("Region CA");
    site.write("trust.pem", site.ca.pem() + &renewed.pem());
    let first = site.ca.crl(|_| {});
    site.add_crl("ca.crl", first);
    site.add_crl(
        "ca1.crl",
        renewed.crl(|crl| crl.this_update = date_time_ymd(2026, 5, 25)),
    );
    let (_, trust) = site.load(Mode::Terminate).expect("one list for each key");
    let signers: Vec<_> = trust.crls.iter().map(|crl| crl.signer().copied()).collect();
    let keys = [&renewed, &site.ca].map(|ca| {
        let facts = super::super::Facts::of(ca.certificate.der()).expect("a CA");
        Some(crate::pki::crl::key_hash(&facts.spki))
    });
    assert_eq!(signers, keys, "the newest first");
}

#[test]
fn an_own_certificate_is_looked_up_in_the_lists_of_every_peer() {
    let site = Site::new();
    site.write(
        "ca.crl",
        site.ca.crl(|crl| crl.revoked_certs = vec![revoked(0x1234)]),
    );
    let mut store = Store::new(now());
    let files = Arc::new(IdentityFiles {
        certificate: at(&site, "site.pem", 11),
        key: at(&site, "site.key", 12),
        trust: None,
    });
    store.identity("route \"out\": ", &files, Mode::Originate);
    store.trust("peer \"a\": ", &trust(&site, "trust.pem", &["ca.crl"]));
    let problems = store.problems();
    let [problem] = problems else {
        panic!("one problem: {problems:?}");
    };
    assert_eq!(problem.line, Some(11));
    assert!(
        problem.text.starts_with("route \"out\": certificate \""),
        "{}",
        problem.text
    );
    assert!(
        problem.text.contains("was revoked 2026-05-19"),
        "{}",
        problem.text
    );
}

#[test]
fn a_ca_of_the_same_name_revokes_no_own_certificate() {
    let site = Site::new();
    // A partner's CA with the name of this site's CA, and a list that contains this site's serial number.
    let partner = Ca::new("Region CA");
    site.write("partner.pem", partner.pem());
    site.write(
        "partner.crl",
        partner.crl(|crl| crl.revoked_certs = vec![revoked(0x1234)]),
    );
    let mut store = Store::new(now());
    let files = Arc::new(site.files());
    store.identity("", &files, Mode::Originate);
    let files = trust(&site, "partner.pem", &["partner.crl"]);
    assert!(store.trust("", &files).is_some());
    assert_eq!(store.problems(), []);
}
