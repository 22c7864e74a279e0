//! Live updates of one page, as server-sent events.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::body::{Bytes, Frame};
use tokio::sync::{mpsc, watch};

use super::page::WebPage;
use crate::admin::limits::EVENTS_WAITING_MAX;

/// A place among those of `EVENT_STREAMS_MAX`, given back on drop.
pub(super) type Place = Box<dyn std::any::Any>;

/// The events, as the body of an answer without an end.
pub(super) struct EventStream(mpsc::Receiver<Bytes>);

/// Begins to send what changes. The first event has all parts, because the page may be older.
pub(super) fn begin(pages: watch::Receiver<Option<Rc<WebPage>>>, place: Place) -> EventStream {
    let (sender, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
    tokio::task::spawn_local(async move {
        send(pages, sender).await;
        drop(place);
    });
    EventStream(receiver)
}

// Ends when the client is gone. A client that does not read is disconnected by the server.
async fn send(mut pages: watch::Receiver<Option<Rc<WebPage>>>, events: mpsc::Sender<Bytes>) {
    let mut before = Rc::new(WebPage::default());
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
fn event(page: &WebPage, before: &WebPage) -> Bytes {
    let changes = serde_json::to_string(&page.changes(before)).unwrap_or_default();
    format!("data: {changes}\n\n").into()
}

impl hyper::body::Body for EventStream {
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;

    use tokio::task::{LocalSet, yield_now};

    use super::super::history::History;
    use super::*;
    use crate::control::GatewayStatus;

    fn page(host: &str, uptime_seconds: u64) -> Option<Rc<WebPage>> {
        let status = GatewayStatus {
            program: host.to_owned(),
            uptime_seconds,
            ..GatewayStatus::default()
        };
        Some(Rc::new(WebPage::new(&status, &History::default())))
    }

    async fn next(events: &mut EventStream) -> Option<String> {
        let mut events = pin!(events);
        let frame = poll_fn(|cx| hyper::body::Body::poll_frame(events.as_mut(), cx)).await;
        let data = frame?.ok()?.into_data().ok()?;
        Some(String::from_utf8_lossy(&data).into_owned())
    }

    #[tokio::test]
    async fn a_page_that_does_not_read_has_one_update_waiting_and_then_gets_all_changes() {
        let local = LocalSet::new();
        let test = local.run_until(async {
            let pages = watch::Sender::new(page("1.0", 0));
            let place = Rc::new(());
            let mut events = begin(pages.subscribe(), Box::new(Rc::clone(&place)));
            let first = next(&mut events).await.expect("all parts");
            assert!(first.starts_with("data: [") && first.ends_with("]\n\n"));
            assert!(first.contains("\"state\"") && first.matches('\n').count() == 2);
            for second in 1..=1_000 {
                pages.send_replace(page("1.0", second));
                yield_now().await;
                assert!(events.0.len() <= EVENTS_WAITING_MAX);
            }
            pages.send_replace(page("2.0", 1_000));
            let waiting = next(&mut events).await.expect("one that waited");
            assert!(waiting.contains("up for 1 s") && !waiting.contains("\"state\""));
            let last = next(&mut events)
                .await
                .expect("all that changed since then");
            assert!(last.contains("Version 2.0"), "{last}");
            // A client that is gone gives its place back.
            drop(events);
            yield_now().await;
            assert_eq!(Rc::strong_count(&place), 1);
        });
        test.await;
    }
}
