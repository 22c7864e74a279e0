//! The log lines of warnings about open connections.

use std::time::Instant;

use super::fields::{NONE, address_and_port};
use super::headline::Headlines;
use super::messages;
use super::rate::{LineKind, Rate};
use super::warning::{ConnectionFault, Warning};

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
