//! What is negotiated, and what never is.

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{cipher_suite as suites, kx_group as groups};
use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription as Alert, Error, HandshakeKind, PeerIncompatible, SupportedCipherSuite,
    SupportedProtocolVersion,
};
use test_peers::AcceptAll;

use super::authority::Authority;
use super::ends::{End, Foreign, Ours, everything, foreign_client, foreign_server, talk};
use super::{Gateway, PEER, target};
use crate::config::{Host, KeyExchange, PeerName, Policy, Target};
use crate::tls::{TlsInfo, TlsVersion};

const BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// A gateway of each kind: one that connects to a foreign server, one that accepts a foreign client,
/// both of which have a good certificate.
struct Pair {
    authority: Authority,
    gateway: Gateway,
}

impl Pair {
    fn new(policy: Policy, require_pq: bool) -> Self {
        let authority = Authority::new("Site CA");
        let mut gateway = Gateway::under(&authority);
        gateway.policy = policy;
        gateway.key_exchange = match require_pq {
            true => KeyExchange::HybridRequired,
            false => KeyExchange::HybridPreferred,
        };
        Self { authority, gateway }
    }

    fn connect(
        &self,
        provider: CryptoProvider,
        versions: &[&'static SupportedProtocolVersion],
    ) -> (Ours, Foreign) {
        let peer = self.authority.issue(&[PEER]);
        let config = foreign_server(&peer, AcceptAll::default(), provider, versions);
        let (mut ours, mut foreign) = (Ours::connecting(&self.gateway), Foreign::server(config));
        talk(&mut ours, &mut foreign);
        (ours, foreign)
    }

    fn accept(
        &self,
        provider: CryptoProvider,
        versions: &[&'static SupportedProtocolVersion],
    ) -> (Ours, Foreign) {
        let peer = self.authority.issue(&[PEER]);
        let config = foreign_client(Some(&peer), provider, versions);
        let (mut ours, mut foreign) = (Ours::accepting(&self.gateway), Foreign::client(config));
        talk(&mut foreign, &mut ours);
        (ours, foreign)
    }
}

fn only(suite: SupportedCipherSuite) -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![suite],
        ..everything()
    }
}

fn version_of(suite: SupportedCipherSuite) -> &'static SupportedProtocolVersion {
    if suite.tls13().is_some() {
        &TLS13
    } else {
        &TLS12
    }
}

#[test]
fn weaker_suites_are_never_negotiated_under_hscn() {
    let weaker = [
        suites::TLS13_AES_128_GCM_SHA256,
        suites::TLS13_CHACHA20_POLY1305_SHA256,
        suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    for policy in [Policy::Hscn, Policy::HscnTls13] {
        let pair = Pair::new(policy, false);
        for suite in weaker {
            let version = version_of(suite);
            let (ours, foreign) = pair.accept(only(suite), &[version]);
            assert!(
                !ours.is_established && foreign.connection.is_handshaking(),
                "{suite:?}"
            );
            assert!(foreign.alert().is_some(), "{suite:?}: {:?}", foreign.error);
            assert!(
                ours.sentence()
                    .contains("it needs TLS 1.3 with AES-256-GCM"),
                "{suite:?}"
            );

            let (ours, foreign) = pair.connect(only(suite), &[version]);
            assert!(
                !ours.is_established && foreign.connection.is_handshaking(),
                "{suite:?}"
            );
            assert!(
                matches!(ours.error, Some(Error::AlertReceived(_))),
                "{:?}",
                ours.error
            );
            assert!(
                ours.sentence()
                    .contains("it needs TLS 1.3 with AES-256-GCM"),
                "{suite:?}"
            );
        }
    }
}

#[test]
fn a_peer_that_can_do_everything_gets_aes_256() {
    for policy in [Policy::Hscn, Policy::DicomB12] {
        let pair = Pair::new(policy, false);
        // A client that likes AES-128 best.
        let mut provider = everything();
        provider.cipher_suites.reverse();
        for (version, suite) in [
            (&TLS13, "TLS_AES_256_GCM_SHA384"),
            (&TLS12, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
        ] {
            let (ours, _) = pair.accept(provider.clone(), &[version]);
            assert_eq!(ours.negotiated().suite, suite);
        }
        let (ours, _) = pair.connect(everything(), &BOTH);
        let info = TlsInfo {
            version: TlsVersion::Tls13,
            suite: "TLS_AES_256_GCM_SHA384",
            group: "x25519",
        };
        assert_eq!(ours.negotiated(), info);
    }
}

#[test]
fn dicom_b12_accepts_aes_128_but_no_chacha20() {
    let pair = Pair::new(Policy::DicomB12, false);
    for suite in [
        suites::TLS13_AES_128_GCM_SHA256,
        suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ] {
        let (ours, _) = pair.accept(only(suite), &[version_of(suite)]);
        assert!(ours.negotiated().suite.contains("AES_128_GCM"), "{suite:?}");
        let (ours, _) = pair.connect(only(suite), &[version_of(suite)]);
        assert!(ours.negotiated().suite.contains("AES_128_GCM"), "{suite:?}");
    }
    let chacha = suites::TLS13_CHACHA20_POLY1305_SHA256;
    assert!(!pair.accept(only(chacha), &[&TLS13]).0.is_established);
    assert!(!pair.connect(only(chacha), &[&TLS13]).0.is_established);
}

#[test]
fn hscn_tls13_refuses_tls_1_2() {
    let pair = Pair::new(Policy::HscnTls13, false);
    let (ours, foreign) = pair.accept(everything(), &[&TLS12]);
    assert!(!ours.is_established);
    assert_eq!(foreign.alert(), Some(Alert::ProtocolVersion));
    assert!(
        ours.sentence().contains("no version of TLS"),
        "{}",
        ours.sentence()
    );
    let (ours, _) = pair.connect(everything(), &[&TLS12]);
    assert!(!ours.is_established);
    assert!(
        ours.sentence().contains("it needs TLS 1.3 with"),
        "{}",
        ours.sentence()
    );
}

#[test]
fn two_of_ours_agree_on_the_hybrid_key_exchange() {
    for (policy, require_pq) in [
        (Policy::Hscn, false),
        (Policy::HscnTls13, false),
        (Policy::Hscn, true),
    ] {
        let mut pair = Pair::new(policy, require_pq);
        pair.gateway = pair
            .gateway
            .with_peers(vec![PeerName::Dns("us.example".into())]);
        let mut client = Ours::connecting(&pair.gateway);
        let mut server = Ours::accepting(&pair.gateway);
        talk(&mut client, &mut server);
        for end in [client, server] {
            let info = TlsInfo {
                version: TlsVersion::Tls13,
                suite: "TLS_AES_256_GCM_SHA384",
                group: "X25519MLKEM768",
            };
            assert_eq!(end.negotiated(), info);
            // No retry: the share was the right one at once.
            assert_eq!(end.common().handshake_kind(), Some(HandshakeKind::Full));
        }
    }
}

#[test]
fn require_pq_refuses_a_peer_without_it() {
    let pair = Pair::new(Policy::Hscn, true);
    for versions in [&BOTH[..], &[&TLS13], &[&TLS12]] {
        let (ours, foreign) = pair.accept(everything(), versions);
        assert!(
            !ours.is_established && foreign.alert().is_some(),
            "{:?}",
            foreign.error
        );
        assert!(
            ours.sentence().contains("X25519MLKEM768 (require_pq)"),
            "{}",
            ours.sentence()
        );
        let (ours, _) = pair.connect(everything(), versions);
        assert!(!ours.is_established);
        assert!(
            ours.sentence().contains("X25519MLKEM768 (require_pq)"),
            "{}",
            ours.sentence()
        );
    }
}

#[test]
fn the_refusal_of_a_peer_without_a_common_key_exchange_names_what_is_needed() {
    let pair = Pair::new(Policy::Hscn, true);
    let provider = CryptoProvider {
        kx_groups: vec![groups::SECP256R1],
        ..everything()
    };
    let (ours, foreign) = pair.accept(provider, &[&TLS13]);
    assert_eq!(foreign.alert(), Some(Alert::HandshakeFailure));
    assert!(
        ours.sentence()
            .contains("no key exchange that this route accepts")
    );
}

#[test]
fn no_ticket_is_sent_and_no_session_resumed_where_we_accept() {
    let pair = Pair::new(Policy::Hscn, false);
    let peer = pair.authority.issue(&[PEER]);
    for version in BOTH {
        let mut config = foreign_client(Some(&peer), everything(), &[version]);
        config.resumption = Resumption::in_memory_sessions(8);
        let acceptor = pair.gateway.acceptor();
        for _ in 0..2 {
            let mut ours = Ours::accepting_by(&acceptor);
            let mut foreign = Foreign::client(config.clone());
            talk(&mut foreign, &mut ours);
            assert!(ours.is_established);
            let rustls::Connection::Client(client) = &foreign.connection else {
                panic!("a client");
            };
            assert_eq!(client.tls13_tickets_received(), 0);
            assert_eq!(
                foreign.connection.handshake_kind(),
                Some(HandshakeKind::Full)
            );
            assert!(ours.verification.peer().is_some());
        }
    }
}

#[test]
fn each_lock_against_resumption_is_shut_on_its_own() {
    let acceptor = Pair::new(Policy::Hscn, false).gateway.acceptor();
    let config = acceptor
        .config(&acceptor.verification())
        .expect("a configuration");
    assert!(!config.session_storage.can_cache());
    assert!(!config.ticketer.enabled());
    assert_eq!(
        (config.send_tls13_tickets, config.max_tls13_tickets),
        (0, 0)
    );
    assert_eq!(config.max_early_data_size, 0);
    assert!(!config.send_half_rtt_data);
}

#[test]
fn no_session_is_resumed_where_we_connect() {
    let pair = Pair::new(Policy::Hscn, false);
    let peer = pair.authority.issue(&[PEER]);
    for version in BOTH {
        // This server keeps sessions and gives tickets away, and we connect by one connector.
        let config = foreign_server(&peer, AcceptAll::default(), everything(), &[version]);
        let connector = pair.gateway.connector();
        for _ in 0..2 {
            let mut ours = Ours::connecting_by(&connector);
            let mut foreign = Foreign::server(config.clone());
            talk(&mut ours, &mut foreign);
            assert!(ours.is_established);
            assert_eq!(ours.common().handshake_kind(), Some(HandshakeKind::Full));
            assert!(ours.verification.peer().is_some());
        }
    }
}

#[test]
fn the_hello_asks_for_no_ticket() {
    // An empty session_ticket extension (RFC 5077 section 3.2).
    const SESSION_TICKET: [u8; 4] = [0, 35, 0, 0];
    let pair = Pair::new(Policy::Hscn, false);
    let hello = Ours::connecting(&pair.gateway).advance(&[]);
    assert!(
        hello
            .windows(4)
            .any(|window| window == EXTENDED_MASTER_SECRET)
    );
    assert!(!hello.windows(4).any(|window| window == SESSION_TICKET));
}

/// The extended master secret extension, empty (RFC 7627 section 5.1).
const EXTENDED_MASTER_SECRET: [u8; 4] = [0, 0x17, 0, 0];

#[test]
fn a_tls_1_2_client_without_extended_master_secret_is_refused() {
    let pair = Pair::new(Policy::Hscn, false);
    let peer = pair.authority.issue(&[PEER]);
    let mut foreign = Foreign::client(foreign_client(Some(&peer), everything(), &[&TLS12]));
    let mut hello = foreign.advance(&[]);
    let at = position(&hello, &EXTENDED_MASTER_SECRET);
    // An extension of the private range takes its place (RFC 8701).
    hello[at..at + 2].copy_from_slice(&[0xfa, 0xfa]);

    let mut ours = Ours::accepting(&pair.gateway);
    let answer = ours.advance(&hello);
    let cause = PeerIncompatible::ExtendedMasterSecretExtensionRequired;
    assert_eq!(ours.error, Some(Error::PeerIncompatible(cause)));
    foreign.advance(&answer);
    assert_eq!(foreign.alert(), Some(Alert::HandshakeFailure));
    assert!(
        ours.sentence().contains("without extended master secret"),
        "{}",
        ours.sentence()
    );
}

#[test]
fn a_tls_1_2_server_without_extended_master_secret_is_refused() {
    let pair = Pair::new(Policy::Hscn, false);
    let peer = pair.authority.issue(&[PEER]);
    let config = foreign_server(&peer, AcceptAll::default(), everything(), &[&TLS12]);
    let (mut ours, mut foreign) = (Ours::connecting(&pair.gateway), Foreign::server(config));
    let mut flight = foreign.advance(&ours.advance(&[]));
    remove_extension(&mut flight);
    ours.advance(&flight);
    let cause = PeerIncompatible::ExtendedMasterSecretExtensionRequired;
    assert_eq!(ours.error, Some(Error::PeerIncompatible(cause)));
    assert!(
        ours.sentence().contains("without extended master secret"),
        "{}",
        ours.sentence()
    );
}

/// Takes the extension out of the ServerHello that begins `flight`, and corrects the lengths around it.
fn remove_extension(flight: &mut Vec<u8>) {
    let at = position(flight, &EXTENDED_MASTER_SECRET);
    flight.drain(at..at + 4);
    // Record length, message length, and after version, random, session id, suite and compression
    // the length of the extensions (RFC 5246 section 7.4.1.3).
    let session_id = usize::from(flight[43]);
    for length_at in [3, 7, 44 + session_id + 3] {
        let length = u16::from_be_bytes([flight[length_at], flight[length_at + 1]]) - 4;
        flight[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }
}

fn position(bytes: &[u8], part: &[u8]) -> usize {
    bytes
        .windows(part.len())
        .position(|window| window == part)
        .expect("the extension is there")
}

#[test]
fn the_name_of_the_target_is_asked_for_and_an_address_is_not() {
    let pair = Pair::new(Policy::Hscn, false);
    let connector = pair.gateway.connector();
    let address = Target {
        host: Host::Ip("192.0.2.1".parse().expect("an address")),
        ..target()
    };
    let peer = pair.authority.issue(&[PEER]);
    for (target, asked) in [(target(), Some("target.example")), (address, None)] {
        let mut ours = Ours::connecting_to(&connector, &target);
        let config = foreign_server(&peer, AcceptAll::default(), everything(), &BOTH);
        let mut foreign = Foreign::server(config);
        talk(&mut ours, &mut foreign);
        assert!(ours.is_established);
        let rustls::Connection::Server(server) = &foreign.connection else {
            panic!("a server");
        };
        assert_eq!(server.server_name(), asked);
    }
}
