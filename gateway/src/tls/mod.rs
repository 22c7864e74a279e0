//! TLS: what may be negotiated, who may speak, and the handshake.
//!
//! `policy` says which versions, suites and key exchanges there are, `cipher` which implementation
//! of AES-GCM the records have, `verifier` judges a peer's
//! certificates by `rules`, `identity` and `revocation`, `connector` and `acceptor` begin a handshake with a
//! `PeerVerification` of its own, and `refusal` and `explain` say in one sentence why it failed. No module here
//! knows a socket or, the certificates' dates apart, a clock.

mod acceptor;
mod aead;
mod algorithms;
mod anchors;
pub mod chain;
mod cipher;
mod connector;
mod der;
mod diagnosis;
mod explain;
pub mod handshake;
mod identity;
mod name_constraints;
mod names;
mod normal_form;
mod own_chain;
mod policies;
mod policy;
pub mod post_handshake;
pub mod record;
mod refusal;
mod remedy;
mod revocation;
mod rules;
mod service;
pub mod session;
mod verified_peer;
mod verifier;

#[cfg(test)]
mod tests;

pub use acceptor::Acceptor;
pub use cipher::{Cipher, CipherChoice, CpuFeatures};
pub use connector::Connector;
pub use explain::{explain, explain_end, explain_silence};
pub use identity::{ChainCertificate, Description, PeerInfo};
pub use policy::{TlsInfo, describe, provider, versions};
pub use refusal::{Refusal, RefusalClass, Rule};
pub use verifier::{PeerVerification, TlsRole};
