//! Routes with more peers than a handshake may look at.

use rustls::AlertDescription as Alert;

use super::authority::Authority;
use super::good_peers::accepted;
use super::matrix::refused;
use super::{Gateway, Listed, PEER};

/// More than the signature checks after which webpki ends its search (100).
const PEERS: usize = 120;

fn name_of(peer: usize) -> String {
    format!("gw{peer}.example")
}

/// A gateway with as many peers, each with a CA of its own, and the CAs.
fn of_many(ca: impl Fn(usize) -> String) -> (Gateway, Vec<Authority>) {
    let authorities: Vec<_> = (0..PEERS).map(|peer| Authority::new(&ca(peer))).collect();
    let listed = authorities.iter().enumerate().map(|(peer, authority)| {
        let table = Box::leak(format!("hospital-{peer}").into_boxed_str());
        Listed::named(table, &name_of(peer), authority)
    });
    let listed = listed.collect();
    (
        Gateway::listing(&Authority::new("Site CA"), listed),
        authorities,
    )
}

#[test]
fn peers_whose_cas_all_have_one_name_are_accepted_however_many_they_are() {
    let (gateway, authorities) = of_many(|_| "Hospital CA".to_owned());
    for peer in [0, PEERS / 2, PEERS - 1] {
        let name = name_of(peer);
        let certificate = authorities[peer].issue(&[&name]);
        accepted(&gateway, &certificate, &format!("dns:{name}"));
    }
}

#[test]
fn a_ca_of_another_peer_is_named_among_few_of_its_name() {
    let (gateway, authorities) = of_many(|peer| format!("Hospital {}", peer / 3));
    let claimed = name_of(0);
    let words = ["which may not issue certificates for", "hospital-0"];
    refused(
        &gateway,
        &authorities[PEERS - 1].issue(&[&claimed]),
        Alert::AccessDenied,
        &words,
    );
    // A peer of a known CA that is not listed.
    let unlisted = authorities[PEERS - 1].issue(&[PEER]);
    refused(&gateway, &unlisted, Alert::AccessDenied, &["hospital-"]);
}

#[test]
fn a_forged_certificate_with_the_names_of_all_peers_is_refused() {
    let (gateway, _) = of_many(|_| "Hospital CA".to_owned());
    let names: Vec<_> = (0..PEERS).map(name_of).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let forged = Authority::new("Hospital CA").issue(&names);
    refused(&gateway, &forged, Alert::UnknownCA, &["another key"]);
}

#[test]
fn a_good_certificate_without_its_key_is_refused_for_the_key() {
    let (a, b) = (Authority::new("Hospital A"), Authority::new("Hospital B"));
    let listed = vec![
        Listed::named("a", "gw.a.example", &a),
        Listed::named("b", "gw.b.example", &b),
    ];
    let gateway = Gateway::listing(&a, listed);
    // Not listed, and another peer's name.
    for copied in [a.issue(&[PEER]), b.issue(&["gw.a.example"])] {
        refused(
            &gateway,
            &copied.stolen(),
            Alert::DecryptError,
            &["did not prove"],
        );
    }
}
