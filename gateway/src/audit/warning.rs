//! Warnings about an open connection, or about its target after its end.
//!
//! Each connection gets at most one warning of a kind. `rate` limits the warnings of each route.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::id::ConnectionId;
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
