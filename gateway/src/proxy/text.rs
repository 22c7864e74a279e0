//! Version 1: one line of text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::limits::LINE_BYTES_MAX;
use super::{Ends, Header, HeaderError, ParsedHeader};

/// The shortest line: `PROXY UNKNOWN` with CR and LF.
const SHORTEST: usize = 15;

/// Reads the line at the beginning of `bytes`, which begin as it does.
pub(super) fn parse(bytes: &[u8]) -> Result<ParsedHeader, HeaderError> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        // LIMIT: `LINE_BYTES_MAX`.
        if bytes.len() >= LINE_BYTES_MAX {
            return Err(HeaderError::Wrong("a line of more than 107 bytes"));
        }
        // Any later byte may be the last one.
        return Ok(ParsedHeader::More(
            SHORTEST.saturating_sub(bytes.len()).max(1),
        ));
    };
    let length = end.saturating_add(1);
    if length > LINE_BYTES_MAX {
        return Err(HeaderError::Wrong("a line of more than 107 bytes"));
    }
    let line = bytes.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let line = line.ok_or(HeaderError::Wrong("a line that does not end in CR and LF"))?;
    let header = read(line).ok_or(HeaderError::Wrong("a line that is not of version 1"))?;
    let header = match header {
        Header::Named(ends) => Header::Named(ends.checked()?),
        other => other,
    };
    Ok(ParsedHeader::Header(header, length))
}

fn read(line: &[u8]) -> Option<Header> {
    let line = line.strip_prefix(super::WORD)?;
    // The rest of such a line has no meaning.
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Some(Header::Unnamed);
    }
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split(' ');
    let family = words.next()?;
    let ip = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::from),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::from),
            _ => None,
        }
    };
    let (source, destination) = (ip(words.next()?)?, ip(words.next()?)?);
    let ends = Ends {
        source: SocketAddr::new(source, port(words.next()?)?),
        destination: SocketAddr::new(destination, port(words.next()?)?),
    };
    words.next().is_none().then_some(Header::Named(ends))
}

// Decimal, without a sign or leading zeros.
fn port(text: &str) -> Option<u16> {
    let is_plain = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| is_plain)
}
