//! TLS: what may be negotiated, who may speak, and the handshake.

pub mod handshake;
pub mod session;
