//! The two ends of a handshake.

use super::chain::Purpose;

/// The role of this gateway in a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsRole {
    /// The gateway connects and verifies a server.
    Client,
    /// The gateway accepts and verifies a client.
    Server,
}

impl TlsRole {
    /// The purpose that a peer's certificate must allow (RFC 5280 section 4.2.1.12).
    pub(super) fn purpose(self) -> Purpose {
        match self {
            Self::Client => Purpose::server(),
            Self::Server => Purpose::client(),
        }
    }
}
