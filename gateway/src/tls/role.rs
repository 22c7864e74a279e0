//! The two ends of a handshake.

use super::chain::Purpose;

/// Which end of a handshake this gateway is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsRole {
    /// It connects and verifies a server.
    Client,
    /// It accepts and verifies a client.
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
