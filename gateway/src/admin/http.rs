//! `/metrics`, `/healthz` and `/readyz` over HTTP/1.0, on the supervisor's thread.
//!
//! One request a connection, at most a few at a time, each within a deadline: a scraper that hangs
//! or a stranger that drips costs nothing else.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::audit::Journal;
use crate::limits::{
    METRICS_DEADLINE, METRICS_HEADER_DEADLINE, METRICS_REQUEST_BYTES_MAX, METRICS_REQUESTS_MAX,
};
use crate::metrics;

/// What can be seen from outside.
pub struct View {
    /// Routes' names in the order of the configuration.
    pub routes: Vec<String>,
    /// The counters of each core.
    pub cores: Vec<Arc<metrics::Core>>,
    /// The targets that are probed.
    pub targets: Vec<Arc<metrics::Target>>,
    /// For the number of dropped events.
    pub journal: Journal,
    /// Whether new connections are taken: false once a drain has begun.
    pub ready: Cell<bool>,
}

/// Answers requests until it is dropped.
pub async fn serve(listener: TcpListener, view: Rc<View>) {
    let places = Arc::new(Semaphore::new(METRICS_REQUESTS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let view = Rc::clone(&view);
                tokio::task::spawn_local(async move {
                    // Who asks too slowly gets no answer; there is nobody to tell.
                    let _ = timeout(METRICS_DEADLINE, answer(stream, &view)).await;
                    drop(place);
                });
            }
            // Out of descriptors, most likely; what waits in the backlog is not lost.
            Err(_) => tokio::time::sleep(crate::limits::ACCEPT_PAUSE).await,
        }
    }
}

async fn answer(mut stream: TcpStream, view: &View) -> io::Result<()> {
    let request = timeout(METRICS_HEADER_DEADLINE, request_line(&mut stream)).await??;
    let mut words = request.split_ascii_whitespace();
    let (status, body) = match (words.next(), words.next()) {
        (Some("GET"), Some("/metrics")) => ("200 OK", view.metrics()),
        (Some("GET"), Some("/healthz")) => ("200 OK", "ok\n".to_owned()),
        (Some("GET"), Some("/readyz")) if view.ready.get() => ("200 OK", "ready\n".to_owned()),
        (Some("GET"), Some("/readyz")) => ("503 Service Unavailable", "draining\n".to_owned()),
        (Some("GET"), Some(_)) => (
            "404 Not Found",
            "there are /metrics, /healthz and /readyz\n".to_owned(),
        ),
        _ => ("405 Method Not Allowed", "GET only\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.0 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

// Reads to the end of the header, so that closing does not reset what the client still reads.
async fn request_line(stream: &mut TcpStream) -> io::Result<String> {
    let mut bytes = Vec::new();
    while bytes.len() < METRICS_REQUEST_BYTES_MAX && !bytes.windows(4).any(|w| w == b"\r\n\r\n") {
        let mut some = [0; 1024];
        let count = stream.read(&mut some).await?;
        if count == 0 {
            break;
        }
        bytes.extend_from_slice(some.get(..count).unwrap_or_default());
    }
    let line = bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    Ok(String::from_utf8_lossy(line).into_owned())
}

impl View {
    fn metrics(&self) -> String {
        let routes: Vec<&str> = self.routes.iter().map(String::as_str).collect();
        metrics::exposition(&routes, &self.cores, &self.targets, self.journal.dropped())
    }
}
