//! Chains of hospital PKIs: accepted where RFC 5280 allows them, refused where it does not.

use std::fs;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use test_peers::der::element;
use wardgate_tests::pki::Leaf;
use wardgate_tests::{DEADLINE, Pki, Program, Site, free_port, until, wardgate};

use crate::plain::{MARKER, Witness, assert_sound, loopback};
use crate::tls::{Peer, Tls, TlsEnd, knock};

const OWN: &str = "gw.own.example";
const PEER: &str = "gw.a.example";
/// certificatePolicies, policyConstraints and nameConstraints.
const POLICIES: u64 = 32;
const POLICY_CONSTRAINTS: u64 = 36;
const NAME_CONSTRAINTS: u64 = 30;

/// A root with an intermediate CA below it that requires a policy and may issue certificates for subjects of one hospital.
struct Hospital {
    root: String,
    middle: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Hospital {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = authority(utf8("Hospital Root"));
        let root = params.self_signed(&key).expect("a root").pem();
        // The new signing software writes names in another form.
        params.distinguished_name = called(printable("HOSPITAL ROOT"));
        let root_issuer = Issuer::new(params, key);
        let mut params = authority(utf8("Issuing CA"));
        params.custom_extensions = vec![
            policy(1),
            critical(POLICY_CONSTRAINTS, &element(0x30, &[&[0x80, 1, 0]])),
            critical(NAME_CONSTRAINTS, &permitted("Hospital A")),
        ];
        let key = KeyPair::generate().expect("a key");
        let middle = params.signed_by(&key, &root_issuer).expect("a CA").pem();
        params.distinguished_name = called(printable("Issuing  ca"));
        Self {
            root,
            middle,
            issuer: Issuer::new(params, key),
        }
    }

    /// The files of a site with this policy and organisation.
    fn leaf(&self, pki: &Pki, number: u8, organisation: &str) -> Leaf {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let name = printable(organisation);
        params
            .distinguished_name
            .push(DnType::OrganizationName, name);
        let name = PEER.try_into().expect("it is ASCII");
        params.subject_alt_names = vec![SanType::DnsName(name)];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        params.custom_extensions = vec![policy(number)];
        // The files are replaced by these.
        let leaf = pki.leaf(PEER);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let chain = certificate.pem() + &self.middle;
        fs::write(&leaf.certificate, chain).expect("the folder is ours");
        fs::write(&leaf.key, key.serialize_pem()).expect("the folder is ours");
        leaf
    }
}

fn authority(name: DnValue) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = called(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn called(name: DnValue) -> DistinguishedName {
    let mut called = DistinguishedName::new();
    called.push(DnType::CommonName, name);
    called
}

fn utf8(name: &str) -> DnValue {
    DnValue::Utf8String(name.to_owned())
}

fn printable(name: &str) -> DnValue {
    DnValue::PrintableString(name.try_into().expect("printable"))
}

fn critical(last: u64, content: &[u8]) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, last], content.to_vec());
    extension.set_criticality(true);
    extension
}

fn policy(number: u8) -> CustomExtension {
    let policy = element(0x30, &[&[6, 3, 0x2a, 3, number]]);
    critical(POLICIES, &element(0x30, &[&policy]))
}

/// permittedSubtrees of one directory name: this organisation.
fn permitted(organisation: &str) -> Vec<u8> {
    let value = element(0x0c, &[organisation.as_bytes()]);
    let attribute = element(0x30, &[&[6, 3, 0x55, 4, 10], &value]);
    let name = element(0x30, &[&element(0x31, &[&attribute])]);
    let subtree = element(0x30, &[&element(0xa4, &[&name])]);
    element(0x30, &[&element(0xa0, &[&subtree])])
}

/// Goal: a chain with names in several spellings, critical policy extensions and constraints on directory
/// names is accepted; a chain that breaks one of these rules receives nothing, and the log names the rule and
/// the certificate.
#[test]
fn terminate_accepts_the_chains_of_a_hospital_pki_and_refuses_those_that_its_ca_forbids() {
    let pki = Pki::new();
    let hospital = Hospital::new();
    let mut own = pki.leaf(OWN);
    own.trust = pki.path("hospital.pem");
    fs::write(&own.trust, &hospital.root).expect("the folder is ours");
    let (port, target) = (free_port(), Witness::start());
    let gateway = Site::with_identity(&own)
        .terminate(
            loopback(port),
            loopback(target.port),
            &[format!("dns:{PEER}")],
        )
        .protocol("tcp")
        .start();
    for (number, organisation, words) in [
        (2, "hospital  a", "has none of the certificate policies"),
        (1, "Hospital B", "may not issue certificates for"),
    ] {
        let leaf = hospital.leaf(&pki, number, organisation);
        let (received, end) = knock(port, &Peer::of(&leaf), MARKER);
        assert_eq!(received, b"", "{words}");
        assert!(matches!(end, TlsEnd::Alert(_)), "{words}: {end:?}");
        let line = gateway
            .wait_for_connection_line(words, DEADLINE, |line| line.text("reason").contains(words));
        assert_eq!(line.text("certificate"), format!("dns:{PEER}"), "{line:?}");
        target.assert_alone(words);
    }
    let good = hospital.leaf(&pki, 1, "hospital  a");
    let mut tls = Tls::connect(port, Peer::of(&good).client()).expect_shake();
    tls.send(MARKER);
    tls.close_notify();
    until("the hospital is served", DEADLINE, || {
        (target.heard() == MARKER).then_some(())
    });
    assert_sound(&gateway);
    gateway.stop();
}

/// Goal: the site that owns a chain learns what a peer would refuse before the peer refuses it.
#[test]
fn check_reports_what_peers_would_refuse_in_the_own_chain() {
    let pki = Pki::new();
    let hospital = Hospital::new();
    for (number, words) in [
        (1, None),
        (
            2,
            Some("peers that run wardgate refuse it: it has none of the certificate policies"),
        ),
    ] {
        let own = hospital.leaf(&pki, number, "Hospital A");
        let file = pki.path("own.toml");
        Site::with_identity(&own)
            .originate(
                loopback(free_port()),
                loopback(free_port()),
                &["dns:gw.b.example"],
            )
            .protocol("tcp")
            .write(&file);
        let program = Program::new(wardgate())
            .args(["check", "--config"])
            .arg(&file);
        let output = program.run().expect_success();
        let text = output.text();
        assert_eq!(
            text.contains("refuse it"),
            words.is_some(),
            "policy {number}: {text}"
        );
        assert!(words.is_none_or(|words| text.contains(words)), "{text}");
    }
}
