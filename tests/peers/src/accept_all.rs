//! The verifier that accepts every certificate, and the key that signs with zeros.
//!
//! A bad peer must not end a handshake itself: the gateway's refusal is what the tests are about.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{Signer, SigningKey};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, SignatureAlgorithm, SignatureScheme,
};

/// Accepts every certificate, as a client and as a server.
#[derive(Debug)]
pub struct AcceptAll {
    /// As a server: whether it requests a certificate of the client.
    pub requests: bool,
    /// As a server: whether a client without a certificate is refused.
    pub requires: bool,
    /// The signatures that it offers to check.
    pub schemes: Vec<SignatureScheme>,
    /// Whether the peer must prove that it has the key of its certificate.
    pub checks_signatures: bool,
}

impl Default for AcceptAll {
    fn default() -> Self {
        Self {
            requests: true,
            requires: true,
            schemes: algorithms().supported_schemes(),
            checks_signatures: true,
        }
    }
}

impl AcceptAll {
    /// The same that as a server requests no certificate.
    pub fn without_request() -> Self {
        Self {
            requests: false,
            requires: false,
            ..Self::default()
        }
    }

    /// The same that requests a certificate with a signature of this scheme, and accepts a client without one.
    pub fn requesting_only(scheme: SignatureScheme) -> Self {
        Self {
            requires: false,
            schemes: vec![scheme],
            ..Self::default()
        }
    }

    /// The same that offers this scheme alone and accepts every signature.
    pub fn without_signature_checks(scheme: SignatureScheme) -> Self {
        Self {
            schemes: vec![scheme],
            checks_signatures: false,
            ..Self::default()
        }
    }
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    ring::default_provider().signature_verification_algorithms
}

impl ServerCertVerifier for AcceptAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.checks_signatures {
            true => verify_tls12_signature(message, leaf, signature, &algorithms()),
            false => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.checks_signatures {
            true => verify_tls13_signature(message, leaf, signature, &algorithms()),
            false => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

impl ClientCertVerifier for AcceptAll {
    fn offer_client_auth(&self) -> bool {
        self.requests
    }

    fn client_auth_mandatory(&self) -> bool {
        self.requires
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ServerCertVerifier::verify_tls12_signature(self, message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ServerCertVerifier::verify_tls13_signature(self, message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// A key of this kind that signs with zeros: the key of a peer that has only the certificate.
#[derive(Debug, Clone, Copy)]
pub struct ForgedKey(pub SignatureScheme);

impl SigningKey for ForgedKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let is_offered = offered.contains(&self.0);
        is_offered.then(|| Box::new(*self) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.0 {
            SignatureScheme::RSA_PSS_SHA256 => SignatureAlgorithm::RSA,
            SignatureScheme::ED25519 => SignatureAlgorithm::ED25519,
            _ => SignatureAlgorithm::ECDSA,
        }
    }
}

impl Signer for ForgedKey {
    fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(vec![0; 64])
    }

    fn scheme(&self) -> SignatureScheme {
        self.0
    }
}
