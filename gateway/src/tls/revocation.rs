//! Looks up the certificates of a verified path in the revocation lists of its peer's CAs.
//!
//! If a peer has lists, every certificate of its path must be covered by a list that has not passed its
//! next update (RFC 5280 section 6.3) and whose date is not in the future. A certificate of unknown status is
//! refused. If the peer has no lists, revocation is not checked, and `check` warns.
//!
//! The look-up comes after the peer has proved its key, so only the holder of the key learns the result.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::Cert;

use super::refusal::Rule;
use super::text::printable;
use crate::pki::Crl;
use crate::pki::crl::KeyHash;
use crate::pki::expiry::moment;

/// A certificate of a verified path, with the properties that identify its issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PathCertificate {
    der: CertificateDer<'static>,
    serial: Vec<u8>,
    // In its comparable form.
    issuer: Vec<u8>,
    issuer_key: KeyHash,
    issuer_may_sign_lists: bool,
    is_leaf: bool,
}

impl PathCertificate {
    /// A certificate in its normal form and as it was presented, with the key of its issuer, and whether
    /// the issuer may sign lists.
    pub(super) fn new(
        certificate: &Cert<'_>,
        original: &CertificateDer<'_>,
        is_leaf: bool,
        (issuer_key, issuer_may_sign_lists): (KeyHash, bool),
    ) -> Self {
        Self {
            der: original.clone().into_owned(),
            serial: certificate.serial().to_vec(),
            issuer: certificate.issuer().to_vec(),
            issuer_key,
            issuer_may_sign_lists,
            is_leaf,
        }
    }

    /// The certificate, if it is a CA's.
    pub(super) fn as_issuer(&self) -> Option<&CertificateDer<'static>> {
        (!self.is_leaf).then_some(&self.der)
    }

    /// Looks up the certificate in `crls`, which are sorted with the newest first. The first list with its
    /// issuer's name and key, and with the certificate in its scope, decides (RFC 5280 section 6.3.3).
    ///
    /// # Errors
    /// The rule that the certificate breaks.
    pub(super) fn check(&self, crls: &[Arc<Crl>], now: UnixTime) -> Result<(), Rule> {
        let mut lack = Rule::ListMissing;
        let is_of_issuer = |crl: &&Arc<Crl>| crl.issuer_name() == self.issuer;
        for crl in crls.iter().filter(is_of_issuer) {
            match crl.signer() {
                Some(key) if *key == self.issuer_key => {}
                Some(_) => {
                    lack = Rule::ListOfOtherKey;
                    continue;
                }
                None => {
                    lack = Rule::ListUnusable {
                        cause: "no CA of that name here signed it, or not by an accepted algorithm"
                            .to_owned(),
                    };
                    continue;
                }
            }
            if let Some(scope) = crl.out_of_scope(&self.der, self.is_leaf) {
                lack = Rule::ListOutOfScope {
                    scope: printable(&scope),
                };
                continue;
            }
            return self.check_by(crl, now);
        }
        Err(lack)
    }

    fn check_by(&self, crl: &Crl, now: UnixTime) -> Result<(), Rule> {
        let head = crl.head();
        let next_update = head.next_update.unwrap_or(i64::MIN);
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        // It was loaded when this machine's clock was ahead.
        if head.is_from_future(now) {
            return Err(Rule::ListUnusable {
                cause: format!(
                    "it is dated {}, and this machine's clock says {}",
                    moment(head.this_update),
                    moment(now)
                ),
            });
        }
        if now >= next_update {
            return Err(Rule::ListExpired {
                issuer: printable(&head.issuer),
                next_update,
            });
        }
        if !self.issuer_may_sign_lists {
            return Err(Rule::ListUnusable {
                cause: "the key usage of its issuer lacks cRLSign".to_owned(),
            });
        }
        match crl.revoked_at(&self.serial) {
            Some(_) => Err(Rule::Revoked),
            None => Ok(()),
        }
    }
}
