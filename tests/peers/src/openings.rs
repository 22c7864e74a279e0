//! The first bytes of streams in other protocols, as real programs send them to a wrong port.

/// A request of an HTTP client.
pub const HTTP: &[u8] = b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n";
/// The answer of an HTTP server.
pub const HTTP_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\r\n";
/// The first line of an SSH client or server.
pub const SSH: &[u8] = b"SSH-2.0-OpenSSH_9.2p1\r\n";
/// The header that HAProxy sends with `send-proxy`.
pub const PROXY: &[u8] = b"PROXY TCP4 10.0.0.1 10.0.0.2 40000 104\r\n";
/// The header that HAProxy sends with `send-proxy-v2`.
pub const PROXY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The beginning of a ClientHello.
pub const TLS_HELLO: &[u8] =
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
/// The alert `handshake_failure` in a record of its own.
pub const TLS_ALERT: &[u8] = b"\x15\x03\x03\x00\x02\x02\x28";
/// The ClientHello of SSL 2.
pub const OLD_SSL: &[u8] = &[0x80, 0x2e, 1, 3, 1, 0, 0x15, 0];
/// An HL7 message in an MLLP frame.
pub const HL7: &[u8] = b"\x0bMSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5\r\x1c\r";
/// An HL7 message without a frame.
pub const BARE_HL7: &[u8] = b"MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5\r";
/// An HL7 message between STX and ETX.
pub const STX_HL7: &[u8] = b"\x02MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5\r\x03";
/// The beginning of an A-ASSOCIATE-RQ.
pub const DICOM: &[u8] = b"\x01\0\0\0\0\xcd\0\x01";
/// An A-ABORT of a DICOM service provider.
pub const DICOM_ABORT: &[u8] = b"\x07\0\0\0\0\x04\0\0\x02\0";
/// The options of a Telnet client: a protocol that the gateway does not know.
pub const TELNET: &[u8] = b"\xff\xfb\x1f\xff\xfb";
