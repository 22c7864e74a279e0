//! Metrics and health of the running process over HTTP.

mod http;
mod limits;

pub use http::{View, serve};
