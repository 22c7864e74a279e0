//! The sentences about failed handshakes that no certificate of the peer is to blame for.

use std::time::Duration;

use rustls::{AlertDescription as Alert, Error, InvalidMessage, PeerIncompatible, PeerMisbehaved};

use test_peers::openings;

use super::authority::{Authority, dns, self_signed};
use super::ends::{End, Foreign, Ours, everything, foreign_client, talk};
use super::{Gateway, PEER};
use crate::config::KeyExchange;
use crate::tls::limits::SENTENCE_CHARS_MAX;
use crate::tls::verifier::CertificateRequest;
use crate::tls::{explain, explain_end, explain_silence};

fn gateway() -> Gateway {
    Gateway::under(&Authority::new("Site CA"))
}

fn connecting(error: &Error) -> String {
    let ours = Ours::connecting(&gateway());
    ours.verification.requested(CertificateRequest::Answerable);
    explain(error, &ours.verification, &[])
}

#[test]
fn an_alert_says_what_the_peer_holds_against_our_certificate() {
    let cases = [
        (
            Alert::UnknownCA,
            "unknown_ca",
            "our certificate file holds no certificate of \"CN=Site CA\"",
        ),
        (Alert::CertificateExpired, "certificate_expired", "renew it"),
        (
            Alert::CertificateRevoked,
            "certificate_revoked",
            "have a new one issued",
        ),
        (
            Alert::AccessDenied,
            "access_denied",
            "list \"dns:us.example\" or \"sha256:",
        ),
        (
            Alert::BadCertificate,
            "bad_certificate",
            "wardgate pki show",
        ),
        (
            Alert::UnsupportedCertificate,
            "unsupported_certificate",
            "wardgate pki show",
        ),
        (
            Alert::CertificateUnknown,
            "certificate_unknown",
            "wardgate pki show",
        ),
        (Alert::DecryptError, "decrypt_error", "wardgate pki show"),
        (
            Alert::CertificateRequired,
            "certificate_required",
            "accept the signatures of our key",
        ),
    ];
    for (alert, name, remedy) in cases {
        let sentence = connecting(&Error::AlertReceived(alert));
        for word in [name, remedy, "dns:us.example"] {
            assert!(sentence.contains(word), "{alert:?}: {sentence}");
        }
    }
}

#[test]
fn other_alerts_say_what_is_needed_or_where_to_look() {
    let cases = [
        (
            Alert::HandshakeFailure,
            "handshake_failure; it needs TLS 1.3 with AES-256-GCM",
        ),
        (
            Alert::ProtocolVersion,
            "protocol_version; it needs TLS 1.3 with AES-256-GCM",
        ),
        (
            Alert::InsufficientSecurity,
            "insufficient_security; it needs TLS 1.3",
        ),
        (
            Alert::UnrecognisedName,
            "unrecognized_name; write the target by a name",
        ),
        (
            Alert::NoApplicationProtocol,
            "no_application_protocol; let it take",
        ),
        (
            Alert::InternalError,
            "internal_error; its log has the reason",
        ),
        (Alert::DecodeError, "decode_error; its log has the reason"),
        (Alert::Unknown(0xee), "alert 238; its log has the reason"),
    ];
    for (alert, words) in cases {
        let sentence = connecting(&Error::AlertReceived(alert));
        assert!(sentence.contains(words), "{alert:?}: {sentence}");
    }
}

/// `check` at the other end refuses a wildcard in `peers`.
#[test]
fn the_refusal_of_wildcard_names_has_the_line_to_list_at_the_other_end() {
    let authority = Authority::new("Site CA");
    let wildcard = authority.issue(&["*.us.example"]);
    let ours = Ours::connecting(&gateway().with_own(wildcard));
    ours.verification.requested(CertificateRequest::Answerable);
    let error = Error::AlertReceived(Alert::AccessDenied);
    let sentence = explain(&error, &ours.verification, &[]);
    let words = "none of its names can be listed: let the server add \"sha256:";
    assert!(sentence.contains(words), "{sentence}");
}

#[test]
fn a_self_signed_certificate_of_ours_is_no_matter_of_the_peers_trust() {
    let ours = Ours::connecting(&gateway().with_own(self_signed(&["us.example"])));
    let error = Error::AlertReceived(Alert::UnknownCA);
    let sentence = explain(&error, &ours.verification, &[]);
    let words = "(unknown_ca); it is self-signed: have it issued by a CA";
    assert!(sentence.contains(words), "{sentence}");
}

#[test]
fn a_refusal_by_the_other_gateway_is_explained_at_both_ends() {
    let authority = Authority::new("Site CA");
    let here = Gateway::under(&authority)
        .with_peers(vec![crate::config::PeerName::Dns("us.example".into())]);
    let there = Gateway::under(&authority);
    let (mut client, mut server) = (Ours::connecting(&here), Ours::accepting(&there));
    talk(&mut client, &mut server);
    assert!(
        server.sentence().contains("is none of this route's peers"),
        "{}",
        server.sentence()
    );
    let sentence = client.sentence();
    assert!(
        sentence.starts_with("the server does not accept our certificate dns:us.example"),
        "{sentence}"
    );
    assert!(sentence.contains("access_denied"), "{sentence}");
}

#[test]
fn a_peer_that_speaks_no_tls_is_named_by_what_it_speaks() {
    let cases: [(&[u8], &str); 9] = [
        (openings::DICOM, "plaintext DICOM, not TLS"),
        (openings::HL7, "plaintext HL7, not TLS"),
        (openings::BARE_HL7, "plaintext HL7, not TLS"),
        (openings::HTTP, "plaintext HTTP, not TLS"),
        (b"OPTIONS ", "plaintext HTTP, not TLS"),
        (openings::SSH, "SSH, not TLS"),
        (openings::PROXY, "a PROXY protocol header"),
        (openings::OLD_SSL, "SSL 2"),
        (openings::TELNET, "bytes of an unknown protocol, not TLS"),
    ];
    for (first, words) in cases {
        let mut ours = Ours::accepting(&gateway());
        // Long enough that rustls need not wait for the rest of a record.
        let mut sent = first.to_vec();
        sent.resize(80_000, 0);
        ours.advance(&sent);
        let sentence = ours.sentence();
        assert!(sentence.contains(words), "{first:?}: {sentence}");
        let eight = first.get(..8).unwrap_or(first);
        assert!(
            explain_end(&ours.verification, eight, 0).contains(words),
            "{first:?}"
        );
    }
}

#[test]
fn an_abort_in_plain_dicom_is_recognised_where_we_connect() {
    let mut ours = Ours::connecting(&gateway());
    ours.advance(openings::DICOM_ABORT);
    let sentence = ours.sentence();
    assert!(
        sentence.contains("the server sent plaintext DICOM, not TLS"),
        "{sentence}"
    );
    assert!(
        sentence.contains("the target must be the port of a terminate route"),
        "{sentence}"
    );
}

#[test]
fn a_connection_that_ends_early_has_a_sentence_of_its_own() {
    let ours = Ours::connecting(&gateway());
    assert!(explain_end(&ours.verification, &[], 0).contains("before it sent a byte"));
    let tls = explain_end(&ours.verification, &[0x16, 3, 3], 0);
    assert!(tls.contains("in the middle of the handshake"), "{tls}");
    let ours = Ours::accepting(&gateway());
    assert!(explain_end(&ours.verification, &[], 0).contains("the client closed the connection"));
}

/// Middleboxes that want the whole ClientHello in one packet answer with silence, or a reset.
#[test]
fn an_unanswered_hello_names_its_size_and_what_makes_it_smaller() {
    let limit = (Duration::from_secs(4), "timeouts.connect");
    let silence = |gateway: &Gateway, bytes| {
        let ours = Ours::connecting(gateway);
        let end = explain_end(&ours.verification, &[], bytes);
        let words = "hybrid = false in this route";
        let silence = explain_silence(&ours.verification, &[], bytes, limit);
        assert_eq!(end.contains(words), silence.contains(words), "{end}");
        (silence.contains(words), silence)
    };
    let (is_named, sentence) = silence(&gateway(), 1636);
    assert!(is_named, "{sentence}");
    for part in [
        "no TLS answer within 4 s (timeouts.connect)",
        "1636 bytes",
        "firewall",
        "MTU",
    ] {
        assert!(sentence.contains(part), "{sentence}");
    }
    let (is_named, sentence) = silence(&gateway(), 300);
    assert!(!is_named, "it fits into one packet: {sentence}");
    for key_exchange in [KeyExchange::Classical, KeyExchange::HybridRequired] {
        let mut gateway = gateway();
        gateway.key_exchange = key_exchange;
        let (is_named, sentence) = silence(&gateway, 1636);
        assert!(!is_named, "{key_exchange:?}: {sentence}");
    }
}

#[test]
fn a_handshake_that_stops_half_way_names_the_key_of_its_deadline() {
    let ours = Ours::connecting(&gateway());
    let limit = (Duration::from_millis(4960), "timeouts.handshake");
    let sentence = explain_silence(&ours.verification, &[0x16, 3, 3], 1636, limit);
    assert_eq!(
        sentence,
        "the TLS handshake did not end within 5 s (timeouts.handshake); the server did not send the rest of it"
    );
    let foreign = explain_silence(&ours.verification, b"SSH-2.0-x", 1636, limit);
    assert!(
        foreign.contains("the server sent SSH, not TLS"),
        "{foreign}"
    );
}

/// A ClientHello of TLS 1.1 (RFC 4346 section 7.4.1.2) with these extensions.
fn hello_of_tls_1_1(extensions: &[u8]) -> Vec<u8> {
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0, 0x2f, 1, 0]);
    if !extensions.is_empty() {
        hello.extend([0, extensions.len() as u8]);
        hello.extend(extensions);
    }
    let length = hello.len() as u8;
    [
        &[0x16, 3, 1, 0, length + 4, 1, 0, 0, length],
        hello.as_slice(),
    ]
    .concat()
}

#[test]
fn the_refusal_of_tls_1_1_names_what_is_needed() {
    let mut ours = Ours::accepting(&gateway());
    let answer = ours.advance(&hello_of_tls_1_1(&[]));
    let sentence = ours.sentence();
    assert!(
        sentence.contains("as TLS before 1.2 does not; it needs TLS 1.3"),
        "{sentence}"
    );
    assert_eq!(
        answer.get(5..),
        Some(&[2u8, 40][..]),
        "a fatal handshake_failure"
    );

    // With signature_algorithms: ecdsa_secp256r1_sha256 (RFC 5246 section 7.4.1.4.1).
    let mut ours = Ours::accepting(&gateway());
    let answer = ours.advance(&hello_of_tls_1_1(&[0, 13, 0, 4, 0, 2, 4, 3]));
    let sentence = ours.sentence();
    assert!(
        sentence.contains("no version of TLS that this route accepts; it needs"),
        "{sentence}"
    );
    assert_eq!(
        answer.get(5..),
        Some(&[2u8, 70][..]),
        "a fatal protocol_version"
    );
}

#[test]
fn every_other_class_of_error_has_its_words() {
    let cases = [
        (
            Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
            "no cipher suite",
        ),
        (
            Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon),
            "no key exchange",
        ),
        (
            Error::PeerIncompatible(PeerIncompatible::NoSignatureSchemesInCommon),
            "no signature",
        ),
        (
            Error::PeerIncompatible(PeerIncompatible::NullCompressionRequired),
            "NullCompression",
        ),
        (
            Error::PeerMisbehaved(PeerMisbehaved::MissingKeyShare),
            "broke the rules of TLS",
        ),
        (
            Error::InvalidMessage(InvalidMessage::InvalidCcs),
            "broke the rules of TLS",
        ),
        (
            Error::InvalidMessage(InvalidMessage::UnknownProtocolVersion),
            "unknown version of TLS",
        ),
        (Error::DecryptError, "failed its integrity check"),
        (Error::FailedToGetCurrentTime, "set its clock"),
        (
            Error::General("x\ny".into()),
            "the handshake failed: unexpected error: x\\u{a}y",
        ),
    ];
    for (error, words) in cases {
        let sentence = connecting(&error);
        assert!(sentence.contains(words), "{error:?}: {sentence}");
        assert!(!sentence.chars().any(char::is_control));
    }
}

#[test]
fn names_from_outside_are_escaped_and_bounded() {
    let authority = Authority::new("Site CA");
    let gateway = Gateway::under(&authority);
    let evil = "a\u{1b}[2J\u{202e}\"; ok=\"".to_owned() + &"x".repeat(5000);
    let peer = authority.issue_with(&[], |params| {
        params.distinguished_name = super::authority::called(&evil);
        params.subject_alt_names = (0..50)
            .map(|number| dns(&format!("n{number}.{}example", "label.".repeat(30))))
            .collect();
    });
    let mut foreign = Foreign::client(foreign_client(
        Some(&peer),
        everything(),
        &[&rustls::version::TLS13],
    ));
    let mut ours = Ours::accepting(&gateway);
    talk(&mut foreign, &mut ours);
    let sentence = ours.sentence();
    assert!(
        sentence.chars().all(|letter| (' '..='~').contains(&letter)),
        "{sentence}"
    );
    assert!(sentence.chars().count() <= SENTENCE_CHARS_MAX);
    assert!(sentence.contains("(and 49 more names)"), "{sentence}");

    let peer = authority.issue_with(&[], |params| {
        params.distinguished_name = super::authority::called(&evil);
    });
    let mut foreign = Foreign::client(foreign_client(
        Some(&peer),
        everything(),
        &[&rustls::version::TLS13],
    ));
    let mut ours = Ours::accepting(&gateway);
    talk(&mut foreign, &mut ours);
    let sentence = ours.sentence();
    assert!(
        sentence.chars().all(|letter| (' '..='~').contains(&letter)),
        "{sentence}"
    );
    assert!(
        sentence.contains("subject \"CN=a\\u{1b}[2J\\u{202e}\\\"; ok"),
        "{sentence}"
    );
    assert!(sentence.chars().count() < 1000, "{sentence}");
}

#[test]
fn a_peer_list_is_shown_shortened() {
    let authority = Authority::new("Site CA");
    let peers = (0..20)
        .map(|n| crate::config::PeerName::Dns(format!("p{n}.example")))
        .collect();
    let gateway = Gateway::under(&authority).with_peers(peers);
    let peer = authority.issue(&[PEER]);
    let mut foreign = Foreign::client(foreign_client(
        Some(&peer),
        everything(),
        &[&rustls::version::TLS13],
    ));
    let mut ours = Ours::accepting(&gateway);
    talk(&mut foreign, &mut ours);
    let words = "(dns:p0.example, dns:p1.example, dns:p2.example, dns:p3.example, dns:p4.example, \
                 dns:p5.example and 14 more)";
    assert!(ours.sentence().contains(words), "{}", ours.sentence());
}
