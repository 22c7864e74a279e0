//! Every message of `store::load`, word for word, each with files of which one is wrong.

mod certificate;
mod crl;
mod files;
mod shared;
mod trust;

use std::time::{Duration, SystemTime};

use rcgen::{ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd};

use super::super::fixture::{Ca, Site, now};
use crate::config::Mode;

#[test]
fn good_files_load_in_both_modes() {
    let mut site = Site::new();
    site.add_crl("ca.crl", site.ca.crl(|_| {}));
    for mode in [Mode::Originate, Mode::Terminate] {
        let (identity, trust) = site.load(mode).expect("good files");
        assert_eq!(identity.chain.len(), 1);
        assert_eq!(trust.anchors, [site.ca.certificate.der().clone()]);
        assert_eq!(trust.crls.len(), 1);
    }
}

/// Extensions of a valid leaf, in the form of openssl's `-addext`.
const LEAF: &str =
    "-addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:gw.example";

/// Writes a self-signed certificate from openssl with its key. It is valid only at the real time.
fn self_signed(site: &Site, key: &str, hash: &str, extensions: &str) {
    site.write("empty.cnf", "[req]\ndistinguished_name = dn\n[dn]\n");
    site.openssl(&format!(
        "req -x509 -config empty.cnf -newkey {key} -nodes {hash} -subj /CN=gw.example -days 30 \
         -keyout site.key -out site.pem {extensions}"
    ));
    site.chmod("site.key", 0o600);
}

#[test]
fn every_problem_is_reported_at_once() {
    let mut site = Site::new();
    site.leaf(|leaf| {
        leaf.not_after = date_time_ymd(2026, 3, 1);
        leaf.subject_alt_names.clear();
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        leaf.is_ca = IsCa::ExplicitNoCa;
    });
    site.write(
        "site.key",
        KeyPair::generate().expect("a key").serialize_pem(),
    );
    site.chmod("site.key", 0o644);
    site.write("trust.pem", "");
    site.add_crl(
        "ca.crl",
        site.ca
            .crl(|crl| crl.next_update = date_time_ymd(2026, 5, 31)),
    );
    let problems = site.problems();
    let lines: Vec<_> = problems.iter().filter_map(|text| text.get(..3)).collect();
    assert_eq!(
        lines,
        ["11:", "11:", "11:", "12:", "12:", "13:", "14:"],
        "{problems:#?}"
    );
}

#[test]
fn expiry_is_exact_to_the_second() {
    let site = Site::new();
    // 2027-01-01T00:00:00Z.
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_798_761_600);
    let before = end - Duration::from_secs(1);
    assert_eq!(site.problems_of(Mode::Terminate, before), [""; 0]);
    assert_eq!(site.problems_of(Mode::Terminate, end).len(), 1);
}
