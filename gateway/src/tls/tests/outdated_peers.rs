//! Peers whose certificates were good once or will be: dates and revocation.

use rcgen::SerialNumber;
use rustls::AlertDescription as Alert;

use super::authority::{Authority, day};
use super::matrix::refused;
use super::{Gateway, PEER};

#[test]
fn an_expired_certificate_is_refused() {
    let authority = Authority::new("Site CA");
    let gateway = Gateway::under(&authority);
    let peer = authority.issue_with(&[PEER], |params| {
        params.not_before = day(2020, 1);
        params.not_after = day(2020, 2);
    });
    let words = ["expired on 2020-02-01", "install a renewed certificate"];
    refused(&gateway, &peer, Alert::CertificateExpired, &words);
}

#[test]
fn a_certificate_of_the_future_is_refused() {
    let authority = Authority::new("Site CA");
    let gateway = Gateway::under(&authority);
    let peer = authority.issue_with(&[PEER], |params| params.not_before = day(2400, 1));
    let words = ["not valid before 2400-01-01", "compare the clocks"];
    refused(&gateway, &peer, Alert::CertificateExpired, &words);
}

#[test]
fn an_expired_intermediate_is_refused_and_named() {
    let root = Authority::new("Site CA");
    let middle = root.intermediate("Middle CA", |params| {
        params.not_before = day(2020, 1);
        params.not_after = day(2020, 2);
    });
    let gateway = Gateway::under(&root);
    let words = [
        "dns:peer.example",
        "issuer \"CN=Middle CA\"",
        "expired on 2020-02-01",
    ];
    refused(
        &gateway,
        &middle.issue(&[PEER]),
        Alert::CertificateExpired,
        &words,
    );
}

#[test]
fn an_expired_trust_anchor_ends_its_chains() {
    let authority = Authority::expired("Site CA");
    let gateway = Gateway::under(&authority);
    let words = [
        "trust anchor that expired on 2021-01-01",
        "renewed certificate",
    ];
    refused(
        &gateway,
        &authority.issue(&[PEER]),
        Alert::UnknownCA,
        &words,
    );
}

#[test]
fn a_revoked_certificate_is_refused() {
    let authority = Authority::new("Site CA");
    let gateway = Gateway::under(&authority).with_crls(vec![authority.crl(&[0x0a11])]);
    let words = ["is revoked", "have a new certificate"];
    refused(
        &gateway,
        &authority.issue(&[PEER]),
        Alert::CertificateRevoked,
        &words,
    );
}

#[test]
fn a_revoked_intermediate_is_refused_and_named() {
    let root = Authority::new("Site CA");
    let middle = root.intermediate("Middle CA", |params| {
        params.serial_number = Some(SerialNumber::from(0x77u64));
    });
    let gateway = Gateway::under(&root).with_crls(vec![root.crl(&[0x77]), middle.crl(&[])]);
    let words = ["issuer \"CN=Middle CA\" (serial 77) of the", "is revoked"];
    refused(
        &gateway,
        &middle.issue(&[PEER]),
        Alert::CertificateRevoked,
        &words,
    );
}

#[test]
fn the_newest_list_of_an_issuer_decides() {
    let authority = Authority::new("Site CA");
    let lists = vec![authority.old_crl(), authority.crl(&[0x0a11])];
    let gateway = Gateway::under(&authority).with_crls(lists);
    refused(
        &gateway,
        &authority.issue(&[PEER]),
        Alert::CertificateRevoked,
        &["is revoked"],
    );
}

#[test]
fn an_expired_revocation_list_lets_nobody_in() {
    let authority = Authority::new("Site CA");
    let gateway = Gateway::under(&authority).with_crls(vec![authority.old_crl()]);
    let words = [
        "revocation list of \"CN=Site CA\" expired on 2021-01-01",
        "put the CA's current list into the peer's crl, then restart wardgate",
    ];
    refused(
        &gateway,
        &authority.issue(&[PEER]),
        Alert::UnknownCA,
        &words,
    );
}

#[test]
fn a_missing_revocation_list_lets_nobody_in() {
    let authority = Authority::new("Site CA");
    let gateway = Gateway::under(&authority).with_crls(vec![Authority::new("Other CA").crl(&[])]);
    let words = ["no revocation list", "put the list of \"CN=Site CA\""];
    refused(
        &gateway,
        &authority.issue(&[PEER]),
        Alert::UnknownCA,
        &words,
    );
}

#[test]
fn a_missing_list_for_an_intermediate_lets_nobody_in() {
    let root = Authority::new("Site CA");
    let middle = root.intermediate("Middle CA", |_| {});
    let gateway = Gateway::under(&root).with_crls(vec![middle.crl(&[])]);
    let words = [
        "issuer \"CN=Middle CA\"",
        "no revocation list",
        "list of \"CN=Site CA\"",
    ];
    refused(&gateway, &middle.issue(&[PEER]), Alert::UnknownCA, &words);
}

#[test]
fn a_list_by_another_key_lets_nobody_in() {
    let authority = Authority::new("Site CA");
    let gateway = Gateway::under(&authority).with_crls(vec![Authority::new("Site CA").crl(&[])]);
    let words = [
        "cannot be used (no CA of that name here signed it",
        "fetch the list again",
    ];
    refused(
        &gateway,
        &authority.issue(&[PEER]),
        Alert::UnknownCA,
        &words,
    );
}
