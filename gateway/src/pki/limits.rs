//! Bounds of certificates, keys and revocation lists in files.

use std::time::Duration;

/// Bytes of a certificate, key or CRL file, and of a CRL that is fetched. The largest public CRLs are some tens of MiB.
///
/// When reached: the file is refused, and the present file stays.
pub(crate) const PKI_FILE_BYTES_MAX: u64 = 64 << 20;

/// Certificates in one chain that a peer may present, including the leaf (RFC 5280 sets no bound).
///
/// When reached: the chain is refused; `wardgate_handshakes_refused_total`.
pub const CHAIN_CERTIFICATES_MAX: usize = 8;

/// CAs with the same name in the trust of one peer. A CA that renews its key keeps its name, and its old
/// certificate expires some years later. Even older generations are seldom needed.
///
/// When reached: `check` and start refuse the file.
pub(crate) const ANCHORS_OF_ONE_NAME_MAX: usize = 6;

/// Characters of the web page's token: 16 hexadecimal digits have 64 bits, which no client can try out.
///
/// When reached: the file is refused.
pub const TOKEN_BYTES_MIN: usize = 16;

/// The most characters of the web page's token. It is sent with each request, whose header is bounded.
///
/// When reached: the file is refused.
pub const TOKEN_BYTES_MAX: usize = 256;

/// How long a command waits for another one that changes the same CA, or the CA certificates of partners. Such a command needs
/// milliseconds, on a slow disk seconds.
///
/// When reached: the command fails, and names the process that it has waited for.
pub(crate) const LOCKED_WITHIN: Duration = Duration::from_secs(30);

/// How often a command that waits for another one tries again.
pub(crate) const LOCK_TRIED_EVERY: Duration = Duration::from_millis(20);
