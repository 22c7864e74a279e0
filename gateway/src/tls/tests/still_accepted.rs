//! Whether the peer of an open connection is accepted by rules that came later, or at a later time.

use rustls::pki_types::UnixTime;
use time::{Duration, OffsetDateTime};

use super::authority::{Authority, Own, SERIAL};
use super::{Gateway, Listed, PEER};
use crate::config::PeerName;
use crate::tls::{NotAccepted, PeerInfo};

/// The peer as `gateway` accepted it.
fn accepted(gateway: &Gateway, own: &Own) -> PeerInfo {
    let (leaf, above) = own.chain.split_first().expect("a certificate");
    let peer = gateway.acceptor().judge(leaf, above, UnixTime::now());
    PeerInfo::clone(&peer.expect("a good peer"))
}

fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

/// Asks both kinds of routes.
fn still(gateway: &Gateway, peer: &PeerInfo) -> Result<(), NotAccepted> {
    let verdict = gateway.acceptor().still_accepts(peer, now());
    assert_eq!(gateway.connector().still_accepts(peer, now()), verdict);
    verdict
}

#[test]
fn a_peer_stays_accepted_while_nothing_that_concerns_it_changes() {
    let (ca, other) = (Authority::new("Site CA"), Authority::new("Other CA"));
    let peer = accepted(&Gateway::under(&ca), &ca.issue(&[PEER]));
    assert_eq!(still(&Gateway::under(&ca), &peer), Ok(()));
    // A second CA, a list that does not contain the peer, another name besides.
    let mut changed = Gateway::under(&ca).with_crls(vec![ca.crl(&[SERIAL + 1])]);
    changed.listed[0].anchors.insert(0, other.der());
    changed.listed[0]
        .identities
        .insert(0, PeerName::Dns("x.example".into()));
    assert_eq!(still(&changed, &peer), Ok(()));
    // Listed by its key now, and the CA has another key besides.
    let digit = |at: usize| u8::from_str_radix(&peer.key_sha256[2 * at..2 * at + 2], 16);
    let key = std::array::from_fn(|at| digit(at).expect("hexadecimal"));
    let by_key = PeerName::Sha256(key);
    assert_eq!(
        still(&Gateway::under(&ca).with_peers(vec![by_key]), &peer),
        Ok(())
    );
}

#[test]
fn a_revoked_peer_is_not_accepted_any_more() {
    let ca = Authority::new("Site CA");
    let before = Gateway::under(&ca).with_crls(vec![ca.crl(&[])]);
    let peer = accepted(&before, &ca.issue(&[PEER]));
    let after = Gateway::under(&ca).with_crls(vec![ca.crl(&[SERIAL])]);
    let serial = peer.serial.clone();
    assert_eq!(still(&after, &peer), Err(NotAccepted::Revoked(serial)));
    // The same serial number in the list of another key of the same name is another certificate.
    let renewed = Authority::new("Site CA");
    let mut after = Gateway::under(&ca).with_crls(vec![ca.crl(&[]), renewed.crl(&[SERIAL])]);
    after.listed[0].anchors.push(renewed.der());
    assert_eq!(still(&after, &peer), Ok(()));
    after.listed[0].crls.remove(0);
    assert_eq!(still(&after, &peer), Err(NotAccepted::NoList));
}

#[test]
fn a_peer_below_a_revoked_intermediate_is_not_accepted_any_more() {
    let root = Authority::new("Root CA");
    let middle = root.intermediate("Middle CA", |params| {
        params.serial_number = Some(SERIAL.into());
    });
    let lists = |of_root: &[u64]| {
        Gateway::under(&root)
            .with_issuers(vec![middle.der()])
            .with_crls(vec![root.crl(of_root), middle.crl(&[])])
    };
    let peer = accepted(&lists(&[]), &middle.issue(&[PEER]));
    assert_eq!(peer.chain.len(), 2);
    assert_eq!(still(&lists(&[]), &peer), Ok(()));
    let revoked = still(&lists(&[SERIAL]), &peer);
    assert!(
        matches!(revoked, Err(NotAccepted::Revoked(_))),
        "{revoked:?}"
    );
}

#[test]
fn the_newest_list_of_a_ca_decides() {
    let ca = Authority::new("Site CA");
    let peer = accepted(&Gateway::under(&ca), &ca.issue(&[PEER]));
    let at = OffsetDateTime::now_utc();
    // Put on hold, and released since.
    let older = ca.crl_between(&[SERIAL], at - Duration::days(2), at + Duration::days(1));
    let lists = vec![older, ca.crl(&[])];
    assert_eq!(still(&Gateway::under(&ca).with_crls(lists), &peer), Ok(()));
}

#[test]
fn an_expired_list_ends_no_open_connection() {
    let ca = Authority::new("Site CA");
    let peer = accepted(&Gateway::under(&ca), &ca.issue(&[PEER]));
    let at = OffsetDateTime::now_utc();
    let expired = ca.crl_between(&[], at - Duration::days(2), at - Duration::days(1));
    assert_eq!(
        still(&Gateway::under(&ca).with_crls(vec![expired]), &peer),
        Ok(())
    );
}

#[test]
fn a_peer_that_is_not_listed_or_not_trusted_or_has_expired_is_not_accepted_any_more() {
    let (ca, other) = (Authority::new("Site CA"), Authority::new("Site CA"));
    let peer = accepted(&Gateway::under(&ca), &ca.issue(&[PEER]));
    let others = Gateway::under(&ca).with_peers(vec![PeerName::Dns("x.example".into())]);
    assert_eq!(still(&others, &peer), Err(NotAccepted::NotListed));
    // A CA of the same name with another key.
    assert_eq!(
        still(&Gateway::under(&other), &peer),
        Err(NotAccepted::NotTrusted)
    );
    // Its CA is still there, but may issue certificates for another peer only.
    let listed = vec![
        Listed::named("a", PEER, &other),
        Listed::named("b", "b.example", &ca),
    ];
    let moved = Gateway::listing(&ca, listed);
    assert_eq!(still(&moved, &peer), Err(NotAccepted::NotTrusted));
    let acceptor = Gateway::under(&ca).acceptor();
    assert_eq!(acceptor.still_accepts(&peer, peer.expires_at()), Ok(()));
    let after = acceptor.still_accepts(&peer, peer.expires_at() + 1);
    assert_eq!(after, Err(NotAccepted::Expired));
}
