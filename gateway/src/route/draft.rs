//! What a route is made of.

use std::sync::Arc;

use crate::config::RouteConfig;
use crate::tls::{Acceptor, Connector};

/// A route that a table is to have.
pub struct RouteDraft {
    /// The route as configured.
    pub config: Arc<RouteConfig>,
    /// Its mode with that mode's means.
    pub transport: Transport,
    /// A digest of the certificates, keys and lists that `transport` was made of; zeros where there are none.
    pub material: [u8; 32],
}

/// A route's mode, with what it shakes hands with.
pub enum Transport {
    /// Plaintext in, TLS out.
    Originate(Box<Connector>),
    /// TLS in, plaintext out.
    Terminate(Box<Acceptor>),
    /// TCP in, TCP out.
    Passthrough,
}
