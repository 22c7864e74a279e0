//! Warnings about a connection while it lasts, or about its target when it has ended.
//!
//! Each connection has one of a kind at most, and each route so many in a time as `rate` lets pass.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::id::ConnectionId;
use super::rate::{Kind, Rate};
use crate::config::{Mode, Protocol, RouteConfig};
use crate::hl7::Role;

/// Something about a connection that an operator should see to.
#[derive(Debug)]
pub struct Warning {
    /// The connection.
    pub id: ConnectionId,
    /// The route that it came in by.
    pub route: Arc<RouteConfig>,
    /// The client.
    pub source: SocketAddr,
    /// The target, where one was reached.
    pub target: Option<SocketAddr>,
    /// The identity by which the peer was accepted.
    pub peer: Option<String>,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The target accepted the connection and sent no byte of answer to the first request.
    NoAnswer {
        /// How long it had time to.
        waited: Duration,
        /// Whether the client has given up.
        is_over: bool,
    },
    /// This side ended a message of MLLP with FS alone.
    EndsWithoutCr(Role),
}

/// What `Fault::EndsWithoutCr` means.
pub(super) const ENDS_WITHOUT_CR: &str = "a message ended with byte 0x1c alone, and the other side waits for its end: \
    MLLP ends a message with bytes 0x1c 0x0d; set them in the application that sent it";

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            Fault::EndsWithoutCr(_) => f.write_str(ENDS_WITHOUT_CR),
            Fault::NoAnswer { waited, is_over } => self.no_answer(waited, is_over, f),
        }
    }
}

impl Warning {
    fn no_answer(
        &self,
        waited: Duration,
        is_over: bool,
        f: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        let request = match self.route.protocol {
            Protocol::Dicom => "association request (A-ASSOCIATE-RQ)",
            Protocol::Mllp => "first HL7 message",
            Protocol::Tcp => "first bytes",
        };
        match self.target {
            Some(target) => write!(f, "target {target} ")?,
            None => f.write_str("the target ")?,
        }
        let seconds = waited.as_secs();
        write!(
            f,
            "accepted the connection and sent no byte of answer to the {request} for {seconds} s"
        )?;
        if is_over {
            f.write_str(", then the client gave up")?;
        }
        match (self.route.mode, self.route.protocol) {
            (Mode::Originate, _) => f.write_str(
                "; the log of the gateway at that target names the application that does not answer; see whether that \
                 application hangs",
            )?,
            (_, Protocol::Mllp) => f.write_str(
                "; see whether the receiver hangs, whether its port expects TLS, and whether it acknowledges messages \
                 at all",
            )?,
            (_, _) => f.write_str(
                "; see whether the archive hangs (restart its DICOM service), whether its port expects TLS, and whether \
                 another program listens there",
            )?,
        }
        Ok(())
    }
}

/// Writes the line, unless the route had too many of its kind.
pub(super) fn write(warning: &Warning, rate: &mut Rate) {
    let (kind, by) = match warning.fault {
        Fault::NoAnswer { .. } => (Kind::Unreachable, "-".to_owned()),
        Fault::EndsWithoutCr(by) => (Kind::Illegal, by.to_string()),
    };
    let route = &warning.route.name;
    let Some(suppressed) = rate.allow(route, kind, Instant::now()) else {
        return;
    };
    let target = warning.target;
    tracing::warn!(
        id = %warning.id,
        %route,
        source = %warning.source,
        target = %target.map_or_else(|| "-".to_owned(), |target| target.to_string()),
        peer = %warning.peer.as_deref().unwrap_or("-"),
        %by,
        suppressed,
        "{warning}"
    );
}
