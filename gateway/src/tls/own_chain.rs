//! Checks whether peers would accept the chain that this site presents, by the rules that a peer's gateway
//! applies.
//!
//! The chain goes through the verifier that checks peers' chains. Only the key of the CA above the chain is
//! unknown here. So a temporary key signs the last certificate again, under an anchor with the name of its
//! issuer. The algorithm of the original signature is checked separately.

use std::sync::Arc;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rustls::pki_types::{CertificateDer, UnixTime};

use super::der::{Elements, Layout, OBJECT_IDENTIFIER, SEQUENCE};
use super::diagnosis::signature_rule;
use super::normal_form::NormalChain;
use super::policy::provider;
use super::refusal::{Refusal, Rule};
use super::role::TlsRole;
use super::rules::{Chain, PeerRules};
use crate::config::{KeyExchange, Located, Peer, PeerName, Policy, TrustFiles};
use crate::pki::Trust;
use crate::pki::crl::key_hash;
use crate::pki::der::{BIT_STRING, INTEGER, context_constructed, element, only};

/// Contents of the AlgorithmIdentifiers of ecdsa-with-SHA256, and of an EC key on P-256.
const ECDSA_WITH_SHA256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const P256_KEY: &[u8] = &[
    6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7,
];
/// id-pe-authorityInfoAccess and id-ad-caIssuers (RFC 5280 section 4.2.2.1).
const AUTHORITY_INFO_ACCESS: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 1];
const CA_ISSUERS: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 2];

/// Why peers may refuse `chain` at `now`. Each text is the end of a sentence about the file that holds the
/// chain. `peer` is the TLS role of the verifying peer, and `rules` belong to a route that presents the
/// chain.
pub(super) fn remarks(
    chain: &[CertificateDer<'static>],
    peer: TlsRole,
    rules: &PeerRules,
    now: UnixTime,
) -> Vec<String> {
    let is_known_root = |issuer: &[u8]| {
        let mut anchors = rules.anchors.iter().zip(&rules.anchor_facts);
        anchors.any(|(anchor, facts)| facts.is_root && anchor.subject.as_ref() == issuer)
    };
    let found = [
        fault(chain, peer, now),
        missing_issuer(chain, is_known_root),
    ];
    found.into_iter().flatten().collect()
}

/// Why peers would refuse `chain`, as the end of a sentence about the file that holds it; `None` if they
/// would accept it. `peer` is the TLS role of the verifying peer.
fn fault(chain: &[CertificateDer<'static>], peer: TlsRole, now: UnixTime) -> Option<String> {
    let (leaf, above) = chain.split_first()?;
    let refusal = match above {
        [] if is_self_issued(leaf) => Refusal::new(peer, leaf, Rule::SelfSigned { claim: None }),
        _ => judged(leaf, above, peer, now)?,
    };
    let remedy = refusal.own_remedy();
    let whose = match &refusal.issuer {
        Some(issuer) => format!("its issuer \"{}\"", issuer.subject),
        None => "it".to_owned(),
    };
    let rule = match &refusal.rule {
        Rule::SelfSigned { .. } => "is self-signed".to_owned(),
        other => other.to_string(),
    };
    Some(format!(
        "peers that run wardgate refuse it: {whose} {rule}; {remedy}"
    ))
}

/// Reports that the file probably lacks an intermediate CA: the CA above the chain is no root known here,
/// and the last certificate has an address from which its issuer's certificate can be fetched, as
/// certificates of intermediate CAs have.
fn missing_issuer(
    chain: &[CertificateDer<'static>],
    is_known_root: impl Fn(&[u8]) -> bool,
) -> Option<String> {
    let (leaf, above) = chain.split_first()?;
    let (top, is_presented) = NormalChain::new(leaf, above).top();
    let last = Layout::of(chain.last()?)?;
    let issuer = crate::pki::name::comparable_content(last.issuer);
    if is_presented || is_known_root(&issuer) || !has_issuer_address(&last) {
        return None;
    }
    Some(format!(
        "the file holds no certificate of \"{top}\", which issued its last certificate: append that certificate if \
         \"{top}\" is an intermediate CA, because peers that know the root alone cannot find it; if \"{top}\" is \
         the root, nothing is missing"
    ))
}

fn has_issuer_address(certificate: &Layout<'_>) -> bool {
    let value = certificate
        .extension(AUTHORITY_INFO_ACCESS)
        .unwrap_or_default();
    let descriptions = Elements(only(value, SEQUENCE).unwrap_or_default());
    descriptions
        .into_iter()
        .any(|one| Elements(one.content).next_if(OBJECT_IDENTIFIER) == Some(CA_ISSUERS))
}

fn is_self_issued(certificate: &CertificateDer<'_>) -> bool {
    NormalChain::new(certificate, &[]).leaf.is_self_issued()
}

/// The refusal of the chain, if it is refused.
fn judged(
    leaf: &CertificateDer<'static>,
    above: &[CertificateDer<'static>],
    peer: TlsRole,
    now: UnixTime,
) -> Option<Refusal> {
    let mut presented: Vec<CertificateDer<'static>> = vec![leaf.clone()];
    presented.extend(above.iter().cloned());
    let anchor = match presented.last() {
        Some(root) if is_self_issued(root) => presented.pop()?,
        _ => {
            let last = presented.pop()?;
            if let Some(rule) = signature_rule(&last) {
                let refusal = Refusal::new(peer, leaf, rule);
                return Some(match above.is_empty() {
                    true => refusal,
                    false => refusal.because_of(&last),
                });
            }
            let (anchor, last) = signed_again(&last)?;
            presented.push(last);
            anchor
        }
    };
    let (judged_leaf, intermediates) = presented.split_first()?;
    let rules = rules(judged_leaf, anchor)?;
    let judged = rules.judge(Chain {
        side: peer,
        leaf: judged_leaf,
        intermediates,
        expected: None,
        now,
    });
    judged.err()
}

/// The rules of a route that lists this site by its key and trusts the CA above its chain.
fn rules(leaf: &CertificateDer<'_>, anchor: CertificateDer<'static>) -> Option<PeerRules> {
    let files = Located {
        value: "the trust of the peer".into(),
        line: 0,
    };
    let peer = Peer {
        name: None,
        identities: vec![PeerName::Sha256(key_hash(Layout::of(leaf)?.key_element))],
        trust: Arc::new(TrustFiles {
            trust: files,
            crl: Vec::new(),
        }),
    };
    let trust = Trust::new(vec![anchor]);
    let provider = provider(Policy::default(), KeyExchange::default());
    PeerRules::new(&[Arc::new(peer)], &[Arc::new(trust)], &provider).ok()
}

/// An anchor with the name of the issuer of `certificate`, and the certificate signed again by the anchor's
/// key.
fn signed_again(
    certificate: &CertificateDer<'_>,
) -> Option<(CertificateDer<'static>, CertificateDer<'static>)> {
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).ok()?;
    let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).ok()?;
    let sign = |to_be_signed: Vec<u8>| {
        let signature = key.sign(&random, &to_be_signed).ok()?;
        let signature = [&[0], signature.as_ref()].concat();
        let parts = [
            to_be_signed,
            element(SEQUENCE, ECDSA_WITH_SHA256),
            element(BIT_STRING, &signature),
        ];
        Some(CertificateDer::from(element(SEQUENCE, &parts.concat())))
    };
    let whole = only(certificate, SEQUENCE)?;
    let mut parts = Elements(Elements(whole).next_if(SEQUENCE)?);
    let version = parts.element_if(context_constructed(0))?.whole;
    let serial = parts.element_if(INTEGER)?.whole;
    parts.next_if(SEQUENCE)?;
    let rest = parts.0;
    let issuer = parts.element_if(SEQUENCE)?.whole;
    let algorithm = element(SEQUENCE, ECDSA_WITH_SHA256);
    let last = [version, serial, &algorithm, rest].concat();
    let public = [&[0], key.public_key().as_ref()].concat();
    let public = [element(SEQUENCE, P256_KEY), element(BIT_STRING, &public)].concat();
    let always = [
        element(GENERALIZED_TIME, b"20000101000000Z"),
        element(GENERALIZED_TIME, b"99991231235959Z"),
    ];
    let anchor = [
        version,
        serial,
        &algorithm,
        issuer,
        &element(SEQUENCE, &always.concat()),
        issuer,
        &element(SEQUENCE, &public),
    ];
    Some((
        sign(element(SEQUENCE, &anchor.concat()))?,
        sign(element(SEQUENCE, &last))?,
    ))
}

const GENERALIZED_TIME: u8 = 0x18;
