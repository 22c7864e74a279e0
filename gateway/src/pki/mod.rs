//! Certificates, keys and revocation lists: making them, loading them, judging their dates.
//!
//! `authority` makes a site's own CA and issues from it, `store` loads what a route names and finds
//! what is wrong with it, `own` finds this site among its own peers, `expiry` says how long it lasts, `show` says in words what is in a file.
//! Below them `file` reads, `facts` parses, `rules` judges, `profile` says what new certificates look
//! like, `folder` and `index` keep a CA's state and `write` writes. Nothing here speaks TLS.

pub mod authority;
pub mod expiry;
mod facts;
mod file;
#[cfg(test)]
mod fixture;
mod folder;

mod index;
mod own;
mod profile;
mod rules;
pub mod show;
pub mod store;
mod write;

use std::fmt;

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

/// Who a site is on a route, loaded and found good.
pub struct Identity {
    /// Own chain, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's private key.
    pub key: PrivateKeyDer<'static>,
    /// Whom it believes.
    pub trust: Trust,
}

/// What peers' certificates are judged by. Holds no private key.
#[derive(Debug, Clone)]
pub struct Trust {
    /// Certificates of the trust anchors; never empty.
    pub anchors: Vec<CertificateDer<'static>>,
    /// Revocation lists; empty means that revocation is not checked.
    pub crls: Vec<CertificateRevocationListDer<'static>>,
}

// The key must not reach a log by accident.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("chain", &self.chain.len())
            .field("trust", &self.trust.anchors.len())
            .finish_non_exhaustive()
    }
}
