//! Pairing: two sites that have no common PKI exchange certificates, protected by a code that two people read to
//! each other.
//!
//! `code` has the words, `tries` how often a code may be tried, `exchange` the key exchange and the sealed channel,
//! `frame` the bytes on the wire, `offer` what the sites send each other and how it is checked, and `conversation`
//! the order of it all. `update` has the renewal of CA certificates after a pairing, `state` the folder in which the
//! gateway keeps them, and `desk` how a worker asks for them. No module here uses a socket or a clock: `cli::pair` has them. The exact protocol is in
//! `docs/src/reference/pairing.md`.

pub mod code;
pub mod conversation;
pub mod desk;
pub mod error;
pub mod exchange;
pub mod frame;
pub mod limits;
pub mod offer;
pub mod state;
#[cfg(test)]
mod tests;
pub mod tries;
pub mod update;
mod wire;
