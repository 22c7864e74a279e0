//! The journal: a bounded queue, and one thread that writes its events.

use std::backtrace::BacktraceStatus;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use super::event::{
    AcceptedPeer, CloseReason, ConnectionProgress, ConnectionSummary, Event, Ready,
};
use super::fields::{NONE, address_and_port, shown};
use super::headline::{self, Headlines};
use super::level::Level;
use super::messages::{LogMessage, PANIC};
use super::observed;
use super::output;
use super::rate::{LineKind, Rate};
use super::refusals::{LastRefusal, Refusals};
use super::times::seconds;
use super::warning_line;
use crate::audit::limits::{EVENTS_MAX, JOURNAL_PAUSE, LISTENERS_SHOWN_MAX};
use crate::config::{LogFormat, Mode};
use crate::metrics::LogCounts;
use crate::observe;
use crate::thread_sandbox::ThreadSandbox;
use crate::tls::RefusalClass;

/// Accepts events. Never blocks.
#[derive(Debug, Clone)]
pub struct Journal {
    queue: SyncSender<JournalEntry>,
    dropped: Arc<AtomicU64>,
    refusals: Refusals,
    queued: Arc<AtomicU64>,
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
    /// Starts the thread that writes to standard error or journald, restricted by `sandbox`.
    ///
    /// # Errors
    /// If journald does not answer, or the system cannot create a thread.
    pub fn start(format: LogFormat, sandbox: &ThreadSandbox) -> io::Result<(Self, JournalWriter)> {
        if format == LogFormat::Journald
            && let Some(problem) = output::journald_problem()
        {
            return Err(io::Error::other(problem));
        }
        let (queue, events) = sync_channel(EVENTS_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let journal = Self {
            queue,
            dropped: Arc::clone(&dropped),
            queued: Arc::default(),
            refusals: Refusals::default(),
        };
        let thread = JournalThread {
            events,
            format,
            dropped,
            queued: Arc::clone(&journal.queued),
            refusals: journal.refusals.clone(),
        };
        let thread = sandbox.spawn("journal", move || thread.write_all())?;
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
            dropped: Arc::default(),
            queued: Arc::default(),
            refusals: Refusals::default(),
        };
        (journal, Events(events))
    }

    /// Reports an event. If the log is not read and the queue is full, the event is counted and dropped.
    pub fn report(&self, event: Event) {
        // Before the event is there: the writer may take it at once.
        self.queued.fetch_add(1, Ordering::Relaxed);
        if self.queue.try_send(JournalEntry::Event(event)).is_err() {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            // LIMIT: EVENTS_MAX, counted in wardgate_log_events_dropped_total.
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The state of the queue, for the metrics.
    #[must_use]
    pub fn counts(&self) -> LogCounts {
        LogCounts {
            dropped: self.dropped(),
            queued: self.queued.load(Ordering::Relaxed),
        }
    }

    /// The number of dropped events.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The last refused connections, the newest first.
    #[must_use]
    pub fn refusals(&self) -> Vec<LastRefusal> {
        self.refusals.all()
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

/// What the thread of a journal works with.
struct JournalThread {
    events: Receiver<JournalEntry>,
    format: LogFormat,
    dropped: Arc<AtomicU64>,
    queued: Arc<AtomicU64>,
    refusals: Refusals,
}

impl JournalThread {
    fn write_all(self) {
        let headlines = Headlines::new(self.format);
        output::with(self.format, &self.dropped, || {
            let mut rate = Rate::default();
            while let Ok(JournalEntry::Event(event)) = next(&self.events) {
                self.queued.fetch_sub(1, Ordering::Relaxed);
                if let Event::Connection(account) = &event {
                    self.refusals.note(account, SystemTime::now());
                }
                output::check(self.format, &self.dropped);
                write(event, headlines, &mut rate);
            }
        });
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

fn write(event: Event, headlines: Headlines, rate: &mut Rate) {
    match event {
        Event::Connection(account) => {
            if let Some(suppressed) = may_pass(&account, rate) {
                observed::write(&account, headlines);
                let level = level_of(&account, rate);
                connection(&account, headlines, level, suppressed);
            }
        }
        Event::Accepted(peer) => accepted(&peer, headlines),
        Event::Progress(so_far) => progress(&so_far, headlines),
        Event::Warning(about) => warning_line::write(&about, headlines, rate),
        Event::Ready(open) => ready(&open, headlines),
        Event::Panic { text, backtrace } => match backtrace.status() {
            BacktraceStatus::Captured => notice(&PANIC, &format!("{text}\n{backtrace}")),
            _ => notice(&PANIC, &text),
        },
        Event::Notice { message, text } => notice(message, &text),
    }
}

pub(super) fn notice(message: &LogMessage, text: &str) {
    let code = message.code();
    match message.level() {
        Level::Info => tracing::info!(code, "{text}"),
        Level::Warn => tracing::warn!(code, "{text}"),
        Level::Error => tracing::error!(code, "{text}"),
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
    rate.allow(
        &account.route.name,
        kind,
        account.client.unwrap_or(account.source).ip(),
        Instant::now(),
    )
}

fn ready(open: &Ready, headlines: Headlines) {
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
    let listeners = listeners.join(", ");
    let headline = headlines.of("ready", || {
        format!("{listeners}; {} routes are closed", open.closed)
    });
    tracing::info!(
        event.name = headlines.event("ready"),
        routes = open.listeners.len(),
        closed = open.closed,
        listeners,
        metrics = %shown(open.metrics),
        cores = %open.cores,
        service.version = open.version,
        "{headline}"
    );
}

fn accepted(accepted: &AcceptedPeer, headlines: Headlines) {
    let (client, client_port) = address_and_port(Some(accepted.source));
    let (server, server_port) = address_and_port(accepted.target);
    let (peer, tls) = (&accepted.peer, accepted.tls.as_ref());
    let headline = headlines.of("accepted", || headline::of_accepted(accepted));
    tracing::info!(
        event.name = headlines.event("accepted"),
        id = %accepted.id,
        tunnel = %shown(accepted.tunnel),
        route = %accepted.route.name,
        client.address = %client,
        client.port = client_port,
        forwarded_for = %shown(accepted.client),
        server.address = %server,
        server.port = server_port,
        peer = %peer.identity,
        key_sha256 = %peer.key_sha256,
        serial = %peer.serial,
        tls.protocol.version = %shown(tls.map(|tls| tls.version)),
        "{headline}"
    );
}

fn progress(progress: &ConnectionProgress, headlines: Headlines) {
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
    let (client, client_port) = address_and_port(Some(progress.source));
    let headline = headlines.of("open", || headline::of_progress(progress));
    tracing::info!(
        event.name = headlines.event("open"),
        id = %progress.id,
        tunnel = %shown(progress.tunnel),
        route = %progress.route.name,
        client.address = %client,
        client.port = client_port,
        peer = %progress.peer.as_deref().unwrap_or(NONE),
        sealed_bytes = progress.sealed_bytes,
        opened_bytes = progress.opened_bytes,
        calling = shown(titles.map(|(calling, _)| calling)),
        called = shown(titles.map(|(_, called)| called)),
        objects,
        object_bytes,
        messages,
        message_bytes,
        acknowledgements,
        seconds = seconds(progress.duration),
        "{headline}"
    );
}

fn level_of(account: &ConnectionSummary, rate: &mut Rate) -> Level {
    let level = level(account);
    // The lines of unauthenticated clients are limited by `may_pass`.
    if level == Level::Warn && account.peer.is_some() {
        let route = &account.route.name;
        let is_rare = rate
            .allow(route, LineKind::Warned, account.source.ip(), Instant::now())
            .is_some();
        return if is_rare { level } else { Level::Info };
    }
    level
}

/// The severity of the end of a connection. Operators must fix configured targets and peers that do not work;
/// every client can cause the other ends. A client that knows the name of a peer can cause a warning that
/// this peer is refused; `rate` limits these.
fn level(account: &ConnectionSummary) -> Level {
    let reason = &account.close.reason;
    // Targets are configured. Of the clients, only those with a certificate of a trusted CA count.
    let is_any_client = account.route.mode == Mode::Terminate
        && matches!(reason, CloseReason::Handshake(RefusalClass::Unknown, _));
    match reason.failure() {
        Some(failure) if !is_any_client => failure.level(),
        _ => Level::Info,
    }
}

fn connection(account: &ConnectionSummary, headlines: Headlines, level: Level, suppressed: u64) {
    let (client, client_port) = address_and_port(Some(account.source));
    let (server, server_port) = address_and_port(account.target);
    let peer = account.peer.as_ref();
    let refused = account.refused.as_deref();
    let tls = account.tls.as_ref();
    let failure = account.close.reason.failure();
    let headline = headlines.of("connection", || headline::of_connection(account));
    // In `tracing`, a level is a constant of each call site.
    macro_rules! write_at {
        ($level:ident) => {
            tracing::$level!(
                event.name = headlines.event("connection"),
                id = %account.id,
                tunnel = %shown(account.tunnel),
                route = %account.route.name,
                mode = %account.route.mode,
                network.protocol.name = %account.route.protocol,
                client.address = %client,
                client.port = client_port,
                forwarded_for = %shown(account.client),
                server.address = %server,
                server.port = server_port,
                peer = %peer.map_or(NONE, |peer| &peer.identity),
                key_sha256 = %peer.map_or(NONE, |peer| &peer.key_sha256),
                serial = %peer.map_or(NONE, |peer| &peer.serial),
                certificate = %shown(refused),
                certificate_serial = %refused.map_or(NONE, |refused| &refused.serial),
                certificate_sha256 = %refused.map_or(NONE, |refused| &refused.fingerprint),
                tls.protocol.version = %shown(tls.map(|tls| tls.version)),
                tls.cipher = %tls.map_or(NONE, |tls| tls.suite),
                tls.curve = %tls.map_or(NONE, |tls| tls.group),
                sealed_bytes = account.sealed_bytes,
                opened_bytes = account.opened_bytes,
                undelivered_bytes = account.undelivered_bytes.iter().sum::<u64>(),
                seconds = seconds(account.duration),
                ended_by = account.close.by.name(),
                error.type = failure.map_or(NONE, LogMessage::code),
                reason = account.close.reason.to_string(),
                suppressed,
                "{headline}"
            )
        };
    }
    match level {
        Level::Info => write_at!(info),
        Level::Warn => write_at!(warn),
        Level::Error => write_at!(error),
    }
}
