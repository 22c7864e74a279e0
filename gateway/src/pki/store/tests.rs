use std::time::{Duration, SystemTime};

use rcgen::{
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber, SigningKey, date_time_ymd,
};

use super::super::fixture::{Ca, Site, now};
use crate::config::Mode;

#[test]
fn good_files_load_in_both_modes() {
    let mut site = Site::new();
    site.add_crl("ca.crl", site.ca.crl(|_| {}));
    for mode in [Mode::Originate, Mode::Terminate] {
        let identity = site.load(mode).expect("good files");
        assert_eq!(identity.chain.len(), 1);
        assert_eq!(identity.trust.anchors, [site.ca.certificate.der().clone()]);
        assert_eq!(identity.trust.crls.len(), 1);
    }
}

#[test]
fn missing_files_are_all_named() {
    let mut site = Site::new();
    site.add_crl("ca.crl", "");
    for name in ["site.pem", "site.key", "trust.pem", "ca.crl"] {
        std::fs::remove_file(site.path(name)).expect("removed");
    }
    assert_eq!(
        site.problems(),
        [
            "11: certificate \"site.pem\" does not exist; correct the path, or make it with \
             `wardgate pki issue`",
            "12: key \"site.key\" does not exist; correct the path, or make it with `wardgate pki \
             issue`",
            "13: trust \"trust.pem\" does not exist; correct the path, or put the CA certificates \
             of your peers there",
            "14: crl \"ca.crl\" does not exist; correct the path, or fetch the list from its CA",
        ]
    );
}

#[test]
fn a_folder_in_the_place_of_a_file_is_refused() {
    let site = Site::new();
    std::fs::remove_file(site.path("trust.pem")).expect("removed");
    std::fs::create_dir(site.path("trust.pem")).expect("mkdir");
    assert_eq!(
        site.problems(),
        ["13: trust \"trust.pem\" is not a regular file; name a file"]
    );
}

#[test]
fn key_open_to_every_user_is_refused() {
    let site = Site::new();
    for mode in [0o604, 0o602, 0o601, 0o644] {
        site.chmod("site.key", mode);
        let path = site.path("site.key");
        let path = path
            .strip_prefix(site.path(""))
            .expect("inside")
            .display()
            .to_string();
        assert_eq!(
            site.problems(),
            [format!(
                "12: key \"site.key\" has mode {mode:04o}: it is open to every user; `chmod 0600 \
                 {path}`, and replace the key if others had it"
            )]
        );
    }
}

#[test]
fn key_that_its_group_may_write_is_refused_and_read_is_not() {
    let site = Site::new();
    site.chmod("site.key", 0o660);
    assert_eq!(
        site.problems(),
        [
            "12: key \"site.key\" has mode 0660: its group may write to it; `chmod 0600 site.key`, \
             and replace the key if others had it"
        ]
    );
    site.chmod("site.key", 0o640);
    site.load(Mode::Terminate).expect("a group may read");
}

#[test]
fn encrypted_keys_of_both_forms_are_refused_with_the_way_to_decrypt() {
    let message = "12: key \"site.key\" is encrypted, which is not supported; decrypt it with \
                   `(umask 077; openssl pkey -in site.key -out site.key.plain)` and name that file";
    let site = Site::new();
    site.openssl("pkcs8 -topk8 -v2 aes256 -passout pass:secret -in site.key -out new.key");
    site.write("site.key", site.read("new.key"));
    assert_eq!(site.problems(), [message]);
    let site = Site::new();
    site.openssl("ec -aes256 -passout pass:secret -in site.key -out new.key");
    site.write("site.key", site.read("new.key"));
    assert!(site.read("site.key").contains("Proc-Type"));
    assert_eq!(site.problems(), [message]);
}

#[test]
fn keys_in_sec1_and_pkcs1_load() {
    let site = Site::new();
    site.openssl("ec -in site.key -out sec1.key");
    site.write("site.key", site.read("sec1.key"));
    assert!(site.read("site.key").contains("BEGIN EC PRIVATE KEY"));
    site.load(Mode::Terminate).expect("SEC1");

    let site = Site::new();
    self_signed(&site, "rsa:2048", "-sha256", LEAF);
    site.openssl("rsa -traditional -in site.key -out pkcs1.key");
    site.write("site.key", site.read("pkcs1.key"));
    assert!(site.read("site.key").contains("BEGIN RSA PRIVATE KEY"));
    assert_eq!(
        site.problems_of(Mode::Terminate, SystemTime::now()),
        [""; 0]
    );
}

#[test]
fn swapped_certificate_and_key_are_recognised() {
    let site = Site::new();
    let (certificate, key) = (site.read("site.pem"), site.read("site.key"));
    site.write("site.pem", key);
    site.write("site.key", certificate);
    assert_eq!(
        site.problems(),
        [
            "11: certificate \"site.pem\" holds a private key and no certificate; are \
             \"certificate\" and \"key\" swapped?",
            "12: key \"site.key\" holds a certificate and no private key; are \"certificate\" and \
             \"key\" swapped?",
        ]
    );
}

#[test]
fn files_without_the_expected_section_are_refused() {
    let mut site = Site::new();
    site.add_crl("ca.crl", "hello");
    for name in ["site.pem", "site.key", "trust.pem"] {
        site.write(name, "hello");
    }
    assert_eq!(
        site.problems(),
        [
            "11: certificate \"site.pem\" holds no certificate; PEM (\"-----BEGIN \
             CERTIFICATE-----\") is expected",
            "12: key \"site.key\" holds no private key; PEM with PKCS#8, SEC1 or PKCS#1 is \
             expected",
            "13: trust \"trust.pem\" holds no certificate; put the CA certificates of your peers \
             there, as PEM",
            "14: crl \"ca.crl\" holds no revocation list; PEM (\"-----BEGIN X509 CRL-----\") or \
             DER is expected",
        ]
    );
}

#[test]
fn binary_files_are_refused_with_the_way_to_convert_them() {
    let site = Site::new();
    site.openssl("x509 -in site.pem -outform DER -out site.der");
    site.openssl("pkey -in site.key -outform DER -out key.der");
    let read = |name: &str| std::fs::read(site.path(name)).expect("read");
    site.write("site.pem", read("site.der"));
    site.write("site.key", read("key.der"));
    assert_eq!(
        site.problems(),
        [
            "11: certificate \"site.pem\" is binary, and PEM is expected; convert it with `openssl \
             x509 -inform DER -in site.pem`, or `openssl pkcs12` where it is PKCS#12",
            "12: key \"site.key\" is binary, and PEM is expected; convert it with `openssl pkey \
             -inform DER -in site.key`, or `openssl pkcs12` where it is PKCS#12",
        ]
    );
}

#[test]
fn damaged_sections_are_refused() {
    let site = Site::new();
    site.write(
        "site.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    site.write("trust.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    site.write("site.key", key);
    let problems = site.problems();
    assert_eq!(problems.len(), 3, "{problems:?}");
    let [certificate, key, trust] = problems.as_slice() else {
        unreachable!("three problems")
    };
    assert!(
        certificate.starts_with(
            "11: certificate \"site.pem\" holds something else than a certificate in section 1 ("
        ) && certificate.ends_with("); copy it again"),
        "{certificate}"
    );
    assert_eq!(
        key,
        "12: key \"site.key\" is of a kind that cannot be used here, or damaged; use RSA of 2048 to \
         4096 bit, EC P-256, EC P-384 or Ed25519"
    );
    assert_eq!(
        trust,
        "13: trust \"trust.pem\" is not whole PEM: an \"-----END\" line is missing; copy it again"
    );
}

#[test]
fn key_of_another_certificate_is_refused() {
    let site = Site::new();
    let other = KeyPair::generate().expect("a key");
    site.write("site.key", other.serialize_pem());
    assert_eq!(
        site.problems(),
        [
            "12: key \"site.key\" does not belong to certificate \"site.pem\": the public keys \
             differ; name the key that the certificate was issued for"
        ]
    );
}

#[test]
fn two_keys_in_one_file_are_refused() {
    let site = Site::new();
    let key = site.read("site.key");
    site.write("site.key", format!("{key}{key}"));
    assert_eq!(
        site.problems(),
        [
            "12: key \"site.key\" holds 2 private keys; keep the one that the certificate was \
             issued for"
        ]
    );
}

#[test]
fn key_beside_the_certificate_is_refused_unless_it_is_the_key_file() {
    let site = Site::new();
    let both = [site.read("site.pem"), site.read("site.key")].concat();
    site.write("site.pem", &both);
    assert_eq!(
        site.problems(),
        [
            "11: certificate \"site.pem\" also holds a private key; keep the key in the key file \
             alone"
        ]
    );
    let mut files = site.files();
    files.key.value.clone_from(&files.certificate.value);
    super::load(&files, Mode::Terminate, now()).expect("one file for both");
}

#[test]
fn expired_certificate_is_refused_with_its_date() {
    let site = Site::new();
    site.leaf(|leaf| leaf.not_after = date_time_ymd(2026, 3, 1));
    assert_eq!(
        site.problems(),
        [
            "11: certificate \"site.pem\" expired 2026-03-01; issue a new one with `wardgate pki \
             issue`"
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
             says 2026-06-01; correct the clock, or wait"
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

/// Extensions of a good leaf, as openssl's `-addext` takes them.
const LEAF: &str =
    "-addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:gw.example";

/// Writes a self-signed certificate of openssl's with its key. It is good for the real clock only.
fn self_signed(site: &Site, key: &str, hash: &str, extensions: &str) {
    site.write("empty.cnf", "[req]\ndistinguished_name = dn\n[dn]\n");
    site.openssl(&format!(
        "req -x509 -config empty.cnf -newkey {key} -nodes {hash} -subj /CN=gw.example -days 30 \
         -keyout site.key -out site.pem {extensions}"
    ));
    site.chmod("site.key", 0o600);
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
    let identity = site.load(Mode::Terminate).expect("in order");
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
            "11: certificate \"site.pem\": \"CN=Old CA\" expired 2026-02-03; get a current one from \
             its CA"
        ]
    );
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
    let identity = site.load(Mode::Terminate).expect("one is current");
    assert_eq!(identity.trust.anchors, [site.ca.certificate.der().clone()]);
    site.write("trust.pem", older.pem() + &old.pem());
    assert_eq!(
        site.problems(),
        [
            "13: trust \"trust.pem\" holds expired CAs only, the last (\"CN=Old CA\") until \
             2026-02-03; get the current CA certificates of your peers"
        ]
    );
}

#[test]
fn anchors_of_the_future_alone_are_refused_with_a_hint_at_the_clock() {
    let site = Site::new();
    let next = Ca::with("Next CA", |ca| ca.not_before = date_time_ymd(2026, 9, 1));
    site.write("trust.pem", next.pem() + &site.ca.pem());
    let identity = site.load(Mode::Terminate).expect("one is current");
    assert_eq!(identity.trust.anchors.len(), 2);
    site.write("trust.pem", next.pem());
    assert_eq!(
        site.problems(),
        [
            "13: trust \"trust.pem\" holds no CA that is valid today: \"CN=Next CA\" is only from \
             2026-09-01, and this machine's clock says 2026-06-01; correct the clock"
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

#[test]
fn expired_crl_is_refused_with_its_date() {
    let mut site = Site::new();
    let crl = site
        .ca
        .crl(|crl| crl.next_update = date_time_ymd(2026, 5, 31));
    site.add_crl("ca.crl", crl);
    assert_eq!(
        site.problems(),
        [
            "14: crl \"ca.crl\" of \"CN=Region CA\" expired 2026-05-31, and without it every peer \
             of that CA is refused; fetch the current one, or make it with `wardgate pki renew \
             --crl`"
        ]
    );
}

#[test]
fn crl_of_an_unknown_ca_is_refused() {
    let mut site = Site::new();
    site.add_crl("other.crl", Ca::new("Other CA").crl(|_| {}));
    assert_eq!(
        site.problems(),
        [
            "14: crl \"other.crl\" of \"CN=Other CA\" belongs to no CA in \"trust\"; put that CA's \
             certificate there, or take the list out"
        ]
    );
}

#[test]
fn crl_of_an_own_intermediate_is_accepted() {
    let mut site = Site::new();
    let middle = site.ca.below("Hospital CA");
    let leaf = site.leaf_pem(&middle, |_| {});
    site.write("site.pem", leaf + &middle.pem());
    site.add_crl("middle.crl", middle.crl(|_| {}));
    site.load(Mode::Terminate)
        .expect("its issuer is in the chain");
}

#[test]
fn crl_signed_by_another_key_of_the_same_name_is_refused() {
    let mut site = Site::new();
    site.add_crl("ca.crl", Ca::new("Region CA").crl(|_| {}));
    assert_eq!(
        site.problems(),
        [
            "14: crl \"ca.crl\" of \"CN=Region CA\" is not signed by that CA's key as \"trust\" has \
             it; fetch list and CA certificate again"
        ]
    );
}

#[test]
fn crl_in_der_loads_and_damage_is_refused() {
    let mut site = Site::new();
    site.write("pem.crl", site.ca.crl(|_| {}));
    site.openssl("crl -in pem.crl -outform DER -out der.crl");
    let der = std::fs::read(site.path("der.crl")).expect("read");
    site.add_crl("ca.crl", &der);
    site.load(Mode::Terminate).expect("DER");
    site.write("ca.crl", &der[..der.len() / 2]);
    let problems = site.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].starts_with("14: crl \"ca.crl\" is not a revocation list that can be read ("),
        "{problems:?}"
    );
}

#[test]
fn own_certificate_on_the_list_is_refused() {
    let mut site = Site::new();
    let entry = RevokedCertParams {
        serial_number: SerialNumber::from(0x1234),
        revocation_time: date_time_ymd(2026, 5, 19),
        reason_code: None,
        invalidity_date: None,
    };
    let crl = site.ca.crl(|crl| crl.revoked_certs = vec![entry]);
    site.add_crl("ca.crl", crl);
    assert_eq!(
        site.problems(),
        [
            "11: certificate \"site.pem\" was revoked 2026-05-19, says crl \"ca.crl\"; issue a new \
             one with `wardgate pki issue`"
        ]
    );
}

#[test]
fn crl_without_next_update_is_refused() {
    let mut site = Site::new();
    let crl = crl_der(&site.ca, None, &[]);
    site.add_crl("ca.crl", crl);
    assert_eq!(
        site.problems(),
        [
            "14: crl \"ca.crl\" of \"CN=Region CA\" has no nextUpdate, so nobody can tell when it \
             is out of date; ask the CA for one that has (RFC 5280 section 5.1.2.5)"
        ]
    );
}

#[test]
fn delta_and_indirect_crls_are_refused() {
    let mut site = Site::new();
    let due = Some("260620000000Z");
    // deltaCRLIndicator: base list 1.
    let delta = extension(&[0x55, 0x1d, 27], &tlv(0x02, &[&[1]]));
    site.add_crl("delta.crl", crl_der(&site.ca, due, &[delta]));
    // issuingDistributionPoint with indirectCRL [4] TRUE.
    let indirect = extension(&[0x55, 0x1d, 28], &tlv(0x30, &[&tlv(0x84, &[&[0xff]])]));
    site.add_crl("indirect.crl", crl_der(&site.ca, due, &[indirect]));
    assert_eq!(
        site.problems(),
        [
            "14: crl \"delta.crl\" of \"CN=Region CA\" is a delta list, which names changes only; \
             fetch the full list from the CA",
            "14: crl \"indirect.crl\" of \"CN=Region CA\" is an indirect list, which speaks for \
             several CAs and is not supported; ask each CA for a list of its own",
        ]
    );
}

#[test]
fn crl_that_the_verifier_cannot_use_is_refused() {
    let mut site = Site::new();
    // A critical extension that nobody knows.
    let unknown = extension(&[0x55, 0x1d, 99], &tlv(0x05, &[]));
    site.add_crl(
        "ca.crl",
        crl_der(&site.ca, Some("260620000000Z"), &[unknown]),
    );
    assert_eq!(
        site.problems(),
        [
            "14: crl \"ca.crl\" of \"CN=Region CA\" cannot be used for TLS \
             (UnsupportedCriticalExtension); ask the CA for a full list, version 2"
        ]
    );
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
        ["11:", "11:", "11:", "12:", "12:", "13:", "14:", "14:"],
        "{problems:#?}"
    );
}

#[test]
fn a_second_decides_over_expiry() {
    let site = Site::new();
    // 2027-01-01T00:00:00Z.
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_798_761_600);
    let before = end - Duration::from_secs(1);
    assert_eq!(site.problems_of(Mode::Terminate, before), [""; 0]);
    assert_eq!(site.problems_of(Mode::Terminate, end).len(), 1);
}

/// A revocation list that rcgen does not make: without nextUpdate, or with extensions of its own.
fn crl_der(ca: &Ca, next_update: Option<&str>, extensions: &[Vec<u8>]) -> Vec<u8> {
    // ecdsa-with-SHA256.
    let algorithm = tlv(0x30, &[&[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]]);
    let name = super::Facts::of(ca.certificate.der())
        .expect("a CA")
        .subject_der;
    let mut all = extension(&[0x55, 0x1d, 20], &tlv(0x02, &[&[2]]));
    // The CRL number is not critical; drop the flag that `extension` set.
    all = remove_critical(&all);
    let list: Vec<&[u8]> = std::iter::once(all.as_slice())
        .chain(extensions.iter().map(Vec::as_slice))
        .collect();
    let tbs = tlv(
        0x30,
        &[
            &tlv(0x02, &[&[1]]),
            &algorithm,
            &name,
            &tlv(0x17, &[b"260520000000Z"]),
            &next_update.map_or_else(Vec::new, |at| tlv(0x17, &[at.as_bytes()])),
            &tlv(0xa0, &[&tlv(0x30, &list)]),
        ],
    );
    let signature = ca.key.sign(&tbs).expect("signed");
    tlv(0x30, &[&tbs, &algorithm, &tlv(0x03, &[&[0], &signature])])
}

/// A critical extension.
fn extension(oid: &[u8], value: &[u8]) -> Vec<u8> {
    let critical = tlv(0x01, &[&[0xff]]);
    tlv(0x30, &[&tlv(0x06, &[oid]), &critical, &tlv(0x04, &[value])])
}

fn remove_critical(extension: &[u8]) -> Vec<u8> {
    let inner = &extension[2..];
    let at = inner
        .windows(3)
        .position(|window| window == [1, 1, 0xff])
        .expect("the flag");
    tlv(0x30, &[&inner[..at], &inner[at + 3..]])
}

/// One DER element of less than 64 KiB.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u16::try_from(content.len()).expect("short").to_be_bytes();
    let mut element = vec![tag];
    match length {
        [0, short @ 0..128] => element.push(short),
        [0, byte] => element.extend([0x81, byte]),
        [high, low] => element.extend([0x82, high, low]),
    }
    element.extend(content);
    element
}
