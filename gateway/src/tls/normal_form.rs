//! A second form of each certificate, which webpki processes correctly. Signatures are verified over the
//! original bytes.
//!
//! webpki compares names byte by byte, refuses every critical extension about policies, and refuses every
//! name below a CA that constrains directory names or URIs. RFC 5280 requires otherwise (sections 7.1, 6.1
//! and 4.2.1.10), and hospital PKIs use all of these. So webpki is given a normal form of each certificate,
//! in which
//!
//! - issuer and subject are in their comparable form (`pki::name`);
//! - the extensions about policies are not marked critical, because `policies` processes them;
//! - the name constraints that `name_constraints` processes are left out.
//!
//! Everything else is copied byte for byte. A signature is never verified over a normal form: `Signed`
//! finds the original certificate of the form and verifies that. A form without an original has no valid
//! signature. The rules that webpki does not apply are checked on each path that it finds, before the path
//! counts (`search`).
//!
//! A certificate that cannot be parsed here stays unchanged, and webpki decides about it.

use rustls::pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm,
};

use super::der::{Elements, Layout, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE};
use super::name_constraints::NameConstraints;
use super::names::distinguished_name;
use super::policies;
use crate::pki::der::{BIT_STRING, BOOLEAN, INTEGER, context_constructed, element, only};
use crate::pki::name;

/// id-ce-nameConstraints.
const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x1e];

/// A certificate with its normal form.
#[derive(Debug)]
pub(super) struct Certificate<'a> {
    original: &'a CertificateDer<'a>,
    /// The form that webpki reads.
    normal: CertificateDer<'static>,
    /// The constraints that webpki does not process, if the certificate has any.
    pub(super) constraints: Option<NameConstraints>,
    signed: Option<SignedParts>,
}

/// The signed part, and the signature.
#[derive(Debug)]
struct SignedParts {
    normal: Vec<u8>,
    original: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Certificate<'a> {
    fn new(original: &'a CertificateDer<'a>) -> Self {
        Self::normalized(original).unwrap_or_else(|| Self {
            original,
            normal: CertificateDer::from(original.to_vec()),
            constraints: None,
            signed: signed_parts(original).map(|(to_be_signed, signature)| SignedParts {
                normal: to_be_signed.to_vec(),
                original: to_be_signed.to_vec(),
                signature: signature.to_vec(),
            }),
        })
    }

    fn normalized(original: &'a CertificateDer<'a>) -> Option<Self> {
        let (to_be_signed, signature) = signed_parts(original)?;
        let mut parts = Elements(exactly(to_be_signed, SEQUENCE)?);
        let mut normal = Vec::with_capacity(to_be_signed.len());
        normal.extend(parts.element_if(context_constructed(0))?.whole);
        normal.extend(parts.element_if(INTEGER)?.whole);
        normal.extend(parts.element_if(SEQUENCE)?.whole);
        normal.extend(name::comparable(parts.element_if(SEQUENCE)?.whole));
        normal.extend(parts.element_if(SEQUENCE)?.whole);
        normal.extend(name::comparable(parts.element_if(SEQUENCE)?.whole));
        normal.extend(parts.element_if(SEQUENCE)?.whole);
        let (mut constraints, mut has_extensions) = (None, false);
        for part in parts.by_ref() {
            // Extensions must come once, and last: only those count in the bounds of a certificate.
            if has_extensions {
                return None;
            }
            has_extensions = part.tag == context_constructed(3);
            match has_extensions {
                true => normal.extend(extensions(part.content, &mut constraints)?),
                false => normal.extend(part.whole),
            }
        }
        if !parts.0.is_empty() {
            return None;
        }
        let normal = element(SEQUENCE, &normal);
        let after = exactly(original, SEQUENCE)?.get(to_be_signed.len()..)?;
        let whole = element(SEQUENCE, &[&normal, after].concat());
        Some(Self {
            original,
            normal: CertificateDer::from(whole),
            constraints,
            signed: Some(SignedParts {
                normal,
                original: to_be_signed.to_vec(),
                signature: signature.to_vec(),
            }),
        })
    }

    /// Whether issuer and subject have the same name.
    pub(super) fn is_self_issued(&self) -> bool {
        Layout::of(&self.normal).is_some_and(|layout| layout.issuer == layout.subject)
    }

    /// The certificate that the peer presented.
    pub(super) fn original(&self) -> &'a CertificateDer<'a> {
        self.original
    }
}

/// The form of a certificate that webpki can read, to get its public key.
pub(super) fn readable(original: &CertificateDer<'_>) -> CertificateDer<'static> {
    Certificate::new(original).normal
}

/// The content of the only element in `bytes`, if it is encoded as DER requires. The normal form would lose
/// another encoding of the length, and webpki would not see it.
fn exactly(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let content = only(bytes, tag)?;
    (element(tag, content) == bytes).then_some(content)
}

/// The signed part of a certificate, with tag and length, and the signature.
fn signed_parts(certificate: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut outer = Elements(only(certificate, SEQUENCE)?);
    let to_be_signed = outer.element_if(SEQUENCE)?;
    outer.element_if(SEQUENCE)?;
    let signature = outer.next_if(BIT_STRING)?;
    if !outer.0.is_empty() {
        return None;
    }
    match signature {
        [0, signature @ ..] => Some((to_be_signed.whole, signature)),
        _ => None,
    }
}

/// The normal form of all extensions, including the enclosing tag.
fn extensions(content: &[u8], constraints: &mut Option<NameConstraints>) -> Option<Vec<u8>> {
    let mut all = Elements(exactly(content, SEQUENCE)?);
    let mut normal = Vec::with_capacity(content.len());
    for extension in all.by_ref() {
        let mut parts = Elements(exactly(extension.whole, SEQUENCE)?);
        let id = parts.element_if(OBJECT_IDENTIFIER)?;
        let critical = parts.element_if(BOOLEAN);
        let value = parts.element_if(OCTET_STRING)?;
        if !parts.0.is_empty() {
            return None;
        }
        let split = match id.content == NAME_CONSTRAINTS && constraints.is_none() {
            true => only(value.content, SEQUENCE).and_then(NameConstraints::split),
            false => None,
        };
        if policies::is_processed(id.content) {
            normal.extend(element(SEQUENCE, &[id.whole, value.whole].concat()));
        } else if let Some((taken, rest)) = split {
            *constraints = Some(taken);
            let value = element(OCTET_STRING, &element(SEQUENCE, &rest));
            let critical = critical.map_or(&[][..], |critical| critical.whole);
            normal.extend(element(SEQUENCE, &[id.whole, critical, &value].concat()));
        } else {
            normal.extend(extension.whole);
        }
    }
    if !all.0.is_empty() {
        return None;
    }
    Some(element(context_constructed(3), &element(SEQUENCE, &normal)))
}

/// A presented chain with its normal forms.
#[derive(Debug)]
pub(super) struct NormalChain<'a> {
    pub(super) leaf: Certificate<'a>,
    above: Vec<Certificate<'a>>,
}

impl<'a> NormalChain<'a> {
    pub(super) fn new(leaf: &'a CertificateDer<'a>, above: &'a [CertificateDer<'a>]) -> Self {
        Self {
            leaf: Certificate::new(leaf),
            above: above.iter().map(Certificate::new).collect(),
        }
    }

    /// The normal form of the peer's own certificate.
    pub(super) fn leaf(&self) -> &CertificateDer<'static> {
        &self.leaf.normal
    }

    /// The normal forms of the other certificates, in the order of the peer.
    pub(super) fn above(&self) -> Vec<CertificateDer<'_>> {
        self.above
            .iter()
            .map(|certificate| CertificateDer::from(certificate.normal.as_ref()))
            .collect()
    }

    /// The certificate whose normal form is `normal`.
    ///
    /// INVARIANT: this is the certificate whose signature `Signed` verifies for that form. Certificates
    /// with the same form may differ in parts that webpki does not read, and only one of them may have the
    /// signature.
    pub(super) fn find(&self, normal: &[u8]) -> Option<&Certificate<'a>> {
        let (to_be_signed, signature) = signed_parts(normal)?;
        self.signed(to_be_signed, signature)
    }

    /// Subject of the CA at which the chain ends, following the names, and whether the chain contains its
    /// certificate.
    pub(super) fn top(&self) -> (String, bool) {
        let mut top = &self.leaf;
        let shown = |certificate: &Certificate<'_>| {
            let layout = Layout::of(certificate.original);
            layout.map_or_else(String::new, |layout| distinguished_name(layout.issuer))
        };
        // Each step goes one certificate up. More steps than certificates mean a loop of names.
        for _ in 0..=self.above.len() {
            let issuer = Layout::of(&top.normal).map(|layout| layout.issuer);
            if top.is_self_issued() {
                break;
            }
            let is_issuer = |one: &&Certificate<'_>| {
                Layout::of(&one.normal).is_some_and(|above| Some(above.subject) == issuer)
            };
            match self.above.iter().find(is_issuer) {
                Some(above) => top = above,
                None => return (shown(top), false),
            }
        }
        (shown(top), true)
    }

    fn all(&self) -> impl Iterator<Item = &Certificate<'a>> {
        std::iter::once(&self.leaf).chain(&self.above)
    }

    /// The first certificate whose normal form has this signed part, with this signature.
    fn signed(&self, normal: &[u8], signature: &[u8]) -> Option<&Certificate<'a>> {
        self.all().find(|one| {
            let parts = one.signed.as_ref();
            parts.is_some_and(|parts| parts.normal == normal && parts.signature == signature)
        })
    }
}

/// A signature algorithm that verifies the original certificate when webpki asks about a normal form.
#[derive(Debug)]
pub(super) struct Signed<'c> {
    pub(super) chain: &'c NormalChain<'c>,
    pub(super) algorithm: &'c dyn SignatureVerificationAlgorithm,
}

impl SignatureVerificationAlgorithm for Signed<'_> {
    fn verify_signature(
        &self,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let certificate = self.chain.signed(message, signature);
        let signed = certificate.and_then(|one| one.signed.as_ref());
        let signed = signed.ok_or(InvalidSignature)?;
        self.algorithm
            .verify_signature(key, &signed.original, signature)
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
