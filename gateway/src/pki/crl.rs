//! Revocation lists in memory: parsed once, verified once, searched by serial number.
//!
//! A large CA revokes hundreds of thousands of certificates. A list is stored in its original bytes plus
//! four bytes for each entry, in the order of the serial numbers. The key that signed a list is determined
//! when the list is loaded (RFC 5280 section 6.3.3, step g), so a handshake only compares keys.

use std::cmp::Reverse;
use std::sync::{Arc, OnceLock};

use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateRevocationListDer;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Name;

use super::algorithms::{Signature, verification};
use super::der::{self, BIT_STRING, Elements, INTEGER, SEQUENCE, context, context_constructed};
use super::name;

/// SHA-256 of a DER SubjectPublicKeyInfo.
pub(crate) type KeyHash = [u8; 32];

/// A full, direct revocation list (RFC 5280 section 5).
#[derive(Debug)]
pub struct Crl {
    der: CertificateRevocationListDer<'static>,
    head: CrlHead,
    scope: Option<Scope>,
    // The position in `der` of the content of each entry's serial number. A serial number has fewer than
    // 128 bytes, so its length is in the byte before.
    // INVARIANT: in ascending order of the serial numbers without leading zeros.
    serials: Vec<u32>,
    signer: OnceLock<KeyHash>,
    // SHA-256 of `der`, computed at the first call of `sha256`.
    digest: OnceLock<[u8; 32]>,
}

impl Crl {
    /// SHA-256 of the list in its original bytes. A list may have megabytes and belong to many routes, so
    /// the hash is computed once.
    pub(crate) fn sha256(&self) -> &[u8; 32] {
        self.digest.get_or_init(|| key_hash(&self.der))
    }
}

/// The fields of a list outside its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CrlHead {
    /// Distinguished name: `CN=Region CA`.
    pub(crate) issuer: String,
    /// The name as DER.
    pub(crate) issuer_der: Vec<u8>,
    /// Seconds since 1970.
    pub(crate) this_update: i64,
    pub(crate) next_update: Option<i64>,
    /// The CRL number, big-endian without leading zero bytes, if it has one (RFC 5280 section 5.2.3).
    pub(crate) number: Option<Vec<u8>>,
    pub(crate) signature: Signature,
    /// Whether it lists changes to another list (RFC 5280 section 5.2.4).
    pub(crate) delta: bool,
    /// Whether it contains entries of other CAs (RFC 5280 section 5.2.5).
    pub(crate) indirect: bool,
}

/// How far the date of a list may be ahead of this machine's clock: no two clocks are the same.
const AHEAD_SECONDS_MAX: i64 = 86_400;

/// Whether a key signed a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignedBy {
    /// The key signed it.
    ThisKey,
    /// The key did not sign it.
    AnotherKey,
    /// The signature's algorithm, or the key's, is not supported.
    Unsupported,
}

/// The certificates that a list covers, if it does not cover all of its issuer (RFC 5280 section 5.2.5).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Scope {
    users_only: bool,
    cas_only: bool,
    /// Whether it covers only the certificates of a distribution point.
    is_part: bool,
    /// URIs of the distribution points at which it is published.
    points: Vec<String>,
}

const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 20];
const DELTA_CRL_INDICATOR: &[u8] = &[0x55, 0x1d, 27];
const ISSUING_DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1d, 28];
const CRL_DISTRIBUTION_POINTS: &[u8] = &[0x55, 0x1d, 31];

impl Crl {
    /// Takes a list and reads all its entries.
    ///
    /// # Errors
    ///
    /// If it is not a usable revocation list: not a list at all, a delta list, an indirect list, a list
    /// without nextUpdate, or one with an entry that cannot be read. The text is the parser's.
    pub fn new(der: CertificateRevocationListDer<'static>) -> Result<Self, String> {
        let head = CrlHead::of(&der)?;
        Self::with_head(head, der).map_err(|error| error.to_string())
    }

    pub(super) fn with_head(
        head: CrlHead,
        der: CertificateRevocationListDer<'static>,
    ) -> Result<Self, webpki::Error> {
        let serials = sorted_serials(&der)?;
        let scope =
            Fields::of(&der).and_then(|fields| fields.extension(ISSUING_DISTRIBUTION_POINT));
        Ok(Self {
            scope: scope.map(Scope::of),
            der,
            head,
            serials,
            signer: OnceLock::new(),
            digest: OnceLock::new(),
        })
    }

    /// The fields outside its entries.
    pub(crate) fn head(&self) -> &CrlHead {
        &self.head
    }

    /// The list in its original bytes.
    pub(super) fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whether both lists are of the same CA, with the same key, about the same certificates. Each must have
    /// been found to be signed by a key.
    pub(super) fn covers_the_same(&self, other: &Self) -> bool {
        self.covered() == other.covered()
    }

    fn covered(&self) -> (&[u8], Option<&KeyHash>, Option<&Scope>) {
        (&self.head.issuer_der, self.signer(), self.scope.as_ref())
    }

    /// The content of its issuer's name in its comparable form.
    pub(crate) fn issuer_name(&self) -> &[u8] {
        der::only(&self.head.issuer_der, SEQUENCE).unwrap_or_default()
    }

    /// Whether it is about some certificates of its issuer only.
    pub(crate) fn has_scope(&self) -> bool {
        self.scope.is_some()
    }

    /// The key that signed it; `None` if `signed_by` has found no such key.
    pub(crate) fn signer(&self) -> Option<&KeyHash> {
        self.signer.get()
    }

    /// Whether the key in `spki` (DER SubjectPublicKeyInfo) signed the list. The signature is verified
    /// until the right key is found; after that keys are compared.
    pub(crate) fn signed_by(&self, spki: &[u8]) -> SignedBy {
        let hash = key_hash(spki);
        match self.signer.get() {
            Some(signer) if *signer == hash => return SignedBy::ThisKey,
            Some(_) => return SignedBy::AnotherKey,
            None => {}
        }
        let verdict = self.verify(spki).unwrap_or(SignedBy::AnotherKey);
        if verdict == SignedBy::ThisKey {
            // Another thread may have found the same key.
            let _ = self.signer.set(hash);
        }
        verdict
    }

    /// When the certificate with this serial number was revoked, in seconds since 1970; `None` if it is not
    /// revoked.
    #[must_use]
    pub fn revoked_at(&self, serial: &[u8]) -> Option<i64> {
        let wanted = trimmed(serial);
        let found = self
            .serials
            .binary_search_by(|at| serial_at(&self.der, *at).cmp(wanted));
        let at = *self.serials.get(found.ok()?)?;
        // The date follows. It was readable when the list was loaded.
        let from = usize::try_from(at).ok()?.checked_sub(1)?;
        let length = usize::from(*self.der.get(from)?);
        let rest = self.der.get(from.checked_add(1)?.checked_add(length)?..)?;
        let date = Elements(rest).next().and_then(|date| time(date.whole));
        Some(date.unwrap_or(0))
    }

    /// Why the list does not cover `certificate` (DER), in words; `None` if it does. `is_leaf`
    /// distinguishes a peer's own certificate from a CA's.
    #[must_use]
    pub fn out_of_scope(&self, certificate: &[u8], is_leaf: bool) -> Option<String> {
        self.scope.as_ref()?.mismatch(certificate, is_leaf)
    }

    // webpki verifies certificates in the same way: by the first algorithm whose identifiers match
    // signature and key.
    fn verify(&self, spki: &[u8]) -> Option<SignedBy> {
        let fields = Fields::of(&self.der)?;
        let mut key = Elements(der::only(spki, SEQUENCE)?);
        let key_algorithm = key.next_if(SEQUENCE)?;
        let key = whole_bytes(key.next_if(BIT_STRING)?)?;
        let signature = whole_bytes(fields.signature)?;
        let all = verification().all;
        let fitting = all.iter().find(|one| {
            one.signature_alg_id().as_ref() == fields.algorithm
                && one.public_key_alg_id().as_ref() == key_algorithm
        });
        let Some(fitting) = fitting else {
            return Some(SignedBy::Unsupported);
        };
        let verified = fitting.verify_signature(key, fields.to_be_signed, signature);
        Some(verified.map_or(SignedBy::AnotherKey, |()| SignedBy::ThisKey))
    }
}

/// SHA-256 of a DER SubjectPublicKeyInfo.
pub(crate) fn key_hash(spki: &[u8]) -> KeyHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, spki).as_ref());
    hash
}

/// Whether a CA's certificate (DER) may sign lists. If it has a key usage, that must contain cRLSign (RFC
/// 5280 section 6.3.3, step f).
pub(crate) fn may_sign_lists(certificate: &[u8]) -> bool {
    // cRLSign is bit 6, counted from the most significant bit.
    has_usage(certificate, 0x02)
}

/// Whether a CA's certificate (DER) may sign certificates. If it has a key usage, that must contain
/// keyCertSign (RFC 5280 section 6.1.4, step n).
pub(crate) fn may_sign_certificates(certificate: &[u8]) -> bool {
    // keyCertSign is bit 5.
    has_usage(certificate, 0x04)
}

fn has_usage(certificate: &[u8], bit: u8) -> bool {
    let Some(usage) = der::certificate_extension(certificate, KEY_USAGE) else {
        return true;
    };
    // The first byte is the number of unused bits at the end.
    der::only(usage, BIT_STRING)
        .and_then(|bits| bits.get(1))
        .is_some_and(|bits| bits & bit != 0)
}

impl CrlHead {
    /// Reads the fields of a list outside its entries. The error is the end of a sentence.
    pub(crate) fn of(der: &[u8]) -> Result<Self, String> {
        let fields = Fields::of(der).ok_or("its DER is broken or cut off")?;
        let (_, issuer) =
            X509Name::from_der(fields.issuer).map_err(|_| "its issuer has no valid name")?;
        let signature =
            Signature::of(fields.algorithm).ok_or("its signature algorithm cannot be read")?;
        let indirect = fields
            .extension(ISSUING_DISTRIBUTION_POINT)
            .and_then(|point| der::only(point, SEQUENCE))
            .is_some_and(|point| flag(point, 4));
        Ok(Self {
            issuer: issuer.to_string(),
            issuer_der: name::comparable(fields.issuer),
            this_update: time(fields.this_update).ok_or("its thisUpdate is no time")?,
            next_update: fields.next_update.and_then(time),
            number: fields
                .extension(CRL_NUMBER)
                .and_then(|number| der::only(number, INTEGER))
                .map(|number| trimmed(number).to_vec()),
            signature,
            delta: fields.extension(DELTA_CRL_INDICATOR).is_some(),
            indirect,
        })
    }

    /// Whether the date of the list (thisUpdate, RFC 5280 section 5.1.2.4) is in the future at `now`. A list that a
    /// clock in the future has dated would otherwise be newer than all later lists of its CA, until that date. OpenSSL
    /// refuses such a list too (`X509_V_ERR_CRL_NOT_YET_VALID`), without the tolerance.
    pub(crate) fn is_from_future(&self, now: i64) -> bool {
        self.this_update > now.saturating_add(AHEAD_SECONDS_MAX)
    }

    /// The number in a form that has the order of the numbers. A list without a number is before all others, because
    /// a CA that numbers its lists does not stop to do so.
    pub(super) fn number_order(&self) -> Option<(usize, &[u8])> {
        let number = self.number.as_deref();
        number.map(|number| (number.len(), number))
    }
}

impl Scope {
    // webpki has read the extension before, and refuses unknown parts.
    fn of(point: &[u8]) -> Self {
        let point = der::only(point, SEQUENCE).unwrap_or_default();
        Self {
            users_only: flag(point, 1),
            cas_only: flag(point, 2),
            is_part: Elements(point).any(|part| part.tag == context_constructed(0)),
            points: distribution_point_uris(point),
        }
    }

    // A list of a distribution point covers the certificates that name this point (RFC 5280 section 6.3.3,
    // step b). A certificate that names no point belongs to an unknown part of the CA's lists.
    fn mismatch(&self, certificate: &[u8], is_leaf: bool) -> Option<String> {
        if self.cas_only && is_leaf {
            return Some("is about CA certificates only".to_owned());
        }
        if self.users_only && !is_leaf {
            return Some("is not about CA certificates".to_owned());
        }
        if !self.is_part {
            return None;
        }
        let named = der::certificate_extension(certificate, CRL_DISTRIBUTION_POINTS);
        let named = named.unwrap_or_default();
        let points = Elements(der::only(named, SEQUENCE).unwrap_or_default());
        // This list is not published at a point for some reasons only, or at a point of another CA.
        let whole = points.filter(|point| {
            let parts = Elements(point.content);
            !parts.into_iter().any(|part| part.tag == context(1))
                && !parts
                    .into_iter()
                    .any(|part| part.tag == context_constructed(2))
        });
        let named: Vec<String> = whole
            .flat_map(|point| distribution_point_uris(point.content))
            .collect();
        if named.iter().any(|uri| self.points.contains(uri)) {
            return None;
        }
        let [ours, theirs] = [&self.points, &named].map(|uris| match uris.first() {
            Some(uri) => format!("{uri:?}"),
            None => "none".to_owned(),
        });
        Some(format!(
            "is that of distribution point {ours}, and the certificate names {theirs}"
        ))
    }
}

/// The URIs of a `DistributionPoint` or an `IssuingDistributionPoint`: [0] distributionPoint, [0] fullName, [6] URI.
fn distribution_point_uris(point: &[u8]) -> Vec<String> {
    let name = Elements(point).find(|part| part.tag == context_constructed(0));
    let full = name.and_then(|name| Elements(name.content).element_if(context_constructed(0)));
    let names = full.map_or(&[][..], |full| full.content);
    Elements(names)
        .filter(|name| name.tag == context(6))
        .map(|uri| String::from_utf8_lossy(uri.content).into_owned())
        .collect()
}

/// Whether the BOOLEAN `[number]` is present and true.
fn flag(point: &[u8], number: u8) -> bool {
    Elements(point).any(|part| part.tag == context(number) && part.content != [0])
}

/// The parts of a list.
struct Fields<'a> {
    to_be_signed: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
    issuer: &'a [u8],
    this_update: &'a [u8],
    next_update: Option<&'a [u8]>,
    extensions: &'a [u8],
}

impl<'a> Fields<'a> {
    fn of(der: &'a [u8]) -> Option<Self> {
        let mut outer = Elements(der::only(der, SEQUENCE)?);
        let signed = outer.element_if(SEQUENCE)?;
        let algorithm = outer.element_if(SEQUENCE)?;
        let signature = outer.next_if(BIT_STRING)?;
        let mut inner = Elements(signed.content);
        inner.element_if(INTEGER);
        inner.element_if(SEQUENCE)?;
        let issuer = inner.element_if(SEQUENCE)?.whole;
        let this_update = inner.next()?.whole;
        let next_update = take_time(&mut inner);
        // The entries.
        inner.element_if(SEQUENCE);
        let extensions = inner
            .element_if(context_constructed(0))
            .and_then(|all| der::only(all.content, SEQUENCE));
        Some(Self {
            to_be_signed: signed.whole,
            algorithm: algorithm.content,
            signature,
            issuer,
            this_update,
            next_update,
            extensions: extensions.unwrap_or_default(),
        })
    }

    fn extension(&self, oid: &[u8]) -> Option<&'a [u8]> {
        der::extension(self.extensions, oid)
    }
}

/// UTCTime or GeneralizedTime.
fn take_time<'a>(fields: &mut Elements<'a>) -> Option<&'a [u8]> {
    let time = fields
        .element_if(0x17)
        .or_else(|| fields.element_if(0x18))?;
    Some(time.whole)
}

fn time(der: &[u8]) -> Option<i64> {
    let (_, time) = ASN1Time::from_der(der).ok()?;
    Some(time.timestamp())
}

/// The content of a BIT STRING that consists of whole bytes.
fn whole_bytes(bits: &[u8]) -> Option<&[u8]> {
    match bits.split_first()? {
        (0, bytes) => Some(bytes),
        _ => None,
    }
}

/// Reads every entry, and sorts them by serial number.
fn sorted_serials(der: &[u8]) -> Result<Vec<u32>, webpki::Error> {
    let list = webpki::BorrowedCertRevocationList::from_der(der)?;
    let mut found = Vec::new();
    for entry in &list {
        let serial = entry?.serial_number;
        let at = serial.as_ptr().addr().checked_sub(der.as_ptr().addr());
        let at = at.and_then(|at| u32::try_from(at).ok());
        let at = at.ok_or(webpki::Error::BadDer)?;
        // RFC 5280 section 4.1.2.2 allows 20 bytes.
        if serial_bytes(der, at) != Some(serial) {
            return Err(webpki::Error::InvalidSerialNumber);
        }
        found.push((prefix(trimmed(serial)), at));
    }
    // The first bytes nearly always decide, and they are adjacent in memory.
    found.sort_unstable_by(|(one, at), (other, other_at)| {
        let whole = || serial_at(der, *at).cmp(serial_at(der, *other_at));
        one.cmp(other).then_with(whole)
    });
    let mut serials: Vec<u32> = found.iter().map(|(_, at)| *at).collect();
    serials.shrink_to_fit();
    Ok(serials)
}

fn serial_bytes(der: &[u8], at: u32) -> Option<&[u8]> {
    let at = usize::try_from(at).ok()?;
    let length = usize::from(*der.get(at.checked_sub(1)?)?);
    der.get(at..at.checked_add(length)?)
}

fn serial_at(der: &[u8], at: u32) -> &[u8] {
    trimmed(serial_bytes(der, at).unwrap_or_default())
}

/// A serial number without leading zeros, because some CAs write more of them than others.
fn trimmed(serial: &[u8]) -> &[u8] {
    let first = serial.iter().position(|byte| *byte != 0);
    first
        .and_then(|first| serial.get(first..))
        .unwrap_or_default()
}

/// The first eight bytes, padded with zeros: they have the order of the whole numbers, or are equal.
fn prefix(serial: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    for (byte, first) in bytes.iter_mut().zip(serial) {
        *byte = *first;
    }
    u64::from_be_bytes(bytes)
}

/// Sorts the newest list first: the first list of a key decides, so an old list that was left in place does
/// not. The numbers of lists about the same certificates decide before their dates (RFC 5280 section 5.2.3); numbers of
/// other lists cannot be compared. Each list must have been found to be signed by a key, or by none.
pub(super) fn newest_first(crls: &mut Vec<Arc<Crl>>) {
    let date = |crl: &Arc<Crl>| (crl.head.this_update, crl.head.next_update);
    crls.sort_by(|one, other| {
        let by_number = || other.head.number_order().cmp(&one.head.number_order());
        let by_date = || date(other).cmp(&date(one));
        let of_same = one.covered().cmp(&other.covered());
        of_same.then_with(by_number).then_with(by_date)
    });
    let mut groups: Vec<_> = crls
        .chunk_by(|one, other| one.covers_the_same(other))
        .collect();
    groups.sort_by_key(|group| Reverse(group.first().map(date)));
    *crls = groups.concat();
}

#[cfg(test)]
mod tests;
