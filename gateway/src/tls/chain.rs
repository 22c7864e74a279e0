//! Reduces a presented chain to what a path may need, before a path is built, and bounds the cost of path
//! building.
//!
//! Any client can present a chain, and nothing in a chain is proved while it is checked. webpki tries every
//! order of the intermediates whose names match, reads all of them again at every step, and stops after
//! 200,000 steps or 100 signature checks (`verify_cert.rs`). So this module has three bounds:
//!
//! - A certificate is no larger than `CERTIFICATE_BYTES_MAX`, `CERTIFICATE_EXTENSIONS_MAX` and
//!   `CERTIFICATE_ELEMENTS_MAX`, so reading one is cheap.
//! - The remaining intermediates allow at most `PATH_STEPS_MAX` steps, so reading all of them at each step
//!   is cheap.
//! - Each signature check is computed once. Checking stops if `FORGED_AT_FIRST_MAX` certificates have
//!   failed before any has passed, if `FORGED_CERTIFICATES_MAX` have failed in total, or if
//!   `FAILED_CHECKS_MAX` checks have failed (`Checks`).
//!
//! webpki checks from the anchor down, so it uses a key only if an anchor has certified that key. With A
//! anchors of one name, a peer without any certificate from them costs `FORGED_AT_FIRST_MAX` x A signature
//! checks, and never more than `FAILED_CHECKS_MAX`. A peer that presents real intermediates of an anchor
//! (they are public) adds one check for each of them, and one for each forged certificate under each of
//! their keys.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm,
    TrustAnchor,
};
use webpki::{
    ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage, RequiredEkuNotFoundContext,
};

use super::der::{Elements, Layout, OCTET_STRING, SEQUENCE};
use crate::pki::limits::CHAIN_CERTIFICATES_MAX;
use crate::tls::limits::{
    CERTIFICATE_BYTES_MAX, CERTIFICATE_ELEMENTS_MAX, CERTIFICATE_EXTENSIONS_MAX, FAILED_CHECKS_MAX,
    FORGED_AT_FIRST_MAX, FORGED_CERTIFICATES_MAX, PATH_STEPS_MAX,
};

/// Why a certificate is too large to be processed; `None` if it is not.
pub(super) fn size_fault(certificate: &CertificateDer<'_>) -> Option<String> {
    if certificate.len() > CERTIFICATE_BYTES_MAX {
        let length = certificate.len();
        return Some(format!(
            "{length} bytes, which is more than {CERTIFICATE_BYTES_MAX}"
        ));
    }
    let layout = Layout::of(certificate)?;
    if layout.extensions(CERTIFICATE_EXTENSIONS_MAX) > CERTIFICATE_EXTENSIONS_MAX {
        return Some(format!("more than {CERTIFICATE_EXTENSIONS_MAX} extensions"));
    }
    let elements = layout.elements(CERTIFICATE_ELEMENTS_MAX);
    (elements > CERTIFICATE_ELEMENTS_MAX)
        .then(|| format!("names and extensions of more than {CERTIFICATE_ELEMENTS_MAX} elements"))
}

/// The intermediates that a path from `leaf` to one of `anchors` may need.
///
/// They keep their order, except that certificates that a CA seems to have issued to itself come last: if a
/// CA has renewed its key, the certificate that its old key issued for its new key is tried before the new
/// root.
///
/// These certificates are left out:
///
/// - exact duplicates;
/// - a certificate with the name and key of an anchor, because the path would end at that anchor. It stays
///   if the anchor is not `in_force`, or has name constraints that the certificate may not have;
/// - if the rest still allows more than `PATH_STEPS_MAX` steps: certificates from which no anchor can be
///   reached, and then the last certificate of the most frequent subject. No known public key
///   infrastructure comes near this bound: with two certificates for each CA on the path (a renewed key, or
///   a second root), a path of three CAs takes 14 steps.
///
/// A certificate with an anchor's name and another key stays, within that bound: a CA that has renewed its
/// key under its name issues one (RFC 4210 section 4.4), and so does a CA that cross-signs it.
pub fn cut<'a, 't>(
    leaf: &CertificateDer<'_>,
    intermediates: &'a [CertificateDer<'_>],
    anchors: impl Iterator<Item = Anchor<'t>> + Clone,
) -> Vec<CertificateDer<'a>> {
    let mut kept: Vec<Candidate<'a>> = Vec::new();
    for der in intermediates.iter().take(CHAIN_CERTIFICATES_MAX) {
        let candidate = Candidate::new(der, anchors.clone());
        let came_before = kept.iter().any(|earlier| earlier.der == candidate.der);
        if !came_before && !candidate.is_superseded {
            kept.push(candidate);
        }
    }
    kept.sort_by_key(|candidate| candidate.layout.map(|layout| SelfSigned::seems(&layout)));
    if let Some(leaf) = Layout::of(leaf) {
        thin(leaf.issuer, &mut kept);
    }
    let der = |candidate: Candidate<'a>| CertificateDer::from(candidate.der);
    kept.into_iter().map(der).collect()
}

/// A trust anchor, and whether a path may end at it now.
#[derive(Debug, Clone, Copy)]
pub struct Anchor<'t> {
    /// The anchor.
    pub anchor: &'t TrustAnchor<'t>,
    /// Whether the anchor may be used. An expired anchor may not.
    pub in_force: bool,
}

#[derive(Debug)]
struct Candidate<'a> {
    der: &'a [u8],
    // `None` if webpki cannot read the certificate either, so no path contains it.
    layout: Option<Layout<'a>>,
    is_issued_by_anchor: bool,
    is_superseded: bool,
}

impl<'a> Candidate<'a> {
    fn new<'t>(
        der: &'a CertificateDer<'_>,
        mut anchors: impl Iterator<Item = Anchor<'t>> + Clone,
    ) -> Self {
        let layout = Layout::of(der);
        let is_issued_by_anchor = layout.is_some_and(|layout| {
            anchors
                .clone()
                .any(|Anchor { anchor, .. }| layout.issuer == anchor.subject.as_ref())
        });
        let is_superseded = layout.is_some_and(|layout| {
            anchors.any(|Anchor { anchor, in_force }| {
                in_force
                    && anchor.name_constraints.is_none()
                    && layout.subject == anchor.subject.as_ref()
                    && layout.key == anchor.subject_public_key_info.as_ref()
            })
        });
        Self {
            der,
            layout,
            is_issued_by_anchor,
            is_superseded,
        }
    }

    fn subject(&self) -> Option<&'a [u8]> {
        self.layout.map(|layout| layout.subject)
    }
}

/// Whether a certificate seems to be signed by its own key, according to its own contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum SelfSigned {
    /// It names another issuer, or another key of an issuer with the same name (RFC 5280 section 4.2.1.1).
    No,
    /// It names itself as issuer, and does not identify the key.
    Perhaps,
    /// It names itself as issuer, with its own key.
    Yes,
}

impl SelfSigned {
    fn seems(layout: &Layout<'_>) -> Self {
        if layout.issuer != layout.subject {
            return Self::No;
        }
        let authority_key = layout
            .extension(AUTHORITY_KEY_IDENTIFIER)
            .unwrap_or_default();
        let authority_key = Elements(authority_key)
            .next_if(SEQUENCE)
            .unwrap_or_default();
        let subject_key = layout.extension(SUBJECT_KEY_IDENTIFIER).unwrap_or_default();
        match (
            Elements(authority_key).next_if(KEY_IDENTIFIER),
            Elements(subject_key).next_if(OCTET_STRING),
        ) {
            (None, _) => Self::Perhaps,
            (Some(authority), Some(subject)) if authority == subject => Self::Yes,
            _ => Self::No,
        }
    }
}

/// id-ce-authorityKeyIdentifier and its keyIdentifier, and id-ce-subjectKeyIdentifier (RFC 5280 sections
/// 4.2.1.1 and 4.2.1.2).
const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x23];
const KEY_IDENTIFIER: u8 = 0x80;
const SUBJECT_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x0e];

/// Leaves out certificates until a path from `issuer` takes no more than `PATH_STEPS_MAX` steps.
fn thin(issuer: &[u8], kept: &mut Vec<Candidate<'_>>) {
    if is_short(issuer, kept) {
        return;
    }
    remove_dead_ends(kept);
    while !is_short(issuer, kept)
        && let Some(last) = last_of_most_frequent_subject(kept)
    {
        kept.remove(last);
    }
}

fn is_short(issuer: &[u8], kept: &[Candidate<'_>]) -> bool {
    let mut steps = StepCounter {
        kept,
        path: Vec::new(),
        taken: 0,
    };
    steps.walk(issuer);
    steps.taken <= PATH_STEPS_MAX
}

/// Counts the steps that webpki would take if no signature check failed.
struct StepCounter<'k, 'a> {
    kept: &'k [Candidate<'a>],
    path: Vec<Layout<'a>>,
    taken: usize,
}

impl StepCounter<'_, '_> {
    fn walk(&mut self, issuer: &[u8]) {
        for candidate in self.kept {
            let Some(layout) = candidate.layout.filter(|layout| layout.subject == issuer) else {
                continue;
            };
            let is_loop = self
                .path
                .iter()
                .any(|earlier| earlier.subject == layout.subject && earlier.key == layout.key);
            if is_loop {
                continue;
            }
            self.taken += 1;
            if self.taken > PATH_STEPS_MAX {
                return;
            }
            self.path.push(layout);
            self.walk(layout.issuer);
            self.path.pop();
        }
    }
}

/// Removes certificates from which no anchor can be reached by name. No accepted path contains one.
fn remove_dead_ends(kept: &mut Vec<Candidate<'_>>) {
    let mut leads: Vec<bool> = kept
        .iter()
        .map(|candidate| candidate.is_issued_by_anchor)
        .collect();
    // Each iteration goes one level down from the anchors.
    for _ in 0..kept.len() {
        let reached: Vec<_> = kept
            .iter()
            .map(|candidate| {
                let issuer = candidate.layout.map(|layout| layout.issuer);
                let mut issuers = kept.iter().zip(&leads).filter(|(_, leads)| **leads);
                issuer.is_some() && issuers.any(|(above, _)| above.subject() == issuer)
            })
            .collect();
        for (leads, reached) in leads.iter_mut().zip(reached) {
            *leads |= reached;
        }
    }
    let mut leads = leads.into_iter();
    kept.retain(|_| leads.next().unwrap_or(true));
}

/// The last certificate with the most frequent subject; `None` if all subjects differ.
fn last_of_most_frequent_subject(kept: &[Candidate<'_>]) -> Option<usize> {
    let namesakes = |candidate: &Candidate<'_>| {
        let subject = candidate.subject()?;
        Some(
            kept.iter()
                .filter(|other| other.subject() == Some(subject))
                .count(),
        )
    };
    let counted = kept.iter().enumerate();
    counted
        .filter_map(|(index, candidate)| Some((namesakes(candidate)?, index)))
        .filter(|(count, _)| *count > 1)
        .max()
        .map(|(_, index)| index)
}

/// The purpose that a certificate must allow if it restricts its purposes (RFC 5280 section 4.2.1.12).
///
/// The same as webpki's `KeyUsage`, but that one collects all other purposes in memory at each step of the
/// search.
#[derive(Debug, Clone, Copy)]
pub(super) struct Purpose {
    usage: KeyUsage,
    wanted: KeyPurposeId<'static>,
}

impl Purpose {
    /// The purpose of a server's certificate.
    pub(super) fn server() -> Self {
        Self {
            usage: KeyUsage::server_auth(),
            wanted: KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 1]),
        }
    }

    /// The purpose of a client's certificate.
    pub(super) fn client() -> Self {
        Self {
            usage: KeyUsage::client_auth(),
            wanted: KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 2]),
        }
    }
}

impl ExtendedKeyUsageValidator for Purpose {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut is_restricted = false;
        for purpose in purposes {
            is_restricted = true;
            if purpose? == self.wanted {
                return Ok(());
            }
        }
        let missing = RequiredEkuNotFoundContext {
            required: self.usage,
            present: Vec::new(),
        };
        match is_restricted {
            true => Err(webpki::Error::RequiredEkuNotFoundContext(missing)),
            false => Ok(()),
        }
    }
}

/// The signature checks of one chain. Each is computed once, and none after too many certificates have
/// failed.
///
/// A certificate that failed under one key may be tried under another, because several anchors and
/// intermediates may have one name and different keys. If `FORGED_AT_FIRST_MAX` certificates have failed
/// before any has passed, or `FORGED_CERTIFICATES_MAX` in total, other certificates are no longer checked
/// and count as failed too. After `FAILED_CHECKS_MAX` failed checks, under whatever keys, all further
/// checks count as failed.
///
/// A legitimate chain stays below these bounds. Before any certificate has passed, one fails: if a CA has
/// renewed its key and its old key is trusted, certificates that the new key signed fail under the old key.
/// (A second one fails if the chain also contains the new root, and the root cannot be distinguished from
/// the certificate that the old key issued, which is then not checked. RFC 5280 section 4.2.1.1 requires
/// every CA to make them distinguishable.) After that, another certificate fails if an intermediate CA has
/// renewed its key as well.
#[derive(Debug, Default)]
pub struct Checks(Mutex<CheckResults>);

#[derive(Debug, Default)]
struct CheckResults {
    done: Vec<Check>,
    failed_certificates: usize,
}

#[derive(Debug)]
struct Check {
    // Covers the signature and the key.
    algorithms: [AlgorithmIdentifier; 2],
    // Compares contents, not addresses: taking one check for another would accept a peer that must be
    // refused.
    key: Vec<u8>,
    message: Vec<u8>,
    signature: Vec<u8>,
    is_valid: bool,
}

/// A signature algorithm that counts its checks.
#[derive(Debug)]
pub struct CountedAlgorithm<'c> {
    checks: &'c Checks,
    algorithm: &'static dyn SignatureVerificationAlgorithm,
}

impl Checks {
    /// The same algorithms, each counting its checks.
    pub fn counted(
        &self,
        algorithms: &[&'static dyn SignatureVerificationAlgorithm],
    ) -> Vec<CountedAlgorithm<'_>> {
        let counted = algorithms.iter().map(|&algorithm| CountedAlgorithm {
            checks: self,
            algorithm,
        });
        counted.collect()
    }

    fn results(&self) -> MutexGuard<'_, CheckResults> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SignatureVerificationAlgorithm for CountedAlgorithm<'_> {
    fn verify_signature(
        &self,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let mut results = self.checks.results();
        let algorithms = [self.signature_alg_id(), self.public_key_alg_id()];
        if let Some(check) = results.find(algorithms, key, message, signature) {
            return check.is_valid.then_some(()).ok_or(InvalidSignature);
        }
        let has_failed = results.has_failed(message);
        if results.failed_checks() >= FAILED_CHECKS_MAX || (!has_failed && results.is_exhausted()) {
            return Err(InvalidSignature);
        }
        let outcome = self.algorithm.verify_signature(key, message, signature);
        if outcome.is_err() && !has_failed {
            results.failed_certificates += 1;
        }
        results.done.push(Check {
            algorithms,
            key: key.to_vec(),
            message: message.to_vec(),
            signature: signature.to_vec(),
            is_valid: outcome.is_ok(),
        });
        outcome
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }

    fn fips(&self) -> bool {
        self.algorithm.fips()
    }
}

impl CheckResults {
    fn find(
        &self,
        algorithms: [AlgorithmIdentifier; 2],
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Option<&Check> {
        self.done.iter().find(|check| {
            check.algorithms == algorithms
                && check.key == key
                && check.message == message
                && check.signature == signature
        })
    }

    fn is_exhausted(&self) -> bool {
        let has_passed = self.done.iter().any(|check| check.is_valid);
        let most = match has_passed {
            true => FORGED_CERTIFICATES_MAX,
            false => FORGED_AT_FIRST_MAX,
        };
        self.failed_certificates >= most
    }

    fn failed_checks(&self) -> usize {
        self.done.iter().filter(|check| !check.is_valid).count()
    }

    fn has_failed(&self, message: &[u8]) -> bool {
        let mut failed = self.done.iter().filter(|check| !check.is_valid);
        failed.any(|check| check.message == message)
    }
}
