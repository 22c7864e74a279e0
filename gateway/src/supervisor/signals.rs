//! The signals that the program acts on, and those that it only logs.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Instant;

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Event, Journal, messages};
use crate::supervisor::limits::SIGNAL_REPORT_EVERY;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SignalRequest {
    /// SIGHUP.
    Reload,
    /// SIGTERM: stop, and refuse clients from now on.
    Stop,
    /// SIGINT: the same, except that clients wait for the next process if the service manager keeps the listeners
    /// (`RestartKillSignal=` of the unit). Versions without this meaning stop as well.
    Restart,
}

/// The signals of a running gateway.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    ignored: Ignored,
    journal: Journal,
}

impl Signals {
    /// Handles the signals that the program acts on, in addition to the ignored ones. Requires the runtime.
    pub(super) fn new(ignored: Ignored, journal: Journal) -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            ignored,
            journal,
        })
    }

    /// Waits for a signal that the program acts on; logs the others. Cancel-safe.
    pub(super) async fn next(&mut self) -> SignalRequest {
        loop {
            let received = tokio::select! {
                _ = self.terminate.recv() => return SignalRequest::Stop,
                _ = self.interrupt.recv() => return SignalRequest::Restart,
                _ = self.hangup.recv() => return SignalRequest::Reload,
                received = self.ignored.next() => received,
            };
            if let Some(text) = received {
                let message = &messages::SIGNAL_IGNORED;
                self.journal.report(Event::Notice { message, text });
            }
        }
    }
}

/// Signals without a meaning here, whose default action ends the process. A script written for another
/// program may send one (nginx reopens its logs on SIGUSR1).
///
/// SIGQUIT and the signals of faults and resource limits keep the kernel's default action. Rust's runtime
/// ignores SIGPIPE.
pub(super) struct Ignored(Vec<Handled>);

struct Handled {
    name: String,
    signal: Signal,
    logged: Quiet,
}

/// The real-time signals of Linux that the C library leaves to programs.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

impl Ignored {
    /// Handles these signals from now on. Requires the runtime.
    pub(super) fn new() -> io::Result<Self> {
        let named = [
            ("SIGUSR1", Number::USR1),
            ("SIGUSR2", Number::USR2),
            ("SIGALRM", Number::ALARM),
            ("SIGSTKFLT", Number::STKFLT),
            ("SIGVTALRM", Number::VTALARM),
            ("SIGPROF", Number::PROF),
            ("SIGIO", Number::IO),
            ("SIGPWR", Number::POWER),
        ];
        let named = named.map(|(name, number)| (name.to_owned(), number.as_raw()));
        let real_time = REAL_TIME.map(|number| (format!("real-time signal {number}"), number));
        let handle = |(name, number)| {
            Ok(Handled {
                name,
                signal: signal(SignalKind::from_raw(number))?,
                logged: Quiet::default(),
            })
        };
        let all: io::Result<_> = named.into_iter().chain(real_time).map(handle).collect();
        Ok(Self(all?))
    }

    // Waits for the next ignored signal; returns a log line if one is due.
    async fn next(&mut self) -> Option<String> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<String>> {
        for handled in &mut self.0 {
            if handled.signal.poll_recv(context).is_ready() {
                let line = || {
                    let name = &handled.name;
                    format!("{name} is ignored; SIGTERM or SIGINT stops the gateway")
                };
                return Poll::Ready(handled.logged.allow(Instant::now()).then(line));
            }
        }
        Poll::Pending
    }
}

/// Allows one log line per `limits::SIGNAL_REPORT_EVERY`.
#[derive(Debug, Default)]
struct Quiet {
    last: Option<Instant>,
}

impl Quiet {
    fn allow(&mut self, now: Instant) -> bool {
        let since = |last| now.saturating_duration_since(last);
        let is_due = self
            .last
            .is_none_or(|last| since(last) >= SIGNAL_REPORT_EVERY);
        if is_due {
            self.last = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_frequent_signal_is_logged_once_a_minute() {
        let (start, mut quiet) = (Instant::now(), Quiet::default());
        let each = (0..300).map(|second| start + Duration::from_secs(second));
        assert_eq!(each.filter(|now| quiet.allow(*now)).count(), 5);
    }
}
