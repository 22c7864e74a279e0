//! A peer whose chain is good, but whose key is not proved yet and whose certificates were not looked up in
//! revocation lists.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{Cert, VerifiedPath};

use super::identity::{ChainCertificate, PeerInfo};
use super::normal_form::NormalChain;
use super::refusal::Refusal;
use super::revocation::PathCertificate;
use super::role::TlsRole;
use crate::pki::Trust;
use crate::pki::crl::{KeyHash, key_hash, may_sign_lists};

/// A peer that is accepted once it has proved its key and none of `path` is revoked.
#[derive(Debug)]
pub(super) struct VerifiedPeer {
    /// The accepted peer.
    pub(super) info: Arc<PeerInfo>,
    trust: Arc<Trust>,
    // The leaf first; empty if the trust has no revocation lists, and after the look-up has passed, because
    // the connection keeps this value.
    path: Mutex<Vec<PathCertificate>>,
    now: UnixTime,
}

impl VerifiedPeer {
    /// Accepts `info` because of the certificates of `path`, which are looked up in the lists of `trust` as
    /// of `now`.
    pub(super) fn new(
        info: PeerInfo,
        trust: Arc<Trust>,
        path: Vec<PathCertificate>,
        now: UnixTime,
    ) -> Self {
        Self {
            info: Arc::new(info),
            trust,
            path: Mutex::new(path),
            now,
        }
    }

    /// Looks up every certificate of the path in the revocation lists of the peer's CAs, starting with the
    /// one below the anchor.
    pub(super) fn check_revocation(
        &self,
        side: TlsRole,
        leaf: &CertificateDer<'_>,
    ) -> Result<(), Refusal> {
        let mut path = self.path.lock().unwrap_or_else(PoisonError::into_inner);
        for certificate in path.iter().rev() {
            certificate
                .check(&self.trust.crls, self.now)
                .map_err(|rule| {
                    let refusal = Refusal::new(side, leaf, rule);
                    match certificate.as_issuer() {
                        Some(issuer) => refusal.because_of(issuer),
                        None => refusal,
                    }
                })?;
        }
        *path = Vec::new();
        Ok(())
    }
}

/// The certificates of a path, the leaf first: what is kept of each, and what is looked up in revocation
/// lists.
pub(super) struct PathCertificates {
    /// What is kept for the duration of the connection.
    pub(super) kept: Vec<ChainCertificate>,
    /// What is looked up; empty if the trust has no revocation lists.
    pub(super) looked_up: Vec<PathCertificate>,
}

impl PathCertificates {
    /// Takes the certificates of `path`, which ends at an anchor with the key `anchor`. `None` if one of them
    /// was not presented or has no readable dates. Neither can happen after the path was verified.
    pub(super) fn new(
        path: &VerifiedPath<'_>,
        normal: &NormalChain<'_>,
        anchor: KeyHash,
        has_lists: bool,
    ) -> Option<Self> {
        let issuers: Vec<&Cert<'_>> = path.intermediate_certificates().collect();
        let leaf: &Cert<'_> = path.end_entity();
        let certificates = std::iter::once(leaf).chain(issuers.iter().copied());
        let (mut kept, mut looked_up) = (Vec::new(), Vec::new());
        for (index, certificate) in certificates.enumerate() {
            let issuer = issuers.get(index);
            let key = issuer.map_or(anchor, |issuer| key_hash(&issuer.subject_public_key_info()));
            kept.push(ChainCertificate::new(certificate, &key)?);
            if has_lists {
                let may_sign = issuer.is_none_or(|issuer| may_sign_lists(&issuer.der()));
                let original = normal.find(&certificate.der())?.original();
                let issuer = (key, may_sign);
                looked_up.push(PathCertificate::new(
                    certificate,
                    original,
                    index == 0,
                    issuer,
                ));
            }
        }
        Some(Self { kept, looked_up })
    }
}
