//! A peer that must be refused, as data: how it is made, which alert it must receive, and the words with which
//! the log must name rule and remedy.

use rustls::AlertDescription;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

use crate::accept_all::AcceptAll;
use crate::authority::{Authority, Own};

/// The side of TLS that a bad peer is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsSide {
    /// It connects to a terminate route.
    Client,
    /// An originate route connects to it.
    Server,
}

/// A peer that must be refused.
#[derive(Debug, Clone, Copy)]
pub struct BadPeer {
    /// Its name in the tests, of lower-case letters, digits and hyphens.
    pub name: &'static str,
    /// The alert that it must receive.
    pub alert: AlertDescription,
    /// Whether a gateway loads the trust that refuses this peer. It closes routes whose trust accepts nobody,
    /// so such a peer is met only when that trust went bad while the gateway was running.
    pub is_trust_loaded: bool,
    /// The only side on which it can be met.
    pub(crate) only: Option<TlsSide>,
    /// `{peer}` stands for the name that the route lists, `{usage}` for the key usage of the peer's side.
    pub(crate) words: &'static [&'static str],
    pub(crate) make: fn(&str, TlsSide) -> Made,
}

/// A bad peer and the trust of the route that must refuse it.
pub struct Made {
    /// The certificates that the peer presents, if it has any.
    pub own: Option<Own>,
    /// As a server: how it requests the certificate of the client.
    pub verifier: AcceptAll,
    /// The CAs that the route trusts.
    pub anchors: Vec<CertificateDer<'static>>,
    /// The revocation lists of the route.
    pub crls: Vec<CertificateRevocationListDer<'static>>,
    /// A peer that the same route must accept, where its trust permits any.
    pub good: Option<Own>,
}

impl BadPeer {
    /// Makes the peer, for a route that lists `peer`.
    pub fn make(&self, peer: &str, side: TlsSide) -> Made {
        (self.make)(peer, side)
    }

    /// The words that the log must contain.
    pub fn words(&self, peer: &str, side: TlsSide) -> Vec<String> {
        let usage = match side {
            TlsSide::Client => "clientAuth",
            TlsSide::Server => "serverAuth",
        };
        let words = self.words.iter();
        words
            .map(|words| words.replace("{peer}", peer).replace("{usage}", usage))
            .collect()
    }
}

impl Made {
    /// A peer whose route trusts `authority`, where a good certificate of `name` is accepted.
    pub(crate) fn under(authority: &Authority, name: &str, own: Own) -> Self {
        Self {
            good: Some(authority.issue(&[name])),
            ..Self::trusting(vec![authority.der()], own)
        }
    }

    /// A peer whose route trusts these CAs and accepts no peer.
    pub(crate) fn trusting(anchors: Vec<CertificateDer<'static>>, own: Own) -> Self {
        Self {
            own: Some(own),
            verifier: AcceptAll::default(),
            anchors,
            crls: Vec::new(),
            good: None,
        }
    }

    pub(crate) fn with_crls(self, crls: Vec<CertificateRevocationListDer<'static>>) -> Self {
        Self { crls, ..self }
    }

    pub(crate) fn without_good(self) -> Self {
        Self { good: None, ..self }
    }
}

/// The common name of the CA that a route trusts.
pub const SITE: &str = "Site CA";

/// The common name of a CA that no route trusts.
pub const OTHER: &str = "Other CA";
