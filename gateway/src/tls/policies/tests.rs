//! Policies on paths, by the rules of RFC 5280 section 6.1. `security::foreign_verifier` compares them with OpenSSL.

use rcgen::{CertificateParams, CustomExtension, KeyPair};

use super::*;
use crate::pki::der::element;

const A: &[u8] = &[0x2a, 3, 1];
const B: &[u8] = &[0x2a, 3, 2];
const C: &[u8] = &[0x2a, 3, 3];

/// An extension about policies: identifier and value.
type Extension = (&'static [u8], Vec<u8>);

fn oid(policy: &[u8]) -> Vec<u8> {
    element(OBJECT_IDENTIFIER, policy)
}

fn policies_of(policies: &[&[u8]]) -> Extension {
    let all = policies
        .iter()
        .map(|policy| element(SEQUENCE, &oid(policy)));
    (
        CERTIFICATE_POLICIES,
        element(SEQUENCE, &all.collect::<Vec<_>>().concat()),
    )
}

fn mapped(pairs: &[(&[u8], &[u8])]) -> Extension {
    let all = pairs
        .iter()
        .map(|(from, to)| element(SEQUENCE, &[oid(from), oid(to)].concat()));
    (
        POLICY_MAPPINGS,
        element(SEQUENCE, &all.collect::<Vec<_>>().concat()),
    )
}

fn constraints(require_explicit: Option<u8>, inhibit_mapping: Option<u8>) -> Extension {
    let part = |number, value: Option<u8>| {
        value.map_or_else(Vec::new, |value| element(context(number), &[value]))
    };
    let parts = [part(0, require_explicit), part(1, inhibit_mapping)].concat();
    (POLICY_CONSTRAINTS, element(SEQUENCE, &parts))
}

fn inhibit_any(certificates: u8) -> Extension {
    (INHIBIT_ANY_POLICY, element(INTEGER, &[certificates]))
}

fn certificate(extensions: &[Extension]) -> Vec<u8> {
    let mut params = CertificateParams::default();
    for (id, value) in extensions {
        let id: Vec<u64> = match *id {
            CERTIFICATE_POLICIES => vec![2, 5, 29, 32],
            POLICY_MAPPINGS => vec![2, 5, 29, 33],
            POLICY_CONSTRAINTS => vec![2, 5, 29, 36],
            _ => vec![2, 5, 29, 54],
        };
        let mut extension = CustomExtension::from_oid_content(&id, value.clone());
        extension.set_criticality(true);
        params.custom_extensions.push(extension);
    }
    let key = KeyPair::generate().expect("a key");
    params
        .self_signed(&key)
        .expect("a certificate")
        .der()
        .to_vec()
}

/// The result of a path whose certificates have these extensions, the leaf's last; none is self-issued.
fn outcome(path: &[&[Extension]]) -> Result<(), (usize, String)> {
    outcome_with(path, &[])
}

fn outcome_with(path: &[&[Extension]], self_issued: &[usize]) -> Result<(), (usize, String)> {
    let certificates: Vec<_> = path
        .iter()
        .map(|extensions| certificate(extensions))
        .collect();
    let path: Vec<_> = certificates
        .iter()
        .enumerate()
        .map(|(index, der)| (der.as_slice(), self_issued.contains(&index)))
        .collect();
    process(&path)
}

#[test]
fn without_a_required_policy_every_path_is_good() {
    assert_eq!(outcome(&[&[]]), Ok(()));
    assert_eq!(outcome(&[&[], &[policies_of(&[A])], &[]]), Ok(()));
    let other = [
        &[policies_of(&[A])][..],
        &[policies_of(&[B]), inhibit_any(0)],
    ];
    assert_eq!(outcome(&other), Ok(()));
    // A requirement that starts after more certificates than follow has no effect.
    assert_eq!(outcome(&[&[constraints(Some(9), None)], &[]]), Ok(()));
}

#[test]
fn a_required_policy_must_be_on_the_whole_path() {
    let require = constraints(Some(0), None);
    let ca = [policies_of(&[A, B]), require.clone()];
    assert_eq!(outcome(&[&ca, &[policies_of(&[B])]]), Ok(()));
    assert_eq!(outcome(&[&ca, &[policies_of(&[ANY])]]), Ok(()));
    for leaf in [&[policies_of(&[C])][..], &[]] {
        let (index, fault) = outcome(&[&ca, leaf]).expect_err("no policy is left");
        assert_eq!(index, 1);
        assert!(fault.contains("requireExplicitPolicy"), "{fault}");
    }
    // An intermediate CA without any of the required policies makes the path invalid.
    let between = outcome(&[&ca, &[], &[policies_of(&[A])]]);
    assert_eq!(between.expect_err("no policy is left").0, 1);
    // Without any policy on the CA that requires one.
    let none = outcome(&[&[require], &[policies_of(&[A])]]);
    assert_eq!(none.expect_err("no policy is left").0, 1);
}

#[test]
fn a_leaf_may_require_a_policy_for_itself() {
    let require = constraints(Some(0), None);
    assert!(outcome(&[&[], std::slice::from_ref(&require)]).is_err());
    let good = [&[policies_of(&[A])][..], &[policies_of(&[A]), require]];
    assert_eq!(outcome(&good), Ok(()));
}

#[test]
fn any_policy_counts_until_it_is_inhibited() {
    let require = constraints(Some(0), None);
    let ca = |inhibit| [policies_of(&[ANY]), require.clone(), inhibit_any(inhibit)];
    let any = [policies_of(&[ANY])];
    assert_eq!(outcome(&[&ca(1), &any]), Ok(()));
    assert!(outcome(&[&ca(0), &any]).is_err());
    assert!(outcome(&[&ca(1), &any, &any]).is_err());
    assert_eq!(outcome(&[&ca(1), &any, &[policies_of(&[A])]]), Ok(()));
    // A self-issued intermediate CA neither counts nor is it inhibited.
    assert_eq!(
        outcome_with(&[&ca(0), &any, &[policies_of(&[A])]], &[1]),
        Ok(())
    );
    assert_eq!(outcome_with(&[&ca(1), &any, &any], &[1]), Ok(()));
    // The last certificate is not exempt.
    assert!(outcome_with(&[&ca(0), &any], &[1]).is_err());
}

#[test]
fn below_a_mapping_a_policy_has_the_name_that_it_was_mapped_to() {
    let require = constraints(Some(0), None);
    let ca = |mapping| [policies_of(&[A]), require.clone(), mapping];
    let to_b = mapped(&[(A, B)]);
    assert_eq!(outcome(&[&ca(to_b.clone()), &[policies_of(&[B])]]), Ok(()));
    assert!(outcome(&[&ca(to_b.clone()), &[policies_of(&[A])]]).is_err());
    let to_both = mapped(&[(A, B), (A, C)]);
    for policy in [B, C] {
        assert_eq!(
            outcome(&[&ca(to_both.clone()), &[policies_of(&[policy])]]),
            Ok(())
        );
    }
    // any-policy may be mapped too, below a CA that has all policies.
    let any = [policies_of(&[ANY]), require.clone(), to_b.clone()];
    assert_eq!(outcome(&[&any, &[policies_of(&[B])]]), Ok(()));
    // If mapping is inhibited, a mapped policy does not count.
    let inhibited = [policies_of(&[A, C]), constraints(Some(0), Some(0))];
    let between = [policies_of(&[A, C]), to_b];
    assert!(outcome(&[&inhibited, &between, &[policies_of(&[B])]]).is_err());
    assert_eq!(
        outcome(&[&inhibited, &between, &[policies_of(&[C])]]),
        Ok(())
    );
}

#[test]
fn the_special_policy_may_not_be_mapped() {
    for mapping in [mapped(&[(ANY, A)]), mapped(&[(A, ANY)])] {
        let path = outcome(&[&[policies_of(&[A]), mapping], &[policies_of(&[A])]]);
        let (index, fault) = path.expect_err("RFC 5280 section 6.1.4, step a");
        assert_eq!(index, 0);
        assert!(fault.contains("anyPolicy"), "{fault}");
    }
}

#[test]
fn unreadable_policy_extensions_are_refused() {
    let broken: [Extension; 9] = [
        (CERTIFICATE_POLICIES, element(SEQUENCE, &[])),
        (CERTIFICATE_POLICIES, b"\x30\x05\x30".to_vec()),
        policies_of(&[A, A]),
        (POLICY_MAPPINGS, element(SEQUENCE, &[])),
        (
            POLICY_MAPPINGS,
            element(SEQUENCE, &element(SEQUENCE, &oid(A))),
        ),
        constraints(None, None),
        (
            POLICY_CONSTRAINTS,
            element(SEQUENCE, &element(context(0), &[0x80])),
        ),
        (INHIBIT_ANY_POLICY, element(INTEGER, &[0xff])),
        (INHIBIT_ANY_POLICY, element(SEQUENCE, &[])),
    ];
    for extension in broken {
        let (index, fault) =
            outcome(&[std::slice::from_ref(&extension), &[]]).expect_err("it is broken");
        assert_eq!(index, 0, "{extension:x?}");
        assert!(fault.contains("cannot be read"), "{fault}");
    }
    let twice = outcome(&[&[], &[policies_of(&[A]), policies_of(&[B])]]);
    let (index, fault) = twice.expect_err("one extension twice");
    assert_eq!(
        (index, fault.as_str()),
        (1, "has the extension certificatePolicies twice")
    );
}

#[test]
fn hostile_mappings_do_not_take_exponential_time() {
    let names: Vec<Vec<u8>> = (0..100).map(|number| vec![0x2a, 4, number]).collect();
    let all: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    let crossed: Vec<_> = (0..120)
        .map(|index| (all[index % 12], all[(index * 7) % 12]))
        .collect();
    let ca = [policies_of(&all), mapped(&crossed)];
    let path: Vec<&[Extension]> = std::iter::repeat_n(&ca[..], 8).collect();
    let certificates: Vec<_> = path
        .iter()
        .map(|extensions| certificate(extensions))
        .collect();
    let path: Vec<_> = certificates
        .iter()
        .map(|der| (der.as_slice(), false))
        .collect();
    let mut state = PolicyState::new(path.len());
    for (der, _) in &path {
        let policies = Policies::of(der).expect("it can be read");
        state.take(&policies, false);
        state.prepare(&policies, false).expect("none is special");
        assert!(state.valid.len() <= 100);
        let expected: usize = state.valid.iter().map(|valid| valid.expected.len()).sum();
        assert!(expected <= 100 + 120, "{expected}");
    }
}
