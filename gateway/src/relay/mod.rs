//! One connection from accept to close: authentication, target, and the bytes in both directions.
//!
//! The mode of a route affects only the set-up. After `connection` has accepted, connected and completed the
//! handshake, originate and terminate use the same two directions, `seal` and `open`, over one `link`.

mod bandwidth;
mod connection;
mod ending;
mod engine;
mod first;
mod full;
mod handle;
mod idle;
mod limiter;
pub mod limits;
mod link;
mod open;
mod passthrough;
mod receive;
mod receiver;
mod reception;
mod renewal;
mod reports;
mod seal;
mod shake;
mod source;
mod stats;
mod task;

pub use connection::{AcceptedConnection, serve};
pub use handle::{ConnectionHandle, ConnectionView};
pub use limiter::{HandshakeLimiter, HandshakeRate};
pub use task::Core;
