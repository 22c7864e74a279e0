//! Events from the workers, each logged once by a separate thread.
//!
//! A worker hands an `Event` over and continues. A log that is not read loses events, which are counted, but
//! never delays a connection.

mod event;
mod failure;
mod fields;
mod headline;
mod id;
mod journal;
mod level;
pub mod limits;
mod logfmt;
pub(crate) mod messages;
mod observed;
mod output;
mod rate;
mod refusals;
mod times;
mod warning;
mod warning_line;

/// Records what a command has done in the journal of systemd, if the machine has one. A command has no journal of its own.
pub(crate) fn record(message: &LogMessage, text: &str) {
    if journald_problem().is_none() {
        let lost = std::sync::Arc::default();
        output::with(crate::config::LogFormat::Journald, &lost, || {
            journal::notice(message, text);
        });
    }
}

pub use event::{
    AcceptedPeer, Close, CloseReason, ClosedBy, ConnectionProgress, ConnectionSummary, Deadline,
    Event, Ready,
};
pub use id::{ConnectionId, ConnectionIds};
pub use journal::{Events, Journal, JournalWriter};
pub use level::Level;
pub use messages::LogMessage;
pub use output::{JOURNALD, journald_problem};
pub use refusals::{LastRefusal, Refusals};
pub use warning::{ConnectionFault, Warning};

pub use crate::tls::{PeerInfo, TlsInfo};
