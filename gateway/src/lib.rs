//! wardgate: a mutual-TLS gateway for healthcare imaging.
//!
//! Plaintext DICOM, HL7 or any TCP stream enters at one site, crosses the network in mutual TLS with
//! AES-256-GCM, and leaves as plaintext at the other. `docs/src/design/overview.md` describes the design; each
//! module here opens with its purpose. Modules import only from layers below their own; `tests/tidy.rs` reports
//! violations.

mod admin;
pub mod audit;
pub mod buffers;
pub mod cli;
mod client_source;
pub mod config;
pub mod control;
pub mod dicom;
pub mod handshake;
mod hardening;
pub mod hl7;
mod measure;
pub mod metrics;
pub mod observe;
pub mod pairing;
pub mod pki;
pub mod proxy;
pub mod relay;
pub mod route;
mod stream_kind;
pub mod strictness;
pub mod supervisor;
mod sys;
pub mod thread_sandbox;
pub mod tls;
pub mod upstream;
pub mod uring;
mod worker;
