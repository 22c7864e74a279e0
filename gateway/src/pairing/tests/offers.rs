//! What a site may offer.

use rcgen::{GeneralSubtree, NameConstraints, date_time_ymd};

use super::*;

#[test]
fn an_offer_is_read_as_it_was_written_and_no_part_of_it_is_one() {
    let offer = offer_of("hospital");
    let bytes = offer.bytes();
    assert_eq!(Offer::read(&bytes).expect("it is whole"), offer);
    for length in 0..bytes.len() {
        assert!(Offer::read(&bytes[..length]).is_err(), "{length} bytes");
    }
    assert!(Offer::read(&[&bytes[..], &[0]].concat()).is_err());
}

#[test]
fn an_offer_beyond_the_bounds_is_refused() {
    let good = offer_of("hospital");
    let with = |change: &dyn Fn(&mut Offer)| {
        let mut offer = good.clone();
        change(&mut offer);
        Offer::read(&offer.bytes())
    };
    for (change, what) in [
        (
            &(|offer: &mut Offer| offer.site = String::new()) as &dyn Fn(&mut Offer),
            "no name",
        ),
        (&|offer| offer.site = "x".repeat(257), "a long name"),
        (
            &|offer| offer.site = "a\u{1b}[2J".to_owned(),
            "a control character",
        ),
        (&|offer| offer.chain.clear(), "no certificate"),
        (
            &|offer| offer.chain = vec![offer.chain[0].clone(); 5],
            "five certificates",
        ),
        (
            &|offer| offer.authorities = vec![offer.authorities[0].clone(); 3],
            "three CAs",
        ),
        (
            &|offer| offer.authorities[0] = vec![0; 4097].into(),
            "a long certificate",
        ),
    ] {
        assert!(with(change).is_err(), "{what}");
    }
}

#[test]
fn certificates_that_a_gateway_would_refuse_are_refused() {
    let (ca, other) = (Ca::new("Hospital CA"), Ca::new("Hospital CA"));
    let good = offer_from("hospital", &ca, |_| {});
    assert_eq!(
        good.check(&["dns:gw.region.example".to_owned()], now()),
        Ok(())
    );
    let narrow = Ca::with("Hospital CA", |params| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("other.example".to_owned())],
            excluded_subtrees: Vec::new(),
        });
    });
    let old = Ca::with("Hospital CA", |params| {
        params.not_after = date_time_ymd(2026, 5, 1);
    });
    let with = |change: &dyn Fn(&mut Offer)| {
        let mut offer = good.clone();
        change(&mut offer);
        offer
    };
    for (offer, expected) in [
        (with(&|offer| offer.site = "a/../b".to_owned()), "'/'"),
        (
            with(&|offer| offer.identity = "sha256:00".to_owned()),
            "no DNS name",
        ),
        (
            with(&|offer| offer.identity = "dns:gw.other.example".to_owned()),
            "would be refused",
        ),
        (
            with(&|offer| offer.authorities = vec![other.certificate.der().clone()]),
            "would be refused",
        ),
        (
            with(&|offer| offer.authorities = offer.chain.clone()),
            "is not a CA",
        ),
        (
            with(&|offer| offer.authorities = vec![b"x".to_vec().into()]),
            "cannot be read",
        ),
        (offer_from("hospital", &narrow, |_| {}), "would be refused"),
        (offer_from("hospital", &old, |_| {}), "expired 2026-05-01"),
        (
            offer_from("hospital", &ca, |leaf| {
                leaf.not_after = date_time_ymd(2026, 5, 1);
            }),
            "would be refused",
        ),
        (
            offer_from("hospital", &ca, |leaf| leaf.extended_key_usages.truncate(1)),
            "would be refused",
        ),
    ] {
        let why = offer.check(&[], now()).expect_err(expected);
        assert!(why.contains(expected), "{why}");
    }
}

#[test]
fn a_site_with_the_identity_of_this_site_is_refused() {
    let own = ["dns:GW.hospital.example".to_owned()];
    let why = offer_of("hospital")
        .check(&own, now())
        .expect_err("it is ours");
    assert!(why.contains("a name of its own"), "{why}");
}
