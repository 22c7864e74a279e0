//! TLS peers of the tests: the certificates that must be refused, the attacks, and a verifier that accepts
//! every certificate.
//!
//! All tiers use these values, the unit tests of the gateway and the bench included. This crate therefore
//! knows nothing of the gateway: a bad peer is data, with the alert and the words of the log that are
//! expected. `tests/tidy.rs` permits a verifier that accepts every certificate here and nowhere else.

pub mod accept_all;
pub mod authority;
mod bad_certificates;
mod bad_lists;
pub mod bad_peer;
pub mod bad_peers;
pub mod der;
pub mod expensive;
pub mod kind;
pub mod openings;

pub use accept_all::AcceptAll;
pub use bad_peer::{BadPeer, Made, TlsSide};
pub use kind::Kind;

/// The name that the routes of the unit tests list.
pub const PEER: &str = "peer.example";
