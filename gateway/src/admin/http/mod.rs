//! `/metrics`, `/healthz`, `/readyz` and `/routez` over HTTP/1.1, on the supervisor's thread.
//!
//! A bounded number of connections is open at a time, each with a limit for every step. When all places are
//! taken, a new connection ends one that is older than `METRICS_GRACE` instead of waiting for its timeout.
//! Clients that send nothing, or a byte from time to time, therefore cannot block a health check.
//!
//! `router::respond` turns a request into a response; nothing else knows the paths.

mod connection;
mod pages;
mod places;
mod report;
mod router;
mod routez;
mod socket;

use std::rc::Rc;

use hyper::StatusCode;
use hyper::body::Bytes;
use tokio::net::TcpListener;
use tokio::task::yield_now;
use tokio::time::sleep;

use self::pages::{Page, Pages};
use self::places::HttpPlaces;
use self::report::HttpReports;
use crate::admin::View;
use crate::worker::limits::ACCEPT_PAUSE;

/// What all connections of the server share.
struct Server {
    view: Rc<View>,
    pages: Pages<Page>,
    routes: Pages<(StatusCode, Bytes)>,
    reports: HttpReports,
}

/// Answers requests until another process has taken the listener over.
pub(crate) async fn serve(listener: TcpListener, view: Rc<View>) {
    let mut places = HttpPlaces::default();
    let mut handed_over = view.handed_over.subscribe();
    let server = Rc::new(Server {
        reports: HttpReports::default(),
        pages: Pages::default(),
        routes: Pages::default(),
        view,
    });
    loop {
        let accepted = tokio::select! {
            biased;
            _ = handed_over.wait_for(|is_over| *is_over) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, source)) => {
                for ended in places.make_room().await {
                    server.report(report::Refusal::Connections, ended);
                }
                let serving = connection::serve(stream, source, Rc::clone(&server));
                let task = tokio::task::spawn_local(serving);
                places.add(source.ip(), task.abort_handle());
                // Connections are polled between two accepts.
                yield_now().await;
            }
            // Most likely no file descriptor is left. Connections in the backlog survive the pause.
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}
