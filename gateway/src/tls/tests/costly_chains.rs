//! Chains that were made to cost, and legal chains that look like them: what is cut, and what is not.

use std::sync::Mutex;

use rcgen::CustomExtension;
use rustls::pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm,
    TrustAnchor, alg_id,
};
use test_peers::expensive::namesakes;
use test_peers::{TlsSide, bad_peers};
use webpki::EndEntityCert;

use super::authority::{Authority, Own, day, dns};
use super::good_peers::accepted;
use super::matrix::refused_as_listed;
use super::{Gateway, PEER};
use crate::tls::chain::{Anchor, Checks, CountedAlgorithm, cut};
use crate::tls::der::Layout;

/// What is kept for a path from `peer`'s certificate to the CA of this certificate.
fn kept<'a>(peer: &'a Own, anchor: &CertificateDer<'_>, in_force: bool) -> Vec<CertificateDer<'a>> {
    let anchor = anchor_of(anchor);
    let anchor = Anchor {
        anchor: &anchor,
        in_force,
    };
    cut(&peer.chain[0], &peer.chain[1..], std::iter::once(anchor))
}

fn anchor_of(der: &CertificateDer<'_>) -> TrustAnchor<'static> {
    webpki::anchor_from_trusted_cert(der)
        .expect("a CA's certificate")
        .to_owned()
}

#[test]
fn of_seven_intermediates_with_the_anchors_name_three_are_kept_and_the_peer_is_refused() {
    let site = Authority::new("Site CA");
    let peer = namesakes("Site CA", PEER);
    // Three of one name are 3 + 6 + 6 steps; four would be 64.
    assert_eq!(kept(&peer, &site.der(), true), peer.chain[1..4]);
    refused_as_listed(bad_peers::named("namesakes"), TlsSide::Client);
}

#[test]
fn of_intermediates_that_lead_to_no_anchor_none_is_kept_where_they_are_many() {
    let site = Authority::new("Site CA");
    let peer = namesakes("Other CA", PEER);
    assert_eq!(kept(&peer, &site.der(), true), []);
    refused_as_listed(bad_peers::named("other-ca-of-many"), TlsSide::Client);
}

#[test]
fn a_certificate_with_name_and_key_of_an_anchor_is_left_out_while_the_anchor_is_in_force() {
    let (site, other) = (Authority::new("Site CA"), Authority::new("Other CA"));
    let mut peer = site.issue(&[PEER]);
    peer.chain.push(other.certify(&site, "Site CA"));
    assert_eq!(kept(&peer, &site.der(), true), []);
    assert_eq!(kept(&peer, &site.der(), false), peer.chain[1..]);
    // It does not come from the CA of this name, so nothing ends the path before it.
    let namesake = Authority::new("Site CA");
    assert_eq!(kept(&peer, &namesake.der(), true), peer.chain[1..]);
}

#[test]
fn what_came_before_is_left_out() {
    let site = Authority::new("Site CA");
    let middle = site.intermediate("Middle CA", |_| {});
    let mut peer = middle.issue(&[PEER]);
    peer.chain.push(peer.chain[1].clone());
    assert_eq!(kept(&peer, &site.der(), true), peer.chain[1..2]);
}

#[test]
fn a_ca_that_two_roots_certified_is_good_under_either_of_them() {
    let (one, two) = (Authority::new("One Root"), Authority::new("Two Root"));
    let middle = Authority::new("Middle CA");
    let crosses = [
        one.certify(&middle, "Middle CA"),
        two.certify(&middle, "Middle CA"),
    ];
    for gateway in [Gateway::under(&one), Gateway::under(&two)] {
        for order in [[0, 1], [1, 0]] {
            let mut peer = middle.issue(&[PEER]);
            peer.chain.extend(order.map(|index| crosses[index].clone()));
            // The roots themselves are superfluous, and some servers send them.
            peer.chain.extend([one.der(), two.der()]);
            accepted(&gateway, &peer, "dns:peer.example");
        }
    }
}

#[test]
fn a_ca_with_a_new_key_is_good_if_its_old_key_certified_the_new_one() {
    let (old, new) = (Authority::new("Site CA"), Authority::new("Site CA"));
    let new_with_old = old.certify(&new, "Site CA");
    let mut peer = new.issue(&[PEER]);
    peer.chain.extend([new.der(), new_with_old.clone()]);
    let order = [peer.chain[2].clone(), peer.chain[1].clone()];
    assert_eq!(kept(&peer, &old.der(), true), order, "the root comes last");
    for others in [
        vec![new_with_old.clone()],
        vec![new_with_old.clone(), new.der()],
        vec![new.der(), new_with_old.clone()],
        vec![
            old.der(),
            new.der(),
            new_with_old,
            new.certify(&old, "Site CA"),
        ],
    ] {
        let mut peer = new.issue(&[PEER]);
        peer.chain.extend(others);
        accepted(&Gateway::under(&old), &peer, "dns:peer.example");
        accepted(&Gateway::under(&new), &peer, "dns:peer.example");
    }
}

#[test]
fn an_intermediate_with_a_new_key_is_good_beside_its_old_certificate() {
    let (old_root, root) = (Authority::new("Site CA"), Authority::new("Site CA"));
    let old = Authority::new("Middle CA");
    let new = Authority::new("Middle CA");
    let mut peer = new.issue(&[PEER]);
    peer.chain.extend([
        old_root.certify(&old, "Middle CA"),
        root.certify(&new, "Middle CA"),
        old_root.certify(&root, "Site CA"),
    ]);
    accepted(&Gateway::under(&old_root), &peer, "dns:peer.example");
    accepted(&Gateway::under(&root), &peer, "dns:peer.example");
}

#[test]
fn a_path_around_an_expired_anchor_is_found() {
    let expired = Authority::expired("Old Root");
    let current = Authority::new("New Root");
    let mut gateway = Gateway::under(&expired);
    gateway.listed[0].anchors.push(current.der());
    let mut peer = expired.issue(&[PEER]);
    peer.chain.push(current.certify(&expired, "Old Root"));
    accepted(&gateway, &peer, "dns:peer.example");
}

#[test]
fn an_expired_cross_certificate_does_no_harm() {
    let (old, new) = (Authority::new("Old Root"), Authority::new("New Root"));
    let middle = new.intermediate("Middle CA", |_| {});
    let mut peer = middle.issue(&[PEER]);
    peer.chain
        .push(old.certify_until(&new, "New Root", day(2021, 1)));
    accepted(&Gateway::under(&new), &peer, "dns:peer.example");
    peer.chain.swap(1, 2);
    accepted(&Gateway::under(&new), &peer, "dns:peer.example");
}

#[test]
fn a_certificate_below_the_limits_of_elements_and_extensions_is_accepted() {
    let site = Authority::new("Site CA");
    let gateway = Gateway::under(&site);
    let peer = site.issue_with(&[PEER], |params| {
        let more = (1..400).map(|number| dns(&format!("n{number}.example")));
        params.subject_alt_names.extend(more);
    });
    accepted(&gateway, &peer, "dns:peer.example");
    let middle = site.intermediate("Middle CA", |params| {
        let extension = CustomExtension::from_oid_content(&[1, 2], Vec::new());
        params.custom_extensions = vec![extension; 25];
    });
    accepted(&gateway, &middle.issue(&[PEER]), "dns:peer.example");
}

/// What is cut is chosen by the names and keys that are read here, and webpki builds paths by those that it
/// reads.
#[test]
fn names_and_keys_are_read_as_webpki_reads_them_in_every_certificate_that_it_reads() {
    let site = Authority::new("Site CA");
    let middle = site.intermediate("Middle CA", |_| {});
    for certificate in [site.der(), middle.der(), middle.issue(&[PEER]).leaf()] {
        let mut read = 0;
        for bit in 0..certificate.len() * 8 {
            let mut damaged = certificate.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let damaged = CertificateDer::from(damaged);
            let Ok(theirs) = EndEntityCert::try_from(&damaged) else {
                continue;
            };
            let ours = Layout::of(&damaged).expect("webpki can read it");
            assert_eq!(ours.subject, theirs.subject());
            assert_eq!(ours.issuer, theirs.issuer());
            assert_eq!(ours.serial, theirs.serial());
            assert_eq!(ours.key_element, &*theirs.subject_public_key_info());
            read += 1;
        }
        assert!(
            read > certificate.len(),
            "{read} damaged ones could be read"
        );
    }
}

/// Stands for an algorithm whose good signatures say which key made them, and counts its work.
#[derive(Debug)]
struct Labels(Mutex<Vec<(u8, u8)>>);

impl SignatureVerificationAlgorithm for Labels {
    fn verify_signature(
        &self,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let mut done = self.0.lock().expect("no test panics in here");
        done.push((key[0], message[0]));
        (key == signature).then_some(()).ok_or(InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ED25519
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ED25519
    }
}

#[test]
fn signature_checks_are_computed_once_and_end_after_two_forged_certificates() {
    static LABELS: Labels = Labels(Mutex::new(Vec::new()));
    let checks = Checks::default();
    let counted = checks.counted(&[&LABELS]);
    for message in [11, 12] {
        assert!(!check(&counted, 1, message, 9) && !check(&counted, 1, message, 9));
    }
    assert!(
        !check(&counted, 1, 13, 1),
        "no third certificate is checked"
    );
    assert!(
        check(&counted, 2, 12, 2),
        "one that failed may be good under another key"
    );
    let done = LABELS.0.lock().expect("no test panics in here");
    assert_eq!(*done, [(1, 11), (1, 12), (2, 12)]);
}

#[test]
fn signature_checks_end_after_three_forged_certificates_where_one_has_passed() {
    static LABELS: Labels = Labels(Mutex::new(Vec::new()));
    let checks = Checks::default();
    let counted = checks.counted(&[&LABELS]);
    assert!(check(&counted, 1, 10, 1) && check(&counted, 1, 10, 1));
    for message in [11, 12, 13] {
        assert!(!check(&counted, 1, message, 9));
    }
    assert!(
        !check(&counted, 1, 14, 1),
        "no fourth certificate is checked"
    );
    assert!(check(&counted, 1, 10, 1), "what was good stays good");
    let done = LABELS.0.lock().expect("no test panics in here");
    assert_eq!(*done, [(1, 10), (1, 11), (1, 12), (1, 13)]);
}

#[test]
fn no_signature_check_is_computed_after_twelve_have_failed_under_whatever_keys() {
    static LABELS: Labels = Labels(Mutex::new(Vec::new()));
    let checks = Checks::default();
    let counted = checks.counted(&[&LABELS]);
    for key in 0..100 {
        assert!(!check(&counted, key, 11, 200));
    }
    let done = LABELS.0.lock().expect("no test panics in here");
    assert_eq!(done.len(), 12);
}

fn check(counted: &[CountedAlgorithm<'_>], key: u8, message: u8, by: u8) -> bool {
    counted[0]
        .verify_signature(&[key], &[message], &[by])
        .is_ok()
}
