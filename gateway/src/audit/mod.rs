//! Events from the workers, each logged once by a separate thread.
//!
//! A worker hands an `Event` over and continues. A log that is not read loses events, which are counted, but
//! never delays a connection.

mod event;
mod id;
mod journal;
pub mod limits;
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
