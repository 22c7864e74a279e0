//! Lists in memory, and which of several decides.

use rcgen::{
    CertificateRevocationListParams, CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope,
    RevokedCertParams, SerialNumber, date_time_ymd,
};

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

/// The newest of lists with these numbers and days of May.
fn newest(ca: &Ca, lists: &[(u64, u8)]) -> (u64, u8) {
    let spki = Facts::of(ca.certificate.der()).expect("a CA").spki;
    let of = |&(number, day): &(u64, u8)| {
        let crl = list(ca, |crl| {
            crl.crl_number = SerialNumber::from(number);
            crl.this_update = date_time_ymd(2026, 5, day);
        });
        assert_eq!(crl.signed_by(&spki), SignedBy::ThisKey);
        Arc::new(crl)
    };
    let mut all: Vec<_> = lists.iter().map(of).collect();
    newest_first(&mut all);
    let first = &all[0].head;
    let is_it = |&&(number, day): &&(u64, u8)| {
        let at = date_time_ymd(2026, 5, day).unix_timestamp();
        first.this_update == at && first.number == Some(trimmed(&number.to_be_bytes()).into())
    };
    *lists.iter().find(is_it).expect("it is one of them")
}

#[test]
fn the_list_with_the_highest_number_is_the_newest_whatever_its_date() {
    let ca = Ca::new("CA");
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        // A clock that was ahead has dated the first list.
        let lists = [(255, 20), (256, 3), (9, 1)];
        assert_eq!(newest(&ca, &order.map(|at| lists[at])), (256, 3));
        // Equal numbers.
        let lists = [(7, 2), (7, 3), (7, 1)];
        assert_eq!(newest(&ca, &order.map(|at| lists[at])), (7, 3));
    }
}

#[test]
fn numbers_of_lists_about_other_certificates_are_not_compared() {
    let ca = Ca::new("CA");
    let spki = Facts::of(ca.certificate.der()).expect("a CA").spki;
    let of = |number: u64, day, scope: Option<CrlScope>| {
        let crl = list(&ca, |crl| {
            crl.crl_number = SerialNumber::from(number);
            crl.this_update = date_time_ymd(2026, 5, day);
            crl.issuing_distribution_point = scope.map(|scope| CrlIssuingDistributionPoint {
                distribution_point: CrlDistributionPoint {
                    uris: vec!["http://ca.example/1.crl".to_owned()],
                },
                scope: Some(scope),
            });
        });
        crl.signed_by(&spki);
        Arc::new(crl)
    };
    let mut all = vec![
        of(100, 1, None),
        of(5, 3, Some(CrlScope::UserCertsOnly)),
        of(6, 2, Some(CrlScope::UserCertsOnly)),
        of(99, 4, None),
    ];
    newest_first(&mut all);
    let numbers: Vec<_> = all.iter().map(|crl| crl.head.number.clone()).collect();
    let number = |number: u8| Some(vec![number]);
    assert_eq!(numbers, [number(6), number(5), number(100), number(99)]);
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
