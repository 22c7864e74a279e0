//! TLS peers of the tests: a rustls that trusts every certificate and claims identities that are not its own.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, Connection, Error, ServerConfig,
    ServerConnection, SignatureScheme, SupportedProtocolVersion,
};
use test_peers::accept_all::ForgedKey;
use test_peers::authority::Own;
use test_peers::{AcceptAll, Made};
use wardgate_tests::DEADLINE;
use wardgate_tests::pki::Leaf;

use crate::plain::connect;

/// The TLS versions of a peer.
pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS13, &rustls::version::TLS12];

/// The identity that a peer of the tests claims, and its abilities.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    own: Option<Arc<CertifiedKey>>,
    verifier: Arc<AcceptAll>,
    protocols: Vec<Vec<u8>>,
    provider: Arc<CryptoProvider>,
    versions: Vec<&'static SupportedProtocolVersion>,
}

impl Peer {
    /// A peer without a certificate, which only a client can be.
    pub(crate) fn nobody() -> Self {
        Self {
            own: None,
            verifier: Arc::new(AcceptAll::default()),
            protocols: Vec::new(),
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            versions: VERSIONS.to_vec(),
        }
    }

    /// A peer with a certificate and its key.
    pub(crate) fn of(leaf: &Leaf) -> Self {
        let key = PrivateKeyDer::from_pem_file(&leaf.key).expect("the harness wrote it");
        Self::with_key(chain(leaf), &key)
    }

    /// A peer with these certificates and this key.
    pub(crate) fn with_key(chain: Vec<CertificateDer<'static>>, key: &PrivateKeyDer<'_>) -> Self {
        let key = rustls::crypto::ring::sign::any_supported_type(key).expect("ring knows it");
        Self::with(chain, key)
    }

    /// A peer with the certificate of another and without its key: it signs at random.
    pub(crate) fn without_key(leaf: &Leaf, scheme: SignatureScheme) -> Self {
        Self::of_stolen(chain(leaf), scheme)
    }

    /// A peer of the list of bad peers.
    pub(crate) fn bad(made: Made) -> Self {
        Self {
            own: made.own.map(|own| own.certified()),
            verifier: Arc::new(made.verifier),
            ..Self::nobody()
        }
    }

    /// A peer with this certificate, made in memory.
    pub(crate) fn with_own(own: &Own) -> Self {
        Self {
            own: Some(own.certified()),
            ..Self::nobody()
        }
    }

    /// The same with certificates that are in no file of the harness.
    pub(crate) fn of_stolen(chain: Vec<CertificateDer<'static>>, scheme: SignatureScheme) -> Self {
        Self::with(chain, Arc::new(ForgedKey(scheme)))
    }

    fn with(chain: Vec<CertificateDer<'static>>, key: Arc<dyn SigningKey>) -> Self {
        Self {
            own: Some(Arc::new(CertifiedKey::new(chain, key))),
            ..Self::nobody()
        }
    }

    /// Only this version.
    pub(crate) fn speaking(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    /// Without a post-quantum key exchange.
    pub(crate) fn classical(mut self) -> Self {
        self.provider = Arc::new(rustls::crypto::ring::default_provider());
        self
    }

    /// As a server, requests no certificate.
    pub(crate) fn lax(mut self) -> Self {
        self.verifier = Arc::new(AcceptAll::without_request());
        self
    }

    /// Offers or accepts this ALPN protocol.
    pub(crate) fn protocol(mut self, name: &str) -> Self {
        self.protocols.push(name.as_bytes().to_vec());
        self
    }

    /// The behaviour as a client.
    pub(crate) fn client(&self) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&self.versions)
            .expect("the provider has suites for the versions")
            .dangerous()
            .with_custom_certificate_verifier(self.verifier.clone());
        let mut config = match &self.own {
            Some(own) => {
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own.clone())))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.protocols);
        config
    }

    /// The behaviour as a server.
    pub(crate) fn server(&self) -> ServerConfig {
        let own = self.own.clone().expect("a server has a certificate");
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&self.versions)
            .expect("the provider has suites for the versions")
            .with_client_cert_verifier(self.verifier.clone())
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
        config.alpn_protocols.clone_from(&self.protocols);
        config
    }
}

/// The certificates of a leaf, its own first.
pub(crate) fn chain(leaf: &Leaf) -> Vec<CertificateDer<'static>> {
    let found = CertificateDer::pem_file_iter(&leaf.certificate).expect("the harness wrote it");
    found.map(|item| item.expect("it is PEM")).collect()
}

/// How a TLS stream ended, as its reader saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsEnd {
    /// close_notify came.
    Orderly,
    /// The stream ended without close_notify.
    Cut,
    /// RST or a similar error.
    Reset,
    /// The other end refused with this alert.
    Alert(AlertDescription),
    /// This side detected an error, or nothing came within the waiting time of a test.
    Other,
}

/// One end of a TLS connection on loopback.
pub(crate) struct Tls {
    pub(crate) connection: Connection,
    pub(crate) socket: TcpStream,
}

impl Tls {
    /// Begins as the client of a gateway's TLS port.
    pub(crate) fn connect(port: u16, config: impl Into<Arc<ClientConfig>>) -> Self {
        let name = ServerName::try_from("gw.b.example").expect("it is a name");
        let connection = ClientConnection::new(config.into(), name).expect("the name is allowed");
        Self::new(connection.into(), connect(port))
    }

    /// Begins as the server of a gateway that has connected.
    pub(crate) fn accept(socket: TcpStream, config: ServerConfig) -> Self {
        let connection = ServerConnection::new(Arc::new(config)).expect("the settings are sound");
        Self::new(connection.into(), socket)
    }

    fn new(connection: Connection, socket: TcpStream) -> Self {
        for set in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
            set(&socket, Some(DEADLINE)).expect("the deadline is not zero");
        }
        Self { connection, socket }
    }

    /// Completes the handshake as far as this end can see. A TLS 1.3 client is done before the server has
    /// checked its certificate.
    pub(crate) fn shake(&mut self) -> Result<(), TlsEnd> {
        while self.connection.is_handshaking() || self.connection.wants_write() {
            self.connection
                .complete_io(&mut self.socket)
                .map_err(|error| end(&error))?;
        }
        Ok(())
    }

    /// Completes the handshake with a peer that does the same.
    pub(crate) fn expect_shake(mut self) -> Self {
        self.shake().expect("the gateway takes a good peer");
        self
    }

    /// Sends payload as long as the other end accepts it.
    pub(crate) fn send(&mut self, payload: &[u8]) {
        let written = self.connection.writer().write_all(payload);
        written.expect("there is room before the socket");
        // The other end may be gone; then reading shows it.
        let _ = self.flush();
    }

    /// Reads exactly this number of payload bytes.
    pub(crate) fn receive_exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let mut filled = 0;
        while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
            match self.receive_some(room) {
                Ok(0) => panic!("the stream ends after {filled} of {count} bytes"),
                Ok(more) => filled += more,
                Err(error) => panic!("after {filled} of {count} bytes: {error}"),
            }
        }
        bytes
    }

    /// Reads payload to the end of the stream.
    pub(crate) fn receive_all(&mut self) -> (Vec<u8>, TlsEnd) {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.receive_some(&mut buffer) {
                Ok(0) => return (bytes, TlsEnd::Orderly),
                Ok(count) => bytes.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(error) => return (bytes, end(&error)),
            }
        }
    }

    fn receive_some(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match self.connection.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return other,
            }
            self.connection.read_tls(&mut self.socket)?;
            let processed = self.connection.process_new_packets();
            // Messages of TLS itself, including an alert of this side.
            let _ = self.flush();
            processed.map_err(std::io::Error::other)?;
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.socket)?;
        }
        Ok(())
    }

    /// Sends close_notify; the socket stays open.
    pub(crate) fn close_notify(&mut self) {
        self.connection.send_close_notify();
        self.flush().expect("the other end still takes it");
    }
}

/// Completes a handshake as a client with this claim, offers payload as a complete stream, and returns the
/// result.
pub(crate) fn knock(port: u16, peer: &Peer, payload: &[u8]) -> (Vec<u8>, TlsEnd) {
    let mut tls = Tls::connect(port, peer.client());
    if let Err(end) = tls.shake() {
        return (Vec::new(), end);
    }
    tls.send(payload);
    tls.connection.send_close_notify();
    let _ = tls.flush();
    tls.receive_all()
}

fn end(error: &std::io::Error) -> TlsEnd {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match (inner, error.kind()) {
        (Some(Error::AlertReceived(alert)), _) => TlsEnd::Alert(*alert),
        (Some(_), _) => TlsEnd::Other,
        (None, ErrorKind::UnexpectedEof) => TlsEnd::Cut,
        (None, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => TlsEnd::Reset,
        _ => TlsEnd::Other,
    }
}
