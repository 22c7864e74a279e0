//! The TLS 1.3 record layer after the handshake: seals and opens records in place.
//!
//! Implements RFC 8446 section 5 for AES-GCM. This module uses no socket, allocates nothing, and copies no
//! payload. `post_handshake` handles control messages.

use std::ops::Range;

use rustls::ConnectionTrafficSecrets;

use super::aead::{Keys, TAG};
use super::cipher::Cipher;
pub use super::outcomes::RecordError;
use crate::buffers::limits::RECORD_TRAILER;
use crate::buffers::limits::{PLAINTEXT_ROOM, RECORD_HEADER};
use crate::tls::limits::CIPHERTEXT_MAX;

/// The content types that a protected record may have (RFC 8446 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// An alert.
    Alert,
    /// A handshake message, a part of one, or several.
    Handshake,
    /// Payload.
    Data,
}

impl Content {
    const fn byte(self) -> u8 {
        match self {
            Self::Alert => 21,
            Self::Handshake => 22,
            Self::Data => 23,
        }
    }

    const fn of(byte: u8) -> Option<Self> {
        match byte {
            21 => Some(Self::Alert),
            22 => Some(Self::Handshake),
            23 => Some(Self::Data),
            _ => None,
        }
    }
}

/// Seals the records of one direction.
pub struct Sealer(Keys);

impl Sealer {
    /// Continues from `sequence` with these secrets; `None` if they are not for AES-GCM.
    #[must_use]
    pub fn new(cipher: Cipher, sequence: u64, secrets: &ConnectionTrafficSecrets) -> Option<Self> {
        Keys::new(cipher, sequence, secrets).map(Self)
    }

    /// The number of records that this key has sealed.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.0.records()
    }

    /// Seals the `length` bytes that follow the space for the header in `room`. Writes header, content type
    /// and tag around them, and returns the length of the record.
    ///
    /// # Errors
    /// `NoRoom` if `room` is shorter than the record, or if `length` is more than a record holds.
    pub fn seal(
        &mut self,
        content: Content,
        room: &mut [u8],
        length: usize,
    ) -> Result<usize, RecordError> {
        if length > PLAINTEXT_ROOM {
            return Err(RecordError::NoRoom);
        }
        let whole = RECORD_HEADER + length + RECORD_TRAILER;
        let record = room.get_mut(..whole).ok_or(RecordError::NoRoom)?;
        let (head, body) = record
            .split_first_chunk_mut::<RECORD_HEADER>()
            .ok_or(RecordError::NoRoom)?;
        let (inner, tag) = body
            .split_last_chunk_mut::<TAG>()
            .ok_or(RecordError::NoRoom)?;
        let protected = u16::try_from(length + RECORD_TRAILER).map_err(|_| RecordError::NoRoom)?;
        *head = header(protected);
        *inner.last_mut().ok_or(RecordError::NoRoom)? = content.byte();
        *tag = self.0.seal(*head, inner)?;
        Ok(whole)
    }
}

/// A record that was opened in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its inner content type.
    pub content: Content,
    /// The range of its content, counted from the first byte of the record. May be empty.
    pub range: Range<usize>,
    /// Bytes of the whole record, header and tag included.
    pub length: usize,
}

/// Opens the records of one direction.
pub struct Opener(Keys);

impl Opener {
    /// Continues from `sequence` with these secrets; `None` if they are not for AES-GCM.
    #[must_use]
    pub fn new(cipher: Cipher, sequence: u64, secrets: &ConnectionTrafficSecrets) -> Option<Self> {
        Keys::new(cipher, sequence, secrets).map(Self)
    }

    /// Opens the record at the front of `bytes`; returns `None` until all of it has been received.
    ///
    /// # Errors
    /// What is wrong with the record. The connection must then be closed: the record is lost.
    pub fn open(&mut self, bytes: &mut [u8]) -> Result<Option<Record>, RecordError> {
        if let Some(kind) = bytes.first().filter(|kind| **kind != Content::Data.byte()) {
            // After the handshake every record is protected, and its outer type is application_data
            // (section 5.2).
            return Err(RecordError::Type(*kind));
        }
        let Some((head, rest)) = bytes.split_first_chunk_mut::<RECORD_HEADER>() else {
            return Ok(None);
        };
        let protected = protected_length(*head)?;
        let Some(protected) = rest.get_mut(..protected) else {
            return Ok(None);
        };
        let length = RECORD_HEADER.saturating_add(protected.len());
        let inner = self.0.open(*head, protected)?;
        let (content, count) = strip(inner)?;
        Ok(Some(Record {
            content,
            range: RECORD_HEADER..RECORD_HEADER.saturating_add(count),
            length,
        }))
    }
}

// The legacy version is authenticated and otherwise ignored (RFC 8446 section 5.1).
fn protected_length([_, _, _, high, low]: [u8; RECORD_HEADER]) -> Result<usize, RecordError> {
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > CIPHERTEXT_MAX {
        return Err(RecordError::Oversized);
    }
    Ok(length)
}

// opaque_type application_data, legacy_record_version 0x0303 (RFC 8446 section 5.2).
fn header(protected: u16) -> [u8; RECORD_HEADER] {
    let [high, low] = protected.to_be_bytes();
    [Content::Data.byte(), 3, 3, high, low]
}

// Removes padding and content type (RFC 8446 section 5.4), which leaves the content.
fn strip(inner: &[u8]) -> Result<(Content, usize), RecordError> {
    if inner.len() > PLAINTEXT_ROOM + 1 {
        return Err(RecordError::Oversized);
    }
    let last = inner.iter().rposition(|byte| *byte != 0);
    let count = last.ok_or(RecordError::NoContent)?;
    let kind = inner.get(count).copied().ok_or(RecordError::NoContent)?;
    let content = Content::of(kind).ok_or(RecordError::Type(kind))?;
    Ok((content, count))
}

#[cfg(test)]
mod tests;
