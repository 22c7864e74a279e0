//! Begins handshakes where we connect.

use std::sync::Arc;

use rustls::client::{ResolvesClientCert, Resumption, UnbufferedClientConnection};
use rustls::compress::CompressionCache;
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, Error, SignatureScheme};

use super::identity::{Description, OwnCertificate};
use super::normal_form::{self, NormalChain};
use super::own_chain;
use super::policy::{demands, provider, signing_key, versions};
use super::rules::Rules;
use super::service::protocol_name;
use super::verifier::{PeerVerification, Request, TlsRole, Verifier};
use crate::config::{Host, KeyExchange, RouteTls, ServiceLabel, Target};
use crate::pki::{Identity, Trust};

/// What all connections of an originate route share.
#[derive(Debug)]
pub struct Connector {
    // Its verifier knows no connection: `start` puts one in its place that does.
    template: ClientConfig,
    certified: Arc<CertifiedKey>,
    rules: Arc<Rules>,
    demands: &'static str,
    own: Arc<OwnCertificate>,
    service: Option<ServiceLabel>,
    key_exchange: KeyExchange,
}

impl Connector {
    /// Prepares everything that does not depend on the connection; `trust` has that of each of the route's peers, in
    /// their order.
    ///
    /// Fails where the key does not belong to the certificate, or where an anchor cannot be read.
    pub fn new(
        identity: &Arc<Identity>,
        tls: &RouteTls,
        trust: &[Arc<Trust>],
    ) -> Result<Self, Error> {
        let provider = provider(tls.policy, tls.key_exchange);
        let certified = certified_key(identity)?;
        let own = own_description(&certified);
        let rules = Arc::new(Rules::new(&tls.peers, trust, &provider)?);
        let demands = demands(tls.policy, tls.key_exchange);

        let nobody = Arc::new(PeerVerification::new(
            TlsRole::Client,
            demands,
            own.clone(),
            None,
        ));
        let mut template = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions(tls.policy, tls.key_exchange))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier::new(
                rules.clone(),
                nobody.clone(),
            )))
            .with_client_cert_resolver(Arc::new(Answer {
                certified: certified.clone(),
                verification: nobody,
            }));
        template.alpn_protocols = tls.service.iter().map(protocol_name).collect();
        // A resumed session would skip the verifier, and with it the revocation lists.
        template.resumption = Resumption::disabled();
        template.enable_early_data = false;
        template.require_ems = true;
        // The record layer of ours takes the keys over after the handshake.
        template.enable_secret_extraction = true;
        template.cert_compressors = Vec::new();
        template.cert_decompressors = Vec::new();
        template.cert_compression_cache = Arc::new(CompressionCache::Disabled);
        Ok(Self {
            template,
            certified,
            rules,
            demands,
            own,
            service: tls.service.clone(),
            key_exchange: tls.key_exchange,
        })
    }

    /// What peers will hold against the chain that this route presents, as ends of sentences about its file.
    #[must_use]
    pub fn own_chain_remarks(&self) -> Vec<String> {
        own_chain::remarks(&self.certified.cert, TlsRole::Server, &self.rules)
    }

    /// Begins a handshake with the server at `target`, whose name goes into the SNI; an address goes into none (RFC
    /// 6066 section 3). The server must be one that is expected there, where the target says so.
    ///
    /// Fails where the name is none that DNS could know.
    pub fn start(
        &self,
        target: &Target,
    ) -> Result<(UnbufferedClientConnection, Arc<PeerVerification>), Error> {
        let name = server_name(&target.host)?;
        let verification = PeerVerification::new(
            TlsRole::Client,
            self.demands,
            self.own.clone(),
            self.service.clone(),
        );
        let verification = Arc::new(verification.at(target).offering(self.key_exchange));
        let mut config = self.template.clone();
        config
            .dangerous()
            .set_certificate_verifier(Arc::new(Verifier::new(
                self.rules.clone(),
                verification.clone(),
            )));
        config.client_auth_cert_resolver = Arc::new(Answer {
            certified: self.certified.clone(),
            verification: verification.clone(),
        });
        Ok((
            UnbufferedClientConnection::new(Arc::new(config), name)?,
            verification,
        ))
    }
}

/// Our chain and key as rustls wants them; fails where they do not belong together.
pub(super) fn certified_key(identity: &Identity) -> Result<Arc<CertifiedKey>, Error> {
    // `CertifiedKey::from_der` would take a copy of the key and not wipe it.
    let key = signing_key(&identity.key)?;
    let readable: Vec<_> = identity
        .chain
        .iter()
        .take(1)
        .map(normal_form::readable)
        .collect();
    CertifiedKey::new(readable, Arc::clone(&key)).keys_match()?;
    Ok(Arc::new(CertifiedKey::new(identity.chain.clone(), key)))
}

/// Our own certificate in words, for the sentences about peers that refuse it.
pub(super) fn own_description(certified: &CertifiedKey) -> Arc<OwnCertificate> {
    let nothing = Vec::new().into();
    let (leaf, above) = certified.cert.split_first().unwrap_or((&nothing, &[]));
    let (top, is_presented) = NormalChain::new(leaf, above).top();
    Arc::new(OwnCertificate {
        leaf: Description::new(leaf),
        missing_issuer: (!is_presented).then_some(top),
    })
}

fn server_name(host: &Host) -> Result<ServerName<'static>, Error> {
    match host {
        Host::Ip(address) => Ok(ServerName::from(*address)),
        Host::Name(name) => ServerName::try_from(name.clone())
            .map_err(|_| Error::General(format!("target \"{name}\" is not a DNS name"))),
    }
}

/// Gives our certificate to a server that asks, and notes that it asked.
#[derive(Debug)]
struct Answer {
    certified: Arc<CertifiedKey>,
    verification: Arc<PeerVerification>,
}

impl ResolvesClientCert for Answer {
    // The server's hints are not asked: it may know our issuer by an intermediate that it does not
    // name, and an answer that it does not like costs one alert with a reason.
    fn resolve(&self, _hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // rustls would answer with no certificate, and a server that only "requests" one goes on.
        let request = match self.certified.key.choose_scheme(schemes) {
            Some(_) => Request::Answerable,
            None => Request::Unanswerable,
        };
        self.verification.requested(request);
        Some(self.certified.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
