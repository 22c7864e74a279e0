//! What the two sites send each other: names and certificates, and how they are checked.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use ring::digest;
use rustls::pki_types::{CertificateDer, UnixTime};

use super::code::fingerprint;
use super::error::PairingError;
use super::limits::{
    CERTIFICATE_BYTES_MAX, OFFERED_AUTHORITIES_MAX, OFFERED_CHAIN_MAX, TEXT_BYTES_MAX,
};
use super::wire::{Reader, put};
use crate::config::{
    self, IdentityFiles, KeyExchange, Located, Peer, PeerName, Policy, RecordLayer, RouteTls,
    TrustFiles,
};
use crate::pki::Trust;
use crate::pki::partner;
use crate::tls::{TlsRole, would_accept};

/// What a site sends: OFFER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The name of the site: 1 to 64 letters, digits, `-`, `_` and `.`.
    pub site: String,
    /// The identity that its certificate proves: `dns:gw.region.example`.
    pub identity: String,
    /// Whether the site renews its CA certificate over the link, and takes that of the other site.
    pub renews: bool,
    /// Its certificate chain, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The CA certificates that are to be trusted for it.
    pub authorities: Vec<CertificateDer<'static>>,
}

/// The bit of `renews` in the flags.
const RENEWS: u8 = 1;

impl Offer {
    /// The bytes of its frame.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, self.site.as_bytes());
        put(&mut bytes, self.identity.as_bytes());
        bytes.push(if self.renews { RENEWS } else { 0 });
        for list in [&self.chain, &self.authorities] {
            // At most `OFFERED_CHAIN_MAX`, as `check` has found.
            bytes.push(u8::try_from(list.len()).unwrap_or(u8::MAX));
            for certificate in list {
                put(&mut bytes, certificate);
            }
        }
        bytes
    }

    /// Reads the bytes of a frame. Texts have only printable ASCII.
    ///
    /// # Errors
    /// `Protocol` if they are not exactly one offer within the bounds.
    pub fn read(bytes: &[u8]) -> Result<Self, PairingError> {
        Self::parse(bytes).ok_or(PairingError::Protocol("an offer that cannot be read"))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        // LIMIT: TEXT_BYTES_MAX.
        let site = reader.text(TEXT_BYTES_MAX)?;
        let identity = reader.text(TEXT_BYTES_MAX)?;
        let flags = reader.byte()?;
        // LIMIT: OFFERED_CHAIN_MAX, OFFERED_AUTHORITIES_MAX, CERTIFICATE_BYTES_MAX.
        let chain = reader.certificates(OFFERED_CHAIN_MAX, CERTIFICATE_BYTES_MAX)?;
        let authorities = reader.certificates(OFFERED_AUTHORITIES_MAX, CERTIFICATE_BYTES_MAX)?;
        reader.end()?;
        Some(Self {
            site,
            identity,
            renews: flags & RENEWS != 0,
            chain,
            authorities,
        })
    }

    /// The first 64 bits of the SHA-256 of the leaf's public key, as words; empty without a readable leaf.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let key = self
            .chain
            .first()
            .and_then(|leaf| partner::key_sha256(leaf));
        key.map_or_else(String::new, |sha256| fingerprint(&sha256))
    }

    /// The SHA-256 of the leaf's public key, in the form of an identity; empty without a readable leaf.
    #[must_use]
    pub fn key(&self) -> String {
        let key = self
            .chain
            .first()
            .and_then(|leaf| partner::key_sha256(leaf));
        key.map_or_else(String::new, |sha256| PeerName::Sha256(sha256).to_string())
    }

    /// Checks that a gateway with these CA certificates would accept this chain by this identity, on both sides of
    /// TLS. `own` holds the names of this site's own certificate.
    ///
    /// # Errors
    /// A sentence.
    pub fn check(&self, own: &[String], now: SystemTime) -> Result<(), String> {
        let site = &self.site;
        config::check_site_name(site)
            .map_err(|why| format!("the name {site:?} of the other site {why}"))?;
        let identity = config::identity_of(&self.identity)
            .filter(|identity| matches!(identity, PeerName::Dns(_) | PeerName::Uri(_)))
            .ok_or_else(|| {
                format!(
                    "site {site:?} has the identity {:?}, which is no DNS name and no URI",
                    self.identity
                )
            })?;
        if own
            .iter()
            .any(|name| name.eq_ignore_ascii_case(&self.identity))
        {
            return Err(format!(
                "site {site:?} has the identity {:?}, which is that of this site; give each site a certificate for a \
                 name of its own",
                self.identity
            ));
        }
        for authority in &self.authorities {
            partner::check_authority(authority, now)
                .map_err(|why| format!("a CA certificate of site {site:?} {why}"))?;
        }
        self.judge(identity, now)
    }

    /// The rules of a handshake, for both roles.
    fn judge(&self, identity: PeerName, now: SystemTime) -> Result<(), String> {
        let site = &self.site;
        let trust = [Arc::new(Trust::new(self.authorities.clone()))];
        let tls = rules_of(identity);
        let since = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let unix = UnixTime::since_unix_epoch(since);
        for role in [TlsRole::Client, TlsRole::Server] {
            match would_accept(&tls, &trust, role, &self.chain, None, unix) {
                Ok(Ok(_)) => {}
                Ok(Err(refusal)) => {
                    return Err(format!(
                        "the certificate of site {site:?} would be refused: {refusal}"
                    ));
                }
                Err(error) => {
                    return Err(format!(
                        "the certificates of site {site:?} cannot be used: {error}"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// The settings of a route whose only peer has this identity.
fn rules_of(identity: PeerName) -> RouteTls {
    let nowhere = || Located {
        value: PathBuf::new(),
        line: 0,
    };
    let trust = Arc::new(TrustFiles {
        trust: nowhere(),
        crl: Vec::new(),
    });
    RouteTls {
        identity: Arc::new(IdentityFiles {
            certificate: nowhere(),
            key: nowhere(),
            trust: None,
        }),
        peers: vec![Arc::new(Peer {
            name: None,
            identities: vec![identity],
            trust,
        })],
        service: None,
        carries_source: false,
        policy: Policy::default(),
        key_exchange: KeyExchange::default(),
        record_layer: RecordLayer::default(),
        key_records: 1,
    }
}

/// What both sides confirm in READY: the exchange and both offers.
#[must_use]
pub fn agreement(transcript: &[u8; 32], of_connecting: &[u8], of_listening: &[u8]) -> [u8; 32] {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(transcript);
    for offer in [of_connecting, of_listening] {
        hash.update(digest::digest(&digest::SHA256, offer).as_ref());
    }
    let mut sum = [0; 32];
    sum.copy_from_slice(hash.finish().as_ref());
    sum
}
