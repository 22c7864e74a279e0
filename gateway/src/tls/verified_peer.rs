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

/// What is kept of the certificates of a path, the leaf first; `anchor` is the key that it ends at.
pub(super) fn certificates_kept(
    path: &VerifiedPath<'_>,
    anchor: KeyHash,
) -> Option<Vec<ChainCertificate>> {
    let above = path.intermediate_certificates();
    let keys = above.map(|issuer| key_hash(&issuer.subject_public_key_info()));
    let issuers = keys.chain([anchor]);
    let leaf: &Cert<'_> = path.end_entity();
    let certificates = std::iter::once(leaf).chain(path.intermediate_certificates());
    certificates
        .zip(issuers)
        .map(|(certificate, issuer)| ChainCertificate::new(certificate, &issuer))
        .collect()
}

/// The certificates of a path, the leaf first; `anchor` is the key that it ends at. `None` where one of them was not
/// presented, which cannot be.
pub(super) fn certificates(
    path: &VerifiedPath<'_>,
    normal: &NormalChain<'_>,
    anchor: KeyHash,
) -> Option<Vec<PathCertificate>> {
    let issuers: Vec<_> = path.intermediate_certificates().collect();
    let issuer_at = |index: usize| match issuers.get(index) {
        Some(issuer) => (
            key_hash(&issuer.subject_public_key_info()),
            may_sign_lists(&issuer.der()),
        ),
        None => (anchor, true),
    };
    let certificate = |certificate: &Cert<'_>, is_leaf, issuer| {
        let original = normal.find(&certificate.der())?.original();
        Some(PathCertificate::new(certificate, original, is_leaf, issuer))
    };
    let leaf = certificate(path.end_entity(), true, issuer_at(0));
    let above = issuers
        .iter()
        .enumerate()
        .map(|(index, issuer)| certificate(issuer, false, issuer_at(index + 1)));
    std::iter::once(leaf).chain(above).collect()
}
