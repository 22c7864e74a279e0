//! Events as values: what the data plane tells the control plane.

use std::backtrace::Backtrace;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Route;
use crate::observe::Observed;
use crate::tls::{Description, PeerInfo, RefusalClass, TlsInfo};

/// Something that an operator or an auditor may want to know.
#[derive(Debug)]
pub enum Event {
    /// A connection ended; exactly one per accepted connection that carried or tried anything.
    Connection(Box<Connection>),
    /// All listeners are open; once per start.
    Ready {
        /// How many routes there are.
        routes: usize,
        /// The CPUs with a worker, in words.
        cores: String,
        /// The program's version.
        version: &'static str,
    },
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

/// The account of one connection, from accept to close. Holds no payload and no patient data.
#[derive(Debug)]
pub struct Connection {
    /// The route that it came in by.
    pub route: Arc<Route>,
    /// Who connected to us.
    pub source: SocketAddr,
    /// The target that was reached, where one was.
    pub target: Option<SocketAddr>,
    /// The accepted peer, where the handshake got so far.
    pub peer: Option<PeerInfo>,
    /// The peer's certificate, where we refused it.
    pub refused: Option<Box<Description>>,
    /// What was negotiated.
    pub tls: Option<TlsInfo>,
    /// Payload bytes that went from the plain side into TLS (passthrough: from source to target).
    pub sealed_bytes: u64,
    /// Payload bytes that came out of TLS to the plain side (passthrough: from target to source).
    pub opened_bytes: u64,
    /// What was seen of it, where something looked.
    pub observed: Option<Observed>,
    /// The rule that would have refused it, on a route that only reports.
    pub reported: Option<String>,
    /// From accept to close.
    pub duration: Duration,
    /// How it ended.
    pub close: Close,
}

impl Connection {
    /// The account of a connection that ended before it was served.
    #[must_use]
    pub fn unserved(route: Arc<Route>, source: SocketAddr, reason: Reason) -> Self {
        Self {
            route,
            source,
            target: None,
            peer: None,
            refused: None,
            tls: None,
            sealed_bytes: 0,
            opened_bytes: 0,
            observed: None,
            reported: None,
            duration: Duration::ZERO,
            close: Close {
                by: Party::Gateway,
                reason,
            },
        }
    }
}

/// How a connection ended: who, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// Who ended it.
    pub by: Party,
    /// Why.
    pub reason: Reason,
}

/// Who ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Party {
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

impl Party {
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

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Both directions ended in order.
    Complete,
    /// A socket was reset or failed; the text is the system's.
    Reset(String),
    /// The TLS stream ended without close_notify: it was cut.
    Truncated,
    /// The peer was refused, or refused us; the sentence names certificate, rule and remedy. The class is
    /// for the rate of log lines.
    Handshake(RefusalClass, String),
    /// No target could be reached; the sentence names each and its cause.
    Unreachable(String),
    /// A deadline passed; which one.
    Deadline(&'static str),
    /// A receiver acknowledged but did not read for longer than `timeouts.stall`; who.
    Stalled(Party),
    /// Nothing came before the other side closed: a probe, not an error.
    Empty,
    /// What came first is not how the route's protocol begins; the sentence says why.
    Illegal(String),
    /// The rules of the route do not allow it; the sentence names the rule.
    Forbidden(String),
    /// The peer's records broke TLS; the text is the record layer's.
    Protocol(String),
    /// A limit of ours was reached; which one.
    Limit(&'static str),
    /// The process is stopping and the drain's time was over.
    Drained,
    /// A defect of ours, contained to this connection.
    Internal(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => f.write_str("complete"),
            Self::Reset(cause) => write!(f, "reset: {cause}"),
            Self::Truncated => f.write_str("cut off: the stream ended without close_notify"),
            Self::Handshake(_, sentence)
            | Self::Unreachable(sentence)
            | Self::Illegal(sentence)
            | Self::Forbidden(sentence) => f.write_str(sentence),
            Self::Deadline("half-closed") => f.write_str(
                "one side had finished and nothing moved for long; the other never ended",
            ),
            Self::Deadline(which) => {
                // Each deadline is named as its key is.
                let key = which.replace(' ', "_");
                write!(
                    f,
                    "{which} deadline passed; timeouts.{key} sets it for the route"
                )
            }
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
            Self::Internal(what) => write!(f, "internal error: {what}"),
        }
    }
}
