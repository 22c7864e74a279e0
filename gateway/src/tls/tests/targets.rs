//! What ties a connection to its target and to its route: expected peers and service labels.

use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription as Alert, SupportedProtocolVersion};
use test_peers::AcceptAll;

use super::authority::Authority;
use super::ends::{Foreign, Ours, everything, foreign_client, foreign_server, talk};
use super::matrix::VERSIONS;
use super::{Gateway, Listed, PEER, target};
use crate::config::{PeerName, Target};

const A: &str = "gw.a.example";
const B: &str = "gw.b.example";

fn expecting(names: &[&str]) -> Target {
    let names = names.iter().map(|name| PeerName::Dns((*name).to_owned()));
    Target {
        expected: Some(names.collect::<Arc<[_]>>()),
        ..target()
    }
}

/// Connects to a server that shows a certificate with `names`.
fn connect(
    gateway: &Gateway,
    authority: &Authority,
    names: &[&str],
    target: &Target,
    version: &'static SupportedProtocolVersion,
) -> (Ours, Foreign) {
    let peer = authority.issue(names);
    let config = foreign_server(&peer, AcceptAll::default(), everything(), &[version]);
    let mut ours = Ours::connecting_to(&gateway.connector(), target);
    let mut foreign = Foreign::server(config);
    talk(&mut ours, &mut foreign);
    (ours, foreign)
}

#[test]
fn a_listed_peer_that_is_not_expected_at_the_target_is_refused() {
    let region = Authority::new("Region CA");
    let peers = [A, B].map(|name| PeerName::Dns(name.into()));
    let gateway = Gateway::under(&region).with_peers(peers.to_vec());
    for version in VERSIONS {
        let (ours, foreign) = connect(&gateway, &region, &[B], &expecting(&[A]), version);
        assert!(!ours.is_established);
        assert_eq!(foreign.alert(), Some(Alert::AccessDenied));
        let sentence = ours.sentence();
        for words in [
            "the server's certificate dns:gw.b.example proves \"dns:gw.b.example\", and dns:gw.a.example is expected at target \
             target.example:2762",
            "check where the target's address leads",
        ] {
            assert!(sentence.contains(words), "{sentence}");
        }
        let (ours, _) = connect(&gateway, &region, &[A], &expecting(&[A]), version);
        assert!(ours.is_established);
        let (ours, _) = connect(&gateway, &region, &[B], &target(), version);
        assert!(ours.is_established, "nothing is said of this target");
    }
}

#[test]
fn an_expected_identity_behind_another_one_is_enough() {
    let region = Authority::new("Region CA");
    let listed = vec![
        Listed::named("hospital-a", A, &region),
        Listed::named("hospital-b", B, &region),
    ];
    let gateway = Gateway::listing(&region, listed);
    let (ours, _) = connect(&gateway, &region, &[A, B], &expecting(&[B]), &TLS13);
    let peer = ours.verification.peer().expect("it proves both");
    assert_eq!(peer.identity, "dns:gw.b.example");
}

#[test]
fn an_expected_name_from_a_ca_that_may_not_issue_it_is_refused() {
    let (a, b) = (Authority::new("Hospital A"), Authority::new("Hospital B"));
    let listed = vec![
        Listed::named("hospital-a", A, &a),
        Listed::named("hospital-b", B, &b),
    ];
    let gateway = Gateway::listing(&a, listed);
    // It proves to be B, which would do elsewhere, and only claims to be A.
    let (ours, foreign) = connect(&gateway, &b, &[A, B], &expecting(&[A]), &TLS13);
    assert!(!ours.is_established);
    assert_eq!(foreign.alert(), Some(Alert::AccessDenied));
    assert!(
        ours.sentence()
            .contains("may not issue certificates for \"dns:gw.a.example\"")
    );
}

/// Two of ours under one CA, with these service labels.
fn pair(client: Option<&'static str>, server: Option<&'static str>) -> (Gateway, Gateway) {
    let region = Authority::new("Region CA");
    let with = |name: &str, label| {
        let gateway = Gateway {
            own: region.issue(&[name]),
            ..Gateway::under(&region)
        };
        Gateway {
            service: label,
            ..gateway.with_peers(vec![PeerName::Dns(PEER.into())])
        }
    };
    (with(PEER, client), with(PEER, server))
}

fn shake(client: &Gateway, server: &Gateway) -> (Ours, Ours) {
    let (mut client, mut server) = (Ours::connecting(client), Ours::accepting(server));
    talk(&mut client, &mut server);
    (client, server)
}

#[test]
fn ends_that_agree_on_the_service_or_name_none_accept_each_other() {
    for label in [Some("archive"), None] {
        let (client, server) = pair(label, label);
        let (client, server) = shake(&client, &server);
        assert!(client.is_established && server.is_established);
        assert_eq!(client.verification.check_confirmed(client.common()), Ok(()));
        assert_eq!(server.verification.check_confirmed(server.common()), Ok(()));
    }
}

#[test]
fn a_client_of_another_service_is_refused_before_any_certificate_is_shown() {
    let cases = [
        (
            Some("archive"),
            Some("worklist"),
            "asked for service \"archive\", and this route is service \"worklist\"",
        ),
        (
            None,
            Some("worklist"),
            "named no service, and this route is service \"worklist\"",
        ),
        (
            Some("archive"),
            None,
            "asked for service \"archive\", and this route has no service label",
        ),
    ];
    for (asks, has, words) in cases {
        let (client, server) = pair(asks, has);
        let (client, server) = shake(&client, &server);
        assert!(!client.is_established && !server.is_established);
        assert_eq!(server.verification.peer(), None);
        let sentence = server.sentence();
        assert!(sentence.contains(words), "{sentence}");
        let sentence = client.sentence();
        assert!(sentence.contains("access_denied"), "{sentence}");
        assert!(
            sentence.contains("before it saw our certificate"),
            "{sentence}"
        );
        assert!(sentence.contains("the same service"), "{sentence}");
    }
}

#[test]
fn a_foreign_server_that_does_not_confirm_the_service_is_refused() {
    let region = Authority::new("Region CA");
    let gateway = Gateway::under(&region).with_service("archive");
    for (version, confirms) in [
        (&TLS13, false),
        (&TLS12, false),
        (&TLS13, true),
        (&TLS12, true),
    ] {
        let peer = region.issue(&[PEER]);
        let mut config = foreign_server(&peer, AcceptAll::default(), everything(), &[version]);
        if confirms {
            config.alpn_protocols = vec![b"h2".to_vec(), b"wardgate/archive".to_vec()];
        }
        let (mut ours, mut foreign) = (Ours::connecting(&gateway), Foreign::server(config));
        talk(&mut ours, &mut foreign);
        assert!(ours.is_established);
        let confirmed = ours.verification.check_confirmed(ours.common());
        assert_eq!(confirmed.is_ok(), confirms, "{:?}", version.version);
        if !confirms {
            let sentence = ours.verification.refusal().expect("refused").to_string();
            let words = "the server did not confirm service \"archive\" of this route";
            assert!(sentence.contains(words), "{sentence}");
        }
    }
}

#[test]
fn both_ends_agree_on_whether_the_address_of_the_client_is_carried() {
    let region = Authority::new("Region CA");
    let plain = || Gateway::under(&region);
    let remedy = "write carry_source = true at";
    let requires =
        "the client carries no address of its client, and this route has carry_source = true";
    let refuses =
        "the client carries the address of its client, and this route has no carry_source";
    for (client, server, sentence) in [
        (plain().carrying_source(), plain().carrying_source(), None),
        (plain(), plain().carrying_source(), Some(requires)),
        (plain().carrying_source(), plain(), Some(refuses)),
        (
            plain().carrying_source().with_service("archive"),
            plain().carrying_source().with_service("archive"),
            None,
        ),
        (
            plain().with_service("archive"),
            plain().carrying_source().with_service("archive"),
            Some(requires),
        ),
        (
            plain().carrying_source().with_service("archive"),
            plain().with_service("archive"),
            Some(refuses),
        ),
        (
            plain().carrying_source().with_service("other"),
            plain().carrying_source().with_service("archive"),
            Some("the client asked for service \"other\""),
        ),
    ] {
        let mut server = server.with_peers(vec![PeerName::Dns("us.example".into())]);
        server.own = region.issue(&[PEER]);
        let (mut client, mut server) = (Ours::connecting(&client), Ours::accepting(&server));
        talk(&mut client, &mut server);
        let Some(expected) = sentence else {
            assert!(server.is_established, "{:?}", server.error);
            let confirmed = client.verification.check_confirmed(client.common());
            confirmed.expect("the server confirms");
            continue;
        };
        let said = server.sentence();
        assert!(said.contains(expected), "{said}");
        assert!(said.contains(remedy) || said.contains("service"), "{said}");
        let said = client.sentence();
        assert!(said.contains("carry_source (ours is "), "{said}");
    }
}

#[test]
fn a_foreign_server_that_does_not_confirm_carry_source_is_refused() {
    let region = Authority::new("Region CA");
    let gateway = Gateway::under(&region).carrying_source();
    for version in VERSIONS {
        let peer = region.issue(&[PEER]);
        let config = foreign_server(&peer, AcceptAll::default(), everything(), &[version]);
        let (mut ours, mut foreign) = (Ours::connecting(&gateway), Foreign::server(config));
        talk(&mut ours, &mut foreign);
        assert!(ours.is_established);
        let confirmed = ours.verification.check_confirmed(ours.common());
        confirmed.expect_err("it was not confirmed");
        let sentence = ours.verification.refusal().expect("refused").to_string();
        let words = "the server did not confirm carry_source; write carry_source = true at the server's route";
        assert!(sentence.contains(words), "{sentence}");
    }
}

#[test]
fn foreign_clients_work_where_no_service_is_set_whatever_protocols_they_offer() {
    let region = Authority::new("Region CA");
    let gateway = Gateway::under(&region);
    let peer = region.issue(&[PEER]);
    for version in VERSIONS {
        for protocols in [vec![], vec![b"h2".to_vec(), b"http/1.1".to_vec()]] {
            let mut config = foreign_client(Some(&peer), everything(), &[version]);
            config.alpn_protocols = protocols;
            let (mut ours, mut foreign) = (Ours::accepting(&gateway), Foreign::client(config));
            talk(&mut foreign, &mut ours);
            assert!(ours.is_established, "{:?}", ours.error);
        }
    }
}

#[test]
fn a_label_from_outside_is_escaped_and_bounded() {
    let region = Authority::new("Region CA");
    let gateway = Gateway::under(&region).with_service("archive");
    let mut config = foreign_client(None, everything(), &[&TLS13]);
    let evil = [b"wardgate/\x1b[2J\"; ok=\"".as_slice(), &[b'x'; 200]].concat();
    config.alpn_protocols = vec![evil];
    let (mut ours, mut foreign) = (Ours::accepting(&gateway), Foreign::client(config));
    talk(&mut foreign, &mut ours);
    let sentence = ours.sentence();
    let words = "asked for service \"\\u{1b}[2J\\\"; ok";
    assert!(sentence.contains(words), "{sentence}");
    assert!(sentence.chars().all(|letter| (' '..='~').contains(&letter)));
}
