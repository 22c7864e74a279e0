//! Peers that must be refused for who they are or for what they show.

use rcgen::{ExtendedKeyUsagePurpose, GeneralSubtree, NameConstraints, SubjectPublicKeyInfo};
use rustls::pki_types::CertificateDer;
use rustls::{AlertDescription as Alert, SignatureScheme};

use super::authority::{Authority, Own, called, self_signed};
use super::ends::{Credulous, Foreign, Ours, everything, foreign_client, foreign_server, talk};
use super::matrix::{VERSIONS, refused, refused_on};
use super::{Gateway, PEER};
use crate::config::PeerName;
use crate::pki::limits::CHAIN_CERTIFICATES_MAX;
use crate::tls::TlsRole;

#[test]
fn a_client_without_certificate_is_refused() {
    let gateway = Gateway::under(&Authority::new("Site CA"));
    for version in VERSIONS {
        let config = foreign_client(None, everything(), &[version]);
        let (mut ours, mut foreign) = (Ours::accepting(&gateway), Foreign::client(config));
        talk(&mut foreign, &mut ours);
        assert!(!ours.is_established);
        assert_eq!(foreign.alert(), Some(Alert::CertificateRequired));
        let sentence = ours.sentence();
        assert!(sentence.contains("offered no certificate"), "{sentence}");
        assert!(
            sentence.contains("give the client a certificate"),
            "{sentence}"
        );
    }
}

#[test]
fn a_certificate_of_another_ca_is_refused() {
    let gateway = Gateway::under(&Authority::new("Site CA"));
    let peer = Authority::new("Other CA").issue(&[PEER]);
    refused(
        &gateway,
        &peer,
        Alert::UnknownCA,
        &[
            "dns:peer.example",
            "no trusted CA of this route",
            "sent no certificate of \"CN=Other CA\"",
            "it bears \"dns:peer.example\" of this route's peers",
            "whose trust \"trust.pem\" holds another CA (\"CN=Site CA\")",
            "fetch ca.pem from that site again",
            "by telephone",
            "if \"CN=Other CA\" is an intermediate CA",
        ],
    );
    // Nobody who is listed: a new partner.
    let peer = Authority::new("Other CA").issue(&["new.example"]);
    refused(
        &gateway,
        &peer,
        Alert::UnknownCA,
        &[
            "sent no certificate of \"CN=Other CA\"",
            "write a [[peer]] table",
            "never put it into the trust of another peer",
        ],
    );
}

#[test]
fn a_ca_of_the_same_name_with_another_key_is_refused() {
    let gateway = Gateway::under(&Authority::new("Site CA"));
    let peer = Authority::new("Site CA").issue(&[PEER]);
    let words = [
        "another key signed it",
        "fingerprint of its new certificate",
        "trust.pem\"",
    ];
    refused(&gateway, &peer, Alert::UnknownCA, &words);
}

#[test]
fn a_good_certificate_of_an_unlisted_name_is_refused() {
    let authority = Authority::new("Site CA");
    let gateway = Gateway::under(&authority);
    let peer = authority.issue(&["other.example"]);
    let words = [
        "dns:other.example",
        "none of this route's peers (dns:peer.example)",
        "add \"dns:other.example\" to the route's peers",
    ];
    refused(&gateway, &peer, Alert::AccessDenied, &words);
}

#[test]
fn a_common_name_makes_nobody_a_peer() {
    let authority = Authority::new("Site CA");
    let gateway = Gateway::under(&authority);
    let peer = authority.issue_with(&[], |params| params.distinguished_name = called(PEER));
    let words = [
        "subject \"CN=peer.example\" without a DNS or URI name",
        "none of this route's peers",
        "add \"sha256:",
    ];
    refused(&gateway, &peer, Alert::AccessDenied, &words);
    // Nor does it beside another name.
    let peer = authority.issue_with(&["other.example"], |params| {
        params.distinguished_name = called(PEER);
    });
    refused(&gateway, &peer, Alert::AccessDenied, &["dns:other.example"]);
}

#[test]
fn a_wildcard_name_matches_nobody() {
    let authority = Authority::new("Site CA");
    let gateway = Gateway::under(&authority);
    let peer = authority.issue(&["*.region.example"]);
    // A remedy that `check` takes: it refuses wildcards.
    let words = [
        "dns:*.region.example",
        "none of this route's peers",
        "it has wildcard names only, and a wildcard cannot be listed",
        "add \"sha256:",
    ];
    refused(&gateway, &peer, Alert::AccessDenied, &words);
}

#[test]
fn a_wildcard_name_matches_nobody_even_where_one_were_listed() {
    let authority = Authority::new("Site CA");
    let gateway =
        Gateway::under(&authority).with_peers(vec![PeerName::Dns("*.region.example".into())]);
    let peer = authority.issue(&["*.region.example"]);
    refused(
        &gateway,
        &peer,
        Alert::AccessDenied,
        &["none of this route's peers"],
    );
}

#[test]
fn a_name_that_only_begins_or_ends_alike_matches_nobody() {
    let authority = Authority::new("Site CA");
    let gateway = Gateway::under(&authority);
    for name in [
        "peer.example.org",
        "a.peer.example",
        "peer.exampl",
        "peer.example.",
    ] {
        let peer = authority.issue(&[name]);
        refused(
            &gateway,
            &peer,
            Alert::AccessDenied,
            &["none of this route's peers"],
        );
    }
}

#[test]
fn a_ca_certificate_is_no_peer() {
    let root = Authority::new("Site CA");
    let gateway = Gateway::under(&root);
    let peer = root.intermediate("Middle CA", |params| {
        params.subject_alt_names = vec![super::authority::dns(PEER)];
    });
    let words = [
        "dns:peer.example",
        "is a CA's certificate",
        "a certificate of its own",
    ];
    refused(
        &gateway,
        &peer.into_peer(),
        Alert::UnsupportedCertificate,
        &words,
    );
}

#[test]
fn a_trust_anchor_that_is_a_ca_is_no_peer() {
    let root = Authority::new("Site CA");
    let gateway = Gateway::under(&root);
    refused(
        &gateway,
        &root.into_peer(),
        Alert::UnsupportedCertificate,
        &["is a CA's certificate"],
    );
}

#[test]
fn a_certificate_for_the_other_side_of_tls_is_refused() {
    let authority = Authority::new("Site CA");
    let gateway = Gateway::under(&authority);
    let only = |usage: ExtendedKeyUsagePurpose| {
        authority.issue_with(&[PEER], |params| params.extended_key_usages = vec![usage])
    };
    let client = only(ExtendedKeyUsagePurpose::ClientAuth);
    let words = [
        "extended key usage (serverAuth)",
        "serverAuth and clientAuth",
    ];
    refused_on(
        TlsRole::Client,
        &gateway,
        &client,
        Alert::UnsupportedCertificate,
        &words,
    );
    let server = only(ExtendedKeyUsagePurpose::ServerAuth);
    let words = [
        "extended key usage (clientAuth)",
        "serverAuth and clientAuth",
    ];
    refused_on(
        TlsRole::Server,
        &gateway,
        &server,
        Alert::UnsupportedCertificate,
        &words,
    );
}

#[test]
fn a_self_signed_certificate_is_refused() {
    let gateway = Gateway::under(&Authority::new("Site CA"));
    let words = [
        "dns:peer.example",
        "is self-signed",
        "it bears \"dns:peer.example\" of this route's peers",
        "let that site issue its certificate from a CA",
        "give you the ca.pem for \"trust.pem\"",
    ];
    refused(&gateway, &self_signed(&[PEER]), Alert::UnknownCA, &words);
    let words = ["is self-signed", "the trust of a [[peer]] table for it"];
    let unlisted = self_signed(&["new.example"]);
    refused(&gateway, &unlisted, Alert::UnknownCA, &words);
}

#[test]
fn an_rsa_key_of_1024_bits_is_refused() {
    let authority = Authority::new("Site CA");
    let gateway = Gateway::under(&authority);
    let key = include_bytes!("../../../../tests/data/tls/rsa-1024.spki.der");
    let key = SubjectPublicKeyInfo::from_der(key).expect("a public key");
    let peer = authority.issue_for(&key, SignatureScheme::RSA_PSS_SHA256);
    let words = ["an RSA key of 1024 bits", "RSA 2048 to 8192 bits"];
    refused(&gateway, &peer, Alert::BadCertificate, &words);
}

#[test]
fn an_rsa_key_of_16384_bits_is_refused_before_it_is_used() {
    let element = |tag: u8, content: Vec<u8>| {
        let length = u16::try_from(content.len()).expect("short").to_be_bytes();
        [&[tag, 0x82, length[0], length[1]], content.as_slice()].concat()
    };
    let modulus = element(2, [&[0], [0xff; 2048].as_slice()].concat());
    let key = element(0x30, [modulus.as_slice(), &[2, 3, 1, 0, 1]].concat());
    let algorithm = [
        0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0,
    ];
    let bits = element(3, [&[0], key.as_slice()].concat());
    let key = element(0x30, [&algorithm, bits.as_slice()].concat());
    let key = SubjectPublicKeyInfo::from_der(&key).expect("a public key");
    let authority = Authority::new("Site CA");
    let peer = authority.issue_for(&key, SignatureScheme::RSA_PSS_SHA256);
    let words = ["an RSA key of 16384 bits", "RSA 2048 to 8192 bits"];
    refused(
        &Gateway::under(&authority),
        &peer,
        Alert::BadCertificate,
        &words,
    );
}

#[test]
fn a_trust_anchor_with_an_rsa_key_of_1024_bits_is_refused() {
    let mut gateway = Gateway::under(&Authority::new("Site CA"));
    gateway.listed[0].anchors = vec![fixture(include_bytes!(
        "../../../../tests/data/tls/weak-anchor.der"
    ))];
    let leaf = fixture(include_bytes!(
        "../../../../tests/data/tls/weak-anchor-leaf.der"
    ));
    let peer = Own::without_key(vec![leaf], SignatureScheme::ECDSA_NISTP256_SHA256);
    let words = [
        "trust anchor with an RSA key of 1024 bits",
        "replace the CA",
    ];
    refused(&gateway, &peer, Alert::UnknownCA, &words);
}

#[test]
fn a_signature_with_sha_1_is_refused() {
    let mut gateway = Gateway::under(&Authority::new("Site CA"));
    gateway.listed[0].anchors = vec![fixture(include_bytes!(
        "../../../../tests/data/tls/sha1-anchor.der"
    ))];
    let leaf = fixture(include_bytes!("../../../../tests/data/tls/sha1-leaf.der"));
    let peer = Own::without_key(vec![leaf], SignatureScheme::ECDSA_NISTP256_SHA256);
    let words = ["signed by ECDSA with SHA-1", "reissued with SHA-256"];
    refused(&gateway, &peer, Alert::BadCertificate, &words);
}

#[test]
fn a_chain_that_is_too_long_is_refused() {
    let authority = Authority::new("Site CA");
    let gateway = Gateway::under(&authority);
    let mut peer = authority.issue(&[PEER]);
    while peer.chain.len() <= CHAIN_CERTIFICATES_MAX {
        peer.chain.push(authority.der());
    }
    let words = ["a chain of 9 certificates", "its intermediates only"];
    refused(&gateway, &peer, Alert::BadCertificate, &words);
}

#[test]
fn a_name_that_the_issuer_may_not_give_is_refused() {
    let root = Authority::new("Site CA");
    let middle = root.intermediate("Middle CA", |params| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("region.example".into())],
            excluded_subtrees: Vec::new(),
        });
    });
    let gateway = Gateway::under(&root);
    let words = [
        "may not issue certificates for",
        "dns:region.example and names below it",
    ];
    refused(
        &gateway,
        &middle.issue(&[PEER]),
        Alert::BadCertificate,
        &words,
    );
}

#[test]
fn a_stolen_certificate_without_its_key_is_refused() {
    let authority = Authority::new("Site CA");
    let gateway = Gateway::under(&authority);
    let words = ["did not prove that it has the key of its certificate"];
    refused(
        &gateway,
        &authority.issue(&[PEER]).stolen(),
        Alert::DecryptError,
        &words,
    );
}

#[test]
fn bytes_that_are_no_certificate_are_refused() {
    let gateway = Gateway::under(&Authority::new("Site CA"));
    let noise = CertificateDer::from(vec![0x30, 0x03, 0x1b, 0x5b, 0x41]);
    let peer = Own::without_key(vec![noise], SignatureScheme::ECDSA_NISTP256_SHA256);
    let words = ["certificate cannot be read", "cannot be read"];
    refused(&gateway, &peer, Alert::BadCertificate, &words);
}

#[test]
fn a_server_that_asks_for_no_certificate_is_refused_within_the_handshake() {
    let authority = Authority::new("Site CA");
    let gateway = Gateway::under(&authority);
    let peer = authority.issue(&[PEER]);
    for version in VERSIONS {
        let silent = Credulous {
            asks: false,
            insists: false,
            ..Credulous::default()
        };
        let config = foreign_server(&peer, silent, everything(), &[version]);
        let (mut ours, mut foreign) = (Ours::connecting(&gateway), Foreign::server(config));
        talk(&mut ours, &mut foreign);
        assert!(!ours.is_established, "{:?}", version.version);
        assert_eq!(
            foreign.alert(),
            Some(Alert::HandshakeFailure),
            "{:?}",
            version.version
        );
        assert!(foreign.connection.is_handshaking());
        let sentence = ours.sentence();
        assert!(sentence.contains("dns:peer.example"), "{sentence}");
        assert!(
            sentence.contains("asked for no client certificate"),
            "{sentence}"
        );
        assert!(
            sentence.contains("turn on client certificates"),
            "{sentence}"
        );
    }
}

#[test]
fn a_server_that_asks_by_signatures_we_cannot_make_is_refused() {
    let authority = Authority::new("Site CA");
    let gateway = Gateway::under(&authority);
    let peer = authority.issue(&[PEER]);
    for version in VERSIONS {
        // Without our refusal rustls would send an empty certificate, and this server would go on.
        let asks = Credulous {
            insists: false,
            schemes: vec![SignatureScheme::RSA_PSS_SHA256],
            ..Credulous::default()
        };
        let config = foreign_server(&peer, asks, everything(), &[version]);
        let (mut ours, mut foreign) = (Ours::connecting(&gateway), Foreign::server(config));
        talk(&mut ours, &mut foreign);
        assert!(!ours.is_established, "{:?}", version.version);
        assert_eq!(
            foreign.alert(),
            Some(Alert::HandshakeFailure),
            "{:?}",
            version.version
        );
        let sentence = ours.sentence();
        assert!(
            sentence.contains("of a kind that our key is not"),
            "{sentence}"
        );
    }
}

fn fixture(bytes: &[u8]) -> CertificateDer<'static> {
    CertificateDer::from(bytes.to_vec())
}
