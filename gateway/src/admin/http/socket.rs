//! A TCP socket as hyper reads and writes it.
//!
//! Requests have no bodies here, so all that a client sends is header lines. Each must end with CR LF: a
//! proxy in front that takes a single LF for another character would see other requests than this server
//! (RFC 9112 section 2.2).

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use rustix::net::Shutdown;
use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::admin::limits::{METRICS_LINGER, METRICS_LINGER_BYTES, METRICS_SEND_BYTES};

/// Bytes of one read.
const CHUNK: usize = 4096;

/// A socket whose state can be looked at while hyper uses it, and that is still open when hyper is done.
pub(super) struct HttpSocket {
    stream: TcpStream,
    /// Since when the client has not read what is to be written.
    blocked: Cell<Option<Instant>>,
    // The last byte that was read.
    last: Cell<u8>,
}

impl HttpSocket {
    pub(super) fn new(stream: TcpStream) -> Rc<Self> {
        // Small answers follow each other on one connection; without it, they only wait longer.
        let _ = stream.set_nodelay(true);
        // LIMIT: METRICS_SEND_BYTES.
        let _ = set_socket_send_buffer_size(&stream, METRICS_SEND_BYTES);
        Rc::new(Self {
            stream,
            blocked: Cell::default(),
            last: Cell::default(),
        })
    }

    /// Since when the client has not read what is to be written.
    pub(super) fn blocked_since(&self) -> Option<Instant> {
        self.blocked.get()
    }

    /// Reads and drops what the client still sends, until it closes.
    // LIMIT: METRICS_LINGER and METRICS_LINGER_BYTES.
    pub(super) async fn linger_close(&self) {
        self.end_writing();
        let _ = timeout(METRICS_LINGER, async {
            let (mut dropped, mut some) = (0_usize, [0; CHUNK]);
            while dropped < METRICS_LINGER_BYTES && self.stream.readable().await.is_ok() {
                match self.stream.try_read(&mut some) {
                    Ok(0) => return,
                    Ok(count) => dropped = dropped.saturating_add(count),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
        })
        .await;
    }

    fn end_writing(&self) {
        // The client may be gone.
        let _ = rustix::net::shutdown(&self.stream, Shutdown::Write);
    }

    // Replaces an LF without CR by a byte that no header contains: the parser then refuses the request.
    fn mark_bare_line_feeds(&self, some: &mut [u8]) {
        let mut last = self.last.get();
        for byte in some {
            if *byte == b'\n' && last != b'\r' {
                *byte = 0;
            }
            last = *byte;
        }
        self.last.set(last);
    }
}

/// The socket, for hyper.
pub(super) struct SocketIo(pub(super) Rc<HttpSocket>);

impl Read for SocketIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut some = [0; CHUNK];
        let room = some.get_mut(..buffer.remaining().min(CHUNK));
        let room = room.unwrap_or_default();
        loop {
            ready!(self.0.stream.poll_read_ready(cx))?;
            match self.0.stream.try_read(room) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => {
                    let read = room.get_mut(..read?).unwrap_or_default();
                    self.0.mark_bare_line_feeds(read);
                    buffer.put_slice(read);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl Write for SocketIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.0.stream.poll_write_ready(cx)?.is_pending() {
                let since = self.0.blocked.get().unwrap_or_else(Instant::now);
                self.0.blocked.set(Some(since));
                return Poll::Pending;
            }
            match self.0.stream.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => {
                    self.0.blocked.set(None);
                    return Poll::Ready(written);
                }
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.end_writing();
        Poll::Ready(Ok(()))
    }
}
