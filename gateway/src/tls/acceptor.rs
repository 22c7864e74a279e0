//! Starts handshakes on terminate routes.

use std::sync::Arc;

use rustls::compress::CompressionCache;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls::{Error, SupportedProtocolVersion};

use super::connector::{certified_key, own_description};
use super::identity::{OwnCertificate, PeerInfo};
use super::own_chain;
use super::policy::{demands, provider, versions};
use super::recheck::NotAccepted;
use super::refusal::Refusal;
use super::role::TlsRole;
use super::rules::{Chain, PeerRules};
use super::rustls_states::{self, ServerConnection};
use super::service::{Agreement, Asked, RENEWAL};
use super::verifier::{PeerVerification, Verifier};
use crate::config::RouteTls;
use crate::pki::{Identity, Trust};

/// The TLS settings that all connections of a terminate route share.
#[derive(Debug)]
pub struct Acceptor {
    provider: Arc<CryptoProvider>,
    versions: &'static [&'static SupportedProtocolVersion],
    certified: Arc<CertifiedKey>,
    agreement: Agreement,
    rules: Arc<PeerRules>,
    demands: &'static str,
    own: Arc<OwnCertificate>,
}

impl Acceptor {
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
        let acceptor = Self {
            rules: Arc::new(PeerRules::new(&tls.peers, trust, &provider)?),
            provider,
            versions: versions(tls.policy, tls.key_exchange),
            own: own_description(&certified),
            certified,
            agreement: Agreement::of(tls),
            demands: demands(tls.policy, tls.key_exchange),
        };
        // Errors that `start` could have are found here, before the first connection.
        acceptor.config(&acceptor.verification())?;
        Ok(acceptor)
    }

    #[cfg(test)]
    pub(super) fn remarks_on(
        &self,
        now: UnixTime,
        chain: &[CertificateDer<'static>],
    ) -> Vec<String> {
        own_chain::remarks(chain, TlsRole::Client, &self.rules, now)
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
        own_chain::remarks(&self.certified.cert, TlsRole::Client, &self.rules, now)
    }

    /// Starts a handshake with a client.
    pub fn start(&self) -> Result<(ServerConnection, Arc<PeerVerification>), Error> {
        let verification = self.verification();
        let config = Arc::new(self.config(&verification)?);
        Ok((rustls_states::server(config)?, verification))
    }

    /// Checks a client's chain by the rules of this route, without a handshake. For measurements and tests
    /// of what a chain may cost.
    pub fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Arc<PeerInfo>, Refusal> {
        let accepted = self.rules.judge(Chain {
            side: TlsRole::Server,
            leaf,
            intermediates,
            expected: None,
            now,
        })?;
        accepted.check_revocation(TlsRole::Server, leaf)?;
        Ok(accepted.info)
    }

    pub(super) fn verification(&self) -> Arc<PeerVerification> {
        Arc::new(PeerVerification::new(
            TlsRole::Server,
            self.demands,
            self.own.clone(),
            self.agreement.clone(),
        ))
    }

    // rustls has no way to change the verifier of a server's configuration, so each connection builds its
    // own. This takes a few microseconds; the signatures take hundreds.
    pub(super) fn config(
        &self,
        verification: &Arc<PeerVerification>,
    ) -> Result<ServerConfig, Error> {
        let verifier = Verifier::new(self.rules.clone(), verification.clone());
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(self.versions)?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(ServerCertificateResolver {
                certified: self.certified.clone(),
                verification: verification.clone(),
            }));
        // `ServerCertificateResolver` has already refused a client that asks for another protocol.
        config.alpn_protocols = self.agreement.protocol_name().into_iter().collect();
        // The server's order decides, so AES-256 is preferred to the other suites of a policy.
        config.ignore_client_order = true;
        // A resumed session would skip the verifier, and with it the revocation lists.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_tls13_tickets = 0;
        config.max_early_data_size = 0;
        config.require_ems = true;
        // After the handshake, the gateway's own record layer takes over the keys.
        config.enable_secret_extraction = true;
        config.key_log = verification.tunnel_source();
        config.cert_compressors = Vec::new();
        config.cert_decompressors = Vec::new();
        config.cert_compression_cache = Arc::new(CompressionCache::Disabled);
        Ok(config)
    }
}

/// Presents the route's certificate to a client that asks for the route's service and carries addresses as
/// the route does. rustls calls this before any key exchange, so refusing another client costs little. The alert is
/// access_denied.
#[derive(Debug)]
struct ServerCertificateResolver {
    certified: Arc<CertifiedKey>,
    verification: Arc<PeerVerification>,
}

impl ResolvesServerCert for ServerCertificateResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let agreement = self.verification.agreement();
        let asked = hello.alpn().map(|offered| agreement.asked(offered));
        let asked = asked.unwrap_or_else(Asked::default);
        if hello
            .alpn()
            .is_some_and(|mut offered| offered.any(|name| name == RENEWAL))
        {
            self.verification.asked_for_renewal();
        }
        self.verification.check_asked(asked).ok()?;
        Some(self.certified.clone())
    }
}
