//! Events as values: what the data plane tells the control plane.

use std::backtrace::Backtrace;
use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::id::ConnectionId;
use super::warning::Warning;
use crate::config::RouteConfig;
use crate::observe::{self, Observed};
use crate::tls::{Description, PeerInfo, RefusalClass, TlsInfo};

/// Something that an operator or an auditor may want to know.
#[derive(Debug)]
pub enum Event {
    /// A TLS peer was accepted, so that it is in the log also if the process is killed.
    Accepted(Box<AcceptedPeer>),
    /// A connection with an accepted peer goes on, as every `limits::PROGRESS_EVERY`.
    Progress(Box<Progress>),
    /// Something about a connection that an operator should see to.
    Warning(Box<Warning>),
    /// A connection ended; exactly one per accepted connection that carried or tried anything.
    Connection(Box<ConnectionSummary>),
    /// All listeners are open; once per start.
    Ready(Box<Ready>),
    /// A defect of ours that ended a connection. Where it was found is resolved when it is written, not
    /// by the worker.
    Panic {
        /// The thread, the place and the message.
        text: String,
        /// How it came there, where `RUST_BACKTRACE` asks for that.
        backtrace: Box<Backtrace>,
    },
    /// A sentence of the supervisor's.
    Notice {
        /// Who should care.
        level: Level,
        /// The sentence.
        text: String,
    },
}

/// Who should care about a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Whoever reads the log.
    Info,
    /// The operator may soon have to act.
    Warn,
    /// The operator must act.
    Error,
}

/// What is open at the end of a start.
#[derive(Debug)]
pub struct Ready {
    /// The routes that accept connections, with their listeners.
    pub listeners: Vec<(String, SocketAddr)>,
    /// Routes that are closed because of their files.
    pub closed: usize,
    /// Where metrics and health are served.
    pub metrics: Option<SocketAddr>,
    /// The CPUs with a worker, in words.
    pub cores: String,
    /// The program's version.
    pub version: &'static str,
}

/// A TLS peer that was accepted.
#[derive(Debug)]
pub struct AcceptedPeer {
    /// The connection.
    pub id: ConnectionId,
    /// The route that it came in by.
    pub route: Arc<RouteConfig>,
    /// The client.
    pub source: SocketAddr,
    /// The target, where the peer is the target.
    pub target: Option<SocketAddr>,
    /// The peer.
    pub peer: Arc<PeerInfo>,
    /// What was negotiated.
    pub tls: Option<TlsInfo>,
}

/// What a connection has carried until now. Holds no payload and no patient data.
#[derive(Debug)]
pub struct Progress {
    /// The connection.
    pub id: ConnectionId,
    /// The route that it came in by.
    pub route: Arc<RouteConfig>,
    /// The client.
    pub source: SocketAddr,
    /// The identity by which the peer was accepted.
    pub peer: Option<String>,
    /// Payload bytes that went from the plain side into TLS.
    pub sealed_bytes: u64,
    /// Payload bytes that came out of TLS to the plain side.
    pub opened_bytes: u64,
    /// What was observed, where the route observes.
    pub observed: Option<observe::Progress>,
    /// Time since the connection was accepted.
    pub duration: Duration,
}

/// The account of one connection, from accept to close. Holds no payload and no patient data.
#[derive(Debug)]
pub struct ConnectionSummary {
    /// Its number, as in the line of its peer's acceptance.
    pub id: ConnectionId,
    /// The route that it came in by.
    pub route: Arc<RouteConfig>,
    /// Who connected to us.
    pub source: SocketAddr,
    /// The target that was reached, where one was.
    pub target: Option<SocketAddr>,
    /// The accepted peer, where the handshake got so far.
    pub peer: Option<Arc<PeerInfo>>,
    /// The peer's certificate, where we refused it.
    pub refused: Option<Box<Description>>,
    /// What was negotiated.
    pub tls: Option<TlsInfo>,
    /// Payload bytes that went from the plain side into TLS (passthrough: from source to target).
    pub sealed_bytes: u64,
    /// Payload bytes that came out of TLS to the plain side (passthrough: from target to source).
    pub opened_bytes: u64,
    /// Bytes that came in and did not get to the TLS side (passthrough: the target), and to the plain side:
    /// they were not passed on, or not acknowledged when the connection ended. Not among the two above.
    pub undelivered_bytes: [u64; 2],
    /// What was seen of it, where something looked.
    pub observed: Option<Observed>,
    /// The rule that would have refused it, on a route that only reports.
    pub reported: Option<String>,
    /// From accept to close.
    pub duration: Duration,
    /// How it ended.
    pub close: Close,
}

impl ConnectionSummary {
    /// What the rules of the route would have refused if they were enforced, in a sentence; `None` where nothing, and
    /// where they are enforced.
    #[must_use]
    pub fn would_refuse(&self) -> Option<String> {
        if self.route.dicom.as_ref().is_none_or(|dicom| dicom.enforce) {
            return None;
        }
        let mut reasons: Vec<String> = self.reported.iter().cloned().collect();
        if let Some(Observed::Association(record)) = &self.observed {
            let commands = record.not_allowed.iter().map(ToString::to_string);
            let commands: Vec<_> = commands.collect();
            if !commands.is_empty() {
                reasons.push(format!("{} not in commands", commands.join(", ")));
            }
            if record.unknown_not_allowed > 0 {
                reasons.push("unknown commands, which are not in commands".to_owned());
            }
            if let Some((by, what)) = record.not_followed.filter(|_| record.would_end) {
                reasons.push(format!("what cannot be followed: {by} sent {what}"));
            }
        }
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    /// The account of a connection that ended before it was served.
    #[must_use]
    pub fn unserved(
        id: ConnectionId,
        route: Arc<RouteConfig>,
        source: SocketAddr,
        reason: Reason,
    ) -> Self {
        Self {
            id,
            route,
            source,
            target: None,
            peer: None,
            refused: None,
            tls: None,
            sealed_bytes: 0,
            opened_bytes: 0,
            undelivered_bytes: [0; 2],
            observed: None,
            reported: None,
            duration: Duration::ZERO,
            close: Close {
                by: ClosedBy::Gateway,
                reason,
            },
        }
    }
}

/// How a connection ended: who, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// Who ended it.
    pub by: ClosedBy,
    /// Why.
    pub reason: Reason,
}

/// Who ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosedBy {
    /// The application on the plain side.
    PlainSide,
    /// Who connected to us, where neither side is plain (passthrough).
    Source,
    /// The TLS party opposite.
    TlsPeer,
    /// The target that we connect to, before it was reached.
    Target,
    /// This gateway.
    Gateway,
}

impl ClosedBy {
    /// Its name in a log line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PlainSide => "plain side",
            Self::Source => "source",
            Self::TlsPeer => "TLS peer",
            Self::Target => "target",
            Self::Gateway => "gateway",
        }
    }
}

/// What a connection waited for when its time was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// The end of the TLS handshake.
    Handshake,
    /// The first message.
    FirstByte,
    /// Any byte, either way.
    Idle,
    /// The end of the second side, after the first had finished: `limits::HALF_CLOSED_SILENCE`.
    HalfClosed,
}

impl Deadline {
    /// The key that sets it for a route; `None` where none does.
    #[must_use]
    pub fn key(self) -> Option<&'static str> {
        match self {
            Self::Handshake => Some("timeouts.handshake"),
            Self::FirstByte => Some("timeouts.first_byte"),
            Self::Idle => Some("timeouts.idle"),
            Self::HalfClosed => None,
        }
    }
}

impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handshake => "handshake",
            Self::FirstByte => "first byte",
            Self::Idle => "idle",
            Self::HalfClosed => "half-closed",
        })
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Both directions ended in order.
    Complete,
    /// The process is stopping and nothing was outstanding, so both directions were ended in order.
    AtRest,
    /// An application closed while the other one waited for it in an open association.
    Unfinished,
    /// A socket was reset or failed; the text is the system's.
    Reset(String),
    /// The TLS stream ended without close_notify: it was cut.
    Truncated,
    /// The peer was refused, or refused us; the sentence names certificate, rule and remedy. The class is
    /// for the rate of log lines.
    Handshake(RefusalClass, String),
    /// No target could be reached; the sentence names each and its cause.
    Unreachable(String),
    /// A deadline passed.
    Deadline(Deadline),
    /// A receiver acknowledged but did not read for longer than `timeouts.stall`; who.
    Stalled(ClosedBy),
    /// The target ended the connection without having answered what it was sent; the sentence asks what it expects.
    Unanswered(String),
    /// Nothing came before the other side closed: a probe, not an error.
    Empty,
    /// What came first is not how the route's protocol begins; the sentence says why.
    Illegal(String),
    /// The rules of the route do not allow it; the sentence names the rule.
    Forbidden(String),
    /// The peer's records broke TLS; the text is the record layer's.
    Protocol(String),
    /// A limit of ours was reached; which one, and what to do.
    Limit(Cow<'static, str>),
    /// The route was draining and its time was over.
    Drained,
    /// An operator ended this connection.
    EndedByCommand,
    /// A defect of ours, contained to this connection.
    Internal(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => f.write_str("complete"),
            Self::AtRest => {
                f.write_str("closed with nothing outstanding, because the gateway is stopping")
            }
            Self::Unfinished => f.write_str(
                "closed while the other side waited for it: the association was neither answered, released \
                 nor aborted",
            ),
            Self::Reset(cause) => write!(f, "reset: {cause}"),
            Self::Truncated => f.write_str("cut off: the stream ended without close_notify"),
            Self::Handshake(_, sentence)
            | Self::Unreachable(sentence)
            | Self::Unanswered(sentence)
            | Self::Illegal(sentence)
            | Self::Forbidden(sentence) => f.write_str(sentence),
            Self::Deadline(deadline) => match deadline.key() {
                Some(key) => write!(f, "{deadline} deadline passed; {key} sets it for the route"),
                None => f.write_str(
                    "one side had finished and nothing moved for long; the other never ended",
                ),
            },
            Self::Stalled(receiver) => write!(
                f,
                "stall deadline passed: the {} is there but did not read; timeouts.stall sets it for \
                 the route",
                receiver.name()
            ),
            Self::Empty => f.write_str("closed without a byte"),
            Self::Protocol(what) => write!(f, "TLS record layer: {what}"),
            Self::Limit(which) => write!(f, "limit reached: {which}"),
            Self::Drained => f.write_str("drain deadline passed"),
            Self::EndedByCommand => f.write_str("ended by an operator's command"),
            Self::Internal(what) => write!(f, "internal error: {what}"),
        }
    }
}
