//! Which CA may issue certificates for whom.

use rustls::AlertDescription as Alert;

use super::authority::{Authority, Own};
use super::good_peers::{accepted, accepted_as};
use super::matrix::refused;
use super::{Gateway, Listed, PEER};
use crate::config::PeerName;

const A: &str = "gw.a.example";
const B: &str = "gw.b.example";

/// A gateway that lists hospital A and hospital B, each with its own CA.
fn two_hospitals(a: &Authority, b: &Authority) -> Gateway {
    let listed = vec![
        Listed::named("hospital-a", A, a),
        Listed::named("hospital-b", B, b),
    ];
    Gateway::listing(&Authority::new("Site CA"), listed)
}

#[test]
fn each_ca_may_issue_certificates_for_its_own_peer_only() {
    let (a, b) = (Authority::new("Hospital A"), Authority::new("Hospital B"));
    let gateway = two_hospitals(&a, &b);
    accepted(&gateway, &a.issue(&[A]), "dns:gw.a.example");
    accepted(&gateway, &b.issue(&[B]), "dns:gw.b.example");
}

#[test]
fn a_name_of_another_ca_s_peer_is_refused_though_both_are_trusted() {
    let (a, b) = (Authority::new("Hospital A"), Authority::new("Hospital B"));
    let gateway = two_hospitals(&a, &b);
    let words = [
        "dns:gw.a.example",
        "was issued by \"CN=Hospital B\", which may not issue certificates for \"dns:gw.a.example\"",
        "only the CAs of [[peer]] \"hospital-a\" in \"trust.pem\" may",
    ];
    refused(&gateway, &b.issue(&[A]), Alert::AccessDenied, &words);
}

#[test]
fn an_unlisted_name_belongs_to_the_table_of_the_ca_that_issued_it() {
    let (a, b) = (Authority::new("Hospital A"), Authority::new("Hospital B"));
    let gateway = two_hospitals(&a, &b);
    let words = ["add \"dns:new.b.example\" to `identity` of [[peer]] \"hospital-b\""];
    refused(
        &gateway,
        &b.issue(&["new.b.example"]),
        Alert::AccessDenied,
        &words,
    );
    // One CA of both does not say whose name it is.
    let region = Authority::new("Region CA");
    let gateway = two_hospitals(&region, &region);
    let words = ["add \"dns:new.example\" to the route's peers"];
    refused(
        &gateway,
        &region.issue(&["new.example"]),
        Alert::AccessDenied,
        &words,
    );
}

#[test]
fn a_ca_with_the_subject_of_another_may_issue_certificates_for_its_own_peer_only() {
    let (a, b) = (Authority::new("Issuing CA"), Authority::new("Issuing CA"));
    let gateway = two_hospitals(&a, &b);
    accepted(&gateway, &a.issue(&[A]), "dns:gw.a.example");
    accepted(&gateway, &b.issue(&[B]), "dns:gw.b.example");
    for peer in [b.issue(&[A]), a.issue(&[B])] {
        refused(
            &gateway,
            &peer,
            Alert::AccessDenied,
            &["may not issue certificates for"],
        );
    }
}

#[test]
fn a_foreign_name_beside_its_own_neither_harms_nor_helps_a_peer() {
    let (a, b) = (Authority::new("Hospital A"), Authority::new("Hospital B"));
    let gateway = two_hospitals(&a, &b);
    // Hospital B is accepted as itself, and has not proved to be hospital A.
    accepted_as(&gateway, &b.issue(&[A, B]), &["dns:gw.b.example"]);
    accepted_as(&gateway, &a.issue(&[A, B]), &["dns:gw.a.example"]);
}

#[test]
fn one_ca_that_several_peers_trust_may_issue_certificates_for_each_of_them() {
    let region = Authority::new("Region CA");
    let gateway = two_hospitals(&region, &region);
    accepted(&gateway, &region.issue(&[A]), "dns:gw.a.example");
    accepted(&gateway, &region.issue(&[B]), "dns:gw.b.example");
    // The first in the configuration's order, whatever the certificate's.
    accepted(&gateway, &region.issue(&[B, A]), "dns:gw.a.example");
}

#[test]
fn a_ca_s_two_certificates_may_be_trusted_by_two_peers() {
    let region = Authority::new("Region CA");
    let mut gateway = two_hospitals(&region, &region);
    gateway.listed[1].anchors = vec![region.reissued()];
    accepted(&gateway, &region.issue(&[A]), "dns:gw.a.example");
    accepted(&gateway, &region.issue(&[B]), "dns:gw.b.example");
}

#[test]
fn a_cross_signed_chain_finds_the_anchor_that_may_issue_for_its_peer() {
    let (a, b) = (Authority::new("Hospital A"), Authority::new("Hospital B"));
    let region = Authority::new("Region CA");
    let mut gateway = two_hospitals(&a, &b);
    // B is known by the region's root alone, and A's own CA, too, has a certificate of that root.
    gateway.listed[1].anchors = vec![region.der()];
    let with = |mut own: Own, above| {
        own.chain.push(above);
        own
    };
    let a_leaf = with(a.issue(&[A]), region.cross_sign(&a));
    accepted(&gateway, &a_leaf, "dns:gw.a.example");
    let b_leaf = with(b.issue(&[B]), region.cross_sign(&b));
    accepted(&gateway, &b_leaf, "dns:gw.b.example");
    // The region may issue certificates for B, and so may whom it lets: A's CA as well. It may not issue certificates for A.
    let b_of_a = with(a.issue(&[B]), region.cross_sign(&a));
    accepted(&gateway, &b_of_a, "dns:gw.b.example");
    let a_of_b = with(b.issue(&[A]), region.cross_sign(&b));
    let words = ["issued by \"CN=Region CA\", which may not issue certificates for"];
    refused(&gateway, &a_of_b, Alert::AccessDenied, &words);
}

#[test]
fn identities_that_a_route_lists_itself_are_a_peer_of_their_own() {
    let (site, b) = (Authority::new("Site CA"), Authority::new("Hospital B"));
    let mut gateway = Gateway::under(&site);
    gateway.listed.push(Listed::named("hospital-b", B, &b));
    accepted(&gateway, &site.issue(&[PEER]), "dns:peer.example");
    accepted(&gateway, &b.issue(&[B]), "dns:gw.b.example");
    let words = [
        "issued by \"CN=Hospital B\", which may not issue certificates for \"dns:peer.example\"",
        "only the CAs in \"trust.pem\" may",
    ];
    refused(&gateway, &b.issue(&[PEER]), Alert::AccessDenied, &words);
    let words = ["issued by \"CN=Site CA\", which may not issue"];
    refused(&gateway, &site.issue(&[B]), Alert::AccessDenied, &words);
}

#[test]
fn an_expired_ca_of_the_right_peer_is_named_before_another_one() {
    let (a, b) = (
        Authority::expired("Hospital A"),
        Authority::new("Hospital B"),
    );
    let gateway = two_hospitals(&a, &b);
    let words = ["trust anchor that expired on 2021-01-01"];
    refused(&gateway, &a.issue(&[A]), Alert::UnknownCA, &words);
}

#[test]
fn a_pinned_key_needs_a_ca_of_its_own_peer_too() {
    let (a, b) = (Authority::new("Hospital A"), Authority::new("Hospital B"));
    let peer = b.issue(&[]);
    let key = super::good_peers::key_sha256(&peer);
    let mut gateway = two_hospitals(&a, &b);
    gateway.listed[0].identities = vec![PeerName::Sha256(key)];
    refused(
        &gateway,
        &peer,
        Alert::AccessDenied,
        &["may not issue certificates for \"sha256:"],
    );
}

#[test]
fn a_revoked_peer_is_refused_by_the_lists_of_its_own_ca() {
    let (a, b) = (Authority::new("Hospital A"), Authority::new("Hospital B"));
    let mut gateway = two_hospitals(&a, &b);
    gateway.listed[0].crls = vec![a.crl(&[super::authority::SERIAL])];
    refused(
        &gateway,
        &a.issue(&[A]),
        Alert::CertificateRevoked,
        &["is revoked"],
    );
    // B has no lists, and needs none.
    accepted(&gateway, &b.issue(&[B]), "dns:gw.b.example");
}
