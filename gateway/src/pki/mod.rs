//! Certificates, keys and revocation lists: creating and loading them, and checking their dates.
//!
//! `authority` creates a site's own CA and issues certificates from it, `request` asks another CA for one. `store` loads the files of a route
//! and finds their faults, `own` finds this site among its own peers, `expiry` computes how long the files
//! are valid, and `show` prints their contents as text. `crl` holds revocation lists, and `fetched` takes those that come from a network. Below them, `pem` and
//! `der` parse, `file` reads files, `facts` extracts the fields of certificates, and `rules` checks them.
//! `profile` and `permitted` define the contents of new certificates, `constraints` the names for which a
//! CA may issue certificates. `folder` and `index` hold a CA's state, and `write` writes files. Nothing
//! here speaks TLS.

pub(crate) mod algorithms;
pub mod authority;
mod authority_error;
pub(crate) mod constraints;
pub(crate) mod crl;
pub(crate) mod der;
pub mod expiry;
pub(crate) mod facts;
pub mod fetched;
mod file;
#[cfg(test)]
pub(crate) mod fixture;
pub(crate) mod folder;

mod index;
mod key;
pub mod limits;
pub(crate) mod name;
mod own;
pub(crate) mod partner;
pub mod pem;
mod permitted;
mod profile;
pub mod request;
mod rules;
pub mod show;
pub mod store;
mod token;
pub(crate) mod webpki_error;
pub(crate) mod write;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

use ring::digest;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

pub use crl::Crl;
pub use key::IdentityKey;
pub use token::WebToken;

/// A site's certificate chain and key on a route, loaded and valid.
pub struct Identity {
    /// Own chain, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's private key.
    pub key: IdentityKey,
}

/// The CAs that may issue certificates for a peer, and their revocation lists. Routes and peers that name
/// the same files share one value.
#[derive(Debug)]
pub struct Trust {
    /// Certificates of the trust anchors; never empty.
    pub anchors: Vec<CertificateDer<'static>>,
    /// Revocation lists, newest first; if empty, revocation is not checked.
    pub crls: Vec<Arc<Crl>>,
}

impl Trust {
    /// Trust in these anchors, without revocation lists.
    #[must_use]
    pub fn new(anchors: Vec<CertificateDer<'static>>) -> Self {
        Self {
            anchors,
            crls: Vec::new(),
        }
    }

    /// The distinct subject names of the anchors, in the order of the anchors.
    #[must_use]
    pub fn subjects(&self) -> Vec<String> {
        let facts = self
            .anchors
            .iter()
            .filter_map(|der| facts::Facts::of(der).ok());
        let mut seen = HashSet::new();
        facts
            .filter(|facts| seen.insert(facts.subject_der.clone()))
            .map(|facts| facts.subject)
            .collect()
    }

    /// The SHA-256 of the keys of the anchors, by subject name.
    #[must_use]
    pub(crate) fn keys(&self) -> BTreeMap<String, BTreeSet<[u8; 32]>> {
        let mut keys = BTreeMap::<String, BTreeSet<_>>::new();
        for anchor in &self.anchors {
            if let Ok(facts) = facts::Facts::of(anchor) {
                let of_name = keys.entry(facts.subject).or_default();
                of_name.extend(partner::key_sha256(anchor));
            }
        }
        keys
    }

    /// The same trust with revocation lists, which the anchors or the CAs of `issuers` have signed. If none
    /// of them has signed a list, every peer that the list covers is refused.
    ///
    /// # Errors
    /// As `Crl::new`.
    pub fn with_crls(
        self,
        crls: Vec<CertificateRevocationListDer<'static>>,
        issuers: &[CertificateDer<'_>],
    ) -> Result<Self, String> {
        let mut crls = crls
            .into_iter()
            .map(|der| Crl::new(der).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        for crl in &crls {
            let known = self.anchors.iter().chain(issuers);
            for issuer in known.filter_map(|der| facts::Facts::of(der).ok()) {
                crl.signed_by(&issuer.spki);
            }
        }
        crl::newest_first(&mut crls);
        Ok(Self {
            anchors: self.anchors,
            crls,
        })
    }
}

/// A digest of everything that a route's TLS configuration is built from: its own chain, and the CAs and
/// revocation lists of its peers. Two sets of files with the same TLS configuration have the same digest.
/// The private key is not part of it: the leaf contains its public key.
pub(crate) fn digest(identity: &Identity, trusts: &[Arc<Trust>]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    // Each list is preceded by its length, and so is each part, so two different sets cannot have the same
    // bytes.
    let mut add = |parts: &[&[u8]]| {
        context.update(&parts.len().to_be_bytes());
        for part in parts {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
    };
    add(&bytes(&identity.chain));
    for trust in trusts {
        add(&bytes(&trust.anchors));
        add(&trust
            .crls
            .iter()
            .map(|crl| &crl.sha256()[..])
            .collect::<Vec<_>>());
    }
    let mut sum = [0; 32];
    sum.copy_from_slice(context.finish().as_ref());
    sum
}

fn bytes<'c>(certificates: &'c [CertificateDer<'_>]) -> Vec<&'c [u8]> {
    certificates.iter().map(AsRef::as_ref).collect()
}

// rustls stores its own form of the key in memory of the cryptographic library, which is not wiped.
// Prevents the key from being logged by accident.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("chain", &self.chain.len())
            .finish_non_exhaustive()
    }
}
