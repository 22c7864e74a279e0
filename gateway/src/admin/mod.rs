//! What the running process shows of itself: metrics and health over HTTP.

mod http;

pub use http::{View, serve};
