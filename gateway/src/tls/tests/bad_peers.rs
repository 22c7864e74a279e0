//! Peers that must be refused for their identity or their certificates: all of the list that every tier uses.

use test_peers::{TlsSide, bad_peers, expensive};

use super::authority::Authority;
use super::good_peers::accepted;
use super::matrix::{gateway_of, refused, refused_as_listed};
use super::{Gateway, PEER};
use crate::config::PeerName;
use crate::pki::limits::CHAIN_CERTIFICATES_MAX;
use crate::tls::limits::{
    CERTIFICATE_BYTES_MAX, CERTIFICATE_ELEMENTS_MAX, CERTIFICATE_EXTENSIONS_MAX,
};

const SIDES: [TlsSide; 2] = [TlsSide::Client, TlsSide::Server];

#[test]
fn every_bad_peer_is_refused_with_its_alert_and_a_sentence_that_names_rule_and_remedy() {
    for side in SIDES {
        for bad in bad_peers::all(side) {
            refused_as_listed(bad, side);
        }
    }
}

/// The list proves nothing about trust under which a good peer is refused too.
#[test]
fn a_good_peer_is_accepted_under_the_trust_that_refuses_a_bad_one() {
    for side in SIDES {
        for bad in bad_peers::all(side) {
            let made = bad.make(PEER, side);
            if let Some(good) = &made.good {
                accepted(&gateway_of(&made), good, "dns:peer.example");
            }
        }
    }
}

#[test]
fn a_ca_of_the_same_name_with_another_key_is_refused() {
    for name in ["namesake", "namesakes"] {
        for side in SIDES {
            refused_as_listed(bad_peers::named(name), side);
        }
    }
}

#[test]
fn names_of_the_list_are_unique() {
    for side in SIDES {
        let mut names: Vec<_> = bad_peers::all(side).map(|bad| bad.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}

#[test]
fn peers_beyond_the_limits_of_a_chain_are_made_by_the_limits_of_the_gateway() {
    let made_by = [
        expensive::CHAIN_MAX,
        expensive::CERTIFICATE_BYTES_MAX,
        expensive::CERTIFICATE_ELEMENTS_MAX,
        expensive::CERTIFICATE_EXTENSIONS_MAX,
    ];
    let limits = [
        CHAIN_CERTIFICATES_MAX,
        CERTIFICATE_BYTES_MAX,
        CERTIFICATE_ELEMENTS_MAX,
        CERTIFICATE_EXTENSIONS_MAX,
    ];
    assert_eq!(made_by, limits);
}

#[test]
fn a_wildcard_name_in_a_certificate_matches_no_listed_peer() {
    let authority = Authority::new("Site CA");
    let gateway =
        Gateway::under(&authority).with_peers(vec![PeerName::Dns("*.region.example".into())]);
    let peer = authority.issue(&["*.region.example"]);
    let alert = bad_peers::named("wildcard").alert;
    refused(&gateway, &peer, alert, &["none of this route's peers"]);
}
