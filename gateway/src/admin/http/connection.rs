//! One connection of the HTTP server: its requests one after the other, and the time that each step may take.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future as _, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::body::{Body as _, Bytes, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::Server;
use super::report::Refusal;
use super::router;
use super::socket::{HttpSocket, SocketIo};
use crate::admin::limits::{
    METRICS_DEADLINE, METRICS_FIELDS_MAX, METRICS_HEADER_DEADLINE, METRICS_IDLE,
    METRICS_REQUEST_BYTES_MAX, METRICS_REQUEST_EVERY, METRICS_STREAM_LOOK,
};
use crate::admin::response::Body;

/// Serves a connection until its client closes it, or is refused or too slow.
pub(super) async fn serve(stream: TcpStream, source: SocketAddr, server: Rc<Server>) {
    let socket = HttpSocket::new(stream);
    let progress = Rc::new(HttpProgress::new());
    let refused = requests(&socket, source, &progress, &server).await;
    if let Some(refusal) = refused {
        server.report(refusal, source.ip());
    }
    if refused.is_none_or(Refusal::is_answered) {
        socket.linger_close().await;
    }
}

// Why the connection ends, unless its client wants it to.
async fn requests(
    socket: &Rc<HttpSocket>,
    source: SocketAddr,
    progress: &Rc<HttpProgress>,
    server: &Rc<Server>,
) -> Option<Refusal> {
    let service = service_fn(|request: Request<Incoming>| async {
        let response = answer(request, source, progress, server).await;
        Ok::<_, Infallible>(response)
    });
    let mut builder = http1::Builder::new();
    // LIMIT: METRICS_REQUEST_BYTES_MAX, METRICS_FIELDS_MAX. `HttpProgress` has the times.
    let connection = builder
        .max_buf_size(METRICS_REQUEST_BYTES_MAX)
        .max_header_size(METRICS_REQUEST_BYTES_MAX)
        .max_headers(METRICS_FIELDS_MAX)
        .header_read_timeout(None)
        .serve_connection(SocketIo(Rc::clone(socket)), service);
    let mut connection = pin!(connection);
    let mut handed_over = server.view.handed_over.subscribe();
    let mut is_ending = false;
    loop {
        tokio::select! {
            biased;
            _ = handed_over.wait_for(|is_over| *is_over), if !is_ending => {
                // Another process answers from now on.
                if progress.step.get() != ConnectionStep::Streaming {
                    is_ending = true;
                    connection.as_mut().graceful_shutdown();
                    continue;
                }
                return None;
            }
            ended = poll_fn(|cx| connection.as_mut().poll(cx)) => {
                return ended.err().and_then(|error| refusal(&error));
            }
            () = sleep_until(progress.deadline()) => {
                if let Some(late) = progress.look(socket) {
                    return late;
                }
            }
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    source: SocketAddr,
    progress: &Rc<HttpProgress>,
    server: &Server,
) -> Response<Body> {
    progress.enter(ConnectionStep::Answering);
    // LIMIT: METRICS_REQUEST_EVERY.
    sleep_until(progress.next_request()).await;
    let response = router::respond(request, source, server).await;
    let is_endless = response.body().size_hint().exact().is_none();
    if is_endless {
        progress.enter(ConnectionStep::Streaming);
    }
    let progress = Rc::clone(progress);
    response.map(|body| -> Body { Box::pin(Tracked { body, progress }) })
}

fn refusal(error: &hyper::Error) -> Option<Refusal> {
    match () {
        () if error.is_parse_too_large() => Some(Refusal::HeaderBytes),
        () if error.is_parse() => Some(Refusal::Malformed),
        () => None,
    }
}

/// Where a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConnectionStep {
    /// Its first request is incomplete.
    First,
    /// A request is being answered.
    Answering,
    /// An answer without an end is being sent.
    Streaming,
    /// Between two requests.
    Idle,
}

/// How far a connection is, and since when.
struct HttpProgress {
    step: Cell<ConnectionStep>,
    since: Cell<Instant>,
    // When the last request came.
    asked: Cell<Option<Instant>>,
}

impl HttpProgress {
    fn new() -> Self {
        Self {
            step: Cell::new(ConnectionStep::First),
            since: Cell::new(Instant::now()),
            asked: Cell::default(),
        }
    }

    fn enter(&self, step: ConnectionStep) {
        self.step.set(step);
        self.since.set(Instant::now());
    }

    // The time from which the request that has come may be answered.
    fn next_request(&self) -> Instant {
        let now = Instant::now();
        let last = self.asked.get();
        let at = last.map_or(now, |last| now.max(last + METRICS_REQUEST_EVERY));
        self.asked.set(Some(at));
        at
    }

    fn deadline(&self) -> Instant {
        let within = match self.step.get() {
            ConnectionStep::First => METRICS_HEADER_DEADLINE,
            ConnectionStep::Answering => METRICS_DEADLINE,
            ConnectionStep::Streaming => METRICS_STREAM_LOOK,
            ConnectionStep::Idle => METRICS_IDLE,
        };
        self.since.get() + within
    }

    // At the deadline of an earlier step: whether the connection ends, and why.
    #[expect(
        clippy::option_option,
        reason = "an idle connection ends without a refusal"
    )]
    fn look(&self, socket: &HttpSocket) -> Option<Option<Refusal>> {
        let now = Instant::now();
        if self.deadline() > now {
            return None;
        }
        match self.step.get() {
            ConnectionStep::First => Some(Some(Refusal::HeaderDeadline)),
            ConnectionStep::Answering => Some(Some(Refusal::Deadline)),
            ConnectionStep::Idle => Some(socket.blocked_since().map(|_| Refusal::Deadline)),
            ConnectionStep::Streaming => {
                self.since.set(now);
                let blocked = socket.blocked_since();
                let is_late = blocked.is_some_and(|since| now - since >= METRICS_DEADLINE);
                is_late.then_some(Some(Refusal::Deadline))
            }
        }
    }
}

/// The body of an answer, whose end begins the wait for the next request.
struct Tracked {
    body: Body,
    progress: Rc<HttpProgress>,
}

impl hyper::body::Body for Tracked {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.body.as_mut().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.progress.enter(ConnectionStep::Idle);
    }
}
