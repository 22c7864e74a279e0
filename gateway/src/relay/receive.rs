//! Receives for a socket that takes the bytes, and borrows memory only when there are bytes.

use std::io;

use crate::buffers::{Batch, BufferSizer, Pool};
use crate::uring::{Socket, SocketExt};

/// Receives once from the plain side for `sink`, and borrows memory only when there are bytes to receive.
/// `None` is the end.
pub(super) async fn receive<S: Socket, T: Socket>(
    socket: &S,
    sink: &T,
    pool: &Pool,
    sizer: &mut BufferSizer,
) -> io::Result<Option<Batch>> {
    socket.readable().await?;
    let most = room_of(sink, sizer.is_bulk()).await;
    receive_ready(socket, most, pool, sizer).await
}

/// Like `receive`, if bytes are known to be available, with the size of a batch of bulk.
pub(super) async fn receive_ready<S: Socket>(
    socket: &S,
    most: usize,
    pool: &Pool,
    sizer: &mut BufferSizer,
) -> io::Result<Option<Batch>> {
    let mut batch = pool.batch_within(sizer.size(pool), most);
    let (outcome, lent) = socket.readv_some(batch.lend()).await;
    batch.restore(lent);
    let count = outcome?;
    batch.fill(count);
    sizer.note_received(count, batch.room(), pool);
    Ok(Some(batch).filter(|batch| !batch.is_empty()))
}

/// How many bytes of bulk `sink` takes at once; for other traffic, a small buffer is always used.
///
/// A slow receiver is waited for here, before bytes are received for it: bytes that it does not read stay
/// with the sender, and a large buffer is never stuck.
pub(super) async fn room_of<S: Socket>(sink: &S, is_bulk: bool) -> usize {
    if !is_bulk {
        return 0;
    }
    match sink.send_room() {
        0 => room_later(sink).await,
        room => room,
    }
}

/// Like `room_of` for bulk, if the receiver is known to be slow.
pub(super) async fn room_later<S: Socket>(sink: &S) -> usize {
    // If waiting fails, the next send returns the reason.
    let _ = sink.writable().await;
    sink.send_room()
}
