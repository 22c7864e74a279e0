//! Certificates and chains that cannot be used on a route.

use std::sync::Arc;
use std::time::SystemTime;

use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose, SanType, date_time_ymd};

use super::{Ca, LEAF, Site, now, self_signed};
use crate::config::Mode;
use crate::pki::store::Store;

#[test]
fn expired_certificate_is_refused_with_its_date() {
    let site = Site::new();
    site.leaf(|leaf| leaf.not_after = date_time_ymd(2026, 3, 1));
    assert_eq!(
        site.problems(),
        [
            "11: certificate \"site.pem\" expired 2026-03-01, and this machine's clock says 2026-06-01 \
             12:00 UTC; if the clock is right, renew it with `wardgate pki renew --certificate site.pem --key \
             site.key` on the machine that has the CA's folder, or have the CA that issued it issue a new one"
        ]
    );
}

#[test]
fn certificate_of_the_future_is_refused_with_a_hint_at_the_clock() {
    let site = Site::new();
    site.leaf(|leaf| leaf.not_before = date_time_ymd(2026, 7, 1));
    assert_eq!(
        site.problems(),
        [
            "11: certificate \"site.pem\" is valid only from 2026-07-01, and this machine's clock \
             says 2026-06-01 12:00 UTC; correct the clock, or wait"
        ]
    );
}

#[test]
fn ca_certificate_as_leaf_is_refused() {
    let site = Site::new();
    site.write("site.pem", site.ca.pem());
    site.write("site.key", site.ca.key.serialize_pem());
    assert_eq!(
        site.problems(),
        [
            "11: certificate \"site.pem\" is a CA certificate (\"CN=Region CA\"), not that of a \
             site; issue one from it with `wardgate pki issue`"
        ]
    );
}

#[test]
fn certificate_with_a_name_in_cn_alone_is_refused() {
    let site = Site::new();
    site.leaf(|leaf| leaf.subject_alt_names.clear());
    let message = "11: certificate \"site.pem\" has no DNS or URI name in its SAN, and CN does not \
                   count; issue a new one with `wardgate pki issue --dns NAME`";
    assert_eq!(site.problems(), [message]);
    let address = std::net::IpAddr::from([10, 0, 0, 1]);
    site.leaf(|leaf| leaf.subject_alt_names = vec![SanType::IpAddress(address)]);
    assert_eq!(site.problems(), [message]);
    let uri = "urn:nhs:ods:X26".try_into().expect("a URI");
    site.leaf(|leaf| leaf.subject_alt_names = vec![SanType::URI(uri)]);
    site.load(Mode::Terminate).expect("a URI is a name");
}

#[test]
fn extended_key_usage_must_fit_the_mode() {
    let site = Site::new();
    site.leaf(|leaf| leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    site.load(Mode::Originate)
        .expect("clientAuth is enough to connect");
    assert_eq!(
        site.problems(),
        [
            "11: certificate \"site.pem\" lacks serverAuth in its extended key usage, and mode \
             \"terminate\" accepts with it; issue a new one with `wardgate pki issue`"
        ]
    );
    site.leaf(|leaf| leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    site.load(Mode::Terminate)
        .expect("serverAuth is enough to accept");
    assert_eq!(
        site.problems_of(Mode::Originate, now()),
        [
            "11: certificate \"site.pem\" lacks clientAuth in its extended key usage, and mode \
             \"originate\" connects with it; issue a new one with `wardgate pki issue`"
        ]
    );
    site.leaf(|leaf| leaf.extended_key_usages.clear());
    site.load(Mode::Originate)
        .expect("no usage allows every usage");
}

#[test]
fn key_usage_without_digital_signature_is_refused() {
    let site = Site::new();
    site.leaf(|leaf| leaf.key_usages = vec![KeyUsagePurpose::KeyEncipherment]);
    assert_eq!(
        site.problems(),
        [
            "11: certificate \"site.pem\" lacks digitalSignature in its key usage, which TLS needs; \
             issue a new one with `wardgate pki issue`"
        ]
    );
}

#[test]
fn weak_keys_are_refused() {
    let site = Site::new();
    let problems = || site.problems_of(Mode::Terminate, SystemTime::now());
    self_signed(&site, "rsa:1024", "-sha256", LEAF);
    assert_eq!(
        problems(),
        [
            "11: certificate \"site.pem\" has a weak key (RSA, 1024 bit; 2048 is the least); issue \
             a new one with `wardgate pki issue`"
        ]
    );
    self_signed(
        &site,
        "ec -pkeyopt ec_paramgen_curve:P-224",
        "-sha256",
        LEAF,
    );
    assert_eq!(
        problems(),
        [
            "11: certificate \"site.pem\" has a weak key (EC P-224, 224 bit; 256 is the least); \
             issue a new one with `wardgate pki issue`"
        ]
    );
}

#[test]
fn signatures_over_broken_hashes_are_refused() {
    let site = Site::new();
    for (option, hash) in [("-sha1", "SHA-1"), ("-md5", "MD5")] {
        self_signed(&site, "rsa:2048", option, LEAF);
        assert_eq!(
            site.problems_of(Mode::Terminate, SystemTime::now()),
            [format!(
                "11: certificate \"site.pem\" is signed with {hash}, which can be forged (SHA-256 \
                 is the least); issue a new one with `wardgate pki issue`"
            )]
        );
    }
}

#[test]
fn keys_and_hashes_that_no_handshake_accepts_are_refused() {
    let site = Site::new();
    let problems = || site.problems_of(Mode::Terminate, SystemTime::now());
    self_signed(&site, "rsa:2048", "-sha224", LEAF);
    assert_eq!(
        problems(),
        [
            "11: certificate \"site.pem\" is signed with SHA-224, which is too short (SHA-256 is the least); issue a \
             new one with `wardgate pki issue`"
        ]
    );
    for curve in ["P-521", "secp256k1"] {
        let key = format!("ec -pkeyopt ec_paramgen_curve:{curve}");
        self_signed(&site, &key, "-sha256", LEAF);
        assert_eq!(
            problems(),
            [
                "11: certificate \"site.pem\" has an EC key on another curve than P-256 or P-384, which is not \
                 accepted; issue a new one with `wardgate pki issue`"
            ],
            "{curve}"
        );
    }
}

#[test]
fn x509_version_1_is_refused() {
    let site = Site::new();
    site.openssl("req -new -key site.key -subj /CN=gw.example -out site.csr");
    site.openssl("x509 -req -in site.csr -signkey site.key -days 30 -out site.pem");
    assert_eq!(
        site.problems_of(Mode::Terminate, SystemTime::now()),
        [
            "11: certificate \"site.pem\" is X.509 version 1, which cannot carry names and usages; \
             issue a new one with `wardgate pki issue`"
        ]
    );
}

#[test]
fn chain_loads_leaf_first_and_is_refused_in_any_other_order() {
    let site = Site::new();
    let middle = site.ca.below("Hospital CA");
    let leaf = site.leaf_pem(&middle, |_| {});
    site.write(
        "site.pem",
        [leaf.clone(), middle.pem(), site.ca.pem()].concat(),
    );
    let (identity, _) = site.load(Mode::Terminate).expect("in order");
    assert_eq!(identity.chain.len(), 3);
    site.write("site.pem", [middle.pem(), leaf.clone()].concat());
    assert_eq!(
        site.problems(),
        [
            "11: certificate \"site.pem\" has its chain out of order: \"CN=Hospital CA\" was issued \
             by \"CN=Region CA\" but is followed by \"CN=gw.hospital.example\"; put the site's own \
             certificate first, then each issuer"
        ]
    );
    site.write("site.pem", [leaf, site.ca.pem(), middle.pem()].concat());
    assert_eq!(
        site.problems(),
        [
            "11: certificate \"site.pem\" has its chain out of order: \"CN=gw.hospital.example\" \
             was issued by \"CN=Hospital CA\" but is followed by \"CN=Region CA\"; put the site's \
             own certificate first, then each issuer"
        ]
    );
}

#[test]
fn chain_over_a_renewed_ca_of_the_same_name_is_refused() {
    let site = Site::new();
    let renewed = Ca::new("Region CA");
    site.write("site.pem", [site.read("site.pem"), renewed.pem()].concat());
    assert_eq!(
        site.problems(),
        [
            "11: certificate \"site.pem\" has a broken chain: \"CN=gw.hospital.example\" is not \
             signed by the key of \"CN=Region CA\" that follows it; put the issuer's certificate of \
             the same time there"
        ]
    );
}

#[test]
fn expired_intermediate_is_named() {
    let site = Site::new();
    let middle = Ca::with("Old CA", |ca| ca.not_after = date_time_ymd(2026, 2, 3));
    let leaf = site.leaf_pem(&middle, |_| {});
    site.write("site.pem", [leaf, middle.pem()].concat());
    assert_eq!(
        site.problems(),
        [
            "11: certificate \"site.pem\": \"CN=Old CA\" expired 2026-02-03, and this machine's clock \
             says 2026-06-01 12:00 UTC; if the clock is right, get a current one from its CA"
        ]
    );
}

/// The case of the expired DST Root CA X3: the chain had the new root under its own name and under that of
/// the old one.
#[test]
fn an_expired_cross_certificate_after_the_chain_is_a_warning() {
    let site = Site::new();
    let old = Ca::with("Old Root", |ca| ca.not_after = date_time_ymd(2026, 2, 3));
    let middle = site.ca.below("Sub CA");
    let mut cross = site.ca.params.clone();
    cross.not_after = date_time_ymd(2026, 2, 3);
    let cross = cross
        .signed_by(&site.ca.key, &old.issuer())
        .expect("a CA")
        .pem();
    let leaf = site.leaf_pem(&middle, |_| {});
    for chain in [
        vec![&leaf, &middle.pem(), &cross],
        vec![&leaf, &middle.pem(), &cross, &old.pem()],
    ] {
        let chain: Vec<_> = chain.into_iter().cloned().collect();
        site.write("site.pem", chain.concat());
        assert_eq!(site.problems(), [""; 0]);
        let mut store = Store::new(now());
        let files = Arc::new(site.files());
        for mode in [Mode::Originate, Mode::Terminate] {
            assert!(store.identity("route \"out\": ", &files, mode).is_some());
        }
        let remarks = store.remarks();
        assert_eq!(remarks.len(), chain.len() - 2, "{remarks:?}");
        assert!(
            remarks[0].contains(
                "\"CN=Region CA\", issued by \"CN=Old Root\", expired 2026-02-03; peers that trust \"CN=Region CA\" \
                 itself do not need it"
            ),
            "{remarks:?}"
        );
    }
}

#[test]
fn chain_beyond_the_bound_is_refused() {
    let site = Site::new();
    let leaf = site.read("site.pem");
    site.write("site.pem", leaf + &site.ca.pem().repeat(8));
    assert_eq!(
        site.problems(),
        [
            "11: certificate \"site.pem\" holds 9 certificates, 8 at most; keep the chain of this \
             site there, and CAs of peers in \"trust\""
        ]
    );
}
