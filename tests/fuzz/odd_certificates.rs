//! Certificates with any names, keys and extensions.

use rcgen::{KeyPair, SigningKey};
use rustls::pki_types::CertificateDer;
use test_peers::der::{self, Parts, element};

use crate::choices::Choices;

/// A certificate with any names, keys and extensions, signed by the CA or with an invalid signature, and
/// perhaps damaged.
pub(crate) const MESSAGE_MAX: usize = 0xffff;

/// A certificate with any names, keys and extensions, signed by the CA or by nobody, and perhaps damaged.
pub(crate) fn odd_certificate(choices: &mut Choices<'_>, ca: &KeyPair) -> CertificateDer<'static> {
    let mut parts = Parts::new(
        "peer",
        choices.pick(&["Fuzz CA", "Fuzz CA", "Other CA", "peer"]),
    );
    if choices.chance(120) {
        parts.subject = distinguished_name(choices);
    }
    if choices.chance(30) {
        parts.issuer = distinguished_name(choices);
    }
    if choices.chance(60) {
        parts.key = odd_key(choices);
    }
    if choices.chance(30) {
        parts.algorithm = element(0x30, &[&oid(choices)]);
    }
    if choices.chance(30) {
        parts.until = 2021;
    }
    if choices.chance(200) {
        parts = parts.with(&alternative_names(choices));
    }
    for _ in 0..choices.below(4) {
        let id = choices.pick(&EXTENSIONS);
        let value = match choices.below(5) {
            0 => element(0x30, &[&several(choices, oid)]),
            1 => element(0x30, &[&several(choices, general_name)]),
            2 => element(0x30, &[&several(choices, subtrees)]),
            3 => element(
                0x30,
                &[&several(choices, |choices| {
                    element(0x30, &[&several(choices, oid)])
                })],
            ),
            _ => several(choices, text),
        };
        let extension = match choices.chance(60) {
            true => element(
                0x30,
                &[&element(6, &[id]), &[1, 1, 0xff], &element(4, &[&value])],
            ),
            false => der::extension(id, &value),
        };
        let extensions = repeated(&extension, 1 + many(choices) / 8);
        parts = parts.with(&extensions);
    }
    let mut tbs = parts.tbs();
    for _ in 0..choices.below(8).saturating_sub(5) {
        let place = choices.below(tbs.len().min(65_536));
        tbs[place] ^= choices.octet();
    }
    let signature = match choices.chance(180) {
        true => ca.sign(&tbs).expect("ring signs"),
        false => vec![0x30, 6, 2, 1, 1, 2, 1, 1],
    };
    der::certificate(&tbs, &parts.algorithm, &signature).into()
}

/// Key usage, alternative name, basic constraints, name constraints, distribution points, policies, extended
/// key usage, two unknown ones, policy mappings, policy constraints, inhibit any-policy.
const EXTENSIONS: [&[u8]; 12] = [
    &[0x55, 0x1d, 0x0f],
    &[0x55, 0x1d, 0x11],
    &[0x55, 0x1d, 0x13],
    &[0x55, 0x1d, 0x1e],
    &[0x55, 0x1d, 0x1f],
    &[0x55, 0x1d, 0x20],
    &[0x55, 0x1d, 0x25],
    &[0x2a],
    &[],
    &[0x55, 0x1d, 0x21],
    &[0x55, 0x1d, 0x24],
    &[0x55, 0x1d, 0x36],
];

/// Subtrees of name constraints: permitted or excluded.
fn subtrees(choices: &mut Choices<'_>) -> Vec<u8> {
    let subtree = |choices: &mut Choices<'_>| {
        let base = match choices.below(2) {
            0 => element(0xa4, &[&distinguished_name(choices)]),
            _ => general_name(choices),
        };
        element(0x30, &[&base])
    };
    element(choices.pick(&[0xa0, 0xa1]), &[&several(choices, subtree)])
}

fn distinguished_name(choices: &mut Choices<'_>) -> Vec<u8> {
    let relative = several(choices, |choices| {
        element(
            0x31,
            &[&several(choices, |choices| {
                let value = text(choices);
                element(0x30, &[&oid(choices), &value])
            })],
        )
    });
    element(0x30, &[&relative])
}

fn alternative_names(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut names = several(choices, general_name);
    if choices.chance(100) {
        names.extend(element(0x82, &[b"Peer.example"]));
    }
    if choices.chance(30) {
        names.extend(element(0x86, &[b"urn:peer"]));
    }
    der::alternative_names(&[names])
}

fn general_name(choices: &mut Choices<'_>) -> Vec<u8> {
    let tag = choices.pick(&[0x82, 0x86, 0x82, 0x87, 0xa4, 0xa0, 0x81, 0x88, 0x30]);
    element(tag, &[&bytes(choices)])
}

fn text(choices: &mut Choices<'_>) -> Vec<u8> {
    let tag = choices.pick(&[0x0c, 0x13, 0x16, 0x1e, 0x14, 0x04, 0x1c, 0x30, 0xff]);
    element(tag, &[&bytes(choices)])
}

fn oid(choices: &mut Choices<'_>) -> Vec<u8> {
    match choices.below(4) {
        0 => vec![6, 3, 0x55, 4, 3],
        1 => vec![6, 3, 0x55, 4, 10],
        _ => element(6, &[&bytes(choices)]),
    }
}

fn odd_key(choices: &mut Choices<'_>) -> Vec<u8> {
    match choices.below(3) {
        0 => {
            let number = element(2, &[&[0], &bytes(choices)]);
            let key = element(0x30, &[&number, &element(2, &[&bytes(choices)])]);
            let rsa = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
            element(0x30, &[&element(0x30, &[&rsa]), &element(3, &[&[0], &key])])
        }
        1 => {
            let algorithm = element(0x30, &[&oid(choices), &oid(choices)]);
            element(0x30, &[&algorithm, &element(3, &[&[0], &bytes(choices)])])
        }
        _ => element(0x30, &[&text(choices)]),
    }
}

/// Some bytes, perhaps many times.
fn bytes(choices: &mut Choices<'_>) -> Vec<u8> {
    let count = choices.below(20);
    repeated(choices.take(count), 1 + many(choices))
}

/// As long as a handshake message may be, and truncated there.
fn repeated(bytes: &[u8], times: usize) -> Vec<u8> {
    let all = bytes.iter().cycle().take(bytes.len() * times);
    all.take(MESSAGE_MAX).copied().collect()
}

fn several(choices: &mut Choices<'_>, make: impl Fn(&mut Choices<'_>) -> Vec<u8>) -> Vec<u8> {
    let made: Vec<_> = (0..choices.below(4)).map(|_| make(choices)).collect();
    repeated(&made.concat(), 1 + many(choices))
}

// Mostly none.
fn many(choices: &mut Choices<'_>) -> usize {
    let scale = choices.pick(&[1, 1, 1, 1, 1, 1, 8, 100, 600]);
    choices.below(scale)
}
