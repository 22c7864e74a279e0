//! Verifies a peer's certificates, by the same rules in both directions.
//!
//! rustls's own verifiers require that a server's certificate has the host name of the connection. Here a
//! route lists its peers, whatever their addresses, so this module uses webpki to build the path and then
//! checks the identity. All connections of a route share one `PeerRules`; each connection has a
//! `PeerVerification` that stores the result.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, CommonState, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
};

use super::identity::{CertificateDescription, OwnCertificate, PeerInfo};
use super::normal_form::readable;
use super::refusal::{Refusal, Rule};
use super::role::TlsRole;
use super::rules::{Chain, PeerRules};
use super::service::{Agreement, Asked, RequestedService};
use super::tunnel_id::{TunnelId, TunnelIdSource};
use super::verified_peer::VerifiedPeer;
use crate::config::{KeyExchange, ServiceLabel, Target};

/// What one handshake found out about its peer. Shared by the connection's verifier and its owner.
#[derive(Debug)]
pub struct PeerVerification {
    side: TlsRole,
    demands: &'static str,
    own: Arc<OwnCertificate>,
    // The service label of the route, and whether it carries addresses.
    agreement: Agreement,
    request: OnceLock<CertificateRequest>,
    // On an originate route, if the configuration names the expected peers at the target.
    expected: Option<Target>,
    // On an originate route: whether a ClientHello without the hybrid key exchange is allowed too.
    offers_hybrid: bool,
    accepted: OnceLock<VerifiedPeer>,
    // Why a valid certificate is refused, kept until its key is proved.
    refused: OnceLock<Refusal>,
    // Set after the key is proved and no certificate is revoked.
    proved: OnceLock<()>,
    refusal: OnceLock<Refusal>,
    // Set if the client asks for a renewal of CA certificates.
    renewal: OnceLock<()>,
    tunnel: Arc<TunnelIdSource>,
}

/// How a server asked for the site's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CertificateRequest {
    /// With signature schemes that the site's key can use.
    Answerable,
    /// Only with schemes that the site's key cannot use, so the answer would be no certificate.
    Unanswerable,
}

impl PeerVerification {
    pub(super) fn new(
        side: TlsRole,
        demands: &'static str,
        own: Arc<OwnCertificate>,
        agreement: Agreement,
    ) -> Self {
        Self {
            side,
            demands,
            own,
            agreement,
            request: OnceLock::new(),
            expected: None,
            offers_hybrid: false,
            accepted: OnceLock::new(),
            refused: OnceLock::new(),
            proved: OnceLock::new(),
            refusal: OnceLock::new(),
            renewal: OnceLock::new(),
            tunnel: Arc::default(),
        }
    }

    /// The same value for a connection to `target`.
    pub(super) fn at(self, target: &Target) -> Self {
        let expected = target.expected.is_some().then(|| target.clone());
        Self { expected, ..self }
    }

    /// The same value for a ClientHello with these key exchanges.
    pub(super) fn offering(self, key_exchange: KeyExchange) -> Self {
        let offers_hybrid = key_exchange == KeyExchange::HybridPreferred;
        Self {
            offers_hybrid,
            ..self
        }
    }

    /// The accepted peer.
    ///
    /// `None` until its chain was accepted, its key was proved by a signature over this handshake, no
    /// certificate was found revoked and, on an originate route, it asked for the site's certificate. If a
    /// handshake completes while this is `None`, it was not mutual and must be ended.
    pub fn peer(&self) -> Option<Arc<PeerInfo>> {
        self.proved.get()?;
        let asked = self.request.get() == Some(&CertificateRequest::Answerable);
        if self.side == TlsRole::Client && !asked {
            return None;
        }
        Some(Arc::clone(&self.accepted.get()?.info))
    }

    /// Whether the client asks to renew its CA certificates, in place of a connection of the route.
    pub(crate) fn is_renewal(&self) -> bool {
        self.renewal.get().is_some()
    }

    /// Notes that it does.
    pub(super) fn asked_for_renewal(&self) {
        let _ = self.renewal.set(());
    }

    /// Why the peer was refused, if it was.
    pub fn refusal(&self) -> Option<Refusal> {
        self.refusal.get().cloned()
    }

    /// The id of the connection, which the other end can compute as well; `None` before the handshake is
    /// complete.
    pub fn tunnel(&self) -> Option<TunnelId> {
        self.tunnel.id()
    }

    /// What computes the id during the handshake.
    pub(super) fn tunnel_source(&self) -> Arc<TunnelIdSource> {
        Arc::clone(&self.tunnel)
    }

    /// The role of this gateway in the handshake.
    pub fn side(&self) -> TlsRole {
        self.side
    }

    /// What the route's policy requires of a peer, in words.
    pub(super) fn demands(&self) -> &'static str {
        self.demands
    }

    /// Whether the ClientHello is large because of the hybrid key exchange, which the route does not
    /// require.
    pub(super) fn offers_hybrid(&self) -> bool {
        self.offers_hybrid
    }

    /// The site's own certificate.
    pub(super) fn own(&self) -> &CertificateDescription {
        &self.own.leaf
    }

    /// Subject of the CA that issued the last certificate of the site's chain; `None` if that certificate
    /// is a root.
    pub(super) fn own_missing_issuer(&self) -> Option<&str> {
        self.own.missing_issuer.as_deref()
    }

    /// Records that the server asked for the site's certificate.
    pub(super) fn requested(&self, request: CertificateRequest) {
        // A second request, which rustls allows, cannot undo the first.
        let _ = self.request.set(request);
    }

    /// The service label of the route.
    pub(super) fn service(&self) -> Option<&ServiceLabel> {
        self.agreement.label.as_ref()
    }

    /// What the other end must agree on.
    pub(super) fn agreement(&self) -> &Agreement {
        &self.agreement
    }

    /// Refuses a client that asks for another service than the route's, or carries addresses where the route
    /// does not, or the other way round. A route without a label accepts a client that asks for none,
    /// whatever other protocols it offers.
    pub(super) fn check_asked(&self, asked: Asked) -> Result<(), Error> {
        let label = &self.agreement.label;
        let another = match (asked.service, label) {
            (RequestedService::This, _) | (RequestedService::Nothing, None) => {
                let own = self.agreement.carries_source;
                if asked.carries_source == own {
                    return Ok(());
                }
                let rule = Rule::CarriedSource { own };
                return Err(self.refuse(Refusal::of_hello(self.side, rule)));
            }
            (RequestedService::Another(label), _) => Some(label),
            (RequestedService::Nothing, Some(_)) => None,
        };
        let own = label.as_ref().map(|label| label.0.clone());
        let rule = Rule::Service {
            own,
            asked: another,
        };
        Err(self.refuse(Refusal::of_hello(self.side, rule)))
    }

    /// After the handshake, refuses a server that did not confirm what the route asked for. `state` is the end
    /// state of the handshake.
    ///
    /// # Errors
    ///
    /// An error that `explain` can explain.
    pub(crate) fn check_confirmed(&self, state: &CommonState) -> Result<(), Error> {
        let name = self.agreement.protocol_name();
        if name.is_none() || state.alpn_protocol() == name.as_deref() {
            return Ok(());
        }
        let rule = match &self.agreement.label {
            Some(label) if !self.agreement.carries_source => Rule::ServiceNotConfirmed {
                own: label.0.clone(),
            },
            _ => Rule::CarriedSourceNotConfirmed,
        };
        Err(self.refuse(Refusal::of_hello(self.side, rule)))
    }

    /// Whether the server has asked for the site's certificate. Until then the server has not seen it.
    pub(super) fn was_asked(&self) -> bool {
        self.request.get().is_some()
    }

    fn refuse(&self, refusal: Refusal) -> Error {
        let error = refusal.error();
        // The first refusal ends the handshake; there is no second.
        let _ = self.refusal.set(refusal);
        error
    }
}

/// The verifier of one connection.
#[derive(Debug)]
pub(super) struct Verifier {
    rules: Arc<PeerRules>,
    verification: Arc<PeerVerification>,
}

impl Verifier {
    pub(super) fn new(rules: Arc<PeerRules>, verification: Arc<PeerVerification>) -> Self {
        Self {
            rules,
            verification,
        }
    }

    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let chain = Chain {
            side: self.verification.side,
            leaf,
            intermediates,
            expected: self.verification.expected.as_ref(),
            now,
        };
        // A second chain in one handshake would be a defect of rustls; the first one stays.
        match self.rules.judge(chain) {
            Ok(accepted) => {
                let _ = self.verification.accepted.set(accepted);
            }
            // Any host with a copy of the certificate could cause this refusal, so it is sent only after
            // the key is proved.
            Err(refusal) if refusal.is_of_good_certificate() => {
                let _ = self.verification.refused.set(refusal);
            }
            Err(refusal) => return Err(self.verification.refuse(refusal)),
        }
        Ok(())
    }

    /// Refuses a server that does not ask for the site's certificate.
    ///
    /// In both versions of TLS a CertificateRequest is handled before the server's certificate is verified
    /// (RFC 8446 section 4.3.2, RFC 5246 section 7.4.4), so the request has been recorded by now.
    fn check_request(&self, leaf: &CertificateDer<'_>) -> Result<(), Error> {
        let rule = match self.verification.request.get() {
            Some(CertificateRequest::Answerable) => return Ok(()),
            Some(CertificateRequest::Unanswerable) => Rule::Unanswerable,
            None => Rule::NotMutual,
        };
        Err(self
            .verification
            .refuse(Refusal::new(self.verification.side, leaf, rule)))
    }

    /// Records whether the peer has proved that it has the private key of its certificate. Only then is it
    /// refused for not being listed, and only then are its certificates looked up in the revocation lists:
    /// a copy of a certificate must not suffice to learn either.
    fn prove(
        &self,
        leaf: &CertificateDer<'_>,
        verified: Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        match verified {
            Ok(valid) => {
                if let Some(refusal) = self.verification.refused.get() {
                    return Err(self.verification.refuse(refusal.clone()));
                }
                if let Some(accepted) = self.verification.accepted.get() {
                    accepted
                        .check_revocation(self.verification.side, leaf)
                        .map_err(|refusal| self.verification.refuse(refusal))?;
                }
                let _ = self.verification.proved.set(());
                Ok(valid)
            }
            Err(error) => {
                let cause = match error {
                    Error::InvalidCertificate(CertificateError::BadSignature) => {
                        "its signature over the handshake is wrong"
                    }
                    Error::PeerMisbehaved(_) => {
                        "it signed by an algorithm that does not fit, or that was not offered"
                    }
                    _ => "its signature over the handshake cannot be verified",
                };
                let rule = Rule::NotProved {
                    cause: cause.to_owned(),
                };
                let _ = self
                    .verification
                    .refuse(Refusal::new(self.verification.side, leaf, rule));
                Err(error)
            }
        }
    }

    fn prove_tls12(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.rules.algorithms;
        self.prove(
            leaf,
            verify_tls12_signature(message, &readable(leaf), signature, algorithms),
        )
    }

    fn prove_tls13(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.rules.algorithms;
        self.prove(
            leaf,
            verify_tls13_signature(message, &readable(leaf), signature, algorithms),
        )
    }
}

impl ServerCertVerifier for Verifier {
    // The host name of the connection and a stapled OCSP response are not used: `peers` lists who may
    // answer, and revocation is checked with lists.
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _dialled: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check_request(leaf)?;
        self.judge(leaf, intermediates, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.prove_tls12(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.prove_tls13(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.rules.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.rules.hints
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(leaf, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.prove_tls12(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.prove_tls13(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.rules.algorithms.supported_schemes()
    }
}
