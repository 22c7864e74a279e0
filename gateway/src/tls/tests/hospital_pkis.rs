//! What RFC 5280 allows and hospital PKIs have: names in several spellings, critical extensions about policies, and
//! constraints on directory names and URIs. `foreign_verifier` compares the outcomes with OpenSSL.

use rcgen::{CustomExtension, DnValue, KeyUsagePurpose};
use rustls::AlertDescription as Alert;
use rustls::pki_types::{CertificateDer, UnixTime};
use test_peers::AcceptAll;

use super::authority::{Authority, Own, called, uri};
use super::ends::{Foreign, Ours, everything, foreign_client, foreign_server, talk};
use super::matrix::{VERSIONS, refused};
use super::openssl::Openssl;
use super::{Gateway, PEER};
use crate::pki::der::{
    INTEGER, OBJECT_IDENTIFIER, SEQUENCE, context, context_constructed, element, only,
};
use crate::tls::der::Elements;
use crate::tls::normal_form::NormalChain;

fn printable(name: &str) -> DnValue {
    DnValue::PrintableString(name.try_into().expect("printable"))
}

fn critical(last: u64, content: Vec<u8>) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, last], content);
    extension.set_criticality(true);
    extension
}

/// certificatePolicies with one policy.
fn policies(policy: &[u8]) -> CustomExtension {
    let policy = element(SEQUENCE, &element(OBJECT_IDENTIFIER, policy));
    critical(32, element(SEQUENCE, &policy))
}

/// policyConstraints with requireExplicitPolicy 0.
fn require_policy() -> CustomExtension {
    critical(36, element(SEQUENCE, &element(context(0), &[0])))
}

fn permitted(bases: &[Vec<u8>]) -> CustomExtension {
    let subtrees: Vec<u8> = bases
        .iter()
        .flat_map(|base| element(SEQUENCE, base))
        .collect();
    critical(
        30,
        element(SEQUENCE, &element(context_constructed(0), &subtrees)),
    )
}

fn directory(common_name: &str) -> Vec<u8> {
    let value = element(0x13, common_name.as_bytes());
    let attribute = element(SEQUENCE, &[&[6, 3, 0x55, 4, 3], &value[..]].concat());
    let name = element(SEQUENCE, &element(0x31, &attribute));
    element(context_constructed(4), &name)
}

// As `good_peers::accepted`, for certificates that webpki cannot read.
fn accepted(gateway: &Gateway, peer: &Own) {
    for version in VERSIONS {
        let config = foreign_client(Some(peer), everything(), &[version]);
        let (mut ours, mut foreign) = (Ours::accepting(gateway), Foreign::client(config));
        talk(&mut foreign, &mut ours);
        assert!(ours.is_established, "{version:?}: {}", ours.sentence());
        let config = foreign_server(peer, AcceptAll::default(), everything(), &[version]);
        let (mut ours, mut foreign) = (Ours::connecting(gateway), Foreign::server(config));
        talk(&mut ours, &mut foreign);
        assert!(ours.is_established, "{version:?}: {}", ours.sentence());
    }
}

#[test]
fn a_ca_whose_name_is_written_in_another_string_type_is_the_same_ca() {
    let root = Authority::new("Hospital CA");
    let gateway = Gateway::under(&root);
    for name in [
        printable("Hospital CA"),
        printable("HOSPITAL   ca"),
        DnValue::BmpString("Hospital CA".try_into().expect("short")),
    ] {
        accepted(&gateway, &root.spelled(name.clone()).issue(&[PEER]));
        // And in the middle of a chain.
        let middle = root.intermediate("Hospital CA", |_| {});
        accepted(&gateway, &middle.spelled(name).issue(&[PEER]));
    }
    let other = root.spelled(printable("Hospital CB")).issue(&[PEER]);
    refused(
        &gateway,
        &other,
        Alert::UnknownCA,
        &["no trusted CA of this route"],
    );
}

#[test]
fn a_list_of_a_ca_whose_name_is_written_in_another_string_type_counts() {
    let root = Authority::new("Hospital CA");
    let other = root.spelled(printable("HOSPITAL CA"));
    let gateway = Gateway::under(&root).with_crls(vec![other.crl(&[])]);
    accepted(&gateway, &root.issue(&[PEER]));
    let gateway = Gateway::under(&root).with_crls(vec![other.crl(&[super::authority::SERIAL])]);
    refused(
        &gateway,
        &root.issue(&[PEER]),
        Alert::CertificateRevoked,
        &["is revoked"],
    );
}

#[test]
fn critical_extensions_about_policies_are_processed() {
    const POLICY: &[u8] = &[0x2a, 3, 4];
    let root = Authority::new("Government Root");
    let gateway = Gateway::under(&root);
    let inhibit = || critical(54, element(INTEGER, &[1]));
    for extensions in [
        vec![policies(POLICY)],
        vec![policies(POLICY), require_policy()],
        vec![policies(POLICY), inhibit()],
    ] {
        let middle = root.intermediate("Middle CA", |params| {
            params.custom_extensions.extend(extensions.clone());
        });
        let leaf = |policy: &[u8]| {
            let policy = policies(policy);
            middle.issue_with(&[PEER], |params| params.custom_extensions.push(policy))
        };
        accepted(&gateway, &leaf(POLICY));
        let requires = extensions
            .iter()
            .any(|one| one.oid_components().eq([2, 5, 29, 36]));
        if requires {
            let words = [
                "has none of the certificate policies",
                "reissued with the policy",
            ];
            refused(
                &gateway,
                &leaf(&[0x2a, 3, 5]),
                Alert::BadCertificate,
                &words,
            );
            refused(
                &gateway,
                &middle.issue(&[PEER]),
                Alert::BadCertificate,
                &words,
            );
            // The remedy: with the CA itself as an anchor, it has no say on policies.
            let mut other = Gateway::under(&root);
            other.listed[0].anchors = vec![middle.der()];
            accepted(&other, &middle.issue(&[PEER]));
        } else {
            accepted(&gateway, &leaf(&[0x2a, 3, 5]));
        }
    }
}

#[test]
fn an_unknown_critical_extension_is_named_with_its_certificate_and_a_remedy_that_works() {
    let root = Authority::new("Site CA");
    let gateway = Gateway::under(&root);
    let unknown = || critical(46, element(SEQUENCE, &[]));
    let middle = root.intermediate("Middle CA", |params| {
        params.custom_extensions.push(unknown());
    });
    let words = [
        "issuer \"CN=Middle CA\"",
        "critical extension freshestCRL (2.5.29.46)",
        "put that CA's certificate itself into the trust",
    ];
    let peer = middle.issue(&[PEER]);
    refused(&gateway, &peer, Alert::BadCertificate, &words);
    let mut other = Gateway::under(&root);
    other.listed[0].anchors = vec![middle.der()];
    accepted(&other, &peer);

    let leaf = root.issue_with(&[PEER], |params| params.custom_extensions.push(unknown()));
    let words = [
        "certificate dns:peer.example has the critical extension freshestCRL",
        "without that extension",
    ];
    refused(&gateway, &leaf, Alert::BadCertificate, &words);
}

#[test]
fn constraints_on_directory_names_are_enforced_by_value() {
    let root = Authority::new("Root CA");
    let gateway = Gateway::under(&root);
    let middle = |base: &str| {
        let extension = permitted(&[directory(base)]);
        root.intermediate("Middle CA", |params| {
            params.custom_extensions.push(extension);
        })
    };
    // The leaf is called "leaf", in another string type.
    accepted(&gateway, &middle("LEAF").issue(&[PEER]));
    let words = ["may not issue certificates for", "subjects below", "other"];
    refused(
        &gateway,
        &middle("other").issue(&[PEER]),
        Alert::BadCertificate,
        &words,
    );
    // A CA below must be within as well, unless it has issued itself.
    let below = middle("leaf").intermediate("Lower CA", |_| {});
    let words = ["issuer \"CN=Lower CA\"", "may not issue certificates for"];
    refused(
        &gateway,
        &below.issue(&[PEER]),
        Alert::BadCertificate,
        &words,
    );
    let renewed = middle("leaf").intermediate("Middle CA", |_| {});
    accepted(&gateway, &renewed.issue(&[PEER]));
    // A certificate without a subject has no directory name.
    let nameless = middle("other").issue_with(&[PEER], |params| {
        params.distinguished_name = rcgen::DistinguishedName::new();
    });
    accepted(&gateway, &nameless);
}

#[test]
fn an_anchor_constrains_directory_names_too() {
    let anchor = Authority::with("Root CA", |params| {
        params
            .custom_extensions
            .push(permitted(&[directory("leaf")]));
    });
    let gateway = Gateway::under(&anchor);
    accepted(&gateway, &anchor.issue(&[PEER]));
    let other = anchor.issue_with(&[PEER], |params| {
        params.distinguished_name = called("other");
    });
    refused(
        &gateway,
        &other,
        Alert::BadCertificate,
        &["may not issue certificates for"],
    );
}

#[test]
fn an_intermediate_constrains_the_hosts_of_uris() {
    let root = Authority::new("Root CA");
    let gateway = Gateway::under(&root);
    let host = element(context(6), b".a.example");
    let middle = root.intermediate("Middle CA", |params| {
        params.custom_extensions.push(permitted(&[host]));
    });
    let leaf =
        |name: &str| middle.issue_with(&[PEER], |params| params.subject_alt_names.push(uri(name)));
    accepted(&gateway, &leaf("spiffe://gw.a.example/site"));
    let words = ["may not issue certificates for", ".a.example"];
    refused(
        &gateway,
        &leaf("spiffe://gw.b.example/site"),
        Alert::BadCertificate,
        &words,
    );
}

/// A certificate in which one run of bytes is another.
fn forged(certificate: &CertificateDer<'_>, from: &[u8], to: &[u8]) -> CertificateDer<'static> {
    let at = certificate
        .windows(from.len())
        .position(|window| window == from)
        .expect("it is there");
    let mut der = certificate.to_vec();
    der.splice(at..at + from.len(), to.iter().copied());
    der.into()
}

#[test]
fn a_certificate_that_differs_only_in_what_webpki_does_not_see_has_no_valid_signature() {
    let root = Authority::new("Root CA");
    let gateway = Gateway::under(&root);
    let middle = root.intermediate("Middle CA", |params| {
        params
            .custom_extensions
            .push(permitted(&[directory("abcd")]));
    });
    let genuine = middle.der();
    let changed = forged(&genuine, b"abcd", b"leaf");
    let bad_algorithm = {
        // The algorithm beside the signature, which webpki compares with that inside.
        let outer = only(&genuine, SEQUENCE).expect("a certificate");
        let inside = Elements(outer).next().expect("what is signed").whole.len();
        let mut der = genuine.to_vec();
        let at = genuine.len() - outer.len() + inside + 4;
        der[at + 6] ^= 1;
        CertificateDer::from(der)
    };
    let mut peer = middle.issue(&[PEER]);
    let leaf = peer.leaf();
    for above in [
        vec![changed.clone()],
        vec![genuine.clone(), changed.clone()],
        vec![changed.clone(), genuine.clone()],
        vec![bad_algorithm.clone(), changed.clone()],
        vec![bad_algorithm, genuine.clone()],
    ] {
        peer.chain = [vec![leaf.clone()], above].concat();
        let now = UnixTime::now();
        let judged = gateway.acceptor().judge(&leaf, &peer.chain[1..], now);
        judged.expect_err("no subject below it is permitted");
    }
    // Names in another spelling are another certificate as well.
    let respelled = forged(&leaf, b"Middle CA", b"MIDDLE CA");
    let judged = gateway
        .acceptor()
        .judge(&respelled, &[genuine], UnixTime::now());
    judged.expect_err("it is not what was signed");
}

#[test]
fn a_normal_form_differs_in_names_flags_and_constraints_alone() {
    let root = Authority::new("Root CA");
    let middle = root.intermediate("Middle CA", |params| {
        let bases = [directory("leaf"), element(context(2), b"example")];
        params.custom_extensions.push(permitted(&bases));
        params.custom_extensions.push(require_policy());
    });
    let der = middle.der();
    let chain = NormalChain::new(&der, &[]);
    let normal = chain.leaf();
    let undone = forged(normal, b"\x0c\x07root ca", b"\x0c\x07Root CA");
    let undone = forged(&undone, b"\x0c\x09middle ca", b"\x0c\x09Middle CA");
    // Without the constraint and the flag it is shorter; apart from lengths, the rest is there.
    assert!(undone.len() < der.len());
    let dns = element(SEQUENCE, &element(context(2), b"example"));
    assert!(undone.windows(dns.len()).any(|window| window == dns));
    assert!(!undone.windows(4).any(|window| window == b"leaf"));
    let plain = root.issue(&[PEER]);
    let leaf = plain.leaf();
    let normal = NormalChain::new(&leaf, &[]);
    let undone = forged(normal.leaf(), b"\x0c\x07root ca", b"\x0c\x07Root CA");
    assert_eq!(
        undone, leaf,
        "an ordinary certificate but for its issuer's spelling"
    );
}

#[test]
fn what_peers_would_refuse_in_an_own_chain_is_found_by_the_same_verifier() {
    let root = Authority::new("Root CA");
    let rules = Gateway::under(&root);
    let rules = rules.acceptor();
    let remarks = |chain: &[CertificateDer<'static>]| rules.remarks_on(UnixTime::now(), chain);
    assert_eq!(remarks(&root.issue(&[PEER]).chain), Vec::<String>::new());
    let middle = root.intermediate("Middle CA", |_| {});
    assert_eq!(remarks(&middle.issue(&[PEER]).chain), Vec::<String>::new());
    let mut whole = middle.issue(&[PEER]).chain;
    whole.push(root.der());
    assert_eq!(remarks(&whole), Vec::<String>::new(), "with its root");

    let constrained = root.intermediate("Middle CA", |params| {
        params
            .custom_extensions
            .push(permitted(&[directory("other")]));
    });
    let found = remarks(&constrained.issue(&[PEER]).chain);
    assert!(
        found[0].contains("peers that run wardgate refuse it: it bears a name"),
        "{found:?}"
    );
    let unknown = root.intermediate("Middle CA", |params| {
        params
            .custom_extensions
            .push(critical(46, element(SEQUENCE, &[])));
    });
    let found = remarks(&unknown.issue(&[PEER]).chain);
    let words = "its issuer \"CN=Middle CA\" has the critical extension freshestCRL";
    assert!(found[0].contains(words), "{found:?}");
    let sha1 = include_bytes!("../../../../tests/data/tls/sha1-leaf.der").to_vec();
    let found = remarks(&[sha1.into()]);
    assert!(found[0].contains("signed by ECDSA with SHA-1"), "{found:?}");
    let alone = super::authority::self_signed(&[PEER]).chain;
    let found = remarks(&alone);
    let words = "refuse it: it is self-signed; have it issued by a CA";
    assert!(found[0].contains(words), "{found:?}");
}

#[test]
fn an_own_chain_that_lacks_its_issuer_is_remarked_if_that_seems_to_be_an_intermediate() {
    let root = Authority::new("Root CA");
    let acceptor = Gateway::under(&root).acceptor();
    let address = || {
        let issuers = element(OBJECT_IDENTIFIER, &[0x2b, 6, 1, 5, 5, 7, 0x30, 2]);
        let uri = element(context(6), b"http://ca.example/ca.crt");
        let content = element(SEQUENCE, &element(SEQUENCE, &[issuers, uri].concat()));
        CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], content)
    };
    let issue = |authority: &Authority| {
        let mut own =
            authority.issue_with(&[PEER], |params| params.custom_extensions.push(address()));
        own.chain.truncate(1);
        own.chain
    };
    let found = acceptor.remarks_on(
        UnixTime::now(),
        &issue(&root.intermediate("Middle CA", |_| {})),
    );
    let words = "the file holds no certificate of \"CN=Middle CA\"";
    assert!(
        found.iter().any(|remark| remark.contains(words)),
        "{found:?}"
    );
    assert_eq!(
        acceptor.remarks_on(UnixTime::now(), &issue(&root)),
        Vec::<String>::new(),
        "a root that is known"
    );
}

#[test]
fn a_salt_of_another_length_is_named_and_the_remedy_works() {
    let openssl = Openssl::new();
    let rsa = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048";
    let pss = "-sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:";
    let judge = |(anchor, leaf): &(CertificateDer<'static>, CertificateDer<'static>)| {
        let mut gateway = Gateway::under(&Authority::new("Site CA"));
        gateway.listed[0].anchors = vec![anchor.clone()];
        let judged = gateway.acceptor().judge(leaf, &[], UnixTime::now());
        judged.map(|_| ()).map_err(|refusal| refusal.to_string())
    };
    for (salt, bytes) in [("20", 20), ("max", 222)] {
        let issued = openssl.issue(rsa, &format!("{pss}{salt}"));
        let sentence = judge(&issued).expect_err("an unusual salt");
        let words = format!("is signed by RSA-PSS with SHA-256 with a salt of {bytes} bytes");
        assert!(sentence.contains(&words), "{sentence}");
        assert!(sentence.contains("rsa_pss_saltlen:digest"), "{sentence}");
        // The site that owns the certificate reads it too.
        let acceptor = Gateway::under(&Authority::new("Site CA")).acceptor();
        let found = acceptor.remarks_on(UnixTime::now(), &[issued.1]);
        assert!(found[0].contains(&words), "{found:?}");
    }
    assert_eq!(judge(&openssl.issue(rsa, &format!("{pss}digest"))), Ok(()));
    // Other algorithms of CAs are no fault, neither of a peer nor of this site.
    for (key, options) in [
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-521", "-sha512"),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-256", "-sha512"),
    ] {
        let issued = openssl.issue(key, options);
        assert_eq!(judge(&issued), Ok(()), "{key}");
        let acceptor = Gateway::under(&Authority::new("Site CA")).acceptor();
        assert_eq!(
            acceptor.remarks_on(UnixTime::now(), &[issued.1]),
            Vec::<String>::new(),
            "{key}"
        );
    }
}

#[test]
fn an_intermediate_that_may_not_sign_certificates_is_no_issuer() {
    let root = Authority::new("Site CA");
    let gateway = Gateway::under(&root);
    let of = |usages: &[KeyUsagePurpose]| {
        let usages = usages.to_vec();
        let middle = root.intermediate("Middle CA", |params| params.key_usages = usages);
        middle.issue(&[PEER])
    };
    for usages in [&[][..], &[KeyUsagePurpose::KeyCertSign]] {
        accepted(&gateway, &of(usages));
    }
    let words = ["issuer \"CN=Middle CA\"", "keyCertSign"];
    let lists_only = of(&[KeyUsagePurpose::CrlSign]);
    refused(&gateway, &lists_only, Alert::BadCertificate, &words);
}
