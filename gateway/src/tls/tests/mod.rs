//! Handshakes in memory, between ours and all kinds of peers.
//!
//! `authority` makes certificates, odd ones included, and `ends` holds the two ends of a handshake and
//! lets them talk until neither has anything to say.

mod authority;
mod bad_peers;
mod costly_chains;
mod ends;
mod good_peers;
mod last_words;
mod matrix;
mod negotiation;
mod outdated_peers;
mod sentences;
pub(super) mod sessions;
mod split_messages;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::CertificateRevocationListDer;

use self::authority::{Authority, Own};
use super::{Acceptor, Connector};
use crate::config::{Host, IdentityFiles, Located, PeerName, Policy, RecordLayer, RouteTls};
use crate::limits::KEY_RECORDS_MAX;
use crate::pki::{Identity, Trust};

/// The name that routes in these tests list.
const PEER: &str = "peer.example";

/// One gateway: who it is, whom it believes, whom its route lists.
struct Gateway {
    own: Own,
    trust: Trust,
    peers: Vec<PeerName>,
    policy: Policy,
    require_pq: bool,
}

impl Gateway {
    /// A gateway with a certificate of `authority`, which it believes, and `dns:peer.example` listed.
    fn under(authority: &Authority) -> Self {
        Self {
            own: authority.issue(&["us.example"]),
            trust: Trust {
                anchors: vec![authority.der()],
                crls: Vec::new(),
            },
            peers: vec![PeerName::Dns(PEER.into())],
            policy: Policy::Hscn,
            require_pq: false,
        }
    }

    fn with_crls(mut self, crls: Vec<CertificateRevocationListDer<'static>>) -> Self {
        self.trust.crls = crls;
        self
    }

    fn with_peers(mut self, peers: Vec<PeerName>) -> Self {
        self.peers = peers;
        self
    }

    fn connector(&self) -> Connector {
        Connector::new(&self.identity(), &self.rules()).expect("a good connector")
    }

    fn acceptor(&self) -> Acceptor {
        Acceptor::new(&self.identity(), &self.rules()).expect("a good acceptor")
    }

    fn identity(&self) -> Arc<Identity> {
        Arc::new(Identity {
            chain: self.own.chain.clone(),
            key: self.own.private_key(),
            trust: self.trust.clone(),
        })
    }

    fn rules(&self) -> RouteTls {
        let file = |name: &str| Located {
            value: PathBuf::from(name),
            line: 1,
        };
        RouteTls {
            identity: Arc::new(IdentityFiles {
                certificate: file("site.pem"),
                key: file("site.key"),
                trust: file("trust.pem"),
                crl: Vec::new(),
            }),
            peers: self.peers.clone(),
            policy: self.policy,
            require_pq: self.require_pq,
            record_layer: RecordLayer::default(),
            key_records: KEY_RECORDS_MAX,
        }
    }
}

fn target() -> Host {
    Host::Name("target.example".into())
}
