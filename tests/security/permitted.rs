//! A CA with name constraints cannot issue certificates for another site, even if its key was stolen.

use std::fs;
use std::path::Path;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use wardgate_tests::pki::Leaf;
use wardgate_tests::{DEADLINE, Pki, Program, Site, free_port, until, wardgate};

use crate::plain::{MARKER, Witness, assert_sound, loopback};
use crate::tls::{Peer, Tls, TlsEnd, knock};

const OWN: &str = "gw.own.example";
const PERMITTED: &str = "gw.a.example";

/// Goal: a gateway that trusts a CA made with `pki init --permit-dns` accepts the site of this CA, and no
/// certificate for another listed name made with the CA's key.
#[test]
fn a_ca_made_for_one_site_cannot_issue_certificates_for_another() {
    let others = ["gw.b.example", "https://gw.a.example/", "urn:nhs:ods:X26"];
    judge(["--permit-dns", PERMITTED], PERMITTED, &others);
}

/// Goal: the same with `--permit-uri`: URIs of the permitted host are accepted, and nothing else is.
#[test]
fn a_ca_made_for_the_uris_of_one_host_cannot_issue_certificates_for_others() {
    let others = [
        "https://gw.b.example/",
        "https://b.gw.a.example/",
        "urn:nhs:ods:X26",
        PERMITTED,
    ];
    judge(
        ["--permit-uri", PERMITTED],
        "https://gw.a.example/site",
        &others,
    );
}

fn judge(permit: [&str; 2], good: &str, others: &[&str]) {
    let pki = Pki::new();
    let folder = pki.path("ca");
    let [option, permitted] = permit;
    let init = ["init", "--name", "Hospital A", option, permitted];
    let program = Program::new(wardgate()).arg("pki").args(init);
    program.arg("--dir").arg(&folder).run().expect_success();
    let mut own = pki.leaf(OWN);
    own.trust = folder.join("ca.pem");
    let names = others.iter().chain([&good]);
    let peers: Vec<_> = names
        .map(|name| {
            let kind = if name.contains(':') { "uri" } else { "dns" };
            format!("{kind}:{name}")
        })
        .collect();
    let (port, target) = (free_port(), Witness::start());
    let gateway = Site::with_identity(&own)
        .terminate(loopback(port), loopback(target.port), &peers)
        .protocol("tcp")
        .start();
    for name in others {
        let (received, end) = knock(port, &Peer::of(&forged(&pki, &folder, name)), MARKER);
        assert_eq!(received, b"", "{name}");
        assert!(matches!(end, TlsEnd::Alert(_)), "{name}: {end:?}");
        target.assert_alone(name);
    }
    // The attacker could make the permitted one as well.
    let good = forged(&pki, &folder, good);
    let mut tls = Tls::connect(port, Peer::of(&good).client()).expect_shake();
    tls.send(MARKER);
    tls.close_notify();
    until("the good site is served", DEADLINE, || {
        (target.heard() == MARKER).then_some(())
    });
    assert_sound(&gateway);
    gateway.stop();
}

/// A certificate for any name by the key of the CA in this folder.
fn forged(pki: &Pki, folder: &Path, name: &str) -> Leaf {
    let read = |file: &str| fs::read_to_string(folder.join(file)).expect("pki init wrote it");
    let key = KeyPair::from_pem(&read("ca.key")).expect("a key");
    let issuer = Issuer::from_ca_cert_pem(&read("ca.pem"), key).expect("a CA");
    let mut params = CertificateParams::default();
    let text = name.try_into().expect("it is ASCII");
    params.subject_alt_names = vec![if name.contains(':') {
        SanType::URI(text)
    } else {
        SanType::DnsName(text)
    }];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    // The files are replaced by the forged ones.
    let leaf = pki.leaf(OWN);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &issuer).expect("signed");
    fs::write(&leaf.certificate, certificate.pem()).expect("the folder is ours");
    fs::write(&leaf.key, key.serialize_pem()).expect("the folder is ours");
    leaf
}
