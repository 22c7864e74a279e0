//! The PROXY protocol, versions 1 and 2: reads and writes the header by which a proxy names the two ends of the
//! connection that it forwards (HAProxy's `proxy-protocol.txt`).
//!
//! Pure: bytes in, bytes out. The reader never asks for a byte that does not belong to the header, so the bytes
//! after it stay in the socket for the stream. The same binary header carries the client's address between two
//! gateways (`carry_source`).

mod crc32c;
pub mod limits;
#[cfg(test)]
mod tests;
mod text;
mod tlv;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use self::limits::HEADER_BYTES_MAX;
pub use tlv::TlsFacts;

/// The two ends of a connection, both of the same address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// The client.
    pub source: SocketAddr,
    /// The address that the client connected to.
    pub destination: SocketAddr,
}

/// What a header says about its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// The proxy opened the connection for itself, for example to check our health.
    Local,
    /// The proxy does not know the client's address, or the client has none of IP.
    Unnamed,
    /// The proxy forwards a connection between these ends.
    Named(Ends),
}

/// The state of reading a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParsedHeader {
    /// At least this many further bytes belong to the header.
    More(usize),
    /// The header, and its length.
    Header(Header, usize),
}

/// Why bytes are no valid header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderError {
    /// They begin as no version of the header begins.
    NoHeader,
    /// A rule of the specification that they break.
    Wrong(&'static str),
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHeader => f.write_str("no PROXY header"),
            Self::Wrong(what) => write!(f, "a PROXY header with {what}"),
        }
    }
}

/// The first bytes of version 2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The first bytes of version 1.
const WORD: &[u8; 6] = b"PROXY ";

/// The bytes before the addresses of version 2.
const FIXED: usize = 16;

// The high half of the thirteenth byte is the version.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

// Address family and transport protocol.
const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX: [u8; 2] = [0x31, 0x32];

/// Reads a header of either version at the beginning of `bytes`.
///
/// # Errors
/// The bytes are not the beginning of a valid header.
pub fn parse(bytes: &[u8]) -> Result<ParsedHeader, HeaderError> {
    match begins_like(bytes, WORD) {
        true if !bytes.is_empty() => text::parse(bytes),
        _ => parse_binary(bytes),
    }
}

/// Reads a header of version 2 at the beginning of `bytes`.
///
/// # Errors
/// The bytes are not the beginning of a valid header.
pub fn parse_binary(bytes: &[u8]) -> Result<ParsedHeader, HeaderError> {
    if !begins_like(bytes, &SIGNATURE) {
        return Err(HeaderError::NoHeader);
    }
    let Some((fixed, behind)) = bytes.split_first_chunk::<FIXED>() else {
        // Version 1 may have 15 bytes, so only the signature is certain at first.
        let certain = if bytes.len() < SIGNATURE.len() {
            SIGNATURE.len()
        } else {
            FIXED
        };
        return Ok(ParsedHeader::More(certain.saturating_sub(bytes.len())));
    };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let whole = FIXED.saturating_add(length);
    // LIMIT: `HEADER_BYTES_MAX`.
    if whole > HEADER_BYTES_MAX {
        return Err(HeaderError::Wrong("more than 4096 bytes"));
    }
    if !matches!(command, LOCAL | PROXY) {
        return Err(HeaderError::Wrong("an unknown version or command"));
    }
    let Some(body) = behind.get(..length) else {
        return Ok(ParsedHeader::More(whole.saturating_sub(bytes.len())));
    };
    // The addresses of LOCAL have no meaning, whatever they are.
    let header = match command {
        LOCAL => Header::Local,
        _ => named(family, body, bytes.get(..whole).unwrap_or_default())?,
    };
    Ok(ParsedHeader::Header(header, whole))
}

fn named(family: u8, body: &[u8], whole: &[u8]) -> Result<Header, HeaderError> {
    const SHORT: HeaderError = HeaderError::Wrong("too few bytes for its addresses");
    let (source, destination, behind): (IpAddr, IpAddr, _) = match family {
        UNSPECIFIED => return Ok(Header::Unnamed),
        other if UNIX.contains(&other) => return Ok(Header::Unnamed),
        TCP4 => {
            let (source, behind) = body.split_first_chunk::<4>().ok_or(SHORT)?;
            let (destination, behind) = behind.split_first_chunk::<4>().ok_or(SHORT)?;
            let [source, destination] = [*source, *destination].map(Ipv4Addr::from);
            (source.into(), destination.into(), behind)
        }
        TCP6 => {
            let (source, behind) = body.split_first_chunk::<16>().ok_or(SHORT)?;
            let (destination, behind) = behind.split_first_chunk::<16>().ok_or(SHORT)?;
            let [source, destination] = [*source, *destination].map(Ipv6Addr::from);
            (source.into(), destination.into(), behind)
        }
        _ => return Err(HeaderError::Wrong("an address that is not of TCP")),
    };
    let (ports, tlvs) = behind.split_first_chunk::<4>().ok_or(SHORT)?;
    let [a, b, c, d] = *ports;
    tlv::check(tlvs, whole)?;
    let ends = Ends {
        source: SocketAddr::new(source, u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(destination, u16::from_be_bytes([c, d])),
    };
    ends.checked().map(Header::Named)
}

impl Ends {
    /// The ends of a connection in the form of a header. If their families differ, both are written as IPv6.
    #[must_use]
    pub fn new(source: SocketAddr, destination: SocketAddr) -> Self {
        let [source, destination] = [source, destination].map(canonical);
        if source.is_ipv4() == destination.is_ipv4() {
            return Self {
                source,
                destination,
            };
        }
        Self {
            source: mapped(source),
            destination: mapped(destination),
        }
    }

    // A client with one of these addresses cannot exist, so the sender is broken or lies.
    fn checked(self) -> Result<Self, HeaderError> {
        let [source, destination] = [self.source, self.destination].map(canonical);
        let is_wrong = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast(),
            IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast(),
        };
        if is_wrong(source.ip()) {
            return Err(HeaderError::Wrong(
                "a client address that no client can have",
            ));
        }
        Ok(Self {
            source,
            destination,
        })
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

/// The header of a connection that the gateway opens for itself.
#[must_use]
pub fn local() -> Vec<u8> {
    header(LOCAL, None, &[])
}

/// The header of a connection between `ends`, with nothing about TLS.
#[must_use]
pub fn between(ends: Ends) -> Vec<u8> {
    header(PROXY, Some(ends), &[])
}

/// The header of a connection between `ends` with its TLVs: `id` is the id of the connection, `tls` is what is
/// known of its TLS peer. The last TLV is a checksum.
#[must_use]
pub fn described(ends: Ends, id: &str, tls: Option<&TlsFacts<'_>>) -> Vec<u8> {
    let mut bytes = header(PROXY, Some(ends), &tlv::tlvs(id, tls));
    tlv::add_checksum(&mut bytes);
    bytes
}

fn header(command: u8, ends: Option<Ends>, tlvs: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(64);
    let mut family = UNSPECIFIED;
    if let Some(Ends {
        source,
        destination,
    }) = ends
    {
        family = if source.is_ipv4() { TCP4 } else { TCP6 };
        for end in [source, destination] {
            match end.ip() {
                IpAddr::V4(ip) => body.extend(ip.octets()),
                IpAddr::V6(ip) => body.extend(ip.octets()),
            }
        }
        body.extend(source.port().to_be_bytes());
        body.extend(destination.port().to_be_bytes());
    }
    body.extend(tlvs);
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([command, family]);
    bytes.extend(length(body.len()));
    bytes.extend(body);
    bytes
}

// The values that are written here are a few hundred bytes long.
fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes()
}

// Whether `bytes` can still become `beginning` and more.
fn begins_like(bytes: &[u8], beginning: &[u8]) -> bool {
    let both = bytes.len().min(beginning.len());
    bytes.get(..both) == beginning.get(..both)
}
