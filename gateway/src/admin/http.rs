//! `/metrics`, `/healthz` and `/readyz` over HTTP/1.0, on the supervisor's thread.
//!
//! One request per connection, a bounded number at a time, each with a timeout. When all slots are taken, a
//! new request ends one that is older than `METRICS_GRACE` instead of waiting for its timeout. Clients that
//! send nothing, or a byte from time to time, therefore cannot block a health check.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, yield_now};
use tokio::time::{Instant, sleep, timeout};

use crate::admin::limits::{
    METRICS_DEADLINE, METRICS_GRACE, METRICS_HEADER_DEADLINE, METRICS_REQUEST_BYTES_MAX,
    METRICS_REQUESTS_MAX,
};
use crate::audit::Journal;
use crate::metrics;
use crate::route::RouteTable;
use crate::worker::limits::ACCEPT_PAUSE;

/// The data that the endpoints show.
pub(crate) struct View {
    /// The open routes.
    pub table: RefCell<Arc<RouteTable>>,
    /// The counters of each core.
    pub cores: Vec<Arc<metrics::CoreCounters>>,
    /// The results of loading the configuration's files.
    pub files: RefCell<metrics::Files>,
    /// Changes since the start.
    pub reloads: metrics::Reloads,
    /// For the number of dropped log events.
    pub journal: Journal,
    /// Whether the gateway accepts connections: false once a drain has begun.
    pub ready: Cell<bool>,
    /// True when another process has taken the listeners over, these among them.
    pub handed_over: watch::Sender<bool>,
}

/// Answers requests until another process has taken the listener over.
pub(crate) async fn serve(listener: TcpListener, view: Rc<View>) {
    let mut requests = Requests::default();
    let mut handed_over = view.handed_over.subscribe();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = handed_over.wait_for(|is_over| *is_over) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, source)) => {
                let view = Rc::clone(&view);
                requests.make_room().await;
                let task = tokio::task::spawn_local(async move {
                    // A client whose request takes too long gets no answer and no error.
                    let _ = timeout(METRICS_DEADLINE, answer(stream, &view)).await;
                });
                requests.add(source.ip(), task.abort_handle());
                // Requests are polled between two accepts.
                yield_now().await;
            }
            // Most likely no file descriptor is left. Connections in the backlog survive the pause.
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// The requests being answered, oldest first.
#[derive(Default)]
struct Requests(VecDeque<HttpRequest>);

struct HttpRequest {
    source: IpAddr,
    since: Instant,
    task: AbortHandle,
}

impl Requests {
    // LIMIT: METRICS_REQUESTS_MAX. The address with the most requests loses its oldest one, so that a flood
    // from one address cannot end requests of others.
    async fn make_room(&mut self) {
        loop {
            self.0.retain(|request| !request.task.is_finished());
            let Some(at) = self.to_be_ended() else {
                return;
            };
            let age = self.0.get(at).map(|request| request.since.elapsed());
            let grace = METRICS_GRACE.saturating_sub(age.unwrap_or_default());
            if grace.is_zero() {
                self.0.remove(at).inspect(|request| request.task.abort());
            } else {
                sleep(grace).await;
            }
        }
    }

    fn to_be_ended(&self) -> Option<usize> {
        if self.0.len() < METRICS_REQUESTS_MAX {
            return None;
        }
        let count = |source: IpAddr| self.0.iter().filter(|one| one.source == source).count();
        // `max_by_key` returns the last of equal elements, so the youngest come first.
        let youngest_first = self.0.iter().enumerate().rev();
        let most = youngest_first.max_by_key(|(_, request)| count(request.source));
        most.map(|(at, _)| at)
    }

    fn add(&mut self, source: IpAddr, task: AbortHandle) {
        let since = Instant::now();
        self.0.push_back(HttpRequest {
            source,
            since,
            task,
        });
    }
}

async fn answer(mut stream: TcpStream, view: &View) -> io::Result<()> {
    let request = timeout(METRICS_HEADER_DEADLINE, request_line(&mut stream)).await??;
    let mut words = request.split_ascii_whitespace();
    let (method, target) = (words.next(), words.next());
    // Monitoring programs append a query to bypass caches.
    let path = target.and_then(|target| target.split(['?', '#']).next());
    let (status, body) = match (method, path) {
        (Some("GET" | "HEAD"), Some(path)) => view.resource(path),
        _ => ("405 Method Not Allowed", "only GET and HEAD\n".to_owned()),
    };
    let allow = match status.starts_with("405") {
        true => "Allow: GET, HEAD\r\n",
        false => "",
    };
    let head = format!(
        "HTTP/1.0 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {}\r\n{allow}Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    // A HEAD response has the same Content-Length (RFC 9110 section 9.3.2).
    if method != Some("HEAD") {
        stream.write_all(body.as_bytes()).await?;
    }
    stream.shutdown().await
}

// Reads to the end of the header. Closing with unread bytes would reset the connection before the client has
// read the response.
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
    fn resource(&self, path: &str) -> (&'static str, String) {
        match path {
            "/metrics" => ("200 OK", self.metrics()),
            "/healthz" => ("200 OK", "ok\n".to_owned()),
            "/readyz" if self.ready.get() => ("200 OK", "ready\n".to_owned()),
            "/readyz" => ("503 Service Unavailable", "draining\n".to_owned()),
            _ => (
                "404 Not Found",
                "available: /metrics, /healthz and /readyz\n".to_owned(),
            ),
        }
    }

    fn metrics(&self) -> String {
        let table = self.table.borrow();
        let dropped = self.journal.dropped();
        let routes = table.metrics();
        let mut text = metrics::exposition(&routes, &self.cores, &table.targets(), dropped);
        text.push_str(&self.files.borrow().exposition());
        text.push_str(&self.reloads.exposition(table.generation));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    // Requests from these addresses that never end, oldest first.
    fn requests(sources: impl Iterator<Item = u8>) -> Requests {
        let mut requests = Requests::default();
        for last in sources {
            let task = tokio::spawn(std::future::pending::<()>());
            requests.add(source(last), task.abort_handle());
        }
        requests
    }

    fn left(requests: &Requests, last: u8) -> usize {
        let mut left = requests.0.iter();
        left.by_ref()
            .filter(|one| one.source == source(last))
            .count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_from_one_address_ends_no_request_of_others() {
        let others = METRICS_REQUESTS_MAX - 2;
        let mut requests = requests([1].into_iter().chain((0..others).map(|_| 2)).chain([3]));
        for _ in 0..3 * METRICS_REQUESTS_MAX {
            requests.make_room().await;
            let task = tokio::spawn(std::future::pending::<()>());
            requests.add(source(2), task.abort_handle());
            assert!(requests.0.len() <= METRICS_REQUESTS_MAX);
        }
        assert_eq!((left(&requests, 1), left(&requests, 3)), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_request_is_not_ended_before_its_grace_time() {
        let mut requests = requests((0..METRICS_REQUESTS_MAX).map(|_| 1));
        let start = Instant::now();
        requests.make_room().await;
        assert_eq!(start.elapsed(), METRICS_GRACE);
        assert_eq!(requests.0.len(), METRICS_REQUESTS_MAX - 1);
    }
}
