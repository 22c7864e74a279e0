//! Handshakes in memory, between ours and all kinds of peers.
//!
//! `test_peers` makes the certificates, bad ones included; `ends` holds the two ends of a handshake and
//! passes bytes between them until neither sends anything more.

mod bad_peers;
mod costly_chains;
mod crl_choice;
mod ends;
mod final_alerts;
mod foreign_verifier;
mod good_peers;
mod hospital_pkis;
mod issuers;

mod many_peers;
mod matrix;
mod negotiation;
mod one_judge;
mod openssl;
mod sentences;
pub(super) mod sessions;
mod split_messages;
mod still_accepted;
mod targets;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

use super::{Acceptor, Connector};
use crate::config::limits::KEY_RECORDS_MAX;
use crate::config::{
    Host, IdentityFiles, KeyExchange, Located, Peer, PeerName, Policy, RecordLayer, RouteTls,
    ServiceLabel, Target, TrustFiles,
};
use crate::pki::{Identity, Trust};
use test_peers::PEER;
use test_peers::authority::{self, Authority, Own};

/// One gateway: who it is, whom its route lists, and whom it believes about them.
struct Gateway {
    own: Own,
    listed: Vec<Listed>,
    service: Option<&'static str>,
    carries_source: bool,
    policy: Policy,
    key_exchange: KeyExchange,
}

/// A peer that the route lists, and the CAs that may issue certificates for it.
struct Listed {
    name: Option<&'static str>,
    identities: Vec<PeerName>,
    anchors: Vec<CertificateDer<'static>>,
    crls: Vec<CertificateRevocationListDer<'static>>,
    // CAs that sign lists beside the anchors.
    issuers: Vec<CertificateDer<'static>>,
}

impl Listed {
    /// A peer of the table `name`, with one DNS name, of one CA.
    fn named(name: &'static str, dns: &str, authority: &Authority) -> Self {
        Self {
            name: Some(name),
            identities: vec![PeerName::Dns(dns.into())],
            anchors: vec![authority.der()],
            crls: Vec::new(),
            issuers: Vec::new(),
        }
    }

    fn trust(&self) -> Arc<Trust> {
        let trust = Trust::new(self.anchors.clone()).with_crls(self.crls.clone(), &self.issuers);
        Arc::new(trust.expect("good lists"))
    }
}

impl Gateway {
    /// A gateway with a certificate of `authority`, which it believes, and `dns:peer.example` listed.
    fn under(authority: &Authority) -> Self {
        let listed = Listed::named("", PEER, authority);
        Self {
            own: authority.issue(&["us.example"]),
            listed: vec![Listed {
                name: None,
                ..listed
            }],
            service: None,
            carries_source: false,
            policy: Policy::Hscn,
            key_exchange: KeyExchange::default(),
        }
    }

    /// The same that lists these peers.
    fn listing(authority: &Authority, listed: Vec<Listed>) -> Self {
        Self {
            listed,
            ..Self::under(authority)
        }
    }

    fn with_crls(mut self, crls: Vec<CertificateRevocationListDer<'static>>) -> Self {
        self.listed[0].crls = crls;
        self
    }

    /// CAs beside the anchors that sign its lists.
    fn with_issuers(mut self, issuers: Vec<CertificateDer<'static>>) -> Self {
        self.listed[0].issuers = issuers;
        self
    }

    fn with_own(self, own: Own) -> Self {
        Self { own, ..self }
    }

    fn with_peers(mut self, peers: Vec<PeerName>) -> Self {
        self.listed[0].identities = peers;
        self
    }

    fn carrying_source(self) -> Self {
        Self {
            carries_source: true,
            ..self
        }
    }

    fn with_service(self, label: &'static str) -> Self {
        Self {
            service: Some(label),
            ..self
        }
    }

    fn connector(&self) -> Connector {
        Connector::new(&self.identity(), &self.rules(), &self.trust()).expect("a good connector")
    }

    fn acceptor(&self) -> Acceptor {
        Acceptor::new(&self.identity(), &self.rules(), &self.trust()).expect("a good acceptor")
    }

    fn identity(&self) -> Arc<Identity> {
        Arc::new(Identity {
            chain: self.own.chain.clone(),
            key: self.own.private_key().into(),
        })
    }

    fn trust(&self) -> Vec<Arc<Trust>> {
        self.listed.iter().map(Listed::trust).collect()
    }

    fn rules(&self) -> RouteTls {
        let file = |name: &str| Located {
            value: PathBuf::from(name),
            line: 1,
        };
        let peers = self.listed.iter().map(|listed| {
            Arc::new(Peer {
                name: listed.name.map(ToOwned::to_owned),
                identities: listed.identities.clone(),
                trust: Arc::new(TrustFiles {
                    trust: file("trust.pem"),
                    crl: Vec::new(),
                }),
            })
        });
        RouteTls {
            identity: Arc::new(IdentityFiles {
                certificate: file("site.pem"),
                key: file("site.key"),
                trust: None,
            }),
            peers: peers.collect(),
            service: self.service.map(|label| ServiceLabel(label.to_owned())),
            carries_source: self.carries_source,
            policy: self.policy,
            key_exchange: self.key_exchange,
            record_layer: RecordLayer::default(),
            key_records: KEY_RECORDS_MAX,
        }
    }
}

fn target() -> Target {
    Target {
        host: Host::Name("target.example".into()),
        port: 2762,
        expected: None,
        connections: None,
    }
}
