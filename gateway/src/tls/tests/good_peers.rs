//! Peers that must be accepted, by each kind of name, and what is then known of them.

use ring::digest::{SHA256, digest};
use rustls::version::{TLS12, TLS13};
use test_peers::AcceptAll;
use webpki::EndEntityCert;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::authority::{Authority, Own, self_signed, uri};
use super::ends::{Foreign, Ours, everything, foreign_client, foreign_server, talk};
use super::{Gateway, PEER};
use crate::config::PeerName;
use crate::tls::PeerInfo;

/// Meets `peer` on both sides and in both versions; it must be accepted as `identity` each time.
pub(super) fn accepted(gateway: &Gateway, peer: &Own, identity: &str) {
    accepted_as(gateway, peer, &[identity]);
}

/// The same with further identities behind the first.
pub(super) fn accepted_as(gateway: &Gateway, peer: &Own, identities: &[&str]) {
    for version in [&TLS13, &TLS12] {
        let config = foreign_server(peer, AcceptAll::default(), everything(), &[version]);
        let (mut ours, mut foreign) = (Ours::connecting(gateway), Foreign::server(config));
        talk(&mut ours, &mut foreign);
        assert_accepted(&ours, &foreign, peer, identities);

        let config = foreign_client(Some(peer), everything(), &[version]);
        let (mut ours, mut foreign) = (Ours::accepting(gateway), Foreign::client(config));
        talk(&mut foreign, &mut ours);
        assert_accepted(&ours, &foreign, peer, identities);
    }
}

fn assert_accepted(ours: &Ours, foreign: &Foreign, peer: &Own, identities: &[&str]) {
    assert_eq!(
        ours.error,
        None,
        "{}",
        ours.error
            .as_ref()
            .map_or(String::new(), |_| ours.sentence())
    );
    assert_eq!(foreign.error, None);
    assert!(ours.is_established && !foreign.connection.is_handshaking());
    let mut identities = identities.iter().map(ToString::to_string);
    let seen = ours.verification.peer().expect("it was accepted");
    let [leaf, issuers @ ..] = &seen.chain[..] else {
        panic!("a chain has a leaf")
    };
    let der = peer.leaf();
    let (_, parsed) = X509Certificate::from_der(&der).expect("a certificate");
    assert_eq!(&*leaf.serial, [0x0a, 0x11]);
    assert_eq!(leaf.not_after, parsed.validity().not_after.timestamp());
    assert!(issuers.iter().all(|issuer| issuer.issuer != leaf.issuer));
    let info = PeerInfo {
        identity: identities.next().expect("at least one"),
        further: identities.collect(),
        key_sha256: hex(&key_sha256(peer)),
        serial: "0a11".into(),
        chain: seen.chain.clone(),
    };
    assert_eq!(*seen, info);
    assert_eq!(ours.verification.refusal(), None);
}

pub(super) fn key_sha256(peer: &Own) -> [u8; 32] {
    let leaf = peer.leaf();
    let leaf = EndEntityCert::try_from(&leaf).expect("a certificate");
    let sum = digest(&SHA256, &leaf.subject_public_key_info());
    sum.as_ref().try_into().expect("32 bytes")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_listed_dns_name_is_accepted_whatever_its_case() {
    let authority = Authority::new("Site CA");
    let gateway = Gateway::under(&authority);
    accepted(&gateway, &authority.issue(&[PEER]), "dns:peer.example");
    accepted(
        &gateway,
        &authority.issue(&["PEER.Example"]),
        "dns:peer.example",
    );
    accepted(
        &gateway,
        &authority.issue(&["other.example", PEER]),
        "dns:peer.example",
    );
}

#[test]
fn a_listed_uri_is_compared_byte_by_byte() {
    let authority = Authority::new("Site CA");
    let name = "spiffe://region.example/Gateway";
    let gateway = Gateway::under(&authority).with_peers(vec![PeerName::Uri(name.into())]);
    let peer = authority.issue_with(&[], |params| params.subject_alt_names = vec![uri(name)]);
    accepted(&gateway, &peer, "uri:spiffe://region.example/Gateway");

    let other = authority.issue_with(&[], |params| {
        params.subject_alt_names = vec![uri("spiffe://region.example/gateway")];
    });
    let config = foreign_client(Some(&other), everything(), &[&TLS13]);
    let (mut ours, mut foreign) = (Ours::accepting(&gateway), Foreign::client(config));
    talk(&mut foreign, &mut ours);
    assert!(!ours.is_established);
    assert_eq!(ours.verification.peer(), None);
}

#[test]
fn a_listed_key_is_accepted_without_any_name() {
    let authority = Authority::new("Site CA");
    let peer = authority.issue(&[]);
    let key = key_sha256(&peer);
    let gateway = Gateway::under(&authority).with_peers(vec![PeerName::Sha256(key)]);
    accepted(&gateway, &peer, &format!("sha256:{}", hex(&key)));
}

#[test]
fn the_first_matching_of_several_identities_is_named_and_the_others_are_kept() {
    let authority = Authority::new("Site CA");
    let peer = authority.issue(&[PEER, "unlisted.example", "second.example"]);
    let key = key_sha256(&peer);
    let gateway = Gateway::under(&authority).with_peers(vec![
        PeerName::Dns("another.example".into()),
        PeerName::Sha256(key),
        PeerName::Dns("second.example".into()),
        PeerName::Dns(PEER.into()),
    ]);
    let key = format!("sha256:{}", hex(&key));
    let identities = ["dns:peer.example", "dns:second.example", &key];
    accepted_as(&gateway, &peer, &identities);
}

#[test]
fn a_chain_over_an_intermediate_is_accepted_with_fresh_lists() {
    let root = Authority::new("Site CA");
    let middle = root.intermediate("Middle CA", |_| {});
    let gateway = Gateway::under(&root)
        .with_issuers(vec![middle.der()])
        .with_crls(vec![root.crl(&[]), middle.crl(&[0x99])]);
    let peer = middle.issue(&[PEER]);
    accepted(&gateway, &peer, "dns:peer.example");
    let config = foreign_client(Some(&peer), everything(), &[&TLS13]);
    let (mut ours, mut foreign) = (Ours::accepting(&gateway), Foreign::client(config));
    talk(&mut foreign, &mut ours);
    let seen = ours.verification.peer().expect("it was accepted");
    let der = middle.der();
    let (_, parsed) = X509Certificate::from_der(&der).expect("a certificate");
    let [_, issuer] = &seen.chain[..] else {
        panic!("the leaf and the intermediate: {:?}", seen.chain)
    };
    assert_eq!(&*issuer.serial, parsed.raw_serial());
    assert_eq!(issuer.not_after, parsed.validity().not_after.timestamp());
}

#[test]
fn a_fresh_list_is_believed_though_an_old_one_was_left_behind() {
    let authority = Authority::new("Site CA");
    let lists = vec![authority.old_crl(), authority.crl(&[])];
    let gateway = Gateway::under(&authority).with_crls(lists);
    accepted(&gateway, &authority.issue(&[PEER]), "dns:peer.example");
}

#[test]
fn a_self_signed_certificate_is_accepted_where_it_is_the_trust() {
    let peer = self_signed(&[PEER]);
    let mut gateway = Gateway::under(&Authority::new("Site CA"));
    gateway.listed[0].anchors.push(peer.leaf());
    accepted(&gateway, &peer, "dns:peer.example");
}

#[test]
fn two_of_ours_accept_each_other() {
    let authority = Authority::new("Site CA");
    let mut site =
        Gateway::under(&authority).with_peers(vec![PeerName::Dns("region.example".into())]);
    site.own = authority.issue(&["site.example"]);
    let mut region =
        Gateway::under(&authority).with_peers(vec![PeerName::Dns("site.example".into())]);
    region.own = authority.issue(&["region.example"]);

    let (mut client, mut server) = (Ours::connecting(&site), Ours::accepting(&region));
    talk(&mut client, &mut server);
    assert!(client.is_established && server.is_established);
    let names = [client, server].map(|end| {
        let peer = end.verification.peer().expect("a peer");
        peer.identity.clone()
    });
    assert_eq!(names, ["dns:region.example", "dns:site.example"]);
}
