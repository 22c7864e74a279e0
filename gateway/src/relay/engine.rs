//! Which record layer a connection has, chosen once.

use crate::buffers::Buffer;
use crate::tls::session::{Opened, SealError, Session};

/// The record layer of a connection.
///
/// It is an enum so that another one (records sealed and opened where they lie, or the kernel's)
/// takes its place beside rustls's without a change to the pumps.
pub(super) enum Engine {
    /// rustls's own records: payload is copied once on its way through.
    Buffered(Session),
}

impl Engine {
    /// Seals `plain` into records behind what `records` holds.
    pub(super) fn seal(&mut self, plain: &[u8], records: &mut Buffer) -> Result<(), SealError> {
        match self {
            Self::Buffered(session) => session.seal(plain, records),
        }
    }

    /// Appends close_notify.
    pub(super) fn close_notify(&mut self, records: &mut Buffer) -> Result<(), SealError> {
        match self {
            Self::Buffered(session) => session.close_notify(records),
        }
    }

    /// Opens whole records of `incoming` into `payload`.
    pub(super) fn open(
        &mut self,
        incoming: &mut Buffer,
        payload: &mut Buffer,
        answer: &mut Vec<u8>,
    ) -> Result<Opened, rustls::Error> {
        match self {
            Self::Buffered(session) => session.open(incoming, payload, answer),
        }
    }

    /// The alert for the peer after an error.
    pub(super) fn last_words(&mut self) -> Vec<u8> {
        match self {
            Self::Buffered(session) => session.last_words(),
        }
    }
}
