//! TLS: what may be negotiated, which peers are accepted, and the handshake.
//!
//! `policy` holds the versions, suites and key exchanges that a route may use, and `cipher` chooses the
//! implementation of AES-GCM for the records. `verifier` checks a peer's certificates with `rules`,
//! `search`, `identity` and `revocation`. `session` wraps a rustls connection for the handshake and the
//! relay; `record` and `post_handshake` are the gateway's own record layer. `connector` and `acceptor`
//! start a handshake, each with a `PeerVerification` of its own. `refusal` and `explain` describe in one
//! sentence why a handshake failed. No module here uses a socket or a clock: `handshake` transports the
//! bytes.

mod acceptor;
mod aead;
mod anchors;
pub mod chain;
mod cipher;
mod connector;
mod der;
mod diagnosis;
mod explain;
mod identity;
pub mod limits;
mod name_constraints;
mod names;
mod normal_form;
mod outcomes;
mod own_chain;
mod policies;
mod policy;
pub mod post_handshake;
mod preview;
mod recheck;
pub mod record;
mod refusal;
mod remedy;
mod revocation;
mod role;
mod rules;
mod rustls_states;
mod search;
mod service;
pub mod session;
mod text;
mod tunnel_id;
mod verified_peer;
mod verifier;

#[cfg(test)]
mod tests;

pub use acceptor::Acceptor;
pub use cipher::{Cipher, CipherChoice, CpuFeatures};
pub use connector::Connector;
pub use explain::explain;
pub(crate) use explain::{explain_end, explain_silence};
pub use identity::{CertificateDescription, ChainCertificate, PeerInfo};
pub use policy::{TlsInfo, TlsVersion, describe, provider, versions};
pub(crate) use preview::would_accept;
pub use recheck::NotAccepted;
pub use refusal::{Refusal, RefusalClass, Rule};
pub use role::TlsRole;
pub use tunnel_id::TunnelId;
pub use verifier::PeerVerification;
