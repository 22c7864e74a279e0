//! The renewal of a paired site's CA certificates: the key of the old CA signs the new one.
//!
//! An update holds all CA certificates that are to be trusted for a site from now on, and a signature by the key of a CA
//! that is trusted already, so that every owner of the old certificate can check it later. Its sequence is a time, and
//! only grows. `docs/src/reference/pairing.md` describes every byte.

use std::time::{Duration, SystemTime};

use ring::digest;
use rustls::pki_types::CertificateDer;

use super::limits::{
    CERTIFICATE_BYTES_MAX, OFFERED_AUTHORITIES_MAX, TEXT_BYTES_MAX, UPDATE_BYTES_MAX,
    UPDATE_SIGNATURE_BYTES_MAX,
};
use super::wire::{Reader, put};
use crate::pki::partner;

/// The first bytes of an update: what it is, and its version.
const MAGIC: &[u8; 8] = b"WGUPDAT1";
/// What is signed begins with it, so that the signature is valid in this use only.
const CONTEXT: &[u8] = b"WGUPDAT1 signature\n";
/// How far a sequence may be in the future: the clocks of two sites differ.
const AHEAD: Duration = Duration::from_secs(24 * 60 * 60);

/// An update that was not checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// When it was made, in seconds since 1970; later updates have a higher one.
    pub sequence: u64,
    /// The identity of the site: `dns:gw.region.example`.
    pub identity: String,
    /// The CA certificates to be trusted from now on.
    pub authorities: Vec<CertificateDer<'static>>,
    /// The SHA-256 of the public key that signed it.
    signer: [u8; 32],
    signature: Vec<u8>,
}

/// Why an update is not used: a predicate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// It is no update.
    #[error("cannot be read")]
    Unreadable,
    /// It is that of another site.
    #[error("is of {0:?}, which is no identity of this peer")]
    OtherSite(String),
    /// It is older than the last one that was used.
    #[error(
        "is older than the one that is in use: it was made at {sequence}, and that one at {known} (seconds since 1970)"
    )]
    Older {
        /// Its sequence.
        sequence: u64,
        /// That of the one in use.
        known: u64,
    },
    /// Its sequence is in the future.
    #[error("was made in the future; correct the clock of this machine or of the other site")]
    Future,
    /// No trusted CA has signed it.
    #[error("is not signed by a CA that is trusted for this peer")]
    Unsigned,
    /// One of its certificates may not be trusted.
    #[error("has a certificate that {0}")]
    Certificate(String),
}

impl Update {
    /// What an update signs: everything in front of the signature.
    #[must_use]
    pub fn signed_part(
        sequence: u64,
        identity: &str,
        authorities: &[CertificateDer<'_>],
        signer: &CertificateDer<'_>,
    ) -> Option<Vec<u8>> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(sequence.to_be_bytes());
        put(&mut bytes, identity.as_bytes());
        bytes.push(u8::try_from(authorities.len()).ok()?);
        for certificate in authorities {
            put(&mut bytes, certificate);
        }
        bytes.extend(partner::key_sha256(signer)?);
        Some(bytes)
    }

    /// The bytes over which the signature is made.
    #[must_use]
    pub fn to_sign(signed_part: &[u8]) -> Vec<u8> {
        [CONTEXT, signed_part].concat()
    }

    /// The whole update.
    #[must_use]
    pub fn complete(signed_part: &[u8], signature: &[u8]) -> Vec<u8> {
        let mut bytes = signed_part.to_vec();
        put(&mut bytes, signature);
        bytes
    }

    /// Reads an update, without checking it.
    ///
    /// # Errors
    /// `Unreadable` if the bytes are not exactly one update within the bounds.
    pub fn read(bytes: &[u8]) -> Result<Self, UpdateError> {
        Self::parse(bytes).ok_or(UpdateError::Unreadable)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        // LIMIT: UPDATE_BYTES_MAX.
        if bytes.len() > UPDATE_BYTES_MAX {
            return None;
        }
        let mut reader = Reader::new(bytes);
        if reader.take(MAGIC.len())? != MAGIC {
            return None;
        }
        let sequence = reader.u64()?;
        let identity = reader.text(TEXT_BYTES_MAX)?;
        let authorities = reader.certificates(OFFERED_AUTHORITIES_MAX, CERTIFICATE_BYTES_MAX)?;
        let signer = reader.take(32)?.try_into().ok()?;
        // LIMIT: UPDATE_SIGNATURE_BYTES_MAX.
        let signature = reader.value(UPDATE_SIGNATURE_BYTES_MAX)?.to_vec();
        reader.end()?;
        Some(Self {
            sequence,
            identity,
            authorities,
            signer,
            signature,
        })
    }

    /// Checks an update that this site received: it must be of one of `identities`, later than `known`, signed by the
    /// key of a CA in `trusted`, and its certificates must be of CAs that may be trusted.
    ///
    /// # Errors
    /// Why it must not be used.
    pub fn check(
        &self,
        bytes: &[u8],
        identities: &[String],
        trusted: &[CertificateDer<'_>],
        known: u64,
        now: SystemTime,
    ) -> Result<(), UpdateError> {
        if !identities.contains(&self.identity) {
            return Err(UpdateError::OtherSite(self.identity.clone()));
        }
        let sequence = self.sequence;
        if sequence <= known {
            return Err(UpdateError::Older { sequence, known });
        }
        if self.is_in_future(now) {
            return Err(UpdateError::Future);
        }
        if !self.is_signed_by(bytes, trusted) {
            return Err(UpdateError::Unsigned);
        }
        for authority in &self.authorities {
            partner::check_authority(authority, now).map_err(UpdateError::Certificate)?;
        }
        Ok(())
    }

    /// Whether the sequence is further in the future than clocks differ.
    #[must_use]
    pub fn is_in_future(&self, now: SystemTime) -> bool {
        let since = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        self.sequence > since.saturating_add(AHEAD).as_secs()
    }

    /// Whether the key of one of these CA certificates has signed the update, which was read from `bytes`.
    #[must_use]
    pub fn is_signed_by(&self, bytes: &[u8], authorities: &[CertificateDer<'_>]) -> bool {
        let signed = bytes.len().checked_sub(2 + self.signature.len());
        let Some(signed) = signed.and_then(|length| bytes.get(..length)) else {
            return false;
        };
        let is_signer = |ca: &&CertificateDer<'_>| partner::key_sha256(ca) == Some(self.signer);
        let mut signers = authorities.iter().filter(is_signer);
        let message = Self::to_sign(signed);
        signers.any(|ca| partner::has_signed(ca, &message, &self.signature))
    }
}

/// The name of a stored update in messages and records: its SHA-256 in hexadecimal.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> String {
    partner::hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// What one gateway sends the other on a renewal connection: how far it has come with the updates of the other site, and
/// its own update, if it has one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RenewalMessage {
    /// The sequence of the newest update of the other site that is in use here; 0 if there is none.
    pub in_use: u64,
    /// The bytes of the own update; empty if there is none.
    pub update: Vec<u8>,
}

/// Bytes in front of the update of a message.
const MESSAGE_HEAD: usize = 10;

impl RenewalMessage {
    /// The bytes on the wire.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.in_use.to_be_bytes().to_vec();
        put(&mut bytes, &self.update);
        bytes
    }

    /// Reads a message from the beginning of a stream; `None` if more bytes are needed.
    ///
    /// # Errors
    /// `Unreadable` if it is longer than a message may be, or bytes follow it.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, UpdateError> {
        let Some(head) = bytes.get(..MESSAGE_HEAD) else {
            return Ok(None);
        };
        let mut reader = Reader::new(head);
        let in_use = reader.u64().ok_or(UpdateError::Unreadable)?;
        let (high, low) = (reader.byte(), reader.byte());
        let length = high
            .zip(low)
            .map(|(high, low)| u16::from_be_bytes([high, low]));
        let length = usize::from(length.ok_or(UpdateError::Unreadable)?);
        // LIMIT: UPDATE_BYTES_MAX.
        if length > UPDATE_BYTES_MAX {
            return Err(UpdateError::Unreadable);
        }
        let rest = bytes.get(MESSAGE_HEAD..).unwrap_or_default();
        match rest.len().cmp(&length) {
            std::cmp::Ordering::Less => Ok(None),
            std::cmp::Ordering::Greater => Err(UpdateError::Unreadable),
            std::cmp::Ordering::Equal => Ok(Some(Self {
                in_use,
                update: rest.to_vec(),
            })),
        }
    }
}
