//! The web page as a service: what is asked for, by whom, and the state that it shows.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use hyper::header::{
    AUTHORIZATION, CONTENT_SECURITY_POLICY, HOST, HeaderName, HeaderValue, REFERRER_POLICY,
    RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep_until, timeout};

use super::access::{OwnNames, WrongTokens};
use super::colours::style_sheet;
use super::events;
use super::history::History;
use super::page::WebPage;
use crate::admin::limits::{EVENT_STREAMS_MAX, FRESH_WITHIN, HISTORY_STEP, LIVE_EVERY};
use crate::admin::response::{Body, whole};
use crate::control::GatewayStatus;
use crate::metrics::HttpRefusal;
use crate::pki::WebToken;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const EVENTS: &str = "text/event-stream";
const PLAIN: &str = "text/plain; charset=utf-8";

/// Nothing from elsewhere, no inline script or style, and no page around this one.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// Whether a path belongs to the page.
pub(in crate::admin) fn has(path: &str) -> bool {
    matches!(path, "/" | "/style.css" | "/page.js" | "/events")
}

/// The web page. It lives on the supervisor's thread.
pub(crate) struct Web {
    token: RefCell<Option<WebToken>>,
    names: OwnNames,
    wrong: RefCell<WrongTokens>,
    history: RefCell<History>,
    page: watch::Sender<Option<Rc<WebPage>>>,
    // When `update` was last called, and when a state for it was asked for.
    updated: Cell<Option<Instant>>,
    asked: Cell<Option<Instant>>,
    // A client waits for a newer state.
    wanted: Notify,
    // Each page with live updates has a clone.
    places: Rc<()>,
}

/// The answer to a request, and why it was refused, if it was.
pub(in crate::admin) struct WebAnswer {
    pub(in crate::admin) response: Response<Body>,
    pub(in crate::admin) refusal: Option<HttpRefusal>,
}

impl Web {
    /// The page of the machine with this name, for every client or for those that know the token.
    pub(crate) fn new(token: Option<WebToken>, host: &str) -> Self {
        Self {
            token: RefCell::new(token),
            names: OwnNames::new(host),
            wrong: RefCell::default(),
            history: RefCell::default(),
            page: watch::Sender::new(None),
            updated: Cell::default(),
            asked: Cell::default(),
            wanted: Notify::new(),
            places: Rc::new(()),
        }
    }

    /// Uses another token from now on. Pages that are open keep their live updates.
    pub(crate) fn set_token(&self, token: Option<WebToken>) {
        self.token.replace(token);
    }

    /// Returns when a new state is due for `update`: every second while a page has live updates, when a page is
    /// asked for, and for each sample of the history.
    pub(crate) async fn due(&self) {
        loop {
            let due = match (self.asked.get(), self.streams()) {
                (None, _) => Some(Instant::now()),
                (Some(asked), 1..) => asked.checked_add(LIVE_EVERY),
                (Some(asked), 0) => asked.checked_add(HISTORY_STEP),
            };
            let sleep = async {
                match due {
                    Some(due) => sleep_until(due.into()).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = sleep => {}
                () = self.wanted.notified() => {}
            }
            if !self.is_on_its_way() {
                self.asked.set(Some(Instant::now()));
                return;
            }
        }
    }

    // Whether a state was asked for in the last second and has not come yet. Any number of requests in this time
    // asks the workers once.
    fn is_on_its_way(&self) -> bool {
        let asked = self.asked.get();
        let is_recent = asked.is_some_and(|asked| asked.elapsed() < LIVE_EVERY);
        is_recent && self.updated.get() < asked
    }

    /// Takes a new state of the gateway.
    pub(crate) fn update(&self, status: &GatewayStatus) {
        let now = Instant::now();
        let mut history = self.history.borrow_mut();
        history.record(now, &status.routes);
        self.updated.set(Some(now));
        // Without a reader, only the history goes on.
        if self.page.receiver_count() > 0 {
            let page = Rc::new(WebPage::new(status, &history));
            self.page.send_replace(Some(page));
        }
    }

    /// Answers a request for one of the paths that the page `has`.
    pub(in crate::admin) async fn respond(&self, request: &Request<SocketAddr>) -> WebAnswer {
        if let Some(refused) = self.refuse(request) {
            return refused;
        }
        let response = match request.uri().path() {
            "/style.css" => whole(StatusCode::OK, CSS, style_sheet()),
            "/page.js" => whole(StatusCode::OK, SCRIPT, include_str!("page.js")),
            "/events" => return self.events(request.method()),
            _ => match self.fresh().await {
                Some(page) => whole(StatusCode::OK, HTML, page.document()),
                None => plain(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the state is not known yet; reload the page\n",
                ),
            },
        };
        WebAnswer::new(response, None)
    }

    fn refuse(&self, request: &Request<SocketAddr>) -> Option<WebAnswer> {
        let token = self.token.borrow();
        let Some(token) = token.as_ref() else {
            return (!self.is_own_host(request)).then(|| {
                let text = "this page is not served by this name; use the address of the gateway\n";
                let response = plain(StatusCode::MISDIRECTED_REQUEST, text);
                WebAnswer::new(response, Some(HttpRefusal::Host))
            });
        };
        let given = request.headers().get(AUTHORIZATION);
        // Also while its address is blocked, which may be that of a proxy for all users.
        if given.is_some_and(|given| token.is_proved_by(given.as_bytes())) {
            return None;
        }
        let (source, now) = (request.body().ip(), Instant::now());
        if self.wrong.borrow().is_blocked(source, now) {
            let text = "too many wrong tokens from this address; try again in a minute\n";
            let mut response = plain(StatusCode::TOO_MANY_REQUESTS, text);
            set(&mut response, RETRY_AFTER, "60");
            return Some(WebAnswer::new(response, Some(HttpRefusal::Token)));
        }
        if given.is_some() {
            self.wrong.borrow_mut().note(source, now);
        }
        let text =
            "the token of this page is needed, as the password; the user name does not matter\n";
        let mut response = plain(StatusCode::UNAUTHORIZED, text);
        let challenge = "Basic realm=\"wardgate\", charset=\"UTF-8\"";
        set(&mut response, WWW_AUTHENTICATE, challenge);
        let refusal = given.map(|_| HttpRefusal::Token);
        Some(WebAnswer::new(response, refusal))
    }

    // A target with an authority comes before the field (RFC 9112 section 3.2.2).
    fn is_own_host(&self, request: &Request<SocketAddr>) -> bool {
        let field = request.headers().get(HOST);
        let field = field.and_then(|host| host.to_str().ok());
        let authority = request.uri().authority();
        let host = authority.map(Authority::as_str).or(field);
        host.is_some_and(|host| self.names.has(host))
    }

    // A page that is at most a second old if the supervisor has the time.
    async fn fresh(&self) -> Option<Rc<WebPage>> {
        let mut pages = self.page.subscribe();
        let updated = self.updated.get();
        let is_new = updated.is_some_and(|updated| updated.elapsed() < LIVE_EVERY);
        let page = pages.borrow_and_update().clone();
        if is_new && page.is_some() {
            return page;
        }
        self.wanted.notify_one();
        // LIMIT: FRESH_WITHIN.
        let _ = timeout(FRESH_WITHIN, pages.changed()).await;
        pages.borrow().clone()
    }

    fn events(&self, method: &Method) -> WebAnswer {
        // LIMIT: EVENT_STREAMS_MAX.
        if self.streams() >= EVENT_STREAMS_MAX {
            let text = "too many pages have live updates\n";
            let response = plain(StatusCode::SERVICE_UNAVAILABLE, text);
            return WebAnswer::new(response, Some(HttpRefusal::Events));
        }
        let mut response = whole(StatusCode::OK, EVENTS, "");
        if method == Method::GET {
            let place = Box::new(Rc::clone(&self.places));
            let events = events::begin(self.page.subscribe(), place);
            *response.body_mut() = Box::pin(events);
            self.wanted.notify_one();
        }
        WebAnswer::new(response, None)
    }

    // Pages with live updates.
    fn streams(&self) -> usize {
        Rc::strong_count(&self.places).saturating_sub(1)
    }
}

impl WebAnswer {
    fn new(mut response: Response<Body>, refusal: Option<HttpRefusal>) -> Self {
        set(&mut response, CONTENT_SECURITY_POLICY, POLICY);
        set(&mut response, X_CONTENT_TYPE_OPTIONS, "nosniff");
        set(&mut response, X_FRAME_OPTIONS, "DENY");
        set(&mut response, REFERRER_POLICY, "no-referrer");
        let resources = HeaderName::from_static("cross-origin-resource-policy");
        set(&mut response, resources, "same-origin");
        Self { response, refusal }
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    whole(status, PLAIN, text)
}

fn set(response: &mut Response<Body>, name: HeaderName, value: &'static str) {
    let value = HeaderValue::from_static(value);
    response.headers_mut().insert(name, value);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn any_number_of_requests_asks_the_workers_once_until_they_have_answered() {
        let web = Web::new(None, "gw");
        web.due().await;
        for _ in 0..3 {
            web.wanted.notify_one();
            let asked = timeout(Duration::from_millis(20), web.due()).await;
            assert!(asked.is_err());
        }
        web.update(&GatewayStatus::default());
        web.wanted.notify_one();
        let asked = timeout(Duration::from_secs(5), web.due()).await;
        assert!(asked.is_ok());
    }

    #[tokio::test]
    async fn a_page_is_rendered_only_if_a_client_waits_for_it() {
        let web = Web::new(None, "gw");
        web.update(&GatewayStatus::default());
        assert!(web.page.borrow().is_none());
        let pages = web.page.subscribe();
        web.update(&GatewayStatus::default());
        assert!(pages.borrow().is_some());
    }
}
