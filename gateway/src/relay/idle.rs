//! Ends an association in which nothing was outstanding for too long: `timeouts.association_idle`.

use std::cell::RefCell;
use std::time::Duration;

use super::engine::Engine;
use super::link::Link;
use super::seal::TlsWriter;
use crate::audit::{CloseReason, Deadline};
use crate::buffers::Pool;
use crate::dicom::ClosingPdu;
use crate::uring::{Socket, sleep};

/// Waits until no byte has moved for `limit` while nothing was outstanding, ends both sides with an A-ABORT,
/// and returns why.
///
/// A silence with a request outstanding does not count: an archive may take hours for a C-MOVE. The time
/// begins again with its response, because that is a movement.
pub(super) async fn end_idle_association<N: Socket, F: Socket>(
    limit: Duration,
    link: &Link<N, F>,
    writer: &TlsWriter,
    engine: &RefCell<Engine>,
    pool: &Pool,
) -> CloseReason {
    loop {
        let left = limit.saturating_sub(link.silence());
        if !left.is_zero() {
            sleep(left).await;
        } else if link.is_idle_association() && writer.is_free() {
            let abort = ClosingPdu::aborted();
            let reason = CloseReason::Deadline(Deadline::AssociationIdle);
            return match writer.closing_records_with(engine, abort, pool) {
                Ok(records) => {
                    link.end_cleanly(reason.clone(), &records, &abort.to_bytes());
                    reason
                }
                Err(error) => CloseReason::Internal(error.to_string()),
            };
        } else {
            // The next movement begins the time again, so no check comes late.
            sleep(limit).await;
        }
    }
}
