//! Counts the TLS records of a stream by their headers (RFC 8446 section 5.1).
//!
//! Reads the five bytes of each record's header, but not its content. This shows that the wire carries TLS
//! records from the first byte to the last, and only protected ones once both sides have keys.

use std::fmt;

/// Type, version (2 bytes), length (2 bytes).
const HEADER_BYTES: usize = 5;

/// RFC 8446 section 5.2: 2^14 and at most 256 bytes of content type, padding and tag.
const RECORD_BYTES_MAX: usize = (1 << 14) + 256;

const CHANGE_CIPHER_SPEC: u8 = 20;
const APPLICATION_DATA: u8 = 23;

/// The record types of TLS 1.3, starting with `change_cipher_spec` (20).
pub(super) const RECORD_TYPES: [&str; 4] = [
    "change_cipher_spec",
    "alert",
    "handshake",
    "application_data",
];

/// Reads the record headers of one direction of one connection.
#[derive(Debug, Default)]
pub(super) struct Records {
    counts: [u64; 4],
    header: [u8; HEADER_BYTES],
    /// Bytes of the header received so far.
    filled: usize,
    /// Bytes of the record still to be received.
    body: usize,
    fault: Option<Fault>,
}

/// A violation of TLS 1.3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not a record type of TLS.
    Type(u8),
    /// A version that a TLS 1.3 record may not have.
    Version(u8, u8),
    /// Longer than a record may be.
    Length(usize),
    /// An unprotected record after a protected one.
    Clear(&'static str),
    /// The stream ended inside a record.
    Cut,
    /// The stream had no protected record.
    NoData,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(kind) => write!(f, "a record of type {kind}, which TLS does not have"),
            Self::Version(major, minor) => write!(f, "a record of version {major}.{minor}"),
            Self::Length(length) => write!(f, "a record of {length} bytes"),
            Self::Clear(kind) => write!(f, "an unprotected {kind} record after protected ones"),
            Self::Cut => f.write_str("the stream ends inside a record"),
            Self::NoData => f.write_str("no protected record at all"),
        }
    }
}

impl Records {
    /// Examines the next bytes of the stream. After a fault, further bytes are neither examined nor
    /// counted.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.fault.is_none() {
            if self.body > 0 {
                let skip = self.body.min(bytes.len());
                self.body -= skip;
                bytes = &bytes[skip..];
                continue;
            }
            let take = (HEADER_BYTES - self.filled).min(bytes.len());
            let (now, rest) = bytes.split_at(take);
            self.header[self.filled..self.filled + take].copy_from_slice(now);
            self.filled += take;
            bytes = rest;
            if self.filled == HEADER_BYTES {
                self.filled = 0;
                self.fault = self.begin().err();
            }
        }
    }

    /// Ends the stream, and returns its counts or its fault.
    pub(super) fn finish(&self) -> Result<[u64; 4], Fault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        if self.filled > 0 || self.body > 0 {
            return Err(Fault::Cut);
        }
        if self.protected() == 0 {
            return Err(Fault::NoData);
        }
        Ok(self.counts)
    }

    /// Records by type so far, in the order of `RECORD_TYPES`.
    pub(super) fn counts(&self) -> [u64; 4] {
        self.counts
    }

    fn protected(&self) -> u64 {
        self.counts[usize::from(APPLICATION_DATA - CHANGE_CIPHER_SPEC)]
    }

    /// Checks a complete header and counts its record.
    fn begin(&mut self) -> Result<(), Fault> {
        let [kind, major, minor, high, low] = self.header;
        let index = usize::from(kind.wrapping_sub(CHANGE_CIPHER_SPEC));
        let name = RECORD_TYPES.get(index).ok_or(Fault::Type(kind))?;
        // RFC 8446 section 5.1: 3.3, and 3.1 on a first ClientHello.
        if major != 3 || !matches!(minor, 1 | 3) {
            return Err(Fault::Version(major, minor));
        }
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length == 0 || length > RECORD_BYTES_MAX {
            return Err(Fault::Length(length));
        }
        if kind != APPLICATION_DATA && self.protected() > 0 {
            return Err(Fault::Clear(name));
        }
        self.counts[index] += 1;
        self.body = length;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, length: usize) -> Vec<u8> {
        let size = u16::try_from(length).expect("test records are short");
        let mut record = vec![kind, 3, 3];
        record.extend(size.to_be_bytes());
        record.extend(std::iter::repeat_n(0x16, length));
        record
    }

    fn stream(records: &[(u8, usize)]) -> Vec<u8> {
        let records = records.iter();
        records.flat_map(|(kind, n)| record(*kind, *n)).collect()
    }

    fn read(bytes: &[u8]) -> Result<[u64; 4], Fault> {
        let mut records = Records::default();
        records.feed(bytes);
        records.finish()
    }

    #[test]
    fn records_are_counted_by_type_at_every_split_point() {
        let bytes = stream(&[(22, 7), (20, 1), (23, 9), (23, 30), (23, 2)]);
        for split in 0..=bytes.len() {
            let mut records = Records::default();
            records.feed(&bytes[..split]);
            records.feed(&bytes[split..]);
            assert_eq!(records.finish(), Ok([1, 0, 1, 3]), "split at {split}");
        }
    }

    #[test]
    fn records_are_counted_when_they_come_byte_by_byte() {
        let mut records = Records::default();
        for byte in stream(&[(22, 3), (23, 16_640)]) {
            records.feed(&[byte]);
        }
        assert_eq!(records.finish(), Ok([0, 0, 1, 1]));
    }

    #[test]
    fn plaintext_dicom_is_not_a_tls_record() {
        // An A-ASSOCIATE-RQ begins with type 1.
        assert_eq!(read(&[1, 0, 0, 0, 0, 205]), Err(Fault::Type(1)));
    }

    #[test]
    fn unprotected_records_after_protected_ones_are_a_fault() {
        let bytes = stream(&[(22, 7), (23, 9), (21, 2)]);
        assert_eq!(read(&bytes), Err(Fault::Clear("alert")));
    }

    #[test]
    fn other_versions_and_lengths_are_a_fault() {
        assert_eq!(read(&[22, 2, 0, 0, 1, 0]), Err(Fault::Version(2, 0)));
        assert_eq!(read(&record(23, 16_641)), Err(Fault::Length(16_641)));
    }

    #[test]
    fn a_stream_cut_inside_a_record_is_a_fault() {
        let bytes = stream(&[(22, 7), (23, 9)]);
        assert_eq!(read(&bytes[..bytes.len() - 1]), Err(Fault::Cut));
        assert_eq!(read(&bytes[..14]), Err(Fault::Cut));
        assert_eq!(read(&bytes[..12]), Err(Fault::NoData));
    }
}
