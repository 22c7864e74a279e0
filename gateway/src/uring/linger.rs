//! How a connection is left that is owed a last word.

use std::time::Duration;

use super::{Socket, SocketExt, race};
use crate::limits::LINGER_BYTES_MAX;

/// Sends `last` and ends our direction in order; the socket is reset when the other side has closed
/// or `limit` has passed. A reset at once could take with it what was sent.
pub async fn linger_close<S: Socket>(socket: &S, last: Vec<u8>, limit: Duration) {
    let goodbye = async {
        let all = 0..last.len();
        if socket.write_all(last, all).await.0.is_ok() && socket.finish().is_ok() {
            discard_rest(socket).await;
        }
    };
    race(goodbye, limit, || socket.abort()).await;
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
}
