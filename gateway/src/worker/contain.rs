//! A panic in a connection's task ends that connection; any other panic of a worker ends the process.

use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

/// What the names of worker threads begin with.
pub(super) const WORKER_PREFIX: &str = "worker-";

thread_local! {
    // Whether the code that runs on this thread now is a connection's.
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Polls `work`, and gives a panic's message instead of passing the panic on.
pub(super) async fn contained<W: Future + Unpin>(mut work: W) -> Result<W::Output, String> {
    std::future::poll_fn(|context| {
        CONTAINED.set(true);
        // The connection's state is dropped after a panic and never looked at again.
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut work).poll(context)));
        CONTAINED.set(false);
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => Poll::Ready(Err(in_words(&*panic))),
        }
    })
    .await
}

fn in_words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic".to_owned())
}

/// Makes every panic of a worker outside of a connection end the process: a ring that is unwound
/// with operations in flight would wait for them for ever. systemd starts the process again.
pub fn abort_on_foreign_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        let worker = std::thread::current()
            .name()
            .is_some_and(|n| n.starts_with(WORKER_PREFIX));
        if worker && !CONTAINED.get() {
            std::process::abort();
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let outcome = runtime.block_on(contained(Box::pin(async {
            panic!("the {} broke", "axle")
        })));
        assert_eq!(outcome, Err::<(), _>("the axle broke".to_owned()));
        assert_eq!(runtime.block_on(contained(Box::pin(async { 7 }))), Ok(7));
    }
}
