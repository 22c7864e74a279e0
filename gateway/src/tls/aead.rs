//! The AEAD that seals and opens records, from the provider that was built in.
//!
//! aws-lc-rs and ring have the same interface here, and this is the only place that knows which of
//! the two it is: aws-lc-rs uses AVX-512 where the machine has it, ring has no C library of its own.

#[cfg(not(feature = "provider-ring"))]
use aws_lc_rs::aead;
#[cfg(feature = "provider-ring")]
use ring::aead;

use rustls::ConnectionTrafficSecrets;

use super::record::RecordError;

/// Octets of a tag (RFC 8446 section 5.2 with RFC 5116 section 5.1).
pub(super) const TAG: usize = 16;

/// The key and the sequence number of one direction (RFC 8446 section 5.3).
pub(super) struct Keys {
    key: aead::LessSafeKey,
    iv: [u8; aead::NONCE_LEN],
    sequence: u64,
}

impl Keys {
    /// Takes over traffic secrets; `None` where they are not of AES-GCM.
    pub(super) fn new(sequence: u64, secrets: &ConnectionTrafficSecrets) -> Option<Self> {
        let (algorithm, key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&aead::AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&aead::AES_128_GCM, key, iv),
            _ => return None,
        };
        Self::with(algorithm, key.as_ref(), iv.as_ref(), sequence)
    }

    fn with(
        algorithm: &'static aead::Algorithm,
        key: &[u8],
        iv: &[u8],
        sequence: u64,
    ) -> Option<Self> {
        let key = aead::UnboundKey::new(algorithm, key).ok()?;
        Some(Self {
            key: aead::LessSafeKey::new(key),
            iv: iv.try_into().ok()?,
            sequence,
        })
    }

    /// Keys of AES-128-GCM, which no secrets can be made for outside of rustls.
    #[cfg(test)]
    pub(super) fn of_128(key: [u8; 16], iv: [u8; 12], sequence: u64) -> Self {
        Self::with(&aead::AES_128_GCM, &key, &iv, sequence).expect("lengths that fit")
    }

    /// Records that were protected under this key so far.
    pub(super) fn records(&self) -> u64 {
        self.sequence
    }

    /// Encrypts `inner` where it lies and gives the tag that belongs behind it.
    pub(super) fn seal(
        &mut self,
        header: [u8; 5],
        inner: &mut [u8],
    ) -> Result<[u8; TAG], RecordError> {
        let nonce = self.nonce()?;
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, aead::Aad::from(header), inner)
            .map_err(|_| RecordError::Cipher)?;
        tag.as_ref().try_into().map_err(|_| RecordError::Cipher)
    }

    /// Checks and decrypts `protected`, whose last octets are the tag, where it lies.
    pub(super) fn open<'b>(
        &mut self,
        header: [u8; 5],
        protected: &'b mut [u8],
    ) -> Result<&'b mut [u8], RecordError> {
        let nonce = self.nonce()?;
        self.key
            .open_in_place(nonce, aead::Aad::from(header), protected)
            .map_err(|_| RecordError::Mac)
    }

    // Every call uses up a number, so no nonce is ever used twice under a key.
    fn nonce(&mut self) -> Result<aead::Nonce, RecordError> {
        let mut nonce = self.iv;
        let sequence = self.sequence.to_be_bytes();
        // The number is as long as the nonce, filled with zeros in front.
        for (byte, number) in nonce.iter_mut().skip(aead::NONCE_LEN - 8).zip(sequence) {
            *byte ^= number;
        }
        self.sequence = self
            .sequence
            .checked_add(1)
            .ok_or(RecordError::SequenceEnd)?;
        Ok(aead::Nonce::assume_unique_for_key(nonce))
    }
}
