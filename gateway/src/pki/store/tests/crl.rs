//! Revocation lists that would refuse every peer, or that are incomplete.

use rcgen::{KeyPair, RevokedCertParams, SerialNumber, SigningKey, date_time_ymd};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Ca, Site};
use crate::config::Mode;

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
            "14: crl \"ca.crl\" of \"CN=Region CA\" expired 2026-05-31, and this machine's clock says \
             2026-06-01 12:00 UTC; without a current list every peer of that CA is refused: if the clock is right, \
             fetch the current one, or make it with `wardgate pki renew --crl`"
        ]
    );
}

#[test]
fn crl_of_a_clock_that_was_ahead_is_refused_and_a_day_of_difference_is_not() {
    let mut site = Site::new();
    let of_day = |day| {
        site.ca.crl(|crl| {
            crl.this_update = date_time_ymd(2027, 7, day);
            crl.next_update = date_time_ymd(2027, 8, 5);
        })
    };
    let crl = of_day(6);
    site.add_crl("ca.crl", crl);
    assert_eq!(
        site.problems(),
        [
            "14: crl \"ca.crl\" of \"CN=Region CA\" is dated 2027-07-06 00:00 UTC, and this machine's clock says \
             2026-06-01 12:00 UTC; if this clock is behind, correct it; if it is right, the clock of the CA's machine \
             was ahead: let it be corrected, and ask for a list that is made after that (`wardgate pki renew --crl`)"
        ]
    );
    for (seconds, is_good) in [(86_400, true), (86_401, false)] {
        let crl = site.ca.crl(|crl| {
            let now = super::super::unix(super::now());
            crl.this_update =
                time::OffsetDateTime::from_unix_timestamp(now + seconds).expect("a time");
        });
        site.write("ca.crl", crl);
        assert_eq!(site.problems().is_empty(), is_good, "{seconds}");
    }
}

#[test]
fn crl_of_an_unknown_ca_is_refused() {
    let mut site = Site::new();
    site.add_crl("other.crl", Ca::new("Other CA").crl(|_| {}));
    assert_eq!(
        site.problems(),
        [
            "14: crl \"other.crl\" of \"CN=Other CA\" belongs to no CA in \"trust\"; name the list of \
             that CA, and put this list's CA into \"trust\" only if it is the peer's own"
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

/// A peer chooses the name and the kind of the key of its CA.
#[test]
fn a_list_of_a_namesake_of_the_own_ca_says_nothing_of_the_own_certificate() {
    let mut site = Site::new();
    site.openssl("genpkey -algorithm RSA -out rsa.key");
    let mut namesake = Ca::new("Region CA");
    namesake.key = KeyPair::from_pem(&site.read("rsa.key")).expect("a key");
    let certificate = namesake.params.self_signed(&namesake.key);
    namesake.certificate = certificate.expect("a CA");
    let entry = RevokedCertParams {
        serial_number: SerialNumber::from(0x1234),
        revocation_time: date_time_ymd(2026, 5, 19),
        reason_code: None,
        invalidity_date: None,
    };
    let crl = namesake.crl(|crl| crl.revoked_certs = vec![entry]);
    site.write("trust.pem", [site.ca.pem(), namesake.pem()].concat());
    site.add_crl("ca.crl", crl);
    assert_eq!(site.problems(), [""; 0]);
}

#[test]
fn crl_without_next_update_is_refused() {
    let mut site = Site::new();
    let crl = crl_der(&site.ca, None, &[]);
    site.add_crl("ca.crl", crl);
    assert_eq!(
        site.problems(),
        [
            "14: crl \"ca.crl\" of \"CN=Region CA\" has no nextUpdate, so it is unknown when it \
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
            "14: crl \"delta.crl\" of \"CN=Region CA\" is a delta list, which lists changes only; \
             fetch the full list from the CA",
            "14: crl \"indirect.crl\" of \"CN=Region CA\" is an indirect list, which covers \
             several CAs and is not supported; ask each CA for a list of its own",
        ]
    );
}

#[test]
fn crl_that_the_verifier_cannot_use_is_refused() {
    let mut site = Site::new();
    // A critical extension that no program knows.
    let unknown = extension(&[0x55, 0x1d, 99], &tlv(0x05, &[]));
    site.add_crl(
        "ca.crl",
        crl_der(&site.ca, Some("260620000000Z"), &[unknown]),
    );
    assert_eq!(
        site.problems(),
        [
            "14: crl \"ca.crl\" of \"CN=Region CA\" cannot be used for TLS (it has a \
             critical extension that wardgate does not know); ask the CA for a full list, version 2"
        ]
    );
}

#[test]
fn crl_signed_by_an_algorithm_that_is_not_accepted_is_refused() {
    let mut site = Site::new();
    let due = Some("260620000000Z");
    let mut list = crl_der(&site.ca, due, &[]);
    // Replaces ecdsa-with-SHA256 by ecdsa-with-SHA224; the identifiers differ in the last byte.
    let name = [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3];
    for at in 0..list.len() {
        if list[at..].starts_with(&name) {
            list[at + name.len()] = 1;
        }
    }
    site.add_crl("ca.crl", list);
    assert_eq!(
        site.problems(),
        [
            "14: crl \"ca.crl\" of \"CN=Region CA\" is signed by ECDSA with SHA-224, which is not accepted, \
             so every peer would be refused; ask the CA for one signed with SHA-256 or SHA-384"
        ]
    );
}

/// A revocation list that rcgen cannot create: without nextUpdate, or with other extensions.
fn crl_der(ca: &Ca, next_update: Option<&str>, extensions: &[Vec<u8>]) -> Vec<u8> {
    // ecdsa-with-SHA256.
    let algorithm = tlv(0x30, &[&[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]]);
    let (_, authority) = X509Certificate::from_der(ca.certificate.der()).expect("a CA");
    let name = authority.subject().as_raw().to_vec();
    let mut all = extension(&[0x55, 0x1d, 20], &tlv(0x02, &[&[2]]));
    // The CRL number is not critical, so the flag that `extension` set is removed.
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
