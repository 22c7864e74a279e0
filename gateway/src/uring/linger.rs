//! Closes a connection after a final message, such as an alert or a rejection.

use std::time::Duration;

use super::{Socket, SocketExt, race};
use crate::measure::ReachedBound;
use crate::uring::limits::LINGER_BYTES_MAX;

/// Sends `last` and ends our direction cleanly. Resets the socket after the peer has closed, or after
/// `limit`. An immediate reset could discard the bytes before the peer has read them.
pub async fn linger_close<S: Socket>(socket: &S, last: Vec<u8>, limit: Duration) {
    let closing = async {
        let all = 0..last.len();
        if socket.write_all(last, all).await.0.is_ok() && socket.finish().is_ok() {
            discard_rest(socket).await;
        }
    };
    race(closing, limit, || socket.abort()).await;
    socket.abort();
}

async fn discard_rest<S: Socket>(socket: &S) {
    let mut room = vec![0; 4096];
    let mut rest = LINGER_BYTES_MAX;
    while rest > 0 {
        let all = 0..room.len();
        let (outcome, bytes) = socket.read_some(room, all).await;
        room = bytes;
        match outcome {
            Ok(count) if count > 0 => rest = rest.saturating_sub(count),
            _ => return,
        }
    }
    ReachedBound::LingerBytes.note();
}
