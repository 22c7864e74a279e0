//! Certificates of sites: valid ones and odd ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
use rcgen::{
    Certificate, CertificateParams, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
    SubjectPublicKeyInfo,
};
use ring::digest::{SHA256, digest};
use tempfile::TempDir;
use test_peers::Kind;
use test_peers::authority::called;
use test_peers::expensive::CHAIN_MAX;
use time::{Duration, OffsetDateTime};

use super::{AUTHORITY, Authority, Pki, write};
use crate::Program;

/// The files of one site's identity.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// Its certificate, PEM, with the intermediates of its kind behind it.
    pub certificate: PathBuf,
    /// Its private key, PKCS #8 in PEM, mode 0600.
    pub key: PathBuf,
    /// Certificate and key in one file, as HAProxy wants them, mode 0600.
    pub both: PathBuf,
    /// The CAs of the site: the authority of the tests, whichever issued this certificate.
    pub trust: PathBuf,
    /// SHA-256 of its SubjectPublicKeyInfo, lower-case hexadecimal, as `sha256:` peers are named.
    pub key_sha256: String,
    /// The folder of these files, which stays as long as any identity or site of it: a gateway whose files are
    /// gone warns, and is no longer in the state that a test expects.
    pub folder: Arc<TempDir>,
}

/// What kind of key a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// RSA with this number of bits.
    Rsa(u32),
}

/// A key as PEM, and whatever can sign a certificate for itself.
struct Material {
    pem: String,
    public: SubjectPublicKeyInfo,
    pair: Option<KeyPair>,
}

/// The kind of key that goes with a kind of certificate.
pub(super) fn key_of(kind: Kind) -> Key {
    match kind {
        Kind::ShortRsa => Key::Rsa(1024),
        _ => Key::P256,
    }
}

impl Pki {
    /// A certificate for all of these names, DNS names and URIs, good but for its kind.
    pub fn leaf_of(&self, names: &[&str], kind: Kind) -> Leaf {
        let (first, further) = names.split_first().expect("a certificate has a name");
        self.make_with(first, further, kind, key_of(kind))
    }

    /// A good certificate for this DNS name, whose time will be over soon.
    pub fn brief_leaf(&self, name: &str, life: std::time::Duration) -> Leaf {
        let life = Duration::try_from(life).expect("a test waits for seconds");
        let mut params = params(name, Kind::Good);
        params.not_after = OffsetDateTime::now_utc() + life;
        self.issue(name, Kind::Good, Key::P256, &params)
    }

    /// Makes a certificate and its key, and writes their files.
    pub(super) fn make(&self, name: &str, kind: Kind, key: Key) -> Leaf {
        self.make_with(name, &[], kind, key)
    }

    fn make_with(&self, name: &str, further: &[&str], kind: Kind, key: Key) -> Leaf {
        let mut params = params(name, kind);
        let further = further.iter().map(|name| alternative_name(name));
        params.subject_alt_names.extend(further);
        self.issue(name, kind, key, &params)
    }

    fn issue(&self, name: &str, kind: Kind, key: Key, params: &CertificateParams) -> Leaf {
        let stem = self.stem(name);
        let material = Material::new(key, &stem);
        let issued_by = |authority| sign(params, &material, authority).pem();
        let chain = match kind {
            Kind::SelfSigned => material.self_signed(params).pem(),
            Kind::OtherAuthority => issued_by(&self.other),
            Kind::Namesakes => {
                let namesakes = (0..CHAIN_MAX).map(|_| Authority::new(AUTHORITY));
                let namesakes: Vec<_> = namesakes.collect();
                let presented = namesakes[1..].iter().map(|ca| ca.certificate.as_str());
                issued_by(&namesakes[0]) + &presented.collect::<String>()
            }
            Kind::RenewedAuthority => {
                let renewed = Authority::new(AUTHORITY);
                issued_by(&renewed) + &self.authority.certify(&renewed)
            }
            _ => issued_by(&self.authority),
        };
        let leaf = Leaf {
            certificate: stem.with_added_extension("pem"),
            key: stem.with_added_extension("key"),
            both: stem.with_added_extension("both.pem"),
            trust: self.trust(),
            key_sha256: material.sha256(),
            folder: Arc::clone(&self.folder),
        };
        write(&leaf.certificate, &chain, 0o644);
        write(&leaf.key, &material.pem, 0o600);
        let both = format!("{chain}{}", material.pem);
        write(&leaf.both, &both, 0o600);
        leaf
    }
}

impl Material {
    fn new(key: Key, stem: &Path) -> Self {
        match key {
            Key::P256 => Self::ecdsa(&rcgen::PKCS_ECDSA_P256_SHA256),
            Key::P384 => Self::ecdsa(&rcgen::PKCS_ECDSA_P384_SHA384),
            Key::Rsa(bits) => Self::rsa(bits, &stem.with_added_extension("rsa")),
        }
    }

    fn ecdsa(algorithm: &'static rcgen::SignatureAlgorithm) -> Self {
        let pair = KeyPair::generate_for(algorithm).expect("ring makes keys");
        Self {
            pem: pair.serialize_pem(),
            public: SubjectPublicKeyInfo::from_der(&pair.subject_public_key_info())
                .expect("rcgen reads its own keys"),
            pair: Some(pair),
        }
    }

    fn rsa(bits: u32, file: &Path) -> Self {
        let made = Program::new("openssl")
            .args(["genpkey", "-algorithm", "RSA", "-pkeyopt"])
            .arg(format!("rsa_keygen_bits:{bits}"))
            .arg("-out")
            .arg(file)
            .run();
        made.expect_success();
        let shown = Program::new("openssl")
            .args(["pkey", "-pubout", "-in"])
            .arg(file)
            .run()
            .expect_success();
        let public = String::from_utf8(shown.stdout).expect("PEM is text");
        Self {
            pem: fs::read_to_string(file).expect("openssl wrote the key"),
            public: SubjectPublicKeyInfo::from_pem(&public).expect("openssl wrote a public key"),
            pair: None,
        }
    }

    fn self_signed(&self, params: &CertificateParams) -> Certificate {
        let pair = self.pair.as_ref().expect("self-signed leaves are ECDSA");
        params.self_signed(pair).expect("the parameters are whole")
    }

    fn sha256(&self) -> String {
        let hash = digest(&SHA256, &self.public.subject_public_key_info());
        let hash = hash.as_ref().iter();
        hash.map(|byte| format!("{byte:02x}")).collect()
    }
}

fn sign(params: &CertificateParams, material: &Material, authority: &Authority) -> Certificate {
    params
        .signed_by(&material.public, &authority.issuer)
        .expect("the parameters are whole")
}

fn params(name: &str, kind: Kind) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![alternative_name(name)];
    params.distinguished_name = called(name);
    params.use_authority_key_identifier_extension = kind != Kind::SelfSigned;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ServerAuth, ClientAuth];
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::days(1);
    params.not_after = now + Duration::days(90);
    params.is_ca = IsCa::ExplicitNoCa;
    kind.change(name, &mut params);
    params
}

fn alternative_name(name: &str) -> SanType {
    let text = name.try_into().expect("test names are ASCII");
    if name.contains("://") {
        SanType::URI(text)
    } else {
        SanType::DnsName(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The `openssl` command is a reference that shares no code with rcgen or webpki.
    fn verify(pki: &Pki, leaf: &Leaf) -> String {
        let outcome = Program::new("openssl")
            .args(["verify", "-crl_check", "-purpose", "sslserver"])
            .args(["-verify_hostname", "gw.example", "-CRLfile"])
            .arg(pki.crl())
            .arg("-CAfile")
            .arg(pki.trust())
            .arg(&leaf.certificate)
            .run();
        outcome.text()
    }

    #[test]
    fn good_certificates_verify_with_every_kind_of_key() {
        let pki = Pki::new();
        for key in [Key::P256, Key::P384, Key::Rsa(2048)] {
            let text = verify(&pki, &pki.leaf_with("gw.example", key));
            assert!(text.trim().ends_with(": OK"), "{key:?}: {text}");
        }
    }

    #[test]
    fn odd_certificates_are_odd_in_the_way_they_say() {
        let pki = Pki::new();
        for (kind, reason) in [
            (Kind::OtherAuthority, "unable to get local issuer"),
            (Kind::OtherName, "hostname mismatch"),
            (Kind::Expired, "certificate has expired"),
            (Kind::NotYetValid, "certificate is not yet valid"),
            (Kind::Revoked, "certificate revoked"),
            (Kind::WrongUsage, "certificate purpose"),
            (Kind::ClientOnly, "certificate purpose"),
            (Kind::SelfSigned, "self-signed certificate"),
        ] {
            let text = verify(&pki, &pki.odd("gw.example", kind));
            assert!(text.contains(reason), "{kind:?}: {text}");
        }
    }

    #[test]
    fn key_fingerprint_is_that_of_openssl() {
        let pki = Pki::new();
        let leaf = pki.leaf("gw.example");
        let script = format!(
            "openssl x509 -in {} -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum",
            leaf.certificate.display()
        );
        let outcome = Program::new("sh").args(["-c", &script]).run();
        assert!(outcome.text().starts_with(&leaf.key_sha256), "{outcome}");
    }
}
