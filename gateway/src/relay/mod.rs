//! One connection from accept to close: who must prove what, where it leads, and the bytes both
//! ways.
//!
//! A route's mode is set-up, not data path: after `connection` has accepted, connected and shaken
//! hands, originate and terminate are the same two pumps, `seal` and `open`, over one `link`.

mod connection;
mod ending;
mod engine;
mod first;
mod full;
mod handle;
mod limiter;
mod link;
mod open;
mod passthrough;
mod receiver;
mod reception;
mod reports;
mod seal;
mod shake;
mod stats;
mod task;

pub use connection::{AcceptedConnection, serve};
pub use handle::ConnectionHandle;
pub use limiter::HandshakeLimiter;
pub use task::Core;
