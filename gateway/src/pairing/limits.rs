//! Bounds of pairing.

use std::time::Duration;

/// Wrong codes after which a code is void. Each is one guess at 32 bits.
///
/// When reached: the listening side ends; both people run the command again.
pub const CODE_TRIES: u32 = 3;

/// How long a code is valid. Two people on the telephone need a minute or two.
///
/// When reached: the listening side ends; both people run the command again.
pub const CODE_LIFE: Duration = Duration::from_secs(600);

/// How long a connection may take until both sides have proved the code: four short frames.
///
/// When reached: the connection is closed. No try is used up.
pub const PROOF_WITHIN: Duration = Duration::from_secs(10);

/// How long the rest of the exchange may take: a person may be asked a question in between.
///
/// When reached: pairing fails, and says what was written.
pub const EXCHANGE_WITHIN: Duration = Duration::from_secs(180);

/// Connections that may be unproved at the same time.
///
/// When reached: a further connection is closed at once.
pub const UNPROVED_MAX: usize = 16;

/// Connections from one address that may be unproved at the same time.
///
/// When reached: a further connection of this address is closed at once.
pub const UNPROVED_PER_ADDRESS_MAX: usize = 4;

/// Connections that one code may cause to be examined.
///
/// When reached: the listening side ends; both people run the command again.
pub const CONNECTIONS_MAX: u32 = 1000;

/// Bytes of the body of a frame. Six certificates of 4 KiB fit.
///
/// When reached: the frame is refused, and the connection ends.
pub const FRAME_BYTES_MAX: usize = 32 << 10;

/// Bytes of the body of a frame before both sides have proved the code.
///
/// When reached: the frame is refused, and the connection ends. No try is used up.
pub const UNPROVED_FRAME_BYTES_MAX: usize = 64;

/// Certificates of a site's own chain in an offer: a leaf and three CAs.
///
/// When reached: the offer is refused.
pub const OFFERED_CHAIN_MAX: usize = 4;

/// CA certificates in an offer: a CA and its successor, or two CAs of an organisation.
///
/// When reached: the offer is refused.
pub const OFFERED_AUTHORITIES_MAX: usize = 2;

/// Bytes of one certificate. Usual ones have 0.5 to 2 KiB.
///
/// When reached: the offer or the update is refused.
pub const CERTIFICATE_BYTES_MAX: usize = 4 << 10;

/// Bytes of a text in a message: a name of a site, an identity, a reason.
///
/// When reached: the message is refused; a reason is cut.
pub const TEXT_BYTES_MAX: usize = 256;

/// Bytes of an update of CA certificates: two certificates of 4 KiB, an identity and a signature.
///
/// When reached: the update is refused.
pub const UPDATE_BYTES_MAX: usize = 9 << 10;

/// Bytes of the signature of an update. ECDSA on P-384 has at most 104, RSA with 4096 bits 512.
///
/// When reached: the update is refused.
pub const UPDATE_SIGNATURE_BYTES_MAX: usize = 512;

/// Renewal connections that wait for the supervisor.
///
/// When reached: a further connection is closed; the peer tries again at its next renewal.
pub const RENEWALS_WAITING_MAX: usize = 16;

/// How long a renewal connection may take after its handshake.
///
/// When reached: the connection is closed; the peer tries again at its next renewal.
pub const RENEWAL_WITHIN: Duration = Duration::from_secs(10);

/// How often the gateway stores an update of one peer. A peer renews once a day.
///
/// When reached: the update is not stored, and the peer gets this as the answer.
pub const RENEWAL_EVERY: Duration = Duration::from_secs(1);
