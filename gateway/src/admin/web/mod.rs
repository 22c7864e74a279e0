//! The read-only web page at the metrics address: the state of the gateway for people without a shell.
//!
//! The page is rendered here from the same data as `wardgate status`, works without script, and loads nothing
//! from elsewhere. Every value is escaped by the type of the markup. It holds no patient data, because the
//! types of the status hold none.

mod access;
mod colours;
mod events;
mod history;
mod page;
mod plot;
mod routes;
mod sections;
mod service;
mod table;
#[cfg(test)]
mod tests;
mod words;

pub(crate) use service::Web;
pub(super) use service::has;
