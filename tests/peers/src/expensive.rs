//! Chains that were made to cost the gateway as much as possible, none of which has a valid path.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};
use rustls::AlertDescription as Alert;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::authority::{Authority, Own};
use crate::der::{self, Parts, p256};

/// The certificates that the gateway reads of a chain at most. A unit test of the gateway compares these
/// numbers with its limits.
pub const CHAIN_MAX: usize = 8;
/// The bytes of a certificate that it reads at most.
pub const CERTIFICATE_BYTES_MAX: usize = 16_384;
/// The elements of names and extensions of a certificate that it reads at most.
pub const CERTIFICATE_ELEMENTS_MAX: usize = 512;
/// The extensions of a certificate that it reads at most.
pub const CERTIFICATE_EXTENSIONS_MAX: usize = 32;

const INTERMEDIATES: usize = CHAIN_MAX - 1;

/// A peer of a CA with this name that nobody trusts, and as many more of the name as there may be.
pub fn namesakes(authority: &str, peer: &str) -> Own {
    let mut own = Authority::new(authority).issue(&[peer]);
    while own.chain.len() < CHAIN_MAX {
        own.chain.push(Authority::new(authority).der());
    }
    own
}

/// The chain of a client that has its own key. Every signature is valid under some key of the attacker.
#[derive(Debug, Clone, Copy)]
pub enum ExpensiveChain {
    /// A certificate that names the trusted CA as its issuer, and is signed by another key.
    Forged,
    /// The maximum number of intermediates, each with the trusted CA's name as subject and issuer and its own
    /// key.
    AnchorNames,
    /// The same with another name.
    EqualNames(Filling),
    /// The same in pairs that issue the next pair, up to the trusted CA's name: the maximum number of steps
    /// of the gateway.
    Web(Filling),
    /// A forged certificate with this number of names.
    Alternatives(usize),
    /// A forged certificate, with this number of empty certificates.
    Certificates(usize),
}

/// The additional contents of the intermediates.
#[derive(Debug, Clone, Copy)]
pub enum Filling {
    /// None.
    Nothing,
    /// The maximum number of extensions, and extended key usages before the one that is needed.
    Most,
    /// Many more extensions.
    Beyond,
}

impl ExpensiveChain {
    /// Every one, with its name and the alert that the client must receive.
    pub const ALL: [(&'static str, Self, Alert); 9] = [
        ("forged", Self::Forged, Alert::UnknownCA),
        ("anchor-names", Self::AnchorNames, Alert::UnknownCA),
        (
            "equal-names",
            Self::EqualNames(Filling::Nothing),
            Alert::UnknownCA,
        ),
        ("web", Self::Web(Filling::Nothing), Alert::UnknownCA),
        ("filled", Self::Web(Filling::Most), Alert::UnknownCA),
        (
            "oversized",
            Self::EqualNames(Filling::Beyond),
            Alert::BadCertificate,
        ),
        ("names", Self::Alternatives(420), Alert::UnknownCA),
        (
            "many-names",
            Self::Alternatives(5000),
            Alert::BadCertificate,
        ),
        (
            "certificates",
            Self::Certificates(12_000),
            Alert::BadCertificate,
        ),
    ];

    /// The chain of this name.
    ///
    /// # Panics
    ///
    /// [`Self::ALL`] holds no such name.
    pub fn named(name: &str) -> Self {
        let found = Self::ALL.iter().find(|(known, ..)| *known == name);
        found
            .unwrap_or_else(|| panic!("no chain is called {name}"))
            .1
    }

    /// Makes the chain for a server that trusts a CA of the name `anchor`, and the key of its client.
    pub fn make(self, anchor: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().expect("a key");
        let mut leaf = CertificateParams::new(vec!["client.example".to_owned()]).expect("a name");
        let (first, mut rest) = match self {
            Self::Forged => (anchor, Vec::new()),
            Self::AnchorNames => (anchor, alike(anchor, Filling::Nothing)),
            Self::EqualNames(filling) => ("X", alike("X", filling)),
            Self::Web(filling) => {
                let made = web(anchor).map(|[subject, issuer]| self_made(subject, issuer, filling));
                ("A", made.into())
            }
            Self::Alternatives(count) => {
                let names = (0..count).map(|number| format!("{number:x}").try_into());
                let names = names.map(|name| SanType::DnsName(name.expect("ASCII")));
                leaf.subject_alt_names = names.collect();
                (anchor, Vec::new())
            }
            Self::Certificates(count) => (anchor, vec![CertificateDer::from(Vec::new()); count]),
        };
        let issuer = Issuer::new(of_ca(first, Filling::Nothing), p384());
        let signed = leaf.signed_by(&key, &issuer).expect("a certificate");
        rest.insert(0, signed.der().clone());
        (rest, PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }
}

fn alike(name: &str, filling: Filling) -> Vec<CertificateDer<'static>> {
    let made = (0..INTERMEDIATES).map(|_| self_made(name, name, filling));
    made.collect()
}

/// Subject and issuer of each: 2 + 4 + 4 steps to the last pair's issuer, and 4 to the other one.
fn web(anchor: &str) -> [[&str; 2]; INTERMEDIATES] {
    [
        ["A", "B"],
        ["A", "B"],
        ["B", "C"],
        ["B", "C"],
        ["C", anchor],
        [anchor, anchor],
        ["D", "D"],
    ]
}

/// A certificate of a CA that names `issuer`, with a P-384 key, as `wardgate pki init` makes one.
fn self_made(subject: &str, issuer: &str, filling: Filling) -> CertificateDer<'static> {
    let issuer = Issuer::new(of_ca(issuer, Filling::Nothing), p384());
    let certificate = of_ca(subject, filling).signed_by(&p384(), &issuer);
    certificate.expect("a certificate").der().clone()
}

fn p384() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("a key")
}

fn of_ca(name: &str, filling: Filling) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let (extensions, usages) = match filling {
        Filling::Nothing => return params,
        Filling::Most => (27, 350),
        Filling::Beyond => (850, 0),
    };
    let extension = CustomExtension::from_oid_content(&[1, 2], Vec::new());
    params.custom_extensions = vec![extension; extensions];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(vec![1, 2]); usages];
    params
        .extended_key_usages
        .push(ExtendedKeyUsagePurpose::ClientAuth);
    params
}

/// Chains without a valid signature that took from 6 ms to 2.9 s of a core each: their names, and the alert for
/// each.
pub fn unsigned() -> Vec<(&'static str, Vec<CertificateDer<'static>>, Alert)> {
    let made = |leaf: Parts, intermediate: Option<Parts>| {
        let mut chain = vec![CertificateDer::from(leaf.forged())];
        for number in (0..).take(INTERMEDIATES) {
            let keyed = intermediate
                .clone()
                .map(|parts| parts.with_key(p256(number)));
            chain.extend(keyed.map(|parts| CertificateDer::from(parts.forged())));
        }
        chain
    };
    let leaf = || Parts::new("leaf", "X");
    let extensions = |count: usize| der::extension(&[0x2a], &[]).repeat(count);
    let ca = |filling: &[u8]| Some(Parts::new("X", "X").with(filling).of_ca());
    let names: Vec<_> = (0..9_000)
        .map(|name| der::element(0x82, &[format!("{name:x}").as_bytes()]))
        .collect();
    vec![
        ("equal names", made(leaf(), ca(&[])), Alert::UnknownCA),
        (
            "as many extensions as there may be",
            made(leaf(), ca(&extensions(28))),
            Alert::UnknownCA,
        ),
        (
            "more extensions",
            made(leaf(), ca(&extensions(850))),
            Alert::BadCertificate,
        ),
        (
            "many names",
            made(leaf().with(&der::alternative_names(&names)), None),
            Alert::BadCertificate,
        ),
    ]
}
