//! Metrics of the server that serves the metrics.

use std::fmt;

use super::Counter;
use super::openmetrics::{Writer, labels};

/// Why a client of the HTTP server was refused or disconnected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HttpRefusal {
    /// All connections were in use, and a new one came.
    Connections,
    /// Its first request did not come in time.
    HeaderDeadline,
    /// It did not read its answer in time.
    Deadline,
    /// The header of its request was too large.
    HeaderBytes,
    /// Its request was not HTTP/1.1.
    Malformed,
    /// Its request had a body.
    Body,
    /// It sent a wrong token for the web page, or too many of them.
    Token,
    /// It asked for the web page by the name of another host.
    Host,
    /// All places for pages with live updates were taken.
    Events,
}

impl HttpRefusal {
    /// The number of reasons.
    pub const COUNT: usize = 9;
    /// All reasons.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Connections,
        Self::HeaderDeadline,
        Self::Deadline,
        Self::HeaderBytes,
        Self::Malformed,
        Self::Body,
        Self::Token,
        Self::Host,
        Self::Events,
    ];

    /// The reason's name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::HeaderDeadline => "header_deadline",
            Self::Deadline => "deadline",
            Self::HeaderBytes => "header_bytes",
            Self::Malformed => "malformed",
            Self::Body => "body",
            Self::Token => "token",
            Self::Host => "host",
            Self::Events => "events",
        }
    }

    /// Whether the client got an answer, which it may still have to read.
    #[must_use]
    pub fn is_answered(self) -> bool {
        matches!(self, Self::HeaderBytes | Self::Malformed | Self::Body)
    }
}

/// The refusals of the HTTP server.
#[derive(Debug, Default)]
pub struct HttpCounters([Counter; HttpRefusal::COUNT]);

impl HttpCounters {
    /// Counts a refusal.
    pub fn refused(&self, refusal: HttpRefusal) {
        self.of(refusal).add(1);
    }

    fn of(&self, refusal: HttpRefusal) -> &Counter {
        &self.0[refusal as usize]
    }

    /// Writes the metrics.
    pub(super) fn write(&self, writer: &mut Writer<'_, '_>) -> fmt::Result {
        let named = (
            "wardgate_http_refused_total",
            "Clients of the metrics server that were refused or disconnected, by reason.",
        );
        let rows = HttpRefusal::ALL.into_iter();
        let rows = rows.map(|one| (labels([("reason", one.name())]), self.of(one).get()));
        writer.counters(named, rows)
    }
}
