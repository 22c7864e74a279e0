//! Certificates of all kinds, made for one test each.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
    CrlIssuingDistributionPoint, CrlScope, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData,
    RevokedCertParams, SanType, SerialNumber,
};
use rustls::SignatureScheme;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer,
};
use rustls::sign::{CertifiedKey, SigningKey};
use time::{Duration, OffsetDateTime};

use crate::accept_all::ForgedKey;

/// The serial number of certificates that say nothing else: `0a11`.
pub const SERIAL: u64 = 0x0a11;

/// A certificate and what signs for it.
pub struct Own {
    /// The certificates that it presents, its own first.
    pub chain: Vec<CertificateDer<'static>>,
    key: Option<KeyPair>,
    forged: ForgedKey,
}

impl Own {
    /// A certificate whose key nobody here has.
    pub fn without_key(chain: Vec<CertificateDer<'static>>, scheme: SignatureScheme) -> Self {
        Self {
            chain,
            key: None,
            forged: ForgedKey(scheme),
        }
    }

    /// The same, presented by somebody who took the certificate alone.
    pub fn stolen(self) -> Self {
        Self { key: None, ..self }
    }

    /// Its own certificate.
    pub fn leaf(&self) -> CertificateDer<'static> {
        self.chain.first().expect("a chain has a leaf").clone()
    }

    /// Its key.
    ///
    /// # Panics
    ///
    /// It has none.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        let key = self.key.as_ref().expect("a key of its own");
        PrivatePkcs8KeyDer::from(key.serialize_der()).into()
    }

    /// As a foreign peer presents it, however odd.
    pub fn certified(&self) -> Arc<CertifiedKey> {
        let key: Arc<dyn SigningKey> = match &self.key {
            Some(_) => rustls::crypto::ring::sign::any_supported_type(&self.private_key())
                .expect("a key that ring knows"),
            None => Arc::new(self.forged),
        };
        Arc::new(CertifiedKey::new(self.chain.clone(), key))
    }
}

/// A certificate authority.
pub struct Authority {
    name: String,
    issuer: Issuer<'static, KeyPair>,
    chain: Vec<CertificateDer<'static>>,
}

impl Authority {
    /// A root with this common name.
    pub fn new(name: &str) -> Self {
        Self::root(name, ca_params(name))
    }

    /// A root with changes to its certificate.
    pub fn with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = ca_params(name);
        change(&mut params);
        Self::root(name, params)
    }

    /// The same CA, which writes its name so in what it signs from now on.
    pub fn spelled(&self, name: DnValue) -> Self {
        let key = PrivatePkcs8KeyDer::from(self.issuer.key().serialize_der());
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &rcgen::PKCS_ECDSA_P256_SHA256);
        let mut params = ca_params(&self.name);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        Self {
            name: self.name.clone(),
            issuer: Issuer::new(params, key.expect("the same key")),
            chain: self.chain.clone(),
        }
    }

    /// A root whose last day was in 2021.
    pub fn expired(name: &str) -> Self {
        let mut params = ca_params(name);
        params.not_before = day(2020, 1);
        params.not_after = day(2021, 1);
        Self::root(name, params)
    }

    fn root(name: &str, params: CertificateParams) -> Self {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a root");
        Self {
            name: name.to_owned(),
            issuer: Issuer::new(params, key),
            chain: vec![certificate.der().clone()],
        }
    }

    /// An intermediate CA of this one.
    pub fn intermediate(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = ca_params(name);
        change(&mut params);
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("an intermediate");
        let mut chain = vec![certificate.der().clone()];
        chain.extend(self.chain.iter().cloned());
        Self {
            name: name.to_owned(),
            issuer: Issuer::new(params, key),
            chain,
        }
    }

    /// A certificate of `other`'s name and key that this CA issued, to be presented beside a leaf of `other`'s.
    pub fn cross_sign(&self, other: &Self) -> CertificateDer<'static> {
        self.cross_sign_with(other, |_| {})
    }

    /// The same with changes to the certificate.
    pub fn cross_sign_with(
        &self,
        other: &Self,
        change: impl FnOnce(&mut CertificateParams),
    ) -> CertificateDer<'static> {
        let mut params = ca_params(&other.name);
        change(&mut params);
        let certificate = params.signed_by(other.issuer.key(), &self.issuer);
        certificate.expect("a cross certificate").der().clone()
    }

    /// The same CA with a certificate that it issued to itself anew.
    pub fn reissued(&self) -> CertificateDer<'static> {
        let mut params = ca_params(&self.name);
        params.serial_number = Some(SerialNumber::from(0x77));
        let certificate = params.self_signed(self.issuer.key());
        certificate.expect("a root").der().clone()
    }

    /// A certificate for another CA's name and key, issued by this one.
    pub fn certify(&self, other: &Self, name: &str) -> CertificateDer<'static> {
        self.certify_until(other, name, day(2049, 1))
    }

    /// The same with another last day.
    pub fn certify_until(
        &self,
        other: &Self,
        name: &str,
        until: OffsetDateTime,
    ) -> CertificateDer<'static> {
        let mut params = ca_params(name);
        params.not_before = day(2020, 1);
        params.not_after = until;
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(other.issuer.key(), &self.issuer);
        certificate.expect("a certificate").der().clone()
    }

    /// The certificate of the CA.
    pub fn der(&self) -> CertificateDer<'static> {
        self.chain.first().expect("a CA has a certificate").clone()
    }

    /// A good certificate with these DNS names.
    pub fn issue(&self, names: &[&str]) -> Own {
        self.issue_with(names, |_| {})
    }

    /// The same with changes to the certificate.
    pub fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Own {
        let mut params = leaf_params(names);
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let leaf = params
            .signed_by(&key, &self.issuer)
            .expect("a certificate")
            .der()
            .clone();
        self.own(leaf, Some(key))
    }

    /// A certificate for a key that somebody else made.
    pub fn issue_for(&self, name: &str, key: &impl PublicKeyData, scheme: SignatureScheme) -> Own {
        let leaf = leaf_params(&[name]).signed_by(key, &self.issuer);
        Own {
            forged: ForgedKey(scheme),
            ..self.own(leaf.expect("a certificate").der().clone(), None)
        }
    }

    /// This CA's own certificate and key, as if they were a peer's.
    pub fn into_peer(self) -> Own {
        let key = KeyPair::from_pkcs8_der_and_sign_algo(
            &PrivatePkcs8KeyDer::from(self.issuer.key().serialize_der()),
            &rcgen::PKCS_ECDSA_P256_SHA256,
        );
        Own {
            chain: self.chain,
            key: Some(key.expect("the same key")),
            forged: no_key(),
        }
    }

    /// A list of revoked serial numbers that is fresh for a week.
    pub fn crl(&self, revoked: &[u64]) -> CertificateRevocationListDer<'static> {
        let now = OffsetDateTime::now_utc();
        self.crl_between(revoked, now - Duration::days(1), now + Duration::days(7))
    }

    /// A list that was due for renewal in 2021.
    pub fn old_crl(&self) -> CertificateRevocationListDer<'static> {
        self.crl_between(&[], day(2020, 1), day(2021, 1))
    }

    /// A list that is current between these times.
    pub fn crl_between(
        &self,
        revoked: &[u64],
        this_update: OffsetDateTime,
        next_update: OffsetDateTime,
    ) -> CertificateRevocationListDer<'static> {
        self.crl_with(revoked, this_update, next_update, None)
    }

    /// A fresh list that is published at `uri`, about these certificates alone.
    pub fn crl_at(
        &self,
        revoked: &[u64],
        uri: &str,
        scope: Option<CrlScope>,
    ) -> CertificateRevocationListDer<'static> {
        let now = OffsetDateTime::now_utc();
        let point = CrlIssuingDistributionPoint {
            distribution_point: CrlDistributionPoint {
                uris: vec![uri.to_owned()],
            },
            scope,
        };
        let (from, to) = (now - Duration::days(1), now + Duration::days(7));
        self.crl_with(revoked, from, to, Some(point))
    }

    fn crl_with(
        &self,
        revoked: &[u64],
        this_update: OffsetDateTime,
        next_update: OffsetDateTime,
        issuing_distribution_point: Option<CrlIssuingDistributionPoint>,
    ) -> CertificateRevocationListDer<'static> {
        let entry = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: this_update,
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update,
            next_update,
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params
            .signed_by(&self.issuer)
            .expect("a revocation list")
            .into()
    }

    // The root stays at home, as RFC 8446 section 4.4.2 allows.
    fn own(&self, leaf: CertificateDer<'static>, key: Option<KeyPair>) -> Own {
        let mut chain = vec![leaf];
        let intermediates = self.chain.len() - 1;
        chain.extend(self.chain.iter().take(intermediates).cloned());
        Own {
            chain,
            key,
            forged: no_key(),
        }
    }
}

/// A certificate that issued itself and is no CA.
pub fn self_signed(names: &[&str]) -> Own {
    let key = KeyPair::generate().expect("a key");
    let leaf = leaf_params(names)
        .self_signed(&key)
        .expect("a certificate")
        .der()
        .clone();
    Own {
        chain: vec![leaf],
        key: Some(key),
        forged: no_key(),
    }
}

fn no_key() -> ForgedKey {
    ForgedKey(SignatureScheme::ECDSA_NISTP256_SHA256)
}

/// The start of a month.
pub fn day(year: i32, month: u8) -> OffsetDateTime {
    rcgen::date_time_ymd(year, month, 1)
}

/// A DNS name of a certificate.
pub fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().expect("ASCII"))
}

/// A URI of a certificate.
pub fn uri(name: &str) -> SanType {
    SanType::URI(name.try_into().expect("ASCII"))
}

fn leaf_params(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names.iter().map(|name| dns(name)).collect();
    params.distinguished_name = called("leaf");
    params.serial_number = Some(SerialNumber::from(SERIAL));
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.is_ca = IsCa::ExplicitNoCa;
    params
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = called(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// A name of one common name.
pub fn called(name: &str) -> DistinguishedName {
    let mut called = DistinguishedName::new();
    called.push(DnType::CommonName, name);
    called
}
