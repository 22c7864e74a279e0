//! Cuts a presented chain to what a path may need, before a path is built, and bounds what building costs.
//!
//! Any client can present a chain: nothing in it is proved when it is judged. webpki tries every
//! order of the intermediates that fit by name, reads all of them again at every step, and stops after
//! 200,000 steps or 100 signature checks (`verify_cert.rs`). So this module keeps three bounds:
//!
//! - A certificate is no larger than `CERTIFICATE_BYTES_MAX`, `CERTIFICATE_EXTENSIONS_MAX` and
//!   `CERTIFICATE_ELEMENTS_MAX`, so that reading one costs little.
//! - The intermediates that are kept allow at most `PATH_STEPS_MAX` steps, so that reading all of them at
//!   each step costs little.
//! - Signature checks are computed once each, and end where `FORGED_AT_FIRST_MAX` certificates have failed
//!   one before any has passed, or `FORGED_CERTIFICATES_MAX` in all, or where `FAILED_CHECKS_MAX` checks have
//!   failed (`Checks`).
//!
//! webpki checks from the anchor down, so that a key is only used if an anchor vouches for it. With A anchors
//! of one name, a peer without any certificate of theirs costs `FORGED_AT_FIRST_MAX` x A signature checks, and
//! never more than `FAILED_CHECKS_MAX`. A peer that presents intermediates that an anchor really issued (they are public) adds one check for
//! each of them, and one for each forged certificate under each of their keys.

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

/// What makes a certificate too large to be looked at, where something does.
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
/// They keep their order, but certificates that a CA seems to have issued to itself come last: where a CA has
/// renewed its key, the certificate that its old key issued for the new one is tried before the new root.
///
/// Left out are:
///
/// - a certificate that came before, byte for byte;
/// - a certificate with name and key of an anchor, which would have ended the path already. It is kept
///   where the anchor is not `in_force`, or has name constraints that the certificate may not have;
/// - where the rest still allows more than `PATH_STEPS_MAX` steps: certificates from which no anchor is
///   reached, and then of those with one subject the last. No public key infrastructure that we know of
///   comes near: with two certificates for each CA on the way (a renewed key, or a second root) a path of
///   three CAs takes 14 steps.
///
/// A certificate that bears an anchor's name and another key is kept, within that bound: a CA that has
/// renewed its key under its name issues one (RFC 4210 section 4.4), and so does who cross-signs it.
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

/// A trust anchor, and whether it ends a path now.
#[derive(Debug, Clone, Copy)]
pub struct Anchor<'t> {
    /// The anchor.
    pub anchor: &'t TrustAnchor<'t>,
    /// Whether it is used: an anchor that is past its last day is not.
    pub in_force: bool,
}

#[derive(Debug)]
struct Candidate<'a> {
    der: &'a [u8],
    // `None` where webpki cannot read it either, so that it is no step of any path.
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

/// Whether a certificate seems to be signed by the key that it holds, by what it says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum SelfSigned {
    /// It names another issuer, or another key of an issuer of the same name (RFC 5280 section 4.2.1.1).
    No,
    /// Its issuer has its name, and it does not say with which key.
    Perhaps,
    /// Its issuer has its name, and its key.
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

/// Leaves out certificates until a path from `issuer` on takes no more than `PATH_STEPS_MAX` steps.
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
    let mut steps = Steps {
        kept,
        path: Vec::new(),
        taken: 0,
    };
    steps.walk(issuer);
    steps.taken <= PATH_STEPS_MAX
}

/// The steps that webpki would take if no signature stopped it.
struct Steps<'k, 'a> {
    kept: &'k [Candidate<'a>],
    path: Vec<Layout<'a>>,
    taken: usize,
}

impl Steps<'_, '_> {
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

/// Removes what leads to no anchor by name, so that it can be on no path that is accepted.
fn remove_dead_ends(kept: &mut Vec<Candidate<'_>>) {
    let mut leads: Vec<bool> = kept
        .iter()
        .map(|candidate| candidate.is_issued_by_anchor)
        .collect();
    // Each turn goes one step further down from the anchors.
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

/// The last of the certificates whose subject most of them have; `None` where no two have the same.
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

/// The purpose that a certificate must allow, where it says for what it is (RFC 5280 section 4.2.1.12).
///
/// As webpki's `KeyUsage`, which collects all other purposes in memory on the way, at each step of the search.
#[derive(Debug, Clone, Copy)]
pub(super) struct Purpose {
    usage: KeyUsage,
    wanted: KeyPurposeId<'static>,
}

impl Purpose {
    /// For a server's certificate.
    pub(super) fn server() -> Self {
        Self {
            usage: KeyUsage::server_auth(),
            wanted: KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 1]),
        }
    }

    /// For a client's certificate.
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

/// The signature checks of one chain: each is computed once, and none once too many certificates failed.
///
/// A certificate that failed under one key may be tried under another, because anchors and intermediates
/// of one name with several keys are legal. When `FORGED_AT_FIRST_MAX` certificates have failed before any
/// has passed, or `FORGED_CERTIFICATES_MAX` in all, no other certificate is checked any more, and those
/// count as failed too. After `FAILED_CHECKS_MAX` failed checks, under whatever keys, all others count as failed.
///
/// A legal chain stays below. Before any certificate has passed, one fails: where a CA has renewed its key
/// and its old one is trusted, what the new one signed fails under the old one. (A second one fails where
/// the new root comes too and is not told from the certificate that the old key issued, which is then not
/// checked. RFC 5280 section 4.2.1.1 makes every CA tell them apart.) Another fails after that where there is an
/// intermediate CA that has renewed its key as well.
#[derive(Debug, Default)]
pub struct Checks(Mutex<Ledger>);

#[derive(Debug, Default)]
struct Ledger {
    done: Vec<Check>,
    failed_certificates: usize,
}

#[derive(Debug)]
struct Check {
    // Of the signature and of the key.
    algorithms: [AlgorithmIdentifier; 2],
    // Contents are compared, not addresses: a check that is wrongly taken for another lets a peer in.
    key: Vec<u8>,
    message: Vec<u8>,
    signature: Vec<u8>,
    is_valid: bool,
}

/// An algorithm whose checks are counted.
#[derive(Debug)]
pub struct Counted<'c> {
    checks: &'c Checks,
    algorithm: &'static dyn SignatureVerificationAlgorithm,
}

impl Checks {
    /// The same algorithms, counted.
    pub fn counted(
        &self,
        algorithms: &[&'static dyn SignatureVerificationAlgorithm],
    ) -> Vec<Counted<'_>> {
        let counted = algorithms.iter().map(|&algorithm| Counted {
            checks: self,
            algorithm,
        });
        counted.collect()
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SignatureVerificationAlgorithm for Counted<'_> {
    fn verify_signature(
        &self,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let mut ledger = self.checks.ledger();
        let algorithms = [self.signature_alg_id(), self.public_key_alg_id()];
        if let Some(check) = ledger.find(algorithms, key, message, signature) {
            return check.is_valid.then_some(()).ok_or(InvalidSignature);
        }
        let has_failed = ledger.has_failed(message);
        if ledger.failed_checks() >= FAILED_CHECKS_MAX || (!has_failed && ledger.is_exhausted()) {
            return Err(InvalidSignature);
        }
        let outcome = self.algorithm.verify_signature(key, message, signature);
        if outcome.is_err() && !has_failed {
            ledger.failed_certificates += 1;
        }
        ledger.done.push(Check {
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

impl Ledger {
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
