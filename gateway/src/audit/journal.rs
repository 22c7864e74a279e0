//! The journal: a bounded queue, and one thread that writes its events.

use std::backtrace::BacktraceStatus;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::subscriber;
use tracing_subscriber::FmtSubscriber;

use super::event::{
    AcceptedPeer, CloseReason, ConnectionProgress, ConnectionSummary, Event, Level, Ready,
};
use super::logfmt::Logfmt;
use super::observed;
use super::rate::{LineKind, Rate};
use super::times::seconds;
use super::warning;
use crate::audit::limits::{EVENTS_MAX, JOURNAL_PAUSE, LISTENERS_SHOWN_MAX};
use crate::config::{LogFormat, Mode};
use crate::observe;
use crate::tls::RefusalClass;

/// Accepts events. Never blocks.
#[derive(Debug, Clone)]
pub struct Journal {
    queue: SyncSender<JournalEntry>,
    dropped: Arc<AtomicU64>,
}

enum JournalEntry {
    Event(Event),
    End,
}

impl std::fmt::Debug for JournalEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entry")
    }
}

impl Journal {
    /// Starts the thread that writes to standard error.
    ///
    /// # Errors
    /// If the system cannot create a thread.
    pub fn start(format: LogFormat) -> io::Result<(Self, JournalWriter)> {
        let (queue, events) = sync_channel(EVENTS_MAX);
        let journal = Self {
            queue,
            dropped: Arc::new(AtomicU64::new(0)),
        };
        let work = move || write_all(&events, format);
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(work)?;
        let writer = JournalWriter {
            journal: journal.clone(),
            thread,
        };
        Ok((journal, writer))
    }

    /// A journal without a writer, for tests: the test reads its events from the second value.
    #[must_use]
    pub fn unwritten() -> (Self, Events) {
        let (queue, events) = sync_channel(EVENTS_MAX);
        let journal = Self {
            queue,
            dropped: Arc::new(AtomicU64::new(0)),
        };
        (journal, Events(events))
    }

    /// Reports an event. If the log is not read and the queue is full, the event is counted and dropped.
    pub fn report(&self, event: Event) {
        if self.queue.try_send(JournalEntry::Event(event)).is_err() {
            // LIMIT: EVENTS_MAX, counted in wardgate_log_events_dropped_total.
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The number of dropped events.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// The events of a journal without a writer.
pub struct Events(Receiver<JournalEntry>);

impl Events {
    /// Takes the events since the last call.
    #[must_use]
    pub fn take(&self) -> Vec<Event> {
        let entries = self.0.try_iter();
        let events = entries.filter_map(|entry| match entry {
            JournalEntry::Event(event) => Some(event),
            JournalEntry::End => None,
        });
        events.collect()
    }
}

/// The thread of a journal.
#[derive(Debug)]
pub struct JournalWriter {
    journal: Journal,
    thread: JoinHandle<()>,
}

impl JournalWriter {
    /// Waits until all reported events are written, at most `limit`, because the log may not be read.
    pub fn finish(self, limit: Duration) {
        let until = Instant::now() + limit;
        while self.journal.queue.try_send(JournalEntry::End).is_err() && Instant::now() < until {
            std::thread::sleep(POLL);
        }
        while !self.thread.is_finished() && Instant::now() < until {
            std::thread::sleep(POLL);
        }
    }
}

const POLL: Duration = Duration::from_millis(5);

fn write_all(events: &Receiver<JournalEntry>, format: LogFormat) {
    let builder = FmtSubscriber::builder()
        .with_writer(io::stderr)
        .with_target(false);
    let writing = || {
        let mut rate = Rate::default();
        while let Ok(JournalEntry::Event(event)) = next(events) {
            write(event, &mut rate);
        }
    };
    match format {
        LogFormat::Text => {
            let text = builder.with_ansi(false).event_format(Logfmt);
            subscriber::with_default(text.finish(), writing);
        }
        LogFormat::Json => {
            let flat = builder.json().flatten_event(true).with_current_span(false);
            subscriber::with_default(flat.with_span_list(false).finish(), writing);
        }
    }
}

// Waking a sleeping thread costs time on the reporting thread. After the last event the journal thread
// therefore pauses for a moment instead of waiting on the queue, so events in this time wake no thread.
fn next(events: &Receiver<JournalEntry>) -> Result<JournalEntry, RecvError> {
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
                connection(&account, level_of(&account, rate), suppressed);
            }
        }
        Event::Accepted(peer) => accepted(&peer),
        Event::Progress(so_far) => progress(&so_far),
        Event::Warning(about) => warning::write(&about, rate),
        Event::Ready(open) => ready(&open),
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

// The acceptance of a peer is always logged. Lines that unauthenticated clients can cause at will are
// limited; the next line holds the number of suppressed lines.
fn may_pass(account: &ConnectionSummary, rate: &mut Rate) -> Option<u64> {
    if account.peer.is_some() {
        return Some(0);
    }
    let kind = match account.close.reason {
        CloseReason::Empty => return None,
        CloseReason::Handshake(class, _) => LineKind::Refused(class),
        CloseReason::Protocol(_) => LineKind::Refused(RefusalClass::Unknown),
        CloseReason::Unreachable(_) | CloseReason::Unanswered(_) => LineKind::Unreachable,
        CloseReason::SourceNotAllowed
        | CloseReason::ProxyNotListed
        | CloseReason::CarriedNotAllowed => LineKind::SourceNotAllowed,
        CloseReason::Illegal(_) => LineKind::Illegal,
        CloseReason::Forbidden(_) => LineKind::Forbidden,
        CloseReason::Deadline(_) | CloseReason::Stalled(_) => LineKind::Late,
        CloseReason::Limit(_) => LineKind::Limited,
        CloseReason::Reset(_)
        | CloseReason::Truncated
        | CloseReason::Unfinished
        | CloseReason::Internal(_) => LineKind::Broken,
        CloseReason::Complete
        | CloseReason::AtRest
        | CloseReason::Drained
        | CloseReason::EndedByCommand
        | CloseReason::PeerNotAccepted(_) => {
            return Some(0);
        }
    };
    rate.allow(&account.route.name, kind, Instant::now())
}

fn ready(open: &Ready) {
    let mut listeners: Vec<_> = open
        .listeners
        .iter()
        .take(LISTENERS_SHOWN_MAX)
        .map(|(route, address)| format!("{route} {address}"))
        .collect();
    // LIMIT: LISTENERS_SHOWN_MAX.
    let further = open.listeners.len().saturating_sub(LISTENERS_SHOWN_MAX);
    if further > 0 {
        listeners.push(format!("and {further} more"));
    }
    tracing::info!(
        routes = open.listeners.len(),
        closed = open.closed,
        listeners = listeners.join(", "),
        metrics = %open.metrics.map_or_else(none, |address| address.to_string()),
        cores = %open.cores,
        version = open.version,
        "ready"
    );
}

fn accepted(accepted: &AcceptedPeer) {
    let target = accepted
        .target
        .map_or_else(none, |target| target.to_string());
    let (peer, tls) = (&accepted.peer, accepted.tls.as_ref());
    tracing::info!(
        id = %accepted.id,
        tunnel = %shown(accepted.tunnel),
        route = %accepted.route.name,
        source = %accepted.source,
        client = %shown(accepted.client),
        target = %target,
        peer = %peer.identity,
        key_sha256 = %peer.key_sha256,
        serial = %peer.serial,
        tls = %tls.map_or_else(|| "-".to_owned(), |tls| tls.version.to_string()),
        "accepted"
    );
}

fn progress(progress: &ConnectionProgress) {
    let seen = progress.observed.as_ref();
    let (titles, objects, object_bytes) = match seen {
        Some(observe::Progress::Association {
            titles,
            objects,
            object_bytes,
        }) => (*titles, *objects, *object_bytes),
        _ => (None, 0, 0),
    };
    let (messages, message_bytes, acknowledgements) = match seen {
        Some(observe::Progress::Conversation {
            messages,
            message_bytes,
            acknowledgements,
        }) => (*messages, *message_bytes, *acknowledgements),
        _ => (0, 0, 0),
    };
    tracing::info!(
        id = %progress.id,
        tunnel = %shown(progress.tunnel),
        route = %progress.route.name,
        source = %progress.source,
        peer = %progress.peer.as_deref().unwrap_or("-"),
        sealed_bytes = progress.sealed_bytes,
        opened_bytes = progress.opened_bytes,
        calling = titles.map_or_else(none, |(calling, _)| calling.to_string()),
        called = titles.map_or_else(none, |(_, called)| called.to_string()),
        objects,
        object_bytes,
        messages,
        message_bytes,
        acknowledgements,
        seconds = seconds(progress.duration),
        "open"
    );
}

fn level_of(account: &ConnectionSummary, rate: &mut Rate) -> Level {
    let level = level(account);
    // The lines of unauthenticated clients are limited by `may_pass`.
    if level == Level::Warn && account.peer.is_some() {
        let route = &account.route.name;
        let is_rare = rate
            .allow(route, LineKind::Warned, Instant::now())
            .is_some();
        return if is_rare { level } else { Level::Info };
    }
    level
}

/// The severity of the end of a connection. Operators must fix configured targets and peers that do not work;
/// every client can cause the other ends. A client that knows the name of a peer can cause a warning that
/// this peer is refused; `rate` limits these.
fn level(account: &ConnectionSummary) -> Level {
    match &account.close.reason {
        CloseReason::Internal(_) => Level::Error,
        CloseReason::Unreachable(_) | CloseReason::Unanswered(_) => Level::Warn,
        // Targets are configured. Of the clients, only those with a certificate of a trusted CA count.
        CloseReason::Handshake(class, _) => match (account.route.mode, class) {
            (Mode::Terminate, RefusalClass::Unknown) => Level::Info,
            _ => Level::Warn,
        },
        _ => Level::Info,
    }
}

fn connection(account: &ConnectionSummary, level: Level, suppressed: u64) {
    let target = account
        .target
        .map_or_else(none, |target| target.to_string());
    let peer = account.peer.as_ref();
    let refused = account.refused.as_deref();
    let tls = account.tls.as_ref();
    // In `tracing`, a level is a constant of each call site.
    macro_rules! write_at {
        ($level:ident) => {
            tracing::$level!(
                id = %account.id,
                tunnel = %shown(account.tunnel),
                route = %account.route.name,
                mode = %account.route.mode,
                protocol = %account.route.protocol,
                source = %account.source,
                client = %shown(account.client),
                target = %target,
                peer = %peer.map_or("-", |peer| &peer.identity),
                key_sha256 = %peer.map_or("-", |peer| &peer.key_sha256),
                serial = %peer.map_or("-", |peer| &peer.serial),
                certificate = %refused.map_or_else(none, ToString::to_string),
                certificate_serial = %refused.map_or("-", |refused| &refused.serial),
                certificate_sha256 = %refused.map_or("-", |refused| &refused.fingerprint),
                tls = %tls.map_or_else(|| "-".to_owned(), |tls| tls.version.to_string()),
                suite = %tls.map_or("-", |tls| tls.suite),
                group = %tls.map_or("-", |tls| tls.group),
                sealed_bytes = account.sealed_bytes,
                opened_bytes = account.opened_bytes,
                undelivered_bytes = account.undelivered_bytes.iter().sum::<u64>(),
                seconds = seconds(account.duration),
                ended_by = account.close.by.name(),
                reason = account.close.reason.to_string(),
                suppressed,
                "connection"
            )
        };
    }
    match level {
        Level::Info => write_at!(info),
        Level::Warn => write_at!(warn),
        Level::Error => write_at!(error),
    }
}

fn shown(value: Option<impl std::fmt::Display>) -> String {
    value.map_or_else(none, |value| value.to_string())
}

fn none() -> String {
    "-".to_owned()
}
