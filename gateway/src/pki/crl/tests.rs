//! Lists in memory, and which of several decides.

use rcgen::{CertificateRevocationListParams, RevokedCertParams, SerialNumber, date_time_ymd};

use super::super::facts::Facts;
use super::super::file::parse_crls;
use super::super::fixture::Ca;
use super::*;

fn list(ca: &Ca, change: impl FnOnce(&mut CertificateRevocationListParams)) -> Crl {
    let pem = ca.crl(change);
    let mut all = parse_crls(std::path::Path::new("ca.crl"), pem.as_bytes()).expect("PEM");
    Crl::new(all.pop().expect("a list")).expect("a good list")
}

fn entry(serial: &[u8], day: u8) -> RevokedCertParams {
    RevokedCertParams {
        serial_number: SerialNumber::from_slice(serial),
        revocation_time: date_time_ymd(2026, 5, day),
        reason_code: None,
        invalidity_date: None,
    }
}

#[test]
fn entries_are_found_in_any_order_and_with_any_leading_zeros() {
    let serials: [&[u8]; 7] = [
        &[0x7f],
        &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
        &[1],
        &[1, 2, 3, 4, 5, 6, 7, 8, 9],
        &[0x0a, 0x11],
        &[1, 0],
        &[0x11; 20],
    ];
    let crl = list(&Ca::new("CA"), |crl| {
        let entries = serials.iter().zip(1..);
        crl.revoked_certs = entries.map(|(serial, day)| entry(serial, day)).collect();
    });
    for (serial, day) in serials.iter().zip(1..) {
        let at = Some(date_time_ymd(2026, 5, day).unix_timestamp());
        assert_eq!(crl.revoked_at(serial), at, "{serial:x?}");
        assert_eq!(crl.revoked_at(&[&[0], *serial].concat()), at, "{serial:x?}");
    }
    let others: [&[u8]; 6] = [
        &[],
        &[0],
        &[2],
        &[1, 0, 0],
        &[1, 2, 3, 4, 5, 6, 7, 8],
        &[0x11; 21],
    ];
    for serial in others {
        assert_eq!(crl.revoked_at(serial), None, "{serial:x?}");
    }
}

#[test]
fn a_list_takes_four_bytes_for_each_entry_beyond_its_own_bytes() {
    let crl = list(&Ca::new("CA"), |crl| {
        let serials = (1..=2000_u32).map(|serial| (serial * 7919).to_be_bytes());
        crl.revoked_certs = serials.map(|serial| entry(&serial, 1)).collect();
    });
    assert_eq!(crl.serials.len(), 2000);
    assert_eq!(size_of_val(&crl.serials[..]), 8000);
    assert_eq!(crl.serials.capacity(), 2000);
}

#[test]
fn the_signature_is_verified_until_its_key_is_found() {
    let (ca, other) = (Ca::new("CA"), Ca::new("CA"));
    let spki = |ca: &Ca| Facts::of(ca.certificate.der()).expect("a CA").spki;
    let crl = list(&ca, |_| {});
    assert_eq!(crl.signer(), None);
    assert_eq!(crl.signed_by(&spki(&other)), SignedBy::AnotherKey);
    assert_eq!(crl.signer(), None);
    assert_eq!(crl.signed_by(&spki(&ca)), SignedBy::ThisKey);
    assert_eq!(crl.signer(), Some(&key_hash(&spki(&ca))));
    assert_eq!(crl.signed_by(&spki(&other)), SignedBy::AnotherKey);
    assert_eq!(crl.signed_by(&spki(&ca)), SignedBy::ThisKey);
}

#[test]
fn the_signature_of_a_changed_list_is_invalid() {
    let ca = Ca::new("CA");
    let spki = Facts::of(ca.certificate.der()).expect("a CA").spki;
    let crl = list(&ca, |crl| crl.revoked_certs = vec![entry(&[0x42, 0x43], 1)]);
    let mut der = crl.der.to_vec();
    let at = der.windows(2).position(|bytes| bytes == [0x42, 0x43]);
    der[at.expect("the serial number")] = 0x44;
    let changed = Crl::new(der.into()).expect("it can be read");
    assert_eq!(changed.signed_by(&spki), SignedBy::AnotherKey);
    assert_eq!(changed.signed_by(&[]), SignedBy::AnotherKey);
    assert_eq!(changed.signer(), None);
}

#[test]
fn serial_numbers_are_compared_beyond_their_first_eight_bytes() {
    // Equal in the first eight bytes, or shorter than that.
    let serials: [&[u8]; 4] = [
        &[1, 1, 1, 1, 1, 1, 1, 1, 2],
        &[1, 1, 1, 1, 1, 1, 1, 1],
        &[1, 1, 1, 1, 1, 1, 1, 1, 1],
        &[1, 1, 1, 1, 1, 1, 1, 1, 0],
    ];
    let crl = list(&Ca::new("CA"), |crl| {
        crl.revoked_certs = serials.map(|serial| entry(serial, 1)).to_vec();
    });
    assert!(
        serials
            .iter()
            .all(|serial| crl.revoked_at(serial).is_some())
    );
}
