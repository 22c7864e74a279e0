//! Checks the certificates that another site sends, which are in no file yet.

use std::path::Path;
use std::time::SystemTime;

use ring::digest;
use rustls::pki_types::CertificateDer;

use super::Crl;
use super::crl::SignedBy;
use super::expiry::{date, unix};
use super::facts::Facts;
use super::file;
use super::rules;
use crate::config::RunAs;
use crate::config::access::UserIds;

/// How far the beginning of a CA may be in the future, in seconds: the clocks of two sites differ.
const AHEAD: i64 = 24 * 60 * 60;

/// Checks that a certificate is that of a CA that may be trusted: a CA, a key of an accepted kind and size, valid now or
/// within a day.
///
/// # Errors
/// Why not, as a predicate of the certificate.
pub(crate) fn check_authority(
    certificate: &CertificateDer<'_>,
    now: SystemTime,
) -> Result<(), String> {
    let facts = Facts::of(certificate).map_err(|_| "cannot be read".to_owned())?;
    if facts.not_after <= unix(now) {
        return Err(format!("expired {}", date(facts.not_after)));
    }
    if facts.not_before > unix(now).saturating_add(AHEAD) {
        return Err(format!(
            "is not valid before {}; correct the clock of this machine, or that of the site that made it",
            date(facts.not_before)
        ));
    }
    match rules::anchor(&facts).into_iter().next() {
        Some(problem) => Err(problem),
        None => Ok(()),
    }
}

/// Whether one of these files has a valid revocation list that the key of this CA has signed. A file that cannot be
/// read has none. If root reads them, they may belong to the user that `run_as` names.
#[must_use]
pub(crate) fn has_list<'a>(
    authority: &CertificateDer<'_>,
    files: impl IntoIterator<Item = &'a Path>,
    run_as: &RunAs,
    now: SystemTime,
) -> bool {
    let Ok(facts) = Facts::of(authority) else {
        return false;
    };
    let service = UserIds::of_service(run_as);
    files.into_iter().any(|path| {
        let raw = file::read_list(path, service);
        let lists = raw.and_then(|raw| file::parse_crls(path, &raw.bytes));
        lists.unwrap_or_default().into_iter().any(|der| {
            Crl::new(der).is_ok_and(|list| {
                list.signed_by(&facts.spki) == SignedBy::ThisKey
                    && rules::crl(list.head(), unix(now)).is_empty()
            })
        })
    })
}

/// The subject of a certificate; empty if it cannot be read.
#[must_use]
pub(crate) fn subject(certificate: &CertificateDer<'_>) -> String {
    Facts::of(certificate).map_or_else(|_| String::new(), |facts| facts.subject)
}

/// The SHA-256 of the public key of a certificate, as `wardgate pki show` prints it; `None` if it cannot be read.
#[must_use]
pub(crate) fn key_sha256(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    let facts = Facts::of(certificate).ok()?;
    let mut sum = [0; 32];
    sum.copy_from_slice(digest::digest(&digest::SHA256, &facts.spki).as_ref());
    Some(sum)
}

/// The `dns:` and `uri:` names of a certificate; empty if it cannot be read.
#[must_use]
pub(crate) fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let facts = Facts::of(certificate).ok();
    let names = facts.into_iter().flat_map(|facts| facts.names);
    names
        .filter(|name| name.starts_with("dns:") || name.starts_with("uri:"))
        .collect()
}

/// Whether the key in this CA certificate has made the signature. Only algorithms that TLS certificates here may have
/// are tried.
#[must_use]
pub(crate) fn has_signed(authority: &CertificateDer<'_>, message: &[u8], signature: &[u8]) -> bool {
    let Ok(certificate) = webpki::EndEntityCert::try_from(authority) else {
        return false;
    };
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    algorithms.all.iter().any(|algorithm| {
        certificate
            .verify_signature(*algorithm, message, signature)
            .is_ok()
    })
}

/// Lower-case hexadecimal.
#[must_use]
pub(crate) fn hex(bytes: &[u8]) -> String {
    super::facts::hex(bytes)
}

/// The dates between which a certificate is valid, in seconds since 1970; `None` if it cannot be read.
#[must_use]
pub(crate) fn validity(certificate: &CertificateDer<'_>) -> Option<(i64, i64)> {
    let facts = Facts::of(certificate).ok()?;
    Some((facts.not_before, facts.not_after))
}

/// Whether the key in this CA certificate has signed the certificate, which names it as its issuer.
#[must_use]
pub(crate) fn is_issued_by(
    certificate: &CertificateDer<'_>,
    authority: &CertificateDer<'_>,
) -> bool {
    let names = Facts::of(certificate).ok().zip(Facts::of(authority).ok());
    names.is_some_and(|(own, issuer)| own.issuer_der == issuer.subject_der)
        && super::facts::certificate_signed_by(certificate, authority) == Some(true)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pki::fixture::Ca;

    #[test]
    fn a_ca_of_the_future_may_not_be_trusted() {
        let ca = Ca::new("Region CA");
        let certificate = ca.certificate.der();
        let (begins, ends) = validity(certificate).expect("it is readable");
        let at = |seconds: i64| {
            let seconds = u64::try_from(seconds).expect("after 1970");
            check_authority(
                certificate,
                SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
            )
        };
        assert_eq!(at(begins), Ok(()));
        // The clocks of two sites differ.
        assert_eq!(at(begins - AHEAD), Ok(()));
        let refused = at(begins - AHEAD - 1).expect_err("it is too far");
        assert!(refused.contains("not valid before 2020-01-01"), "{refused}");
        assert_eq!(at(ends), Err("expired 2040-01-01".to_owned()));
    }
}
