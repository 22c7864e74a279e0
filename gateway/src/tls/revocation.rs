//! Revocation lists of a route, ready to be asked.
//!
//! Where a route has lists, every certificate of a chain must be covered by one that is not past its
//! next update (RFC 5280 section 6.3); a status that nobody can tell is a refusal. Where it has none,
//! revocation is not checked, and `check` says so.

use std::sync::Arc;

use rustls::pki_types::{CertificateRevocationListDer, UnixTime};
use rustls::{CertRevocationListError, OtherError};
use webpki::{
    Cert, CertRevocationList, ExpirationPolicy, OwnedCertRevocationList, RevocationCheckDepth,
    RevocationOptions, RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::identity::printable;

/// The lists of a route, newest first.
#[derive(Debug)]
pub(super) struct Revocation {
    lists: Vec<List>,
}

#[derive(Debug)]
struct List {
    list: CertRevocationList<'static>,
    issuer: String,
    this_update: i64,
    next_update: i64,
}

/// A list in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListInfo {
    /// Subject of its issuer.
    pub(super) issuer: String,
    /// Seconds since 1970.
    pub(super) next_update: i64,
}

impl Revocation {
    /// Reads the lists. Fails on one that is not a full, direct CRL with a next update (RFC 5280
    /// section 5.1.2).
    pub(super) fn new(lists: &[CertificateRevocationListDer<'_>]) -> Result<Self, rustls::Error> {
        let mut lists = lists.iter().map(List::new).collect::<Result<Vec<_>, _>>()?;
        // The first list of an issuer decides, so an old one that was left behind must come last.
        lists.sort_by_key(|list| std::cmp::Reverse((list.this_update, list.next_update)));
        Ok(Self { lists })
    }

    /// The lists as `with_options` wants them.
    pub(super) fn lists(&self) -> Vec<&CertRevocationList<'static>> {
        self.lists.iter().map(|list| &list.list).collect()
    }

    /// Whether one of the lists names `certificate`.
    pub(super) fn names(&self, certificate: &Cert<'_>) -> bool {
        self.lists
            .iter()
            .filter(|list| list.list.issuer() == certificate.issuer())
            .any(|list| matches!(list.list.find_serial(certificate.serial()), Ok(Some(_))))
    }

    /// The list that decides about `certificate`, whether it is fresh or not.
    pub(super) fn covering(&self, certificate: &Cert<'_>) -> Option<ListInfo> {
        let list = self
            .lists
            .iter()
            .find(|list| list.list.issuer() == certificate.issuer())?;
        Some(ListInfo {
            issuer: list.issuer.clone(),
            next_update: list.next_update,
        })
    }
}

/// How the lists are to be used; `None` where there are none.
pub(super) fn options<'a>(
    lists: &'a [&'a CertRevocationList<'a>],
) -> Option<RevocationOptions<'a>> {
    let builder = RevocationOptionsBuilder::new(lists).ok()?;
    Some(
        builder
            .with_depth(RevocationCheckDepth::Chain)
            .with_status_policy(UnknownStatusPolicy::Deny)
            .with_expiration_policy(ExpirationPolicy::Enforce)
            .build(),
    )
}

impl ListInfo {
    /// Whether its next update has passed.
    pub(super) fn is_past(&self, now: UnixTime) -> bool {
        i64::try_from(now.as_secs()).is_ok_and(|now| now >= self.next_update)
    }
}

impl List {
    fn new(der: &CertificateRevocationListDer<'_>) -> Result<Self, rustls::Error> {
        let list = OwnedCertRevocationList::from_der(der)
            .map_err(|cause| CertRevocationListError::Other(OtherError(Arc::new(cause))))?;
        let (_, facts) = CertificateRevocationList::from_der(der)
            .map_err(|_| CertRevocationListError::ParseError)?;
        Ok(Self {
            list: list.into(),
            issuer: printable(&facts.issuer().to_string()),
            this_update: facts.last_update().timestamp(),
            next_update: facts
                .next_update()
                .map_or(i64::MIN, |moment| moment.timestamp()),
        })
    }
}
