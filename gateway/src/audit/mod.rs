//! What happened, told once: events from the workers, written by a thread of its own.
//!
//! A worker hands an `Event` over and goes on; a log that nobody reads costs events, which are counted,
//! and never a byte of a connection.

mod event;
mod id;
mod journal;
mod logfmt;
mod observed;
mod rate;
mod times;
mod warning;

pub use event::{
    AcceptedPeer, Close, ClosedBy, ConnectionSummary, Deadline, Event, Level, Progress, Ready,
    Reason,
};
pub use id::{ConnectionId, ConnectionIds};
pub use journal::{Events, Journal, Writer};
pub use warning::{Fault, Warning};

pub use crate::tls::{PeerInfo, TlsInfo};
