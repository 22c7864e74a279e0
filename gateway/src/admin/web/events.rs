//! Live updates of one page, as server-sent events.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::body::{Bytes, Frame};
use tokio::sync::{mpsc, watch};

use super::limits::EVENTS_WAITING_MAX;
use super::page::Page;

/// A place among those of `EVENT_STREAMS_MAX`, given back on drop.
pub(super) type Place = Box<dyn std::any::Any>;

/// The events, as the body of an answer without an end.
pub(super) struct Events(mpsc::Receiver<Bytes>);

/// Begins to send what changes. The first event has all parts, because the page may be older.
pub(super) fn begin(pages: watch::Receiver<Option<Rc<Page>>>, place: Place) -> Events {
    let (sender, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
    tokio::task::spawn_local(async move {
        send(pages, sender).await;
        drop(place);
    });
    Events(receiver)
}

// Ends when the client is gone. A client that does not read is disconnected by the server.
async fn send(mut pages: watch::Receiver<Option<Rc<Page>>>, events: mpsc::Sender<Bytes>) {
    let mut before = Rc::new(Page::default());
    loop {
        // LIMIT: EVENTS_WAITING_MAX. What changes while this waits comes with the next event.
        let Ok(place) = events.reserve().await else {
            return;
        };
        let page = pages.borrow_and_update().clone();
        if let Some(page) = page {
            place.send(event(&page, &before));
            before = page;
        }
        tokio::select! {
            changed = pages.changed() => if changed.is_err() { return },
            () = events.closed() => return,
        }
    }
}

// JSON has no line ends within, as `data:` requires.
fn event(page: &Page, before: &Page) -> Bytes {
    let changes = serde_json::to_string(&page.changes(before)).unwrap_or_default();
    format!("data: {changes}\n\n").into()
}

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.0.poll_recv(cx);
        next.map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}
