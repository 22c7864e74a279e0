//! The paths of the HTTP server, and their answers.

use std::net::SocketAddr;

use hyper::body::{Body as _, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONNECTION, HOST, HeaderValue, TRANSFER_ENCODING};
use hyper::{Method, Request, Response, StatusCode, Version};

use super::Server;
use super::pages::Page;
use super::report::Refusal;
use super::routez;
use crate::admin::response::{Body, whole};
use crate::admin::web;

/// The content type of OpenMetrics.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// Answers a request. Its method is GET or HEAD, and hyper leaves the body out after HEAD.
pub(super) async fn respond(
    request: Request<Incoming>,
    source: SocketAddr,
    server: &Server,
) -> Response<Body> {
    if let Some(refused) = refuse(&request) {
        return refused.response(source, server);
    }
    // From here on there is no body; what is left are the method, the target and the fields.
    route(&request.map(|_| source), server).await
}

/// Answers a request by its path. A request has no body here: `request.body()` is the address of its client. Method,
/// path, query and fields are hyper's. The answer may be a stream: see `Body`.
async fn route(request: &Request<SocketAddr>, server: &Server) -> Response<Body> {
    let view = &server.view;
    if let Some(web) = view.web.as_ref().filter(|_| web::has(request.uri().path())) {
        let answer = web.respond(request).await;
        if let Some(refusal) = answer.refusal {
            server.report(refusal, request.body().ip());
        }
        return answer.response;
    }
    // Monitoring programs append a query to bypass caches.
    match request.uri().path() {
        "/metrics" => {
            let make = || Page::of_metrics(view.metrics());
            let page = server.pages.get(make).await;
            let text = match accepts_openmetrics(request) {
                true => page.whole,
                false => page.without_exemplars,
            };
            whole(StatusCode::OK, OPENMETRICS, text)
        }
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" if view.is_ready() => text(StatusCode::OK, "ready\n"),
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        "/routez" => {
            let (status, json) = server.routes.get(|| routez::all(view)).await;
            whole(status, JSON, json)
        }
        path => match path.strip_prefix("/routez/") {
            Some(name) => routes(routez::one(view, name)),
            None => text(StatusCode::NOT_FOUND, AVAILABLE),
        },
    }
}

// Whether the client names the format. Others may read the older text format, in which a row ends with its
// value: they get no exemplars.
fn accepts_openmetrics(request: &Request<SocketAddr>) -> bool {
    let accepted = request.headers().get_all(ACCEPT).into_iter();
    let mut accepted = accepted.filter_map(|value| value.to_str().ok());
    accepted.any(|value| value.contains("application/openmetrics-text"))
}

const AVAILABLE: &str = "available: /metrics, /healthz, /readyz, /routez and /routez/NAME\n";

fn routes((status, json): (StatusCode, String)) -> Response<Body> {
    whole(status, JSON, json)
}

/// Why a request is not answered.
enum RefusedRequest {
    Method,
    Body,
    Host,
}

// A body, and a length that contradicts a transfer encoding, are how requests are smuggled past a proxy (RFC 9112
// section 11.2): no request here needs either.
fn refuse(request: &Request<Incoming>) -> Option<RefusedRequest> {
    let headers = request.headers();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let has_body = !request.body().is_end_stream() || headers.contains_key(TRANSFER_ENCODING);
    // RFC 9112 section 3.2.
    let hosts = headers.get_all(HOST).iter().count();
    let is_unclear = request.version() == Version::HTTP_11 && hosts != 1;
    match () {
        () if !is_read => Some(RefusedRequest::Method),
        () if has_body => Some(RefusedRequest::Body),
        () if is_unclear => Some(RefusedRequest::Host),
        () => None,
    }
}

impl RefusedRequest {
    // The connection is closed, because the bytes that follow may be a body.
    fn response(self, source: SocketAddr, server: &Server) -> Response<Body> {
        let mut response = match self {
            Self::Method => text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n"),
            Self::Body => text(StatusCode::BAD_REQUEST, "a request has no body here\n"),
            Self::Host => text(StatusCode::BAD_REQUEST, "a request needs one Host field\n"),
        };
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        match self {
            Self::Method => {
                headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            Self::Body => server.report(Refusal::Body, source.ip()),
            Self::Host => server.report(Refusal::Malformed, source.ip()),
        }
        response
    }
}

/// A plain text.
fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    whole(status, PLAIN, text)
}
