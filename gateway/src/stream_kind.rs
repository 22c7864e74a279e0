//! Recognizes the protocol of a stream by its first bytes, for messages about an unexpected protocol.
//!
//! The result never decides whether a stream may pass, and no byte of it is shown.

use std::fmt;

/// A protocol that the first bytes of a stream look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamKind {
    /// A TLS record of TLS 1.0 or later.
    Tls,
    /// The ClientHello of SSL 2, which some old devices still send first.
    OldSsl,
    /// A PDU of the DICOM upper layer.
    Dicom,
    /// An MLLP frame.
    Mllp,
    /// An HL7 message without a frame.
    BareHl7,
    /// An HL7 message after STX.
    StxHl7,
    /// An HTTP request or response.
    Http,
    /// An SSH banner.
    Ssh,
    /// A PROXY protocol header, version 1 or 2.
    ProxyHeader,
    /// Any other bytes.
    Unknown,
}

impl StreamKind {
    /// The protocol of a stream that begins with `first`; `None` if `first` is empty. Eight bytes suffice.
    #[must_use]
    pub fn of(first: &[u8]) -> Option<Self> {
        Some(match first {
            [] => return None,
            // The content types of records, and version 3.x (RFC 8446 section 5.1).
            [0x15 | 0x16] | [0x14..=0x17, 3, ..] => Self::Tls,
            // An upper layer PDU: type, reserved, length of four bytes (PS3.8 section 9.3).
            [1..=7, 0, 0, ..] => Self::Dicom,
            [0x0b, ..] => Self::Mllp,
            [b'M', b'S', b'H', ..] => Self::BareHl7,
            [0x02, b'M', b'S', b'H', ..] => Self::StxHl7,
            [b'P', b'R', b'O', b'X', b'Y', b' ', ..] | [b'\r', b'\n', b'\r', b'\n', 0, ..] => {
                Self::ProxyHeader
            }
            [b'S', b'S', b'H', b'-', ..] => Self::Ssh,
            [0x80..=0xff, _, 1, ..] => Self::OldSsl,
            other if is_http(other) => Self::Http,
            _ => Self::Unknown,
        })
    }

    /// The cause and the advice for such a stream in place of another one: the end of a message that has
    /// named the protocol.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Tls => "use a plaintext port, or turn TLS off there",
            Self::OldSsl => "use a plaintext port, or turn SSL off there",
            Self::Dicom => "is protocol = \"dicom\" meant for this route?",
            Self::Mllp => "is protocol = \"mllp\" meant for this route?",
            Self::BareHl7 => {
                "turn on MLLP there: byte 0x0b before each message, bytes 0x1c 0x0d after it"
            }
            Self::StxHl7 => {
                "set the framing to MLLP there: byte 0x0b before each message, bytes 0x1c 0x0d after it"
            }
            Self::Http => {
                "check the port; the sender may be a browser or the health check of a load balancer"
            }
            Self::Ssh => "check the port",
            Self::ProxyHeader => "turn the PROXY protocol off there",
            Self::Unknown => "check the address and the port",
        }
    }
}

impl fmt::Display for StreamKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "TLS",
            Self::OldSsl => "SSL 2",
            Self::Dicom => "DICOM",
            Self::Mllp => "HL7 in MLLP frames",
            Self::BareHl7 => "HL7 without MLLP frames",
            Self::StxHl7 => "HL7 between STX and ETX",
            Self::Http => "HTTP",
            Self::Ssh => "SSH",
            Self::ProxyHeader => "a PROXY protocol header",
            Self::Unknown => "bytes of an unknown protocol",
        })
    }
}

fn is_http(first: &[u8]) -> bool {
    let words: [&[u8]; 9] = [
        b"GET ",
        b"HEAD ",
        b"POST ",
        b"PUT ",
        b"DELETE ",
        b"OPTIONS ",
        b"CONNECT ",
        b"PATCH ",
        b"HTTP/",
    ];
    // A beginning of the word is enough, if it has at least four bytes.
    words.iter().any(|word| {
        let length = word.len().min(first.len());
        length >= 4 && word.get(..length) == first.get(..length)
    })
}

#[cfg(test)]
mod tests {
    use test_peers::openings;

    use super::*;

    /// The first bytes of streams recorded from real programs.
    const KINDS: [(&[u8], StreamKind); 15] = [
        (openings::TLS_HELLO, StreamKind::Tls),
        (openings::TLS_ALERT, StreamKind::Tls),
        (b"\x16", StreamKind::Tls),
        (openings::OLD_SSL, StreamKind::OldSsl),
        (openings::DICOM, StreamKind::Dicom),
        (openings::DICOM_ABORT, StreamKind::Dicom),
        (openings::HL7, StreamKind::Mllp),
        (openings::BARE_HL7, StreamKind::BareHl7),
        (openings::STX_HL7, StreamKind::StxHl7),
        (openings::HTTP, StreamKind::Http),
        (openings::HTTP_ANSWER, StreamKind::Http),
        (openings::SSH, StreamKind::Ssh),
        (openings::PROXY, StreamKind::ProxyHeader),
        (openings::PROXY_V2, StreamKind::ProxyHeader),
        (openings::TELNET, StreamKind::Unknown),
    ];

    #[test]
    fn streams_are_named_by_their_first_bytes() {
        assert_eq!(StreamKind::of(b""), None);
        for (first, kind) in KINDS {
            assert_eq!(StreamKind::of(first), Some(kind), "{first:?}");
            let eight = first.get(..8).unwrap_or(first);
            assert_eq!(StreamKind::of(eight), Some(kind), "{eight:?}");
        }
    }

    #[test]
    fn a_length_of_16_mib_or_more_is_no_pdu() {
        assert_eq!(
            StreamKind::of(&[1, 0, 1, 0, 0, 0]),
            Some(StreamKind::Unknown)
        );
    }
}
