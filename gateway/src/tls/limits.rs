//! Bounds of certificates, handshakes and records.

use crate::buffers::limits::{
    PLAINTEXT_ROOM, RECORD_HEADER, RECORD_ROOM, RECORDS_LARGE, RECORDS_SMALL,
};
use crate::config::limits::KEY_RECORDS_MAX;
use crate::pki::limits::ANCHORS_OF_ONE_NAME_MAX;

/// Bytes of one certificate that a peer may present. RSA-4096 with many extensions takes 3 KiB; 200 names add
/// 6 KiB.
///
/// When reached: the chain is refused; `wardgate_handshakes_refused_total`.
pub(super) const CERTIFICATE_BYTES_MAX: usize = 16 << 10;

/// Extensions of one certificate that a peer may present. CA certificates have up to 12, end-entity
/// certificates up to 16. webpki reads the extensions of all intermediates at each step of path building.
///
/// When reached: the chain is refused; `wardgate_handshakes_refused_total`.
pub(super) const CERTIFICATE_EXTENSIONS_MAX: usize = 32;

/// DER elements of one certificate that a peer may present: names, extensions and their parts. Root
/// certificates of public CAs have 70 to 113, end-entity certificates about 200. Each further DNS name adds one.
///
/// When reached: the chain is refused; `wardgate_handshakes_refused_total`.
pub(super) const CERTIFICATE_ELEMENTS_MAX: usize = 512;

/// Steps from a certificate to a possible issuer during path building. At each step webpki reads all
/// intermediates again. A path of three CAs with two certificates each takes 14 steps.
///
/// When reached: surplus certificates of one subject are left out.
pub const PATH_STEPS_MAX: usize = 16;

/// Certificates of one chain that may fail a signature check before the first successful check. In a
/// legitimate chain one certificate fails: a CA renewed its key under the same name, and its old key is
/// trusted too.
///
/// When reached: no further signature is checked, and the chain is refused;
/// `wardgate_handshakes_refused_total`.
pub const FORGED_AT_FIRST_MAX: usize = 2;

/// Certificates of one chain that may fail a signature check in total. In a legitimate chain a second
/// certificate fails if an intermediate CA renewed its key as well.
///
/// When reached: no further signature is checked, and the chain is refused;
/// `wardgate_handshakes_refused_total`.
pub const FORGED_CERTIFICATES_MAX: usize = 3;

/// Failed signature checks of one chain. In a legitimate chain two certificates fail, each once under every
/// CA of the same name.
///
/// When reached: no further signature is checked, and the chain is refused;
/// `wardgate_handshakes_refused_total`.
pub const FAILED_CHECKS_MAX: usize = 2 * ANCHORS_OF_ONE_NAME_MAX;

/// CAs of other peers that a certificate is checked against after every CA of its own peer has failed. The
/// result only changes the text of the refusal.
///
/// When reached: the log reports the CA as unknown.
pub(super) const ANCHORS_OF_OTHERS_MAX: usize = 4;

/// Comparisons of a name in a chain with a CA's name constraint on URIs or directory names. A CA with 20
/// constraints above a certificate with 400 URIs takes 8,000.
///
/// When reached: the chain is refused; `wardgate_handshakes_refused_total`.
pub(super) const NAME_COMPARISONS_MAX: usize = 50_000;

/// Bytes of the CA names in a server's CertificateRequest, from which the client chooses a certificate. TLS
/// allows 65,535 bytes, but most clients accept less. If the names need more, the server sends none. 100
/// names of 80 bytes fit.
///
/// When reached: no names are sent; a client chooses its certificate without them.
pub(super) const CA_NAMES_BYTES_MAX: usize = 8192;

/// Names of one certificate that a refusal lists; further names are counted. A gateway's certificate has one
/// or two.
///
/// When reached: the sentence is shortened.
pub const SHOWN_NAMES_MAX: usize = 6;

/// Characters of one name from a peer in a log line. A DNS name has at most 253 (RFC 1035 section 2.3.4).
///
/// When reached: the sentence is shortened.
pub const SHOWN_NAME_CHARS_MAX: usize = 256;

/// Characters of a message about a handshake. The message must hold one certificate, the rule and the remedy.
///
/// When reached: the sentence is shortened.
pub const SENTENCE_CHARS_MAX: usize = 4096;

/// Largest number of bytes after the header of a TLS 1.3 record (RFC 8446 section 5.2).
///
/// When reached: the connection ends (record_overflow).
pub(super) const CIPHERTEXT_MAX: usize = PLAINTEXT_ROOM + 256;

/// Key updates that a peer may send without payload between them. BoringSSL and rustls have the same bound.
///
/// When reached: the connection ends (unexpected_message, decode_error).
pub(super) const KEY_UPDATES_MAX: u32 = 32;

/// Records without payload that a peer may send in a row. rustls has the same bound.
///
/// When reached: the connection ends (unexpected_message, decode_error).
pub(super) const EMPTY_RECORDS_MAX: u32 = 32;

/// Bytes of a handshake message after the handshake (a session ticket). rustls has the same bound.
///
/// When reached: the connection ends (unexpected_message, decode_error).
pub(super) const POST_HANDSHAKE_MESSAGE_MAX: usize = 0xffff;

const _: () = assert!(RECORDS_SMALL * RECORD_ROOM >= 2 * (RECORD_HEADER + PLAINTEXT_ROOM + 2048));
const _: () = assert!(RECORDS_LARGE as u64 * 2 < KEY_RECORDS_MAX);
