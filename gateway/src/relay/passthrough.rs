//! Passthrough: forwards bytes unchanged in both directions, for streams that are TLS already.
//!
//! The bytes go through a pipe without a copy. If no pipe is available, they go through a buffer.

use std::cell::Cell;
use std::io;

use tokio::sync::Notify;

use super::bandwidth::{PacedFlow, receive_paced};
use super::ending::{Milestone, reset};
use super::link::Link;
use super::receive::{receive_ready, room_of};
use super::seal::write;
use super::task::Core;
use crate::audit::ClosedBy;
use crate::buffers::{Buffer, BufferSizer, FairnessId};
use crate::metrics::Counter;
use crate::uring::{LentPipe, Network, Pipe, Socket, SocketExt, passes_by_itself};

/// One direction of a passthrough connection.
pub(super) struct Passing<'c, V: Network> {
    pub(super) core: &'c Core<V>,
    pub(super) fairness_id: FairnessId,
    pub(super) bytes: &'c Cell<u64>,
    pub(super) counter: &'c Counter,
    pub(super) from: ClosedBy,
    pub(super) to: ClosedBy,
    /// Its share of the route's bandwidth, if that is limited.
    pub(super) flow: Option<&'c PacedFlow<'c>>,
    /// Records that the target has answered.
    pub(super) answered: Option<&'c FirstTargetBytes>,
}

/// Whether the target has sent its first bytes.
#[derive(Debug, Default)]
pub(super) struct FirstTargetBytes {
    has_arrived: Cell<bool>,
    news: Notify,
}

impl FirstTargetBytes {
    fn note(&self) {
        if !self.has_arrived.replace(true) {
            self.news.notify_one();
        }
    }

    /// Returns when the target has sent its first bytes.
    pub(super) async fn wait(&self) {
        while !self.has_arrived.get() {
            self.news.notified().await;
        }
    }
}

type PipeOf<V> = <<V as Network>::Socket as Socket>::Pipe;

/// Received bytes until they are sent, in their pipe or buffer.
enum Load<'c, P: Pipe> {
    Buffer(Buffer),
    Pipe(LentPipe<'c, P>),
}

/// The end of a direction that failed.
enum Broken {
    Source(io::Error),
    Sink(io::Error),
}

impl<'c, V: Network> Passing<'c, V> {
    /// Forwards bytes from `source` to `sink`, both of `link`, until the source finishes. `over` is reached
    /// when this direction is over, `other` when the other direction is.
    pub(super) async fn run(
        &self,
        link: &Link<V::Socket, V::Socket>,
        (source, sink): (&V::Socket, &V::Socket),
        first: Vec<u8>,
        (over, other): (&Milestone, &Milestone),
    ) {
        let pumped = self.pump(link, (source, sink), first).await;
        over.reach();
        match pumped {
            Ok(()) => {}
            Err(Broken::Source(error)) => link.note(self.from, reset(&error)),
            Err(Broken::Sink(error)) => {
                // The source may have sent more before; the other direction reads and sends it.
                tokio::select! {
                    () = other.reached() => {}
                    () = link.stalls(source) => {}
                }
                link.note(self.to, reset(&error));
            }
        }
        if link.failed() {
            Box::pin(link.abort_both_after_delivery()).await;
        }
    }

    async fn pump(
        &self,
        link: &Link<V::Socket, V::Socket>,
        (source, sink): (&V::Socket, &V::Socket),
        first: Vec<u8>,
    ) -> Result<(), Broken> {
        let mut load = Some(Load::Buffer(Buffer::of(first)));
        let mut sizer = BufferSizer::new(self.fairness_id);
        while !link.failed() {
            if let Some(full) = load.take() {
                self.send(link, sink, full).await.map_err(Broken::Sink)?;
            }
            let received = self.receive(link, (source, sink), &mut sizer).await;
            let Some(next) = received.map_err(Broken::Source)? else {
                sink.finish().map_err(Broken::Sink)?;
                link.finish(self.from);
                break;
            };
            if let Some(answered) = self.answered {
                answered.note();
            }
            load = Some(next);
        }
        Ok(())
    }

    // `None` is the end of the stream.
    async fn receive(
        &self,
        link: &Link<V::Socket, V::Socket>,
        (source, sink): (&V::Socket, &V::Socket),
        sizer: &mut BufferSizer,
    ) -> io::Result<Option<Load<'c, PipeOf<V>>>> {
        source.readable().await?;
        if let Some(flow) = self.flow {
            // A pipe takes all that is there, so bytes with a limit are copied.
            let pool = &self.core.pool;
            let received = receive_paced(link, (source, sink), flow, pool, sizer);
            let batch = Box::pin(received).await?;
            return Ok(batch.map(|batch| Load::Buffer(batch.into_payload())));
        }
        if let Some(pipe) = self.core.pipes.take(|| self.core.network.pipe()) {
            match source.splice_in(&pipe) {
                Ok(0) => return Ok(None),
                Ok(_) => return Ok(Some(Load::Pipe(pipe))),
                // Bytes that cannot be spliced can be read.
                Err(error) if passes_by_itself(&error) => {}
                Err(error) => return Err(error),
            }
        } else {
            // LIMIT: PIPES_MAX.
            self.core.counters.pipes_exhausted.add(1);
        }
        let most = room_of(sink, sizer.is_bulk()).await;
        let batch = receive_ready(source, most, &self.core.pool, sizer).await?;
        Ok(batch.map(|batch| Load::Buffer(batch.into_payload())))
    }

    async fn send(
        &self,
        link: &Link<V::Socket, V::Socket>,
        sink: &V::Socket,
        load: Load<'c, PipeOf<V>>,
    ) -> io::Result<()> {
        match load {
            Load::Buffer(mut buffer) => {
                let count = buffer.outgoing();
                write(link, sink, &mut buffer).await?;
                self.count(count);
            }
            Load::Pipe(pipe) => {
                while pipe.held() > 0 {
                    let count = sink.splice_out_some(&pipe).await?;
                    link.note_movement();
                    self.count(count);
                    self.core.counters.spliced_bytes.add(count as u64);
                }
            }
        }
        Ok(())
    }

    fn count(&self, count: usize) {
        let count = count as u64;
        self.bytes.set(self.bytes.get().saturating_add(count));
        self.counter.add(count);
    }
}
