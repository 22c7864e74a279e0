//! Starts handshakes on originate routes.

use std::sync::Arc;

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::compress::CompressionCache;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, Error, SignatureScheme};

use super::identity::{CertificateDescription, OwnCertificate, PeerInfo};
use super::normal_form::{self, NormalChain};
use super::own_chain;
use super::policy::{demands, provider, signing_key, versions};
use super::recheck::NotAccepted;
use super::role::TlsRole;
use super::rules::PeerRules;
use super::rustls_states::{self, ClientConnection};
use super::service::{Agreement, RENEWAL};
use super::verifier::{CertificateRequest, PeerVerification, Verifier};
use crate::config::{Host, KeyExchange, RouteTls, Target};
use crate::pki::{Identity, Trust};

/// The TLS settings that all connections of an originate route share.
#[derive(Debug)]
pub struct Connector {
    // Its verifier belongs to no connection: `start` replaces it with one for the connection.
    template: ClientConfig,
    certified: Arc<CertifiedKey>,
    rules: Arc<PeerRules>,
    demands: &'static str,
    own: Arc<OwnCertificate>,
    agreement: Agreement,
    key_exchange: KeyExchange,
}

impl Connector {
    /// Prepares everything that does not depend on the connection. `trust` holds the trust of each of the
    /// route's peers, in the order of the peers.
    ///
    /// Fails if the key does not belong to the certificate, or if a trust anchor cannot be read.
    pub fn new(
        identity: &Arc<Identity>,
        tls: &RouteTls,
        trust: &[Arc<Trust>],
    ) -> Result<Self, Error> {
        let provider = provider(tls.policy, tls.key_exchange);
        let certified = certified_key(identity)?;
        let own = own_description(&certified);
        let rules = Arc::new(PeerRules::new(&tls.peers, trust, &provider)?);
        let demands = demands(tls.policy, tls.key_exchange);

        let nobody = Arc::new(PeerVerification::new(
            TlsRole::Client,
            demands,
            own.clone(),
            Agreement::default(),
        ));
        let mut template = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions(tls.policy, tls.key_exchange))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier::new(
                rules.clone(),
                nobody.clone(),
            )))
            .with_client_cert_resolver(Arc::new(ClientCertificateResolver {
                certified: certified.clone(),
                verification: nobody,
            }));
        let agreement = Agreement::of(tls);
        template.alpn_protocols = agreement.protocol_name().into_iter().collect();
        // A resumed session would skip the verifier, and with it the revocation lists.
        template.resumption = Resumption::disabled();
        template.enable_early_data = false;
        template.require_ems = true;
        // After the handshake, the gateway's own record layer takes over the keys.
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
            agreement,
            key_exchange: tls.key_exchange,
        })
    }

    /// Whether the peer of an open connection would still be accepted at `now`, in seconds since 1970.
    ///
    /// # Errors
    /// Why it would not.
    pub(crate) fn still_accepts(&self, peer: &PeerInfo, now: i64) -> Result<(), NotAccepted> {
        self.rules.still_accepts(peer, now)
    }

    /// Why peers may refuse this route's certificate chain. Each text is the end of a sentence about the
    /// certificate file.
    #[must_use]
    pub(crate) fn own_chain_remarks(&self, now: UnixTime) -> Vec<String> {
        own_chain::remarks(&self.certified.cert, TlsRole::Server, &self.rules, now)
    }

    /// Whether each connection begins with a header that names the client's address.
    #[must_use]
    pub(crate) fn carries_source(&self) -> bool {
        self.agreement.carries_source
    }

    /// The same settings for connections that renew CA certificates.
    #[must_use]
    pub(crate) fn for_renewal(mut self) -> Self {
        self.template.alpn_protocols.push(RENEWAL.to_vec());
        self
    }

    /// Starts a handshake with the server at `target`. A host name is sent as SNI, an address is not (RFC
    /// 6066 section 3). If the target names the expected peers, the server must be one of them.
    ///
    /// Fails if the host name is not a valid DNS name.
    pub fn start(
        &self,
        target: &Target,
    ) -> Result<(ClientConnection, Arc<PeerVerification>), Error> {
        let name = server_name(&target.host)?;
        let verification = PeerVerification::new(
            TlsRole::Client,
            self.demands,
            self.own.clone(),
            self.agreement.clone(),
        );
        let verification = Arc::new(verification.at(target).offering(self.key_exchange));
        let mut config = self.template.clone();
        config
            .dangerous()
            .set_certificate_verifier(Arc::new(Verifier::new(
                self.rules.clone(),
                verification.clone(),
            )));
        config.client_auth_cert_resolver = Arc::new(ClientCertificateResolver {
            certified: self.certified.clone(),
            verification: verification.clone(),
        });
        config.key_log = verification.tunnel_source();
        Ok((rustls_states::client(Arc::new(config), name)?, verification))
    }
}

/// The site's chain and key in rustls's form. Fails if they do not belong together.
pub(super) fn certified_key(identity: &Identity) -> Result<Arc<CertifiedKey>, Error> {
    // `CertifiedKey::from_der` would copy the key without wiping the copy.
    let key = identity.key.signing(signing_key)?;
    let readable: Vec<_> = identity
        .chain
        .iter()
        .take(1)
        .map(normal_form::readable)
        .collect();
    CertifiedKey::new(readable, Arc::clone(&key)).keys_match()?;
    Ok(Arc::new(CertifiedKey::new(identity.chain.clone(), key)))
}

/// A description of the site's own certificate, for messages about peers that refuse it.
pub(super) fn own_description(certified: &CertifiedKey) -> Arc<OwnCertificate> {
    let nothing = Vec::new().into();
    let (leaf, above) = certified.cert.split_first().unwrap_or((&nothing, &[]));
    let (top, is_presented) = NormalChain::new(leaf, above).top();
    Arc::new(OwnCertificate {
        leaf: CertificateDescription::new(leaf),
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

/// Presents the site's certificate to a server that asks for one, and records that it asked.
#[derive(Debug)]
struct ClientCertificateResolver {
    certified: Arc<CertifiedKey>,
    verification: Arc<PeerVerification>,
}

impl ResolvesClientCert for ClientCertificateResolver {
    // The server's hints are ignored: it may know an intermediate issuer that the hints do not name, and a
    // certificate that it refuses costs one alert, which has a reason.
    fn resolve(&self, _hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // rustls would send no certificate, and a server that requests one without requiring it would
        // continue.
        let request = match self.certified.key.choose_scheme(schemes) {
            Some(_) => CertificateRequest::Answerable,
            None => CertificateRequest::Unanswerable,
        };
        self.verification.requested(request);
        Some(self.certified.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
