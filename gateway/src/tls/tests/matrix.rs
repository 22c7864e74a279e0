//! One bad peer in all its roles: as server and as client, in TLS 1.3 and 1.2, with the alert that it
//! really receives and the sentence that the operator reads.

use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription as Alert, SupportedProtocolVersion};

use super::Gateway;
use super::authority::Own;
use super::ends::{Credulous, Foreign, Ours, everything, foreign_client, foreign_server, talk};
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
        let (ours, foreign) = meet(side, gateway, peer, version);
        let case = format!("{side:?} {:?} {words:?}", version.version);
        assert!(!ours.is_established, "{case}: established");
        assert_eq!(ours.verification.peer(), None, "{case}");
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
    peer: &Own,
    version: &'static SupportedProtocolVersion,
) -> (Ours, Foreign) {
    match side {
        TlsRole::Client => {
            let config = foreign_server(peer, Credulous::default(), everything(), &[version]);
            let (mut ours, mut foreign) = (Ours::connecting(gateway), Foreign::server(config));
            talk(&mut ours, &mut foreign);
            (ours, foreign)
        }
        TlsRole::Server => {
            let config = foreign_client(Some(peer), everything(), &[version]);
            let (mut ours, mut foreign) = (Ours::accepting(gateway), Foreign::client(config));
            talk(&mut foreign, &mut ours);
            (ours, foreign)
        }
    }
}
