//! Which revocation list decides about a certificate.

use rcgen::{CrlDistributionPoint, CrlScope, KeyUsagePurpose};
use rustls::AlertDescription as Alert;
use time::{Duration, OffsetDateTime};

use super::authority::{Authority, Own, SERIAL};
use super::good_peers::accepted;
use super::matrix::refused;
use super::{Gateway, PEER};

const POINT: &str = "http://ca.example/1.crl";

/// A CA with a second key under its name, and a gateway that trusts both with a list of each.
fn renewed(old_revokes: &[u64], new_revokes: &[u64]) -> (Authority, Authority, Gateway) {
    let (old, new) = (Authority::new("Site CA"), Authority::new("Site CA"));
    let mut gateway = Gateway::under(&old);
    gateway.listed[0].anchors.push(new.der());
    let now = OffsetDateTime::now_utc();
    let older = old.crl_between(
        old_revokes,
        now - Duration::days(2),
        now + Duration::days(2),
    );
    let gateway = gateway.with_crls(vec![older, new.crl(new_revokes)]);
    (old, new, gateway)
}

#[test]
fn each_key_of_a_renewed_ca_has_its_own_list() {
    let (old, new, gateway) = renewed(&[], &[]);
    accepted(&gateway, &old.issue(&[PEER]), "dns:peer.example");
    accepted(&gateway, &new.issue(&[PEER]), "dns:peer.example");
    // The same serial number of the other key is another certificate.
    let (old, new, gateway) = renewed(&[SERIAL], &[]);
    let revoked = Alert::CertificateRevoked;
    refused(&gateway, &old.issue(&[PEER]), revoked, &["is revoked"]);
    accepted(&gateway, &new.issue(&[PEER]), "dns:peer.example");
    let (old, new, gateway) = renewed(&[], &[SERIAL]);
    accepted(&gateway, &old.issue(&[PEER]), "dns:peer.example");
    refused(&gateway, &new.issue(&[PEER]), revoked, &["is revoked"]);
}

#[test]
fn a_key_without_a_list_is_refused_though_its_name_has_one() {
    let (old, new) = (Authority::new("Site CA"), Authority::new("Site CA"));
    let mut gateway = Gateway::under(&old).with_crls(vec![new.crl(&[])]);
    gateway.listed[0].anchors.push(new.der());
    accepted(&gateway, &new.issue(&[PEER]), "dns:peer.example");
    let words = [
        "no revocation list of its peer: another key of its CA signed those that are there",
        "put the list of \"CN=Site CA\"",
    ];
    refused(&gateway, &old.issue(&[PEER]), Alert::UnknownCA, &words);
}

/// It was loaded when the clock of this machine was ahead.
#[test]
fn a_list_that_is_dated_in_the_future_lets_no_peer_in() {
    let ca = Authority::new("Site CA");
    let now = OffsetDateTime::now_utc();
    let ahead = |hours| {
        let from = now + Duration::hours(hours);
        let list = ca.crl_between(&[], from, now + Duration::days(900));
        Gateway::under(&ca).with_crls(vec![list])
    };
    accepted(&ahead(23), &ca.issue(&[PEER]), "dns:peer.example");
    let words = [
        "cannot be used (it is dated",
        "and this machine's clock says",
    ];
    refused(&ahead(25), &ca.issue(&[PEER]), Alert::UnknownCA, &words);
}

#[test]
fn a_list_about_user_certificates_covers_the_leaf_and_not_its_issuer() {
    let root = Authority::new("Site CA");
    let users = root.crl_at(&[], POINT, Some(CrlScope::UserCertsOnly));
    let gateway = Gateway::under(&root).with_crls(vec![users.clone()]);
    accepted(&gateway, &at(&root, POINT), "dns:peer.example");
    let middle = root.intermediate("Middle CA", |_| {});
    let gateway = Gateway::under(&root)
        .with_issuers(vec![middle.der()])
        .with_crls(vec![users, middle.crl(&[])]);
    let words = [
        "issuer \"CN=Middle CA\"",
        "its CA's is not about CA certificates",
    ];
    refused(&gateway, &middle.issue(&[PEER]), Alert::UnknownCA, &words);
}

#[test]
fn a_list_about_ca_certificates_covers_no_leaf() {
    let root = Authority::new("Site CA");
    let cas = root.crl_at(&[], POINT, Some(CrlScope::CaCertsOnly));
    let gateway = Gateway::under(&root).with_crls(vec![cas]);
    let words = ["its CA's is about CA certificates only"];
    refused(&gateway, &root.issue(&[PEER]), Alert::UnknownCA, &words);
}

fn at(authority: &Authority, uri: &str) -> Own {
    authority.issue_with(&[PEER], |params| {
        params.crl_distribution_points = vec![CrlDistributionPoint {
            uris: vec![uri.to_owned()],
        }];
    })
}

#[test]
fn a_part_of_a_list_covers_what_names_its_distribution_point() {
    let authority = Authority::new("Site CA");
    let (one, two) = ("http://ca.example/1.crl", "http://ca.example/2.crl");
    let parts = vec![
        authority.crl_at(&[], one, None),
        authority.crl_at(&[SERIAL], two, None),
    ];
    let gateway = Gateway::under(&authority).with_crls(parts);
    accepted(&gateway, &at(&authority, one), "dns:peer.example");
    let revoked = Alert::CertificateRevoked;
    refused(&gateway, &at(&authority, two), revoked, &["is revoked"]);
    let words = [
        "distribution point \\\"http://ca.example/",
        "the certificate names \\\"http://ca.example/3.crl",
    ];
    let third = at(&authority, "http://ca.example/3.crl");
    refused(&gateway, &third, Alert::UnknownCA, &words);
}

#[test]
fn no_part_of_a_list_covers_a_certificate_that_names_no_distribution_point() {
    let authority = Authority::new("Site CA");
    let (one, two) = ("http://ca.example/1.crl", "http://ca.example/2.crl");
    // The certificate is revoked in one part, and the other one, which is as good, does not know it.
    for parts in [[&[SERIAL][..], &[]], [&[], &[SERIAL][..]]] {
        let parts = vec![
            authority.crl_at(parts[0], one, None),
            authority.crl_at(parts[1], two, None),
        ];
        let gateway = Gateway::under(&authority).with_crls(parts);
        let words = ["distribution point", "the certificate names none"];
        refused(
            &gateway,
            &authority.issue(&[PEER]),
            Alert::UnknownCA,
            &words,
        );
    }
}

#[test]
fn a_full_list_covers_every_distribution_point() {
    let authority = Authority::new("Site CA");
    let gateway = Gateway::under(&authority).with_crls(vec![authority.crl(&[])]);
    accepted(&gateway, &at(&authority, POINT), "dns:peer.example");
}

#[test]
fn an_issuer_that_may_not_sign_lists_lets_no_peer_in() {
    let root = Authority::new("Site CA");
    let middle = root.intermediate("Middle CA", |_| {});
    let gateway = Gateway::under(&root)
        .with_issuers(vec![middle.der()])
        .with_crls(vec![root.crl(&[]), middle.crl(&[])]);
    let mut peer = middle.issue(&[PEER]);
    accepted(&gateway, &peer, "dns:peer.example");
    // The same CA by a certificate that does not allow it.
    peer.chain[1] = root.cross_sign_with(&middle, |params| {
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    });
    let words = ["key usage of its issuer lacks cRLSign"];
    refused(&gateway, &peer, Alert::UnknownCA, &words);
}

#[test]
fn a_revoked_certificate_without_its_key_is_refused_for_the_key() {
    let authority = Authority::new("Site CA");
    let gateway = Gateway::under(&authority).with_crls(vec![authority.crl(&[SERIAL])]);
    let stolen = authority.issue(&[PEER]).stolen();
    // The lists are not asked before.
    refused(&gateway, &stolen, Alert::DecryptError, &["did not prove"]);
}
