//! The service label, by which both ends of a route recognise that they belong to the same route.
//!
//! The label is an ALPN protocol name (RFC 7301). Both ends' signatures cover it, and the server confirms
//! it. Other servers that do not use ALPN ignore it.

use super::text::printable;
use crate::config::ServiceLabel;

/// The prefix of this program's protocol names; the label follows.
const PREFIX: &[u8] = b"wardgate/";

/// The protocol name of a label.
pub(super) fn protocol_name(label: &ServiceLabel) -> Vec<u8> {
    [PREFIX, label.0.as_bytes()].concat()
}

/// What a client asks for by the protocol names that it offers. `label` is the route's own.
pub(super) fn asked<'a>(
    offered: impl Iterator<Item = &'a [u8]>,
    label: Option<&ServiceLabel>,
) -> RequestedService {
    let mut first = None;
    for asked in offered.filter_map(|name| name.strip_prefix(PREFIX)) {
        if label.is_some_and(|label| label.0.as_bytes() == asked) {
            return RequestedService::This;
        }
        first.get_or_insert(asked);
    }
    match first {
        Some(other) => RequestedService::Another(printable(&String::from_utf8_lossy(other))),
        None => RequestedService::Nothing,
    }
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RequestedService {
    /// The route's own service.
    This,
    /// Another service, the first that the client names: escaped and bounded.
    Another(String),
    /// No service of this program.
    Nothing,
}
