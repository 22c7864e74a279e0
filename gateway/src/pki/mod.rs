//! Certificates, keys and revocation lists: making them, loading them, judging their dates.
//!
//! `authority` makes a site's own CA and issues from it, `store` loads what a route names and finds
//! what is wrong with it, `own` finds this site among its own peers, `expiry` says how long it lasts, `show`
//! says in words what is in a file. `crl` holds revocation lists. Below them `pem` and `der` read, `file`
//! reads files, `facts` parses, `rules` judges, `profile` and `permitted` say what new certificates look
//! like, `constraints` which names a CA may vouch for, `folder` and `index` keep a CA's state and `write`
//! writes. Nothing here speaks TLS.

pub(crate) mod algorithms;
pub mod authority;
mod authority_error;
pub(crate) mod constraints;
pub(crate) mod crl;
pub(crate) mod der;
pub mod expiry;
mod facts;
mod file;
#[cfg(test)]
mod fixture;
mod folder;

pub(crate) mod in_words;
mod index;
pub mod limits;
pub(crate) mod name;
mod own;
pub mod pem;
mod permitted;
mod profile;
mod rules;
pub mod show;
pub mod store;
mod write;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use ring::digest;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use zeroize::Zeroize;

pub use crl::Crl;

/// Who a site is on a route, loaded and found good.
pub struct Identity {
    /// Own chain, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's private key, wiped when dropped.
    pub key: PrivateKeyDer<'static>,
}

/// The CAs that may vouch for a peer, and their revocation lists. Routes and peers that name the same files share
/// one value.
#[derive(Debug)]
pub struct Trust {
    /// Certificates of the trust anchors; never empty.
    pub anchors: Vec<CertificateDer<'static>>,
    /// Revocation lists, newest first; empty means that revocation is not checked.
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

    /// The different subject names of the anchors, in their order.
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

    /// The same with revocation lists, which the anchors or the CAs of `issuers` have signed. A list that none of
    /// them has signed lets nobody in.
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

/// A digest of what a route shakes hands with: its own chain, and the CAs and revocation lists of its peers. Two
/// sets of files that lead to the same TLS configuration have the same digest. The key is not in it: the leaf has its
/// public part.
pub(crate) fn digest(identity: &Identity, trusts: &[Arc<Trust>]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    // Each list comes with its length, and so does each part, so that no two sets read alike.
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

// rustls keeps a form of its own of the key, in memory of the cryptographic library that is not wiped.
impl Drop for Identity {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

// The key must not reach a log by accident.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("chain", &self.chain.len())
            .finish_non_exhaustive()
    }
}
