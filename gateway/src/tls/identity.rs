//! The names in a certificate, and which of a route's peers has them.
//!
//! Only names in the SubjectAltName count (RFC 6125 section 6.4.4, RFC 9525 section 2): a common name never
//! makes a certificate that of a peer. Whether the certificate is valid is not checked here: `verifier`
//! does that first.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use ring::digest::{Context, SHA256, digest};
use rustls::pki_types::CertificateDer;
use webpki::Cert;

use super::der::Layout;
use super::names::{alternative_names, distinguished_name};
use super::text::{hex, list, serial};
use crate::config::{Peer, PeerName, Target};
use crate::pki::crl::KeyHash;

/// The peer of a TLS connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// The identity by which the peer was accepted, as configured: `dns:gw.region.example`.
    pub identity: String,
    /// Further identities of the same peer in its certificate; at most `limits::PEERS_MAX`.
    pub further: Vec<String>,
    /// SHA-256 of its SubjectPublicKeyInfo, lower-case hexadecimal.
    pub key_sha256: String,
    /// Serial number of its certificate, lower-case hexadecimal.
    pub serial: String,
    /// The certificates of the verified path, the leaf first, without the trust anchor.
    pub chain: Vec<ChainCertificate>,
}

/// What remains known of a certificate on an accepted peer's path, to check it later against a new
/// revocation list or the clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainCertificate {
    /// SHA-256 of the issuer's name, in the form in which names are compared, and the hash of the issuer's
    /// key.
    pub issuer: [u8; 32],
    /// Serial number, as in the certificate.
    pub serial: Box<[u8]>,
    /// When it expires, in seconds since 1970.
    pub not_after: i64,
}

impl ChainCertificate {
    /// `None` if its dates cannot be read. This cannot happen, because its path was verified.
    pub(super) fn new(certificate: &Cert<'_>, issuer_key: &KeyHash) -> Option<Self> {
        let der = certificate.der();
        let dates = Layout::of(&der)?.validity()?;
        Some(Self {
            issuer: issuer_digest(certificate.issuer(), issuer_key),
            serial: certificate.serial().into(),
            not_after: dates.not_after.timestamp(),
        })
    }
}

/// How `ChainCertificate::issuer` names an issuer: by its name in its comparable form, and its key.
pub(super) fn issuer_digest(name: &[u8], key: &KeyHash) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(name);
    context.update(key);
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

impl PeerInfo {
    /// `key` is the hash of the leaf's SubjectPublicKeyInfo.
    pub(super) fn new(
        leaf: &Cert<'_>,
        key: &KeyHash,
        identity: String,
        further: Vec<String>,
        chain: Vec<ChainCertificate>,
    ) -> Self {
        Self {
            identity,
            further,
            key_sha256: hex(key),
            serial: serial(leaf.serial()),
            chain,
        }
    }

    /// All identities that the peer has proved, as the configuration writes them: first the one by which it
    /// was accepted, last the hash of its key. Other names in its certificate do not count, because its CA
    /// may not issue certificates for them.
    #[must_use]
    pub fn identities(&self) -> Vec<String> {
        let mut all = vec![self.identity.clone()];
        all.extend_from_slice(&self.further);
        let key = format!("sha256:{}", self.key_sha256);
        if !all.contains(&key) {
            all.push(key);
        }
        all
    }
}

/// The identities of a route's peers.
#[derive(Debug)]
pub(super) struct Peers {
    // Each with the index of its peer.
    listed: HashMap<PeerName, usize>,
    shown: String,
}

/// A listed identity that a certificate bears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proved {
    /// The index of the peer that lists it.
    pub(super) group: usize,
    /// The identity.
    pub(super) name: PeerName,
    /// Whether this identity is expected at the target; true if the target does not name expected peers.
    pub(super) is_expected: bool,
}

impl Peers {
    /// Takes the identities from the configuration.
    pub(super) fn new(peers: &[Arc<Peer>]) -> Self {
        let mut listed = HashMap::new();
        for (number, peer) in peers.iter().enumerate() {
            for name in &peer.identities {
                listed.entry(comparable(name)).or_insert(number);
            }
        }
        let names: Vec<_> = peers.iter().flat_map(|peer| &peer.identities).collect();
        Self {
            listed,
            shown: list(names.iter().map(ToString::to_string)),
        }
    }

    /// The listed identities that `leaf` bears: DNS names, then URIs, then its key, whose hash is `key`.
    /// Empty if none is listed.
    ///
    /// DNS names are compared whole and without regard to ASCII case. A wildcard in the certificate matches
    /// nothing: a listed wildcard would accept every host of a domain.
    pub(super) fn proved(
        &self,
        leaf: &Cert<'_>,
        key: &KeyHash,
        target: Option<&Target>,
    ) -> Vec<Proved> {
        let expected = target.and_then(|target| target.expected.as_deref());
        let dns = leaf
            .valid_dns_names()
            .filter(|name| !name.contains('*'))
            .map(|name| PeerName::Dns(name.to_ascii_lowercase()));
        let uri = leaf
            .valid_uri_names()
            .map(|name| PeerName::Uri(name.to_owned()));
        let mut proved: Vec<Proved> = Vec::new();
        for name in dns.chain(uri).chain([PeerName::Sha256(*key)]) {
            let Some(group) = self.listed.get(&name) else {
                continue;
            };
            if proved.iter().any(|known| known.name == name) {
                continue;
            }
            let is_it = |one: &PeerName| comparable(one) == name;
            proved.push(Proved {
                group: *group,
                is_expected: expected.is_none_or(|expected| expected.iter().any(is_it)),
                name,
            });
        }
        proved
    }

    /// The peers that list one of `identities`, each as `PeerInfo::identities` names it, in this order.
    pub(super) fn listing(&self, identities: &[String]) -> Vec<usize> {
        let mut peers = Vec::new();
        for identity in identities {
            let mut listed = self.listed.iter();
            let found = listed.find(|(name, _)| name.to_string() == *identity);
            if let Some((_, peer)) = found.filter(|(_, peer)| !peers.contains(*peer)) {
                peers.push(*peer);
            }
        }
        peers
    }

    /// The first identity as configured, for messages.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }
}

// DNS names from the configuration are in lower case already. A comparison that decides about access does
// not rely on that.
fn comparable(name: &PeerName) -> PeerName {
    match name {
        PeerName::Dns(name) => PeerName::Dns(name.to_ascii_lowercase()),
        other => other.clone(),
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest(&SHA256, bytes).as_ref());
    sum
}

/// What a person needs to recognise a certificate. All text from the certificate is escaped and bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateDescription {
    /// The names in the SubjectAltName, in the form of `peers`; at most `limits::SHOWN_NAMES_MAX`.
    pub names: Vec<String>,
    /// The number of further names.
    pub names_hidden: usize,
    /// Subject, for example `CN=gateway, O=Hospital`; empty if there is none.
    pub subject: String,
    /// Issuer, in the same form.
    pub issuer: String,
    /// Serial number, lower-case hexadecimal; empty if the certificate cannot be read.
    pub serial: String,
    /// SHA-256 of the whole certificate, lower-case hexadecimal.
    pub fingerprint: String,
    /// SHA-256 of its SubjectPublicKeyInfo, lower-case hexadecimal; empty if the certificate cannot be
    /// read.
    pub key_sha256: String,
}

impl CertificateDescription {
    /// Describes a certificate, even one that cannot be read.
    pub fn new(der: &CertificateDer<'_>) -> Self {
        let fingerprint = hex(&sha256(der));
        let Some(certificate) = Layout::of(der) else {
            return Self {
                names: Vec::new(),
                names_hidden: 0,
                subject: String::new(),
                issuer: String::new(),
                serial: String::new(),
                fingerprint,
                key_sha256: String::new(),
            };
        };
        let (names, names_hidden) = alternative_names(&certificate);
        Self {
            names,
            names_hidden,
            subject: distinguished_name(certificate.subject),
            issuer: distinguished_name(certificate.issuer),
            serial: serial(certificate.serial),
            fingerprint,
            key_sha256: hex(&sha256(certificate.key_element)),
        }
    }
}

impl CertificateDescription {
    /// Whether it names itself as its issuer.
    pub(super) fn is_self_signed(&self) -> bool {
        !self.subject.is_empty() && self.subject == self.issuer
    }

    /// The first name and the number of further names, or the subject; empty if the certificate cannot be
    /// read.
    pub(super) fn short_name(&self) -> String {
        let more = self.names.len().saturating_sub(1) + self.names_hidden;
        match self.names.first() {
            Some(name) if more > 0 => format!("{name} (and {more} more names)"),
            Some(name) => name.clone(),
            None if self.serial.is_empty() => String::new(),
            None => format!("of subject \"{}\" without a DNS or URI name", self.subject),
        }
    }
}

/// The site's own certificate, for messages.
#[derive(Debug)]
pub(super) struct OwnCertificate {
    pub(super) leaf: CertificateDescription,
    /// Subject of the CA that issued the last certificate of the chain; `None` if that certificate is a
    /// root.
    pub(super) missing_issuer: Option<String>,
}

/// The names, or the subject, as a field of a log line.
impl fmt::Display for CertificateDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.serial.is_empty() {
            return f.write_str("unreadable");
        }
        if self.names.is_empty() {
            return f.write_str(&self.subject);
        }
        f.write_str(&self.names.join(" "))?;
        if self.names_hidden > 0 {
            write!(f, " and {} more names", self.names_hidden)?;
        }
        Ok(())
    }
}
