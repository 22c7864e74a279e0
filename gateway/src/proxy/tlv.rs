//! The TLVs of version 2: type, length, value.

use super::crc32c::crc32c;
use super::{HeaderError, length};

/// What is known of the TLS connection that a client came by.
#[derive(Debug, Clone, Copy)]
pub struct TlsFacts<'a> {
    /// The version: `TLSv1.3`.
    pub version: &'a str,
    /// The identity by which the client was accepted.
    pub identity: &'a str,
    /// The cipher suite.
    pub suite: &'a str,
}

// Types (section 2.2 of the specification).
const CRC32C: u8 = 0x03;
const UNIQUE_ID: u8 = 0x05;
const SSL: u8 = 0x20;
const SSL_VERSION: u8 = 0x21;
const SSL_CN: u8 = 0x22;
const SSL_CIPHER: u8 = 0x23;

// The client used TLS, and presented a certificate in this connection, which was verified: there are no
// resumed sessions.
const CLIENT_SSL_AND_CERT: u8 = 0x01 | 0x02 | 0x04;
const VERIFIED: [u8; 4] = [0; 4];

const CHECKSUM_BYTES: usize = 4;
const HEAD: usize = 3;

/// Checks that the TLVs are whole, and their checksum if there is one. All others are skipped. `whole` is the
/// header, which ends with them.
pub(super) fn check(mut tlvs: &[u8], whole: &[u8]) -> Result<(), HeaderError> {
    const CUT: HeaderError = HeaderError::Wrong("a TLV that ends behind it");
    while !tlvs.is_empty() {
        let at = whole.len().saturating_sub(tlvs.len());
        let ([kind, high, low], behind) = tlvs.split_first_chunk::<HEAD>().ok_or(CUT)?;
        let size = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, behind) = behind.split_at_checked(size).ok_or(CUT)?;
        if *kind == CRC32C {
            let sent: [u8; CHECKSUM_BYTES] = value
                .try_into()
                .map_err(|_| HeaderError::Wrong("a checksum of another length"))?;
            let mut zeroed = whole.to_vec();
            let field = at.saturating_add(HEAD);
            let field = zeroed.get_mut(field..field.saturating_add(CHECKSUM_BYTES));
            field.ok_or(CUT)?.fill(0);
            if crc32c(&zeroed) != u32::from_be_bytes(sent) {
                return Err(HeaderError::Wrong("a wrong checksum"));
            }
        }
        tlvs = behind;
    }
    Ok(())
}

/// The TLVs about a connection, and room for its checksum at the end.
pub(super) fn tlvs(id: &str, tls: Option<&TlsFacts<'_>>) -> Vec<u8> {
    let mut all = tlv(UNIQUE_ID, id.as_bytes());
    if let Some(tls) = tls {
        let mut value = vec![CLIENT_SSL_AND_CERT];
        value.extend(VERIFIED);
        value.extend(tlv(SSL_VERSION, tls.version.as_bytes()));
        value.extend(tlv(SSL_CN, tls.identity.as_bytes()));
        value.extend(tlv(SSL_CIPHER, tls.suite.as_bytes()));
        all.extend(tlv(SSL, &value));
    }
    all.extend(tlv(CRC32C, &[0; CHECKSUM_BYTES]));
    all
}

/// Writes the checksum of `header` into its last bytes, which are zero.
pub(super) fn add_checksum(header: &mut [u8]) {
    let sum = crc32c(header).to_be_bytes();
    if let Some(room) = header.last_chunk_mut::<CHECKSUM_BYTES>() {
        *room = sum;
    }
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(length(value.len()));
    bytes.extend(value);
    bytes
}
