//! One bad peer in all its roles: as server and as client, in TLS 1.3 and 1.2, with the alert that it
//! really receives and the sentence that the operator reads.

use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription as Alert, SupportedProtocolVersion};
use test_peers::{AcceptAll, BadPeer, Made, TlsSide};

use super::authority::{Authority, Own};
use super::ends::{Foreign, Ours, everything, foreign_client, foreign_server, talk};
use super::{Gateway, PEER};
use crate::tls::TlsRole;

pub(super) const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// Meets `peer` on one side and holds alert, outcome and sentence against what is expected.
pub(super) fn refused_on(
    side: TlsRole,
    gateway: &Gateway,
    peer: &Own,
    alert: Alert,
    words: &[&str],
) {
    for version in VERSIONS {
        let (ours, foreign) = meet(side, gateway, Some(peer), AcceptAll::default(), version);
        let case = format!("{side:?} {:?} {words:?}", version.version);
        assert_eq!(ours.verification.peer(), None, "{case}");
        let sentence = refused_for(&ours, &foreign, alert, words, &case);
        assert_reads_well(&sentence, &case);
        let refusal = ours.verification.refusal().expect("it was refused");
        let shown = refusal.certificate.expect("it was presented");
        assert!(
            !sentence.contains(&shown.fingerprint),
            "{case}: a fingerprint is a field, not a word: {sentence}"
        );
        assert!(
            !sentence.chars().any(char::is_control),
            "{case}: {sentence:?}"
        );
    }
}

pub(super) fn refused(gateway: &Gateway, peer: &Own, alert: Alert, words: &[&str]) {
    refused_on(TlsRole::Client, gateway, peer, alert, words);
    refused_on(TlsRole::Server, gateway, peer, alert, words);
}

/// Meets a peer of the list of bad peers on one side, under the trust that it comes with.
pub(super) fn refused_as_listed(bad: &BadPeer, side: TlsSide) {
    let ours = match side {
        TlsSide::Client => TlsRole::Server,
        TlsSide::Server => TlsRole::Client,
    };
    let words = bad.words(PEER, side);
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let made = bad.make(PEER, side);
    let gateway = gateway_of(&made);
    match &made.own {
        Some(own) if made.verifier.requires => {
            refused_on(ours, &gateway, own, bad.alert, &words);
        }
        // Nothing is wrong with a certificate.
        _ => {
            for version in VERSIONS {
                let verifier = bad.make(PEER, side).verifier;
                let (ours, foreign) = meet(ours, &gateway, made.own.as_ref(), verifier, version);
                let case = format!("{side:?} {:?} {}", version.version, bad.name);
                refused_for(&ours, &foreign, bad.alert, &words, &case);
                if side == TlsSide::Server {
                    // The refusal comes within the handshake, so the server sends no payload.
                    assert!(foreign.connection.is_handshaking(), "{case}");
                }
            }
        }
    }
}

/// A gateway with the trust that a bad peer comes with.
pub(super) fn gateway_of(made: &Made) -> Gateway {
    let mut gateway = Gateway::under(&Authority::new("Site CA")).with_crls(made.crls.clone());
    gateway.listed[0].anchors.clone_from(&made.anchors);
    gateway
}

/// Checks that the handshake failed with this alert and this sentence, and returns the sentence.
fn refused_for(ours: &Ours, foreign: &Foreign, alert: Alert, words: &[&str], case: &str) -> String {
    assert!(!ours.is_established, "{case}: established");
    assert_eq!(
        foreign.alert(),
        Some(alert),
        "{case}: {:?} {:?}",
        foreign.error,
        ours.error
    );
    let sentence = ours.sentence();
    for word in words {
        assert!(
            sentence.contains(word),
            "{case}: no \"{word}\" in: {sentence}"
        );
    }
    assert!(sentence.contains("; "), "{case}: no remedy in: {sentence}");
    sentence
}

/// The sentence begins with whose certificate it is and holds no name of the library's errors.
pub(super) fn assert_reads_well(sentence: &str, case: &str) {
    let begins = ["the client", "the server", "issuer \""];
    assert!(
        begins.iter().any(|begin| sentence.starts_with(begin)),
        "{case}: {sentence}"
    );
    for name in [
        "UnknownIssuer",
        "BadDer",
        "UnsupportedCriticalExtension",
        "NameConstraintViolation",
        "PathLenConstraintViolated",
        "IssuerNotCrlSigner",
    ] {
        assert!(!sentence.contains(name), "{case}: {sentence}");
    }
}

fn meet(
    side: TlsRole,
    gateway: &Gateway,
    peer: Option<&Own>,
    verifier: AcceptAll,
    version: &'static SupportedProtocolVersion,
) -> (Ours, Foreign) {
    match side {
        TlsRole::Client => {
            let peer = peer.expect("a server has a certificate");
            let config = foreign_server(peer, verifier, everything(), &[version]);
            let (mut ours, mut foreign) = (Ours::connecting(gateway), Foreign::server(config));
            talk(&mut ours, &mut foreign);
            (ours, foreign)
        }
        TlsRole::Server => {
            let config = foreign_client(peer, everything(), &[version]);
            let (mut ours, mut foreign) = (Ours::accepting(gateway), Foreign::client(config));
            talk(&mut foreign, &mut ours);
            (ours, foreign)
        }
    }
}
