//! A panic in a connection's task ends only that connection; any other panic of a worker ends the process.
//!
//! Standard error may be a full pipe that is not read, where a write blocks forever. The panic hook therefore
//! writes nothing itself. If the worker continues, the hook hands the report to the journal. If the process
//! ends, a separate thread writes the report, within `PANIC_REPORT`. This thread waits from the start on, because the
//! sandbox of a worker lets it start none.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::future::Future;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::pin::Pin;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::task::Poll;

use crate::audit::{Event, Journal};
use crate::thread_sandbox::ThreadSandbox;
use crate::worker::limits::{PANIC_REPORT, PANIC_REPORTS_MAX};

/// The prefix of the names of worker threads.
pub(super) const WORKER_PREFIX: &str = "worker-";

thread_local! {
    // Whether this thread currently runs a connection's task.
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Polls `work`. If `work` panics, returns the panic message.
pub(super) async fn contained<W: Future + Unpin>(mut work: W) -> Result<W::Output, String> {
    std::future::poll_fn(|context| {
        CONTAINED.set(true);
        // The connection's state is dropped after a panic and never used again.
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

/// Reports every panic without blocking. A panic of a worker outside of a connection ends the process: the
/// panic loses all connections of that worker, and its listeners would stay open with nothing accepting on
/// them. systemd restarts the process.
///
/// # Errors
/// The system gives no thread for the reports, or its sandbox fails.
pub(crate) fn report_panics(journal: Journal, sandbox: &ThreadSandbox) -> io::Result<()> {
    // LIMIT: PANIC_REPORTS_MAX.
    let (reports, inbox) = sync_channel::<LastReport>(PANIC_REPORTS_MAX);
    sandbox.spawn("panic", move || {
        inbox.into_iter().for_each(LastReport::write);
    })?;
    std::panic::set_hook(Box::new(move |panic| {
        let (text, backtrace) = (report(panic), Backtrace::capture());
        if CONTAINED.get() {
            let backtrace = Box::new(backtrace);
            return journal.report(Event::Panic { text, backtrace });
        }
        write_within_limit(&reports, text, backtrace);
        let thread = std::thread::current();
        if thread.name().is_some_and(|n| n.starts_with(WORKER_PREFIX)) {
            std::process::abort();
        }
    }));
    Ok(())
}

/// The report of a panic that may end the process.
struct LastReport {
    text: String,
    backtrace: Backtrace,
    // Dropped when the report is written.
    _done: Sender<()>,
}

impl LastReport {
    fn write(self) {
        let (text, backtrace) = (self.text, self.backtrace);
        // If standard error blocks, this thread ends with the process.
        let _ = match backtrace.status() {
            BacktraceStatus::Captured => writeln!(io::stderr(), "{text}\n{backtrace}"),
            _ => writeln!(io::stderr(), "{text}"),
        };
    }
}

fn report(panic: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("unnamed");
    let place = panic.location().map(ToString::to_string);
    format!(
        "thread \"{name}\" panicked at {}: {}",
        place.as_deref().unwrap_or("an unknown place"),
        panic.payload_as_str().unwrap_or("panic")
    )
}

// LIMIT: PANIC_REPORT.
fn write_within_limit(reports: &SyncSender<LastReport>, text: String, backtrace: Backtrace) {
    let (done, written) = channel::<()>();
    let report = LastReport {
        text,
        backtrace,
        _done: done,
    };
    if reports.try_send(report).is_ok() {
        // Returns when `_done` is dropped.
        let _ = written.recv_timeout(PANIC_REPORT);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, ExitStatus, Stdio};
    use std::time::{Duration, Instant};

    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

    use super::*;
    use crate::config::LogFormat;

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

    /// Set in the child process that a test starts, so that the child has its own panic hook and standard
    /// error.
    const CHILD: &str = "WARDGATE_TEST_PANIC";

    /// Runs the test `name` in a child process whose standard error is not read. Returns exit status and
    /// output.
    fn run_child(name: &str) -> (ExitStatus, String) {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .arg("--exact")
            .arg(format!("worker::contain::tests::{name}"))
            .arg("--nocapture")
            .env(CHILD, "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let until = Instant::now() + Duration::from_secs(20);
        let status = loop {
            match child.try_wait().expect("it is ours") {
                Some(status) => break status,
                None if Instant::now() > until => {
                    child.kill().expect("it is ours");
                    panic!("the process of \"{name}\" hangs");
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let mut output = String::new();
        let mut stdout = child.stdout.take().expect("it is a pipe");
        stdout.read_to_string(&mut output).expect("it is text");
        (status, output)
    }

    #[test]
    fn a_panic_of_a_connection_does_not_stop_its_worker_when_the_log_is_not_read() {
        if std::env::var_os(CHILD).is_some() {
            with_standard_error_full(a_panic_becomes_its_message);
        }
        let name = "a_panic_of_a_connection_does_not_stop_its_worker_when_the_log_is_not_read";
        let (status, output) = run_child(name);
        assert!(output.contains("the worker goes on"), "{output}");
        assert!(status.success(), "{status:?}");
    }

    #[test]
    fn a_panic_of_a_worker_ends_the_process_when_the_log_is_not_read() {
        if std::env::var_os(CHILD).is_some() {
            with_standard_error_full(|| panic!("outside of a connection"));
        }
        let name = "a_panic_of_a_worker_ends_the_process_when_the_log_is_not_read";
        let (status, output) = run_child(name);
        assert!(output.contains("about to panic"), "{output}");
        assert_eq!(status.signal(), Some(6), "SIGABRT: {status:?}");
    }

    /// The part that runs in the child process.
    fn with_standard_error_full(work: fn()) -> ! {
        let (journal, _writer) =
            Journal::start(LogFormat::Text, &ThreadSandbox::none()).expect("a thread");
        report_panics(journal, &ThreadSandbox::none()).expect("a thread");
        fill_standard_error();
        let name = format!("{WORKER_PREFIX}0");
        let worker = std::thread::Builder::new().name(name).spawn(move || {
            println!("about to panic");
            work();
            println!("the worker goes on");
        });
        worker.expect("a thread").join().expect("it was contained");
        // The journal is still blocked on standard error.
        std::process::exit(0);
    }

    // Fills the pipe until a write would block.
    fn fill_standard_error() {
        let stderr = io::stderr();
        let flags = fcntl_getfl(&stderr).expect("it is open");
        fcntl_setfl(&stderr, flags | OFlags::NONBLOCK).expect("it is ours");
        while rustix::io::write(&stderr, &[b'.'; 512]).is_ok() {}
        while rustix::io::write(&stderr, b".").is_ok() {}
        fcntl_setfl(&stderr, flags).expect("it is ours");
    }
}
