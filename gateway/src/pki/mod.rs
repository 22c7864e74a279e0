//! Certificates, keys and revocation lists: making them, loading them, judging their dates.
//!
//! `authority` makes a site's own CA and issues from it, `store` loads what a route names and finds
//! what is wrong with it, `expiry` says how long it lasts, `show` says in words what is in a file.
//! Below them `pem` reads text, `file` reads files, `facts` parses, `rules` judges, `profile` and `permitted` say what
//! new certificates look like, `constraints` which names a CA may vouch for, `folder` and `index` keep a CA's state and `write` writes. Nothing here speaks TLS.

pub mod authority;
mod constraints;
pub mod expiry;
mod facts;
mod file;
#[cfg(test)]
mod fixture;
mod folder;

mod index;
pub mod pem;
mod permitted;
mod profile;
mod rules;
pub mod show;
pub mod store;
mod write;

use std::fmt;

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use zeroize::Zeroize;

/// Who a site is on a route, loaded and found good.
pub struct Identity {
    /// Own chain, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's private key, wiped when dropped.
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
            .field("trust", &self.trust.anchors.len())
            .finish_non_exhaustive()
    }
}
