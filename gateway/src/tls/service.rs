//! What both ends of a route must agree on besides TLS: the service label, by which they recognise that they
//! belong to the same route, and whether the client's address is carried.
//!
//! Both are in one ALPN protocol name (RFC 7301). Both ends' signatures cover it, and the server confirms it.
//! Other servers that do not use ALPN ignore it.
//!
//! | label | address carried | protocol name |
//! |---|---|---|
//! | no | no | none |
//! | `archive` | no | `wardgate/archive` |
//! | no | yes | `wardgate-source/1` |
//! | `archive` | yes | `wardgate-source/1/archive` |

use super::text::printable;
use crate::config::{RouteTls, ServiceLabel};

/// The prefix of a protocol name; the label follows.
const PREFIX: &[u8] = b"wardgate/";

/// The name if the client's address is carried. The number is the version of the preface.
const CARRIES: &[u8] = b"wardgate-source/1";

/// Offered beside the name of the route by a client that renews its CA certificates. The server does not confirm it in
/// the handshake, but by its first message.
pub(super) const RENEWAL: &[u8] = b"wardgate-renew/1";

/// What the two ends of a route must agree on.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Agreement {
    /// The service label.
    pub(super) label: Option<ServiceLabel>,
    /// Whether the client's address is carried.
    pub(super) carries_source: bool,
}

impl Agreement {
    /// That of a route.
    pub(super) fn of(tls: &RouteTls) -> Self {
        Self {
            label: tls.service.clone(),
            carries_source: tls.carries_source,
        }
    }

    /// Its protocol name; `None` if there is nothing to agree on.
    pub(super) fn protocol_name(&self) -> Option<Vec<u8>> {
        let label = self.label.as_ref().map(|label| label.0.as_bytes());
        match (label, self.carries_source) {
            (None, false) => None,
            (Some(label), false) => Some([PREFIX, label].concat()),
            (None, true) => Some(CARRIES.to_vec()),
            (Some(label), true) => Some([CARRIES, b"/", label].concat()),
        }
    }

    /// What a client asks for by the protocol names that it offers.
    pub(super) fn asked<'a>(&self, offered: impl Iterator<Item = &'a [u8]>) -> Asked {
        let own = self.protocol_name();
        let mut first = None;
        for name in offered {
            if own.as_deref() == Some(name) {
                return Asked {
                    service: RequestedService::This,
                    carries_source: self.carries_source,
                };
            }
            if let Some(read) = read(name) {
                first.get_or_insert(read);
            }
        }
        let (label, carries_source) = first.unwrap_or_default();
        let own = self.label.as_ref().map(|label| label.0.as_bytes());
        let service = match label {
            Some(label) if own == Some(label) => RequestedService::This,
            Some(label) => RequestedService::Another(printable(&String::from_utf8_lossy(label))),
            None => RequestedService::Nothing,
        };
        Asked {
            service,
            carries_source,
        }
    }
}

// The label and whether the address is carried, if `name` is one of this program.
fn read(name: &[u8]) -> Option<(Option<&[u8]>, bool)> {
    if let Some(label) = name.strip_prefix(PREFIX) {
        return Some((Some(label), false));
    }
    match name.strip_prefix(CARRIES)? {
        [] => Some((None, true)),
        [b'/', label @ ..] => Some((Some(label), true)),
        _ => None,
    }
}

/// What a client asks for.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// The service.
    pub(super) service: RequestedService,
    /// Whether it will carry the address of its client.
    pub(super) carries_source: bool,
}

/// The service that a client asks for.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) enum RequestedService {
    /// The route's own service.
    This,
    /// Another service, the first that the client names: escaped and bounded.
    Another(String),
    /// No service of this program.
    #[default]
    Nothing,
}
