//! Warnings about an open connection, or about its target after its end.
//!
//! Each connection gets at most one warning of a kind. `rate` limits the warnings of each route.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::fields::{NONE, address_and_port};
use super::headline::Headlines;
use super::id::ConnectionId;
use super::messages;
use super::rate::{LineKind, Rate};
use crate::config::{Mode, Protocol, RouteConfig};
use crate::hl7::MllpRole;

/// A problem of a connection that an operator should fix.
#[derive(Debug)]
pub struct Warning {
    /// The connection.
    pub id: ConnectionId,
    /// The route of the connection.
    pub route: Arc<RouteConfig>,
    /// The client.
    pub source: SocketAddr,
    /// The target, if one was connected.
    pub target: Option<SocketAddr>,
    /// The identity by which the peer was accepted.
    pub peer: Option<String>,
    /// The problem.
    pub fault: ConnectionFault,
}

/// A problem of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionFault {
    /// The target accepted the connection but sent no byte in answer to the first request.
    NoAnswer {
        /// How long the target had for an answer.
        waited: Duration,
        /// Whether the client has closed.
        is_over: bool,
    },
    /// This side ended an MLLP message with FS alone.
    EndsWithoutCr(MllpRole),
}

/// The explanation of `ConnectionFault::EndsWithoutCr`.
pub(super) const ENDS_WITHOUT_CR: &str = "a message ended with byte 0x1c alone, so the other side still waits for its end: \
    MLLP ends a message with bytes 0x1c 0x0d; set these in the sending application";

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            ConnectionFault::EndsWithoutCr(_) => f.write_str(ENDS_WITHOUT_CR),
            ConnectionFault::NoAnswer { waited, is_over } => self.no_answer(waited, is_over, f),
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
            "accepted the connection but did not answer the {request} for {seconds} s"
        )?;
        if is_over {
            f.write_str(", then the client closed")?;
        }
        match (self.route.mode, self.route.protocol) {
            (Mode::Originate, _) => f.write_str(
                "; the log of the gateway at that target names the application that does not answer; check whether that \
                 application hangs",
            )?,
            (_, Protocol::Mllp) => f.write_str(
                "; check whether the receiver hangs, whether its port expects TLS, and whether it acknowledges messages \
                 at all",
            )?,
            (_, _) => f.write_str(
                "; check whether the archive hangs (restart its DICOM service), whether its port expects TLS, and whether \
                 another program listens there",
            )?,
        }
        Ok(())
    }
}

/// Writes the line, unless the limit of the source or of the route for this kind is reached.
pub(super) fn write(warning: &Warning, headlines: Headlines, rate: &mut Rate) {
    let (message, kind, by) = match warning.fault {
        ConnectionFault::NoAnswer { .. } => {
            (&messages::NO_ANSWER, LineKind::Unreachable, NONE.to_owned())
        }
        ConnectionFault::EndsWithoutCr(by) => (
            &messages::MLLP_END_WITHOUT_CR,
            LineKind::Illegal,
            by.to_string(),
        ),
    };
    let route = &warning.route.name;
    let Some(suppressed) = rate.allow(route, kind, warning.source.ip(), Instant::now()) else {
        return;
    };
    let about = headlines.about(route, warning.source);
    let (client, client_port) = address_and_port(Some(warning.source));
    let (server, server_port) = address_and_port(warning.target);
    tracing::warn!(
        code = message.code(),
        id = %warning.id,
        %route,
        client.address = %client,
        client.port = client_port,
        server.address = %server,
        server.port = server_port,
        peer = %warning.peer.as_deref().unwrap_or(NONE),
        %by,
        suppressed,
        "{about}{warning}"
    );
}
