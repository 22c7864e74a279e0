//! wardgate: a mutual-TLS gateway for healthcare imaging.
//!
//! Plaintext DICOM, HL7 or any TCP stream enters at one site, crosses the network in mutual TLS with
//! AES-256-GCM, and leaves as plaintext at the other. `docs/src/design/overview.md` describes the design; each
//! module here opens with its purpose. Modules import only from layers below their own; `tests/tidy.rs` reports
//! violations.

pub mod admin;
pub mod audit;
pub mod buffers;
pub mod cli;
pub mod config;
pub mod control;
pub mod dicom;
pub mod handshake;
pub mod hl7;
pub mod measure;
pub mod metrics;
pub mod observe;
pub mod pki;
pub mod relay;
pub mod route;
pub mod stream_kind;
pub mod strictness;
pub mod supervisor;
pub mod sys;
pub mod tls;
pub mod upstream;
pub mod uring;
pub mod worker;
