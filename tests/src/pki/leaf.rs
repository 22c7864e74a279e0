//! Certificates of sites: valid ones and odd ones.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
    SubjectPublicKeyInfo,
};
use ring::digest::{SHA256, digest};
use time::{Duration, OffsetDateTime};

use gateway::pki::limits::CHAIN_CERTIFICATES_MAX;

use super::{AUTHORITY, Authority, Pki, REVOKED_SERIAL, write};
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
}

/// The correct or wrong property of a certificate. All other properties are as in `Good`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Valid: the right name, client and server usage, current.
    Good,
    /// Issued by an authority that is not trusted.
    OtherAuthority,
    /// Issued for `other.example`.
    OtherName,
    /// Its time was over yesterday.
    Expired,
    /// Its time will be over in ten days and an hour. Nothing is wrong with that.
    ExpiresSoon,
    /// Its time begins tomorrow.
    NotYetValid,
    /// Named in the revocation list [`Pki::crl`].
    Revoked,
    /// A CA certificate (basic constraints) in a site's place.
    AuthorityAsLeaf,
    /// For signing code: neither for clients nor for servers.
    WrongUsage,
    /// For servers alone.
    ServerOnly,
    /// For clients alone.
    ClientOnly,
    /// Issued by itself.
    SelfSigned,
    /// With an RSA key of 1024 bits.
    ShortRsa,
    /// The name is only in the common name.
    CommonNameOnly,
    /// Issued by a CA of an attacker with the trusted authority's name. As many more certificates of that
    /// name as a chain may have are presented with it, each with its own key.
    Namesakes,
    /// Issued by the trusted authority's new key. The certificate that the old key, which is trusted,
    /// issued for the new one is presented with it. Nothing is wrong with that.
    RenewedAuthority,
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

impl Kind {
    /// The kinds that neither mode may accept in its peer, with a revocation list configured.
    pub const REFUSED: [Self; 10] = [
        Self::OtherAuthority,
        Self::OtherName,
        Self::Expired,
        Self::NotYetValid,
        Self::Revoked,
        Self::AuthorityAsLeaf,
        Self::WrongUsage,
        Self::SelfSigned,
        Self::ShortRsa,
        Self::CommonNameOnly,
    ];

    /// The kind of key that goes with it.
    pub(super) fn key(self) -> Key {
        match self {
            Self::ShortRsa => Key::Rsa(1024),
            _ => Key::P256,
        }
    }
}

impl Pki {
    /// A certificate for all of these names, DNS names and URIs, good but for its kind.
    pub fn leaf_of(&self, names: &[&str], kind: Kind) -> Leaf {
        let (first, further) = names.split_first().expect("a certificate has a name");
        self.make_with(first, further, kind, kind.key())
    }

    /// Makes a certificate and its key, and writes their files.
    pub(super) fn make(&self, name: &str, kind: Kind, key: Key) -> Leaf {
        self.make_with(name, &[], kind, key)
    }

    fn make_with(&self, name: &str, further: &[&str], kind: Kind, key: Key) -> Leaf {
        let stem = self.stem(name);
        let material = Material::new(key, &stem);
        let mut params = params(name, kind);
        let further = further.iter().map(|name| alternative_name(name));
        params.subject_alt_names.extend(further);
        let issued_by = |authority| sign(&params, &material, authority).pem();
        let chain = match kind {
            Kind::SelfSigned => material.self_signed(&params).pem(),
            Kind::OtherAuthority => issued_by(&self.other),
            Kind::Namesakes => {
                let namesakes = (0..CHAIN_CERTIFICATES_MAX).map(|_| Authority::new(AUTHORITY));
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
    let name = if kind == Kind::OtherName {
        "other.example"
    } else {
        name
    };
    let mut params = CertificateParams::default();
    if kind != Kind::CommonNameOnly {
        params.subject_alt_names = vec![alternative_name(name)];
    }
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = kind != Kind::SelfSigned;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = usages(kind);
    (params.not_before, params.not_after) = dates(kind);
    match kind {
        Kind::Revoked => params.serial_number = Some(SerialNumber::from_slice(&REVOKED_SERIAL)),
        Kind::AuthorityAsLeaf => params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
        _ => params.is_ca = IsCa::ExplicitNoCa,
    }
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

fn usages(kind: Kind) -> Vec<ExtendedKeyUsagePurpose> {
    use ExtendedKeyUsagePurpose::{ClientAuth, CodeSigning, ServerAuth};
    match kind {
        Kind::WrongUsage => vec![CodeSigning],
        Kind::ServerOnly => vec![ServerAuth],
        Kind::ClientOnly => vec![ClientAuth],
        _ => vec![ServerAuth, ClientAuth],
    }
}

fn dates(kind: Kind) -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::now_utc();
    let day = Duration::days(1);
    match kind {
        Kind::Expired => (now - 30 * day, now - day),
        Kind::ExpiresSoon => (now - 100 * day, now + 10 * day + Duration::HOUR),
        Kind::NotYetValid => (now + day, now + 30 * day),
        _ => (now - day, now + 90 * day),
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
