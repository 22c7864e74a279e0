//! Encryption and decryption of records with AES-GCM, by either implementation.
//!
//! aws-lc-rs and ring have the same interface, and only this file knows which of the two is in use. The
//! choice costs one branch for each record, and no memory.

use rustls::ConnectionTrafficSecrets;

use super::cipher::Cipher;
use super::outcomes::RecordError;

/// Bytes of a tag (RFC 8446 section 5.2 with RFC 5116 section 5.1).
pub(super) const TAG: usize = 16;

const NONCE: usize = 12;

/// The key and the sequence number of one direction (RFC 8446 section 5.3).
pub(super) struct Keys {
    key: AeadKey,
    iv: [u8; NONCE],
    sequence: u64,
}

enum AeadKey {
    AwsLc(aws_lc_rs::aead::LessSafeKey),
    // Boxed, because ring keeps the expanded key in the value: half a KiB that a connection with aws-lc-rs
    // must not use.
    Ring(Box<ring::aead::LessSafeKey>),
}

#[derive(Clone, Copy)]
enum Strength {
    Aes128,
    Aes256,
}

impl AeadKey {
    fn new(cipher: Cipher, strength: Strength, key: &[u8]) -> Option<Self> {
        Some(match cipher {
            Cipher::AwsLc => {
                use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, LessSafeKey, UnboundKey};
                let algorithm = match strength {
                    Strength::Aes128 => &AES_128_GCM,
                    Strength::Aes256 => &AES_256_GCM,
                };
                Self::AwsLc(LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?))
            }
            Cipher::Ring => {
                use ring::aead::{AES_128_GCM, AES_256_GCM, LessSafeKey, UnboundKey};
                let algorithm = match strength {
                    Strength::Aes128 => &AES_128_GCM,
                    Strength::Aes256 => &AES_256_GCM,
                };
                let key = UnboundKey::new(algorithm, key).ok()?;
                Self::Ring(Box::new(LessSafeKey::new(key)))
            }
        })
    }
}

impl Keys {
    /// Takes over traffic secrets; `None` if they are not for AES-GCM.
    pub(super) fn new(
        cipher: Cipher,
        sequence: u64,
        secrets: &ConnectionTrafficSecrets,
    ) -> Option<Self> {
        let (strength, key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (Strength::Aes256, key, iv),
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (Strength::Aes128, key, iv),
            _ => return None,
        };
        Some(Self {
            key: AeadKey::new(cipher, strength, key.as_ref())?,
            iv: iv.as_ref().try_into().ok()?,
            sequence,
        })
    }

    /// Keys of AES-128-GCM, whose secrets only rustls can create.
    #[cfg(test)]
    pub(super) fn of_128(cipher: Cipher, key: [u8; 16], iv: [u8; 12], sequence: u64) -> Self {
        Self {
            key: AeadKey::new(cipher, Strength::Aes128, &key).expect("a length that fits"),
            iv,
            sequence,
        }
    }

    /// Records that this key has protected.
    pub(super) fn records(&self) -> u64 {
        self.sequence
    }

    /// Encrypts `inner` in place and returns the tag, which belongs behind it.
    pub(super) fn seal(
        &mut self,
        header: [u8; 5],
        inner: &mut [u8],
    ) -> Result<[u8; TAG], RecordError> {
        let nonce = self.nonce()?;
        match &self.key {
            AeadKey::AwsLc(key) => {
                use aws_lc_rs::aead::{Aad, Nonce};
                let nonce = Nonce::assume_unique_for_key(nonce);
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(header), inner);
                tag.ok().and_then(|tag| tag.as_ref().try_into().ok())
            }
            AeadKey::Ring(key) => {
                use ring::aead::{Aad, Nonce};
                let nonce = Nonce::assume_unique_for_key(nonce);
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(header), inner);
                tag.ok().and_then(|tag| tag.as_ref().try_into().ok())
            }
        }
        .ok_or(RecordError::Cipher)
    }

    /// Checks and decrypts `protected` in place. Its last bytes are the tag.
    pub(super) fn open<'b>(
        &mut self,
        header: [u8; 5],
        protected: &'b mut [u8],
    ) -> Result<&'b mut [u8], RecordError> {
        let nonce = self.nonce()?;
        match &self.key {
            AeadKey::AwsLc(key) => {
                use aws_lc_rs::aead::{Aad, Nonce};
                let nonce = Nonce::assume_unique_for_key(nonce);
                key.open_in_place(nonce, Aad::from(header), protected).ok()
            }
            AeadKey::Ring(key) => {
                use ring::aead::{Aad, Nonce};
                let nonce = Nonce::assume_unique_for_key(nonce);
                key.open_in_place(nonce, Aad::from(header), protected).ok()
            }
        }
        .ok_or(RecordError::Mac)
    }

    // Every call uses the next sequence number, so no nonce is used twice under one key.
    fn nonce(&mut self) -> Result<[u8; NONCE], RecordError> {
        let mut nonce = self.iv;
        let sequence = self.sequence.to_be_bytes();
        // The sequence number is padded with leading zeros to the length of the nonce.
        for (byte, number) in nonce.iter_mut().skip(NONCE - 8).zip(sequence) {
            *byte ^= number;
        }
        self.sequence = self
            .sequence
            .checked_add(1)
            .ok_or(RecordError::SequenceEnd)?;
        Ok(nonce)
    }
}
