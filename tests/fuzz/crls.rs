//! Fuzzes the reader of revocation lists with any bytes, and with lists of any entries and scope.
//!
//! The oracle is webpki's own list: the gateway's reader refuses what webpki refuses, and finds what webpki
//! finds.

use std::sync::Once;

use gateway::pki::Crl;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region};
use test_peers::der::{ecdsa_sha256, element, extension, name};
use webpki::{CertRevocationList, OwnedCertRevocationList};

use crate::choices::Choices;

/// The maximum allocation per byte of a list: four bytes per entry and sixteen during sorting, in lists that
/// grow by doubling; the shortest entry has some twenty bytes.
const PER_BYTE: usize = 8;

pub(crate) fn read(input: &[u8]) -> String {
    let der = match input.split_first() {
        Some((choice, rest)) if choice % 2 == 0 => rest.to_vec(),
        Some((_, rest)) => list(&mut Choices::new(rest)),
        None => Vec::new(),
    };
    // x509-parser's table of object identifiers is allocated once.
    static TABLE: Once = Once::new();
    TABLE.call_once(|| drop(Crl::new(list(&mut Choices::new(&[])).into())));
    let copy = der.clone();
    let region = Region::new(&INSTRUMENTED_SYSTEM);
    let ours = Crl::new(copy.into());
    let allocated = region.change().bytes_allocated;
    let bound = 4096 + PER_BYTE * der.len();
    assert!(allocated <= bound, "{allocated} bytes of {bound}");
    let theirs = OwnedCertRevocationList::from_der(&der);
    let Ok(ours) = ours else {
        return format!("refused, and webpki {}", theirs.is_ok());
    };
    let theirs = CertRevocationList::from(theirs.expect("webpki refuses it"));
    let listed = webpki::BorrowedCertRevocationList::from_der(&der).expect("it was read");
    let mut entries = 0;
    for entry in &listed {
        let serial = entry.expect("all entries were read").serial_number;
        assert!(ours.revoked_at(serial).is_some(), "{serial:x?} is lost");
        entries += 1;
    }
    for serial in [&[][..], &[1], &[0x7f, 2], &[0, 1], &der[..der.len().min(9)]] {
        let theirs = matches!(theirs.find_serial(serial), Ok(Some(_)));
        // The gateway's reader skips leading zeros.
        let ours = ours.revoked_at(serial).is_some();
        assert!(ours || !theirs, "{serial:x?}");
    }
    let scopes = [true, false].map(|is_leaf| ours.out_of_scope(&der, is_leaf).is_some());
    format!("read, {} entries, {scopes:?}", entries.min(3))
}

/// A list with some entries, some of them odd, and some scope.
fn list(choices: &mut Choices<'_>) -> Vec<u8> {
    let entries: Vec<_> = (0..choices.below(6)).map(|_| entry(choices)).collect();
    let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
    let mut extensions = vec![extension(&[0x55, 0x1d, 20], &element(0x02, &[&[1]]))];
    if choices.chance(128) {
        extensions.push(extension(&[0x55, 0x1d, 28], &scope(choices)));
    }
    if choices.chance(20) {
        extensions.push(extension(&[0x55, 0x1d, 27], &element(0x02, &[&[1]])));
    }
    let extensions: Vec<&[u8]> = extensions.iter().map(Vec::as_slice).collect();
    let time = |text: &[u8]| element(0x17, &[text]);
    let entries = match entries[..] {
        [] => Vec::new(),
        _ => element(0x30, &entries),
    };
    let tbs = element(
        0x30,
        &[
            &element(0x02, &[&[1]]),
            &ecdsa_sha256(),
            &name("CA"),
            &time(b"260101000000Z"),
            &time(b"270101000000Z"),
            &entries,
            &element(0xa0, &[&element(0x30, &extensions)]),
        ],
    );
    element(
        0x30,
        &[&tbs, &ecdsa_sha256(), &element(0x03, &[&[0, 1, 2]])],
    )
}

fn entry(choices: &mut Choices<'_>) -> Vec<u8> {
    let length = [1, 1, 2, 8, 9, 20, 21, 127, 128][choices.below(9)];
    let serial: Vec<u8> = (0..length).map(|_| choices.octet()).collect();
    element(
        0x30,
        &[
            &element(0x02, &[&serial]),
            &element(0x17, &[b"260101000000Z"]),
        ],
    )
}

fn scope(choices: &mut Choices<'_>) -> Vec<u8> {
    let uri = element(0x86, &[b"http://ca.example/1.crl"]);
    let point = element(0xa0, &[&element(0xa0, &[&uri])]);
    let mut parts = vec![point];
    if choices.chance(160) {
        let tag = 0x80 | u8::try_from(1 + choices.below(5)).expect("small");
        parts.push(element(tag, &[&[choices.octet()]]));
    }
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    element(0x30, &parts)
}
