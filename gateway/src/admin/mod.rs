//! Metrics and health of the running process over HTTP.

mod http;
mod limits;

pub(crate) use http::{View, serve};
