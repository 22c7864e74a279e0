//! What happened, told once: events from the workers, written by a thread of its own.
//!
//! A worker hands an `Event` over and goes on; a log that nobody reads costs events, which are counted,
//! and never a byte of a connection.

mod event;
mod journal;
mod observed;
mod rate;

pub use event::{Close, Connection, Event, Level, Party, Reason};
pub use journal::{Journal, Writer};

pub use crate::tls::{PeerInfo, TlsInfo};
