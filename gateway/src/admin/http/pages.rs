//! The texts of `/metrics` and `/routez`, each made for all waiting requests at once.
//!
//! On a large gateway a text takes milliseconds of the supervisor's thread. Clients that ask again and again
//! must not take the CPU from a worker, so the thread spends a bounded part of its time on it.

use std::cell::{Cell, RefCell};

use hyper::body::Bytes;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::admin::limits::METRICS_TIME_PART;

/// The text of one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Page {
    /// All of it.
    pub(super) whole: Bytes,
    /// The rows end with their values.
    pub(super) without_exemplars: Bytes,
}

impl Page {
    /// A page from the whole text of `/metrics`.
    pub(super) fn of_metrics(text: String) -> Self {
        Self {
            without_exemplars: without_exemplars(&text).into(),
            whole: text.into(),
        }
    }
}

/// The last page, and when the next one may be made.
#[derive(Default)]
pub(super) struct Pages<P> {
    // The number of pages that were made.
    made: Cell<u64>,
    last: RefCell<P>,
    next: Cell<Option<Instant>>,
    turn: Mutex<()>,
}

impl<P: Clone> Pages<P> {
    /// A page that was made after this call began.
    pub(super) async fn get(&self, make: impl Fn() -> P) -> P {
        let at_call = self.made.get();
        let _turn = self.turn.lock().await;
        if self.made.get() > at_call {
            return self.last.borrow().clone();
        }
        // LIMIT: METRICS_TIME_PART.
        if let Some(next) = self.next.get() {
            sleep_until(next).await;
        }
        let begun = Instant::now();
        let page = make();
        let took = begun.elapsed();
        let pause = took.saturating_mul(METRICS_TIME_PART.saturating_sub(1));
        self.next.set(Some(Instant::now() + pause));
        self.made.set(self.made.get().wrapping_add(1));
        *self.last.borrow_mut() = page.clone();
        page
    }
}

// Exemplars follow counters only, whose labels are names of the configuration and words of this program.
fn without_exemplars(text: &str) -> String {
    let mut cut = String::with_capacity(text.len());
    for row in text.lines() {
        let (row, _) = row.split_once(" # {id=").unwrap_or((row, ""));
        cut.push_str(row);
        cut.push('\n');
    }
    cut
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_that_wait_share_one_text_that_is_newer_than_they_are() {
        let pages = Pages::<String>::default();
        let count = Cell::new(0);
        let make = || {
            count.set(count.get() + 1);
            // The clock stands still, so a text takes no time; the pause is set below.
            count.get().to_string()
        };
        let whole = async || pages.get(make).await;
        assert_eq!(whole().await, "1");
        pages
            .next
            .set(Some(Instant::now() + Duration::from_secs(1)));
        let (a, b, c) = tokio::join!(whole(), whole(), whole());
        assert_eq!([a, b, c], ["2", "2", "2"]);
        assert_eq!(whole().await, "3");
    }

    #[test]
    fn rows_without_exemplars_end_with_their_values() {
        let text = "# TYPE a counter\na_total{b=\"c\"} 3 # {id=\"1a-0-1\"} 1.0\nd 1\n# EOF\n";
        let cut = "# TYPE a counter\na_total{b=\"c\"} 3\nd 1\n# EOF\n";
        assert_eq!(without_exemplars(text), cut);
    }

    #[tokio::test]
    async fn the_next_text_waits_nine_times_as_long_as_the_last_one_took() {
        let pages = Pages::<String>::default();
        let slow = || {
            std::thread::sleep(Duration::from_millis(5));
            String::new()
        };
        pages.get(slow).await;
        let begun = Instant::now();
        pages.get(slow).await;
        assert!(begun.elapsed() >= Duration::from_millis(45));
    }
}
