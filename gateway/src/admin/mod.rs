//! Metrics and health of the running process over HTTP.

mod http;

pub use http::{View, serve};
