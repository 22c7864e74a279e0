//! What a thread gives up when it begins its work. `hardening` decides what; the modules that start threads only call
//! it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::{Builder, JoinHandle};

/// Restricts the calling thread until it ends.
#[derive(Clone, Default)]
pub struct ThreadSandbox(Option<Arc<Enter>>);

type Enter = dyn Fn() -> io::Result<()> + Send + Sync;

impl ThreadSandbox {
    /// A sandbox that restricts nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    pub(crate) fn new(enter: impl Fn() -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(enter)))
    }

    /// Restricts the calling thread.
    ///
    /// # Errors
    /// The restriction cannot be applied, and the thread must not go on.
    pub fn enter(&self) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |enter| enter())
    }

    /// Starts a thread that restricts itself before it begins its work, and waits until it has.
    ///
    /// # Errors
    /// The system gives no thread, or the restriction cannot be applied.
    pub(crate) fn spawn(
        &self,
        name: &str,
        work: impl FnOnce() + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let sandbox = self.clone();
        // LIMIT: one result.
        let (done, entered) = sync_channel(1);
        let thread = Builder::new().name(name.to_owned()).spawn(move || {
            let outcome = sandbox.enter();
            let may_work = outcome.is_ok();
            let _ = done.send(outcome);
            if may_work {
                work();
            }
        })?;
        let outcome = entered.recv().map_err(io::Error::other)?;
        outcome.map(|()| thread)
    }
}

impl fmt::Debug for ThreadSandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ThreadSandbox")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_whose_sandbox_fails_does_not_work() {
        let refuse = ThreadSandbox::new(|| Err(io::Error::other("no seccomp")));
        let started = refuse.spawn("test", || panic!("it must not work"));
        assert_eq!(started.expect_err("refused").to_string(), "no seccomp");
        let started = ThreadSandbox::none().spawn("test", || {});
        started.expect("a thread").join().expect("it ends");
    }
}
