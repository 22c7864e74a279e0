//! Chains as hospital PKIs have them, judged here and by the `openssl` command. Both must agree.
//!
//! Each chain is made of random certificates with policies, directory name constraints, self-issued CAs and names in
//! several spellings. Seeds are fixed, so that a failing one can be tried again.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use test_peers::der::pem;

use super::authority::dns;
use super::{Authority, Gateway, PEER};
use crate::pki::der::{
    INTEGER, OBJECT_IDENTIFIER, SEQUENCE, context, context_constructed, element,
};

/// How many chains are compared.
const CHAINS: u64 = 160;

/// Three policies, and anyPolicy.
const POLICIES: [&[u8]; 4] = [
    &[0x2a, 3, 1],
    &[0x2a, 3, 2],
    &[0x2a, 3, 3],
    &[0x55, 0x1d, 0x20, 0],
];

/// Spellings of organisations: the first three are one name.
const ORGANISATIONS: [&str; 5] = [
    "Hospital A",
    "HOSPITAL  a",
    " hospital a ",
    "Hospital B",
    "Hospital",
];

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

/// A chain, the leaf first, and the root that it ends at.
struct Chain {
    presented: Vec<CertificateDer<'static>>,
    root: CertificateDer<'static>,
    /// What is in it, for the message of a failing test.
    said: String,
}

fn value(random: &mut Random, text: &str) -> DnValue {
    match random.below(3) {
        0 => DnValue::PrintableString(text.try_into().expect("printable")),
        1 => DnValue::BmpString(text.try_into().expect("short")),
        _ => DnValue::Utf8String(text.to_owned()),
    }
}

/// A name with an organisation, its spelling and string types aside.
fn name(random: &mut Random, organisation: usize, common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    let organisation = value(random, ORGANISATIONS[organisation]);
    name.push(DnType::OrganizationName, organisation);
    let common = value(random, common);
    name.push(DnType::CommonName, common);
    name
}

fn extension(last: u64, content: Vec<u8>) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, last], content);
    extension.set_criticality(true);
    extension
}

fn oid(policy: usize) -> Vec<u8> {
    element(OBJECT_IDENTIFIER, POLICIES[policy])
}

fn policies(random: &mut Random, is_ca: bool, said: &mut String) -> Vec<CustomExtension> {
    let mut all = Vec::new();
    if !random.one_in(5) {
        let chosen: Vec<usize> = (0..4).filter(|_| random.one_in(2)).collect();
        let chosen = if chosen.is_empty() { vec![0] } else { chosen };
        let _ = write!(said, " policies {chosen:?}");
        let parts: Vec<u8> = chosen
            .iter()
            .flat_map(|one| element(SEQUENCE, &oid(*one)))
            .collect();
        all.push(extension(32, element(SEQUENCE, &parts)));
    }
    if is_ca && random.one_in(3) {
        let (from, to) = (random.below(3), random.below(3));
        let _ = write!(said, " mapping {from} to {to}");
        let pair = element(SEQUENCE, &[oid(from), oid(to)].concat());
        all.push(extension(33, element(SEQUENCE, &pair)));
    }
    if random.one_in(2) {
        let [require, inhibit] =
            [random.below(4), random.below(4)].map(|number| number.to_le_bytes()[0]);
        let mut parts = Vec::new();
        if require < 3 {
            parts.extend(element(context(0), &[require]));
        }
        if inhibit < 2 || require == 3 {
            parts.extend(element(context(1), &[inhibit]));
        }
        let _ = write!(said, " require {require} inhibit mapping {inhibit}");
        all.push(extension(36, element(SEQUENCE, &parts)));
    }
    if is_ca && random.one_in(3) {
        let inhibit = random.below(2).to_le_bytes()[0];
        let _ = write!(said, " inhibit any {inhibit}");
        all.push(extension(54, element(INTEGER, &[inhibit])));
    }
    all
}

/// Name constraints on one organisation.
fn constraints(random: &mut Random, said: &mut String) -> CustomExtension {
    let (list, organisation) = (random.below(2), random.below(ORGANISATIONS.len()));
    let _ = write!(said, " constraint {list} {:?}", ORGANISATIONS[organisation]);
    let text = ORGANISATIONS[organisation].as_bytes();
    let tag = [0x0c, 0x13][random.below(2)];
    let attribute = [&[6, 3, 0x55, 4, 10][..], &element(tag, text)].concat();
    let relative = element(0x31, &element(SEQUENCE, &attribute));
    let base = element(context_constructed(4), &element(SEQUENCE, &relative));
    let list = context_constructed(list.to_le_bytes()[0]);
    extension(
        30,
        element(SEQUENCE, &element(list, &element(SEQUENCE, &base))),
    )
}

fn chain(seed: u64) -> Chain {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut said = format!("seed {seed}:");
    let of_ca = |random: &mut Random, organisation, common: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(random, organisation, common);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = true;
        params
    };
    let mut organisation = random.below(3);
    let mut common = "Root CA".to_owned();
    let root_key = KeyPair::generate().expect("a key");
    let mut params = of_ca(&mut random, organisation, &common);
    let root = params.self_signed(&root_key).expect("a root").der().clone();
    // From here on its name is written otherwise than in its certificate.
    params.distinguished_name = name(&mut random, organisation, &common);
    let mut issuer = Issuer::new(params, root_key);
    let mut presented = Vec::new();
    let mut has_self_issued = false;
    for number in 0..=random.below(3) {
        // One renewed key in a chain: two of one name are beyond what is tried (`limits::FORGED_AT_FIRST_MAX`).
        let is_self_issued = random.one_in(5) && !has_self_issued;
        has_self_issued |= is_self_issued;
        if !is_self_issued {
            organisation = random.below(ORGANISATIONS.len());
            common = format!("CA {number}");
        }
        let _ = write!(
            said,
            "\n  CA {number} self-issued {is_self_issued} organisation {organisation}"
        );
        let mut params = of_ca(&mut random, organisation, &common);
        params.custom_extensions = match random.below(3) {
            0 => vec![constraints(&mut random, &mut said)],
            1 => Vec::new(),
            _ => policies(&mut random, true, &mut said),
        };
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &issuer).expect("a CA");
        presented.insert(0, signed.der().clone());
        params.distinguished_name = name(&mut random, organisation, &common);
        issuer = Issuer::new(params, key);
    }
    let mut params = CertificateParams::default();
    let organisation = random.below(ORGANISATIONS.len());
    let _ = write!(said, "\n  leaf organisation {organisation}");
    params.distinguished_name = name(&mut random, organisation, "gateway");
    params.subject_alt_names = vec![dns(PEER)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params.custom_extensions = policies(&mut random, false, &mut said);
    let key = KeyPair::generate().expect("a key");
    let leaf = params.signed_by(&key, &issuer).expect("a leaf");
    presented.insert(0, leaf.der().clone());
    Chain {
        presented,
        root,
        said,
    }
}

fn ours(chain: &Chain) -> Result<(), String> {
    let mut gateway = Gateway::under(&Authority::new("Site CA"));
    gateway.listed[0].anchors = vec![chain.root.clone()];
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    let (leaf, above) = chain.presented.split_first().expect("a leaf");
    let judged = gateway
        .acceptor()
        .judge(leaf, above, UnixTime::since_unix_epoch(now));
    judged.map(|_| ()).map_err(|refusal| refusal.to_string())
}

fn theirs(chain: &Chain, folder: &Path) -> Result<(), String> {
    let write = |name: &str, certificates: &[CertificateDer<'_>]| {
        let path = folder.join(name);
        let pem: String = certificates
            .iter()
            .map(|der| pem("CERTIFICATE", der))
            .collect();
        std::fs::write(&path, pem).expect("written");
        path
    };
    let (leaf, above) = chain.presented.split_at(1);
    let mut command = Command::new("openssl");
    // Without a policy that is asked for, openssl takes the initial set for empty, where RFC 5280 has any-policy.
    command.args(["verify", "-policy_check", "-policy", "2.5.29.32.0"]);
    command.args(["-purpose", "sslclient", "-CAfile"]);
    command.arg(write("root.pem", std::slice::from_ref(&chain.root)));
    command.arg("-untrusted").arg(write("above.pem", above));
    let output = command
        .arg(write("leaf.pem", leaf))
        .output()
        .expect("openssl");
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

#[test]
fn chains_with_policies_constraints_and_spellings_are_judged_as_openssl_judges_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut accepted, mut different) = (0, Vec::new());
    for seed in 1..=CHAINS {
        let chain = chain(seed);
        let (ours, theirs) = (ours(&chain), theirs(&chain, folder.path()));
        accepted += u64::from(ours.is_ok());
        if ours.is_ok() != theirs.is_ok() {
            different.push(format!(
                "{}\nours: {ours:?}\ntheirs: {theirs:?}",
                chain.said
            ));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
    // A comparison in which one outcome is rare compares little.
    assert!(
        (CHAINS / 5..CHAINS * 4 / 5).contains(&accepted),
        "{accepted}"
    );
}
