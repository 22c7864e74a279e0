//! Events as values: what the data plane reports to the control plane.

use std::backtrace::Backtrace;
use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::id::ConnectionId;
use super::messages::LogMessage;
use super::warning::Warning;
use crate::config::RouteConfig;
use crate::observe::{self, Observed};
use crate::tls::{CertificateDescription, NotAccepted, PeerInfo, RefusalClass, TlsInfo, TunnelId};

/// An event for operators or auditors.
#[derive(Debug)]
pub enum Event {
    /// A TLS peer was accepted. Logged at once, so that the log has it even if the process is killed.
    Accepted(Box<AcceptedPeer>),
    /// An open connection with an accepted peer, every `limits::PROGRESS_EVERY`.
    Progress(Box<ConnectionProgress>),
    /// A problem of a connection that an operator should fix.
    Warning(Box<Warning>),
    /// A connection ended; exactly one event per accepted connection that carried or attempted anything.
    Connection(Box<ConnectionSummary>),
    /// All listeners are open; once per start.
    Ready(Box<Ready>),
    /// A bug that ended a connection. The backtrace is resolved when it is written, not by the worker.
    Panic {
        /// The thread, the location and the message.
        text: String,
        /// The backtrace, if `RUST_BACKTRACE` requests it.
        backtrace: Box<Backtrace>,
    },
    /// A message of the supervisor.
    Notice {
        /// Its kind, which has its severity.
        message: &'static LogMessage,
        /// The sentence.
        text: String,
    },
}

/// The severity of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Information.
    Info,
    /// The operator may soon have to act.
    Warn,
    /// The operator must act.
    Error,
}

/// The open routes at the end of a start.
#[derive(Debug)]
pub struct Ready {
    /// The routes that accept connections, with their listeners.
    pub listeners: Vec<(String, SocketAddr)>,
    /// Routes that are closed because of their files.
    pub closed: usize,
    /// Where metrics and health are served.
    pub metrics: Option<SocketAddr>,
    /// The CPUs with a worker, as text.
    pub cores: String,
    /// The program's version.
    pub version: &'static str,
}

/// A TLS peer that was accepted.
#[derive(Debug)]
pub struct AcceptedPeer {
    /// The connection.
    pub id: ConnectionId,
    /// The route of the connection.
    pub route: Arc<RouteConfig>,
    /// The client.
    pub source: SocketAddr,
    /// The address of the client, if a proxy has named it before.
    pub client: Option<SocketAddr>,
    /// The target, if the peer is the target.
    pub target: Option<SocketAddr>,
    /// The peer.
    pub peer: Arc<PeerInfo>,
    /// What was negotiated.
    pub tls: Option<TlsInfo>,
    /// The id of the TLS connection, the same at both ends.
    pub tunnel: Option<TunnelId>,
}

/// What an open connection has carried so far. Holds no payload and no patient data.
#[derive(Debug)]
pub struct ConnectionProgress {
    /// The connection.
    pub id: ConnectionId,
    /// The route of the connection.
    pub route: Arc<RouteConfig>,
    /// The client.
    pub source: SocketAddr,
    /// The identity by which the peer was accepted.
    pub peer: Option<String>,
    /// The id of the TLS connection, the same at both ends.
    pub tunnel: Option<TunnelId>,
    /// Payload bytes that went from the plain side into TLS.
    pub sealed_bytes: u64,
    /// Payload bytes that came out of TLS to the plain side.
    pub opened_bytes: u64,
    /// What was observed, if the route is observed.
    pub observed: Option<observe::Progress>,
    /// Time since the connection was accepted.
    pub duration: Duration,
}

/// The summary of one connection, from accept to close. Holds no payload and no patient data.
#[derive(Debug)]
pub struct ConnectionSummary {
    /// Its number, the same as in the log line of the peer's acceptance.
    pub id: ConnectionId,
    /// The route of the connection.
    pub route: Arc<RouteConfig>,
    /// The client's address.
    pub source: SocketAddr,
    /// The address of the client as a proxy or the other gateway names it; `None` if `source` is the client.
    pub client: Option<SocketAddr>,
    /// The connected target, if there was one.
    pub target: Option<SocketAddr>,
    /// The accepted peer, if the handshake got that far.
    pub peer: Option<Arc<PeerInfo>>,
    /// The peer's certificate, if the gateway refused it.
    pub refused: Option<Box<CertificateDescription>>,
    /// What was negotiated.
    pub tls: Option<TlsInfo>,
    /// The id of the TLS connection, the same at both ends; `None` before the handshake is complete.
    pub tunnel: Option<TunnelId>,
    /// Payload bytes that went from the plain side into TLS (passthrough: from source to target).
    pub sealed_bytes: u64,
    /// Payload bytes that came out of TLS to the plain side (passthrough: from target to source).
    pub opened_bytes: u64,
    /// Received bytes that did not reach the TLS side (passthrough: the target), and the plain side: they
    /// were not forwarded, or not acknowledged when the connection ended. Not included in the two counts
    /// above.
    pub undelivered_bytes: [u64; 2],
    /// What was observed, if the route is observed.
    pub observed: Option<Observed>,
    /// The rule that would have refused the association, on a route that only reports.
    pub reported: Option<String>,
    /// The time from accept to close.
    pub duration: Duration,
    /// How it ended.
    pub close: Close,
}

impl ConnectionSummary {
    /// What the route's rules would have refused if they were enforced, as a message. `None` if they would
    /// have refused nothing, or are enforced.
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
                reasons.push(format!("unobservable traffic: {by} sent {what}"));
            }
        }
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    /// The summary of a connection that ended before it was served.
    #[must_use]
    pub fn unserved(
        id: ConnectionId,
        route: Arc<RouteConfig>,
        source: SocketAddr,
        reason: CloseReason,
    ) -> Self {
        Self {
            id,
            route,
            source,
            client: None,
            target: None,
            peer: None,
            refused: None,
            tls: None,
            tunnel: None,
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

/// How a connection ended: by which party, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// The party that ended it.
    pub by: ClosedBy,
    /// Why.
    pub reason: CloseReason,
}

/// The party that ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosedBy {
    /// The application on the plain side.
    PlainSide,
    /// The client, on passthrough routes, where neither side is plain.
    Source,
    /// The TLS peer.
    TlsPeer,
    /// The target, before it was connected.
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
    /// Any byte of an association in which nothing is outstanding.
    AssociationIdle,
    /// The end of the second side, after the first had finished: `relay::limits::HALF_CLOSED_SILENCE`.
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
            Self::AssociationIdle => Some("timeouts.association_idle"),
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
            Self::AssociationIdle => "association idle",
            Self::HalfClosed => "half-closed",
        })
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// Both directions ended cleanly.
    Complete,
    /// The process is stopping and nothing was outstanding, so the gateway ended both directions cleanly.
    AtRest,
    /// An application closed while the other one waited for it in an open association.
    Unfinished,
    /// A socket was reset or failed, with the system's error.
    Reset(String),
    /// The TLS stream ended without close_notify, so it may be truncated.
    Truncated,
    /// The peer was refused, or refused us. The message names certificate, rule and remedy. The class is for
    /// the rate limit of log lines.
    Handshake(RefusalClass, String),
    /// No target could be reached. The message names each target and its cause.
    Unreachable(String),
    /// This deadline passed.
    Deadline(Deadline),
    /// This receiver acknowledged packets but did not read for longer than `timeouts.stall`.
    Stalled(ClosedBy),
    /// The target ended the connection without an answer. The message asks what the target expects.
    Unanswered(String),
    /// The client closed before the first byte: a port check, not an error.
    Empty,
    /// The client's address is in none of the networks of `from`.
    SourceNotAllowed,
    /// The client's address is in none of the networks of `accept_proxy`.
    ProxyNotListed,
    /// The address that the peer carries is in none of the networks of `carried_from`.
    CarriedNotAllowed,
    /// The first bytes are not of the route's protocol; the message gives the reason.
    Illegal(String),
    /// The route's rules do not allow the association; the message names the rule.
    Forbidden(String),
    /// The peer's records violate TLS, with the record layer's error.
    Protocol(String),
    /// This limit of the gateway was reached; the message says what to do.
    Limit(Cow<'static, str>),
    /// The route was draining, and the drain time passed.
    Drained,
    /// An operator ended this connection.
    EndedByCommand,
    /// The peer was accepted at the handshake, but is not any more: for example its certificate was revoked.
    PeerNotAccepted(NotAccepted),
    /// A bug, contained to this connection.
    Internal(String),
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => f.write_str("complete"),
            Self::AtRest => {
                f.write_str("closed with nothing outstanding, because the route is draining")
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
                    "half-closed and idle for 15 min",
                ),
            },
            Self::Stalled(receiver) => write!(
                f,
                "stall deadline passed: the {} responds but did not read; timeouts.stall sets it for \
                 the route",
                receiver.name()
            ),
            Self::Empty => f.write_str("closed without a byte"),
            Self::SourceNotAllowed => f.write_str(
                "the source address is in none of the networks of `from`; add its network there if it may connect",
            ),
            Self::ProxyNotListed => f.write_str(
                "the source address is in none of the networks of `accept_proxy`, and this route accepts only these \
                 proxies; add it there if it is a proxy",
            ),
            Self::CarriedNotAllowed => f.write_str(
                "the address that the peer carries is in none of the networks of `carried_from`; add its network \
                 there if the peer has such clients",
            ),
            Self::Protocol(what) => write!(f, "TLS record layer: {what}"),
            Self::Limit(which) => write!(f, "limit reached: {which}"),
            Self::Drained => f.write_str("drain deadline passed"),
            Self::PeerNotAccepted(fault) => write!(f, "the peer is not accepted any more: {fault}"),
            Self::EndedByCommand => f.write_str("ended by an operator's command"),
            Self::Internal(what) => write!(f, "internal error: {what}"),
        }
    }
}
