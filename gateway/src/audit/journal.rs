//! The journal: a bounded queue, and the one thread that writes what comes out of it.

use std::backtrace::BacktraceStatus;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::subscriber;
use tracing_subscriber::FmtSubscriber;

use super::event::{Connection, Event, Level, Reason};
use super::observed;
use super::rate::{Kind, Rate};
use crate::config::LogFormat;
use crate::limits::{EVENTS_MAX, JOURNAL_PAUSE};
use crate::tls::RefusalClass;

/// Where events are told. Never waits.
#[derive(Debug, Clone)]
pub struct Journal {
    queue: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
}

enum Entry {
    Event(Event),
    End,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entry")
    }
}

impl Journal {
    /// Starts the thread that writes to standard error.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(format: LogFormat) -> io::Result<(Self, Writer)> {
        let (queue, events) = sync_channel(EVENTS_MAX);
        let journal = Self {
            queue,
            dropped: Arc::new(AtomicU64::new(0)),
        };
        let work = move || write_all(&events, format);
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(work)?;
        let writer = Writer {
            journal: journal.clone(),
            thread,
        };
        Ok((journal, writer))
    }

    /// Tells an event. When nobody reads the log and the queue is full, it is counted and dropped.
    pub fn tell(&self, event: Event) {
        if self.queue.try_send(Entry::Event(event)).is_err() {
            // LIMIT: EVENTS_MAX, counted in wardgate_log_events_dropped_total.
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Events that were dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// The thread behind a journal.
#[derive(Debug)]
pub struct Writer {
    journal: Journal,
    thread: JoinHandle<()>,
}

impl Writer {
    /// Waits until all that was told is written, at most `limit`: nobody may be reading.
    pub fn finish(self, limit: Duration) {
        let until = Instant::now() + limit;
        while self.journal.queue.try_send(Entry::End).is_err() && Instant::now() < until {
            std::thread::sleep(POLL);
        }
        while !self.thread.is_finished() && Instant::now() < until {
            std::thread::sleep(POLL);
        }
    }
}

const POLL: Duration = Duration::from_millis(5);

fn write_all(events: &Receiver<Entry>, format: LogFormat) {
    let builder = FmtSubscriber::builder()
        .with_writer(io::stderr)
        .with_target(false);
    let writing = || {
        let mut rate = Rate::default();
        while let Ok(Entry::Event(event)) = next(events) {
            write(event, &mut rate);
        }
    };
    match format {
        LogFormat::Text => subscriber::with_default(builder.with_ansi(false).finish(), writing),
        LogFormat::Json => {
            let flat = builder.json().flatten_event(true).with_current_span(false);
            subscriber::with_default(flat.with_span_list(false).finish(), writing);
        }
    }
}

// Waking a sleeping thread costs who tells something, so after a line that is followed by none it is
// not asleep in the queue but away for a moment, and what is told meanwhile wakes nobody.
fn next(events: &Receiver<Entry>) -> Result<Entry, RecvError> {
    if let Ok(entry) = events.try_recv() {
        return Ok(entry);
    }
    std::thread::sleep(JOURNAL_PAUSE);
    events.recv()
}

fn write(event: Event, rate: &mut Rate) {
    match event {
        Event::Connection(account) => {
            if let Some(suppressed) = may_pass(&account, rate) {
                observed::write(&account);
                connection(&account, suppressed);
            }
        }
        Event::Ready {
            routes,
            cores,
            version,
        } => {
            tracing::info!(routes, cores = %cores, version, "ready");
        }
        Event::Panic { text, backtrace } => match backtrace.status() {
            BacktraceStatus::Captured => tracing::error!("{text}\n{backtrace}"),
            _ => tracing::error!("{text}"),
        },
        Event::Notice {
            level: Level::Info,
            text,
        } => tracing::info!("{text}"),
        Event::Notice {
            level: Level::Warn,
            text,
        } => tracing::warn!("{text}"),
        Event::Notice {
            level: Level::Error,
            text,
        } => tracing::error!("{text}"),
    }
}

// An accepted peer is always named. What strangers can cause at will is limited: the number of
// lines that were held back stands on the next one.
fn may_pass(account: &Connection, rate: &mut Rate) -> Option<u64> {
    if account.peer.is_some() {
        return Some(0);
    }
    let kind = match account.close.reason {
        Reason::Empty => return None,
        Reason::Handshake(class, _) => Kind::Refused(class),
        Reason::Protocol(_) => Kind::Refused(RefusalClass::Unknown),
        Reason::Unreachable(_) => Kind::Unreachable,
        Reason::Illegal(_) => Kind::Illegal,
        Reason::Forbidden(_) => Kind::Forbidden,
        Reason::Deadline(_) | Reason::Stalled(_) => Kind::Late,
        Reason::Limit(_) => Kind::Limited,
        Reason::Reset(_) | Reason::Truncated | Reason::Internal(_) => Kind::Broken,
        Reason::Complete | Reason::Drained => return Some(0),
    };
    rate.allow(&account.route.name, kind, Instant::now())
}

fn connection(account: &Connection, suppressed: u64) {
    let target = account
        .target
        .map_or_else(none, |target| target.to_string());
    let peer = account.peer.as_ref();
    let refused = account.refused.as_deref();
    let tls = account.tls.as_ref();
    tracing::info!(
        route = %account.route.name,
        mode = %account.route.mode,
        protocol = %account.route.protocol,
        source = %account.source,
        target = %target,
        peer = %peer.map_or("-", |peer| &peer.identity),
        key_sha256 = %peer.map_or("-", |peer| &peer.key_sha256),
        serial = %peer.map_or("-", |peer| &peer.serial),
        certificate = %refused.map_or_else(none, ToString::to_string),
        certificate_serial = %refused.map_or("-", |refused| &refused.serial),
        certificate_sha256 = %refused.map_or("-", |refused| &refused.fingerprint),
        tls = %tls.map_or("-", |tls| tls.version),
        suite = %tls.map_or("-", |tls| tls.suite),
        group = %tls.map_or("-", |tls| tls.group),
        sealed_bytes = account.sealed_bytes,
        opened_bytes = account.opened_bytes,
        seconds = account.duration.as_secs_f64(),
        ended_by = account.close.by.name(),
        reason = account.close.reason.to_string(),
        suppressed,
        "connection"
    );
}

fn none() -> String {
    "-".to_owned()
}
