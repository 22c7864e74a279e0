//! Passthrough: bytes both ways as they are, for streams that are TLS already.

use std::cell::Cell;

use super::link::{Link, reset};
use super::seal::{FirstBytes, receive, write};
use crate::audit::Party;
use crate::buffers::{Appetite, Pool, Talker};
use crate::metrics::Counter;
use crate::uring::Socket;

/// One direction of a passthrough connection.
pub(super) struct Passing<'c> {
    pub(super) pool: &'c Pool,
    pub(super) talker: Talker,
    pub(super) bytes: &'c Cell<u64>,
    pub(super) counter: &'c Counter,
    pub(super) from: Party,
    pub(super) to: Party,
}

impl Passing<'_> {
    /// Moves bytes from `source` to `sink`, both of `link`, until the source finishes.
    pub(super) async fn run<N: Socket, F: Socket>(
        &self,
        link: &Link<N, F>,
        (source, sink): (&impl Socket, &impl Socket),
        first: FirstBytes,
    ) {
        let mut batch = first;
        let mut appetite = Appetite::new(self.talker);
        while !link.failed() {
            if let Some(full) = batch.take() {
                let count = full.len() as u64;
                let mut full = full.into_payload();
                if let Err(error) = write(link, sink, &mut full).await {
                    return link.fail(self.to, reset(&error));
                }
                self.bytes.set(self.bytes.get().saturating_add(count));
                self.counter.add(count);
            }
            match receive(source, self.pool, &mut appetite).await {
                Ok(Some(next)) => batch = Some(next),
                Ok(None) => match sink.finish() {
                    Ok(()) => return link.finish(self.from),
                    Err(error) => return link.fail(self.to, reset(&error)),
                },
                Err(error) => return link.fail(self.from, reset(&error)),
            }
        }
    }
}
