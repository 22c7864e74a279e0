//! `check` and the handshake accept the same keys and signatures: `pki::algorithms` is held against webpki.

use rcgen::SubjectPublicKeyInfo;
use rustls::SignatureScheme;
use rustls::pki_types::{CertificateDer, UnixTime};

use super::authority::Authority;
use super::openssl::Openssl;
use super::{Gateway, PEER};
use crate::pki::algorithms::{KeyUse, PublicKeyInfo, Signature};
use crate::pki::der::{BIT_STRING, INTEGER, SEQUENCE, element};
use crate::tls::Rule;
use crate::tls::der::Layout;

const RSA: &str = "-algorithm RSA -pkeyopt rsa_keygen_bits:";
const EC: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:";

/// The rule by which a handshake refuses a client whose certificate `anchor` issued.
fn refused_by(anchor: &CertificateDer<'static>, leaf: &CertificateDer<'_>) -> Option<Rule> {
    let mut gateway = Gateway::under(&Authority::new("Site CA"));
    gateway.listed[0].anchors = vec![anchor.clone()];
    let judged = gateway.acceptor().judge(leaf, &[], UnixTime::now());
    judged.err().map(|refusal| refusal.rule)
}

fn fault_of_key(certificate: &CertificateDer<'_>, purpose: KeyUse) -> Option<String> {
    let layout = Layout::of(certificate).expect("a certificate");
    let fault = PublicKeyInfo::of_spki(layout.key_element).fault(purpose);
    fault.map(|fault| fault.to_string())
}

#[test]
fn check_and_handshake_agree_on_every_signature_algorithm_and_key_of_a_ca() {
    let pss = |hash: &str, salt: &str| {
        format!("-{hash} -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:{salt}")
    };
    let plain =
        |hashes: &[&str]| -> Vec<String> { hashes.iter().map(|hash| format!("-{hash}")).collect() };
    let all = ["sha1", "sha224", "sha256", "sha384", "sha512"];
    let mut of_rsa = plain(&[&["md5"], &all[..]].concat());
    of_rsa.extend(all.map(|hash| pss(hash, "digest")));
    of_rsa.extend(["sha256", "sha384", "sha512"].map(|hash| pss(hash, "20")));
    let cas = [
        (format!("{RSA}1024"), plain(&["sha256"])),
        (format!("{RSA}2048"), of_rsa),
        (format!("{EC}P-224"), plain(&["sha256"])),
        (format!("{EC}P-256"), plain(&all)),
        (format!("{EC}P-384"), plain(&["sha256", "sha384"])),
        (format!("{EC}P-521"), plain(&["sha512"])),
        (format!("{EC}secp256k1"), plain(&["sha256"])),
        ("-algorithm ED25519".to_owned(), vec![String::new()]),
        ("-algorithm ED448".to_owned(), vec![String::new()]),
    ];
    let openssl = Openssl::new();
    let (mut accepted, mut refused) = (0, 0);
    for (key, signatures) in cas {
        let anchor = openssl.ca(&key);
        let of_key = fault_of_key(&anchor, KeyUse::Authority);
        for options in signatures {
            let leaf = openssl.sign(&options);
            let of_signature = Signature::of_signed(&leaf).expect("a signature").fault;
            let is_accepted = of_key.is_none() && of_signature.is_none();
            let rule = refused_by(&anchor, &leaf);
            assert_eq!(rule.is_none(), is_accepted, "{key} {options}: {rule:?}");
            match rule {
                None => accepted += 1,
                Some(Rule::AnchorKey { fault }) => assert_eq!(Some(fault), of_key),
                Some(Rule::Signature { .. } | Rule::SaltLength { .. }) => {
                    assert!(of_signature.is_some());
                }
                Some(other) => panic!("{key} {options}: {other:?}"),
            }
            refused += usize::from(!is_accepted);
        }
    }
    assert_eq!((accepted, refused), (13, 14));
}

#[test]
fn check_and_handshake_agree_on_every_rsa_key_of_a_peer() {
    let authority = Authority::new("Site CA");
    for bits in [2047, 2048, 3072, 4096, 8192, 8193, 16384] {
        let key = SubjectPublicKeyInfo::from_der(&rsa_key(bits)).expect("a public key");
        let peer = authority.issue_for(PEER, &key, SignatureScheme::RSA_PSS_SHA256);
        let is_accepted = (2048..=8192).contains(&bits);
        check_key(&authority.der(), &peer.chain[0], is_accepted);
    }
}

#[test]
fn check_and_handshake_agree_on_every_other_key_of_a_peer() {
    let openssl = Openssl::new();
    let anchor = openssl.ca(&format!("{EC}P-256"));
    for (key, is_accepted) in [
        (format!("{EC}P-224"), false),
        (format!("{EC}P-256"), true),
        (format!("{EC}P-384"), true),
        (format!("{EC}P-521"), false),
        (format!("{EC}secp256k1"), false),
        ("-algorithm ED25519".to_owned(), true),
        ("-algorithm ED448".to_owned(), false),
    ] {
        check_key(&anchor, &openssl.sign_for(&key), is_accepted);
    }
}

fn check_key(anchor: &CertificateDer<'static>, leaf: &CertificateDer<'_>, is_accepted: bool) {
    let fault = fault_of_key(leaf, KeyUse::Peer);
    assert_eq!(fault.is_none(), is_accepted, "{fault:?}");
    match refused_by(anchor, leaf) {
        None => assert!(is_accepted, "{fault:?}"),
        Some(Rule::Key { fault: shown }) => assert_eq!(Some(shown), fault),
        Some(other) => panic!("{other:?}"),
    }
}

/// A public key with a modulus of so many bits.
fn rsa_key(bits: usize) -> Vec<u8> {
    let mut modulus = vec![0xff; bits.div_ceil(8)];
    match bits % 8 {
        0 => modulus.insert(0, 0),
        used => modulus[0] = 0xff >> (8 - used),
    }
    let numbers = [element(INTEGER, &modulus), element(INTEGER, &[1, 0, 1])];
    let key = element(SEQUENCE, &numbers.concat());
    let algorithm = [
        0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0,
    ];
    let bits = element(BIT_STRING, &[&[0], key.as_slice()].concat());
    element(SEQUENCE, &[&algorithm, bits.as_slice()].concat())
}
