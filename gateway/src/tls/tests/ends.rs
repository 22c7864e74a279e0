//! The two ends of a handshake, and the wire between them.

use std::io::Cursor;
use std::sync::Arc;

use rustls::client::{ResolvesClientCert, UnbufferedClientConnection};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::sign::SingleCertAndKey;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, CommonState, Connection, Error, ServerConfig,
    ServerConnection, SupportedProtocolVersion,
};
use test_peers::AcceptAll;

use super::authority::Own;
use super::{Gateway, target};
use crate::config::Target;
use crate::tls::{Acceptor, Connector, PeerVerification, TlsInfo, describe, explain};

/// One end of a handshake.
pub(super) trait End {
    /// Takes what came from the other end and gives what goes there.
    fn advance(&mut self, received: &[u8]) -> Vec<u8>;
}

/// Lets two ends talk until neither has anything to say.
pub(super) fn talk(client: &mut dyn End, server: &mut dyn End) {
    let mut to_server = client.advance(&[]);
    // A handshake takes five flights at most; more would be two ends that go round in circles.
    for _ in 0..16 {
        let to_client = server.advance(&to_server);
        to_server = client.advance(&to_client);
        if to_server.is_empty() && to_client.is_empty() {
            return;
        }
    }
    panic!("the handshake does not end");
}

/// A connection of this gateway.
pub(super) struct Ours {
    connection: Unbuffered,
    pub(super) verification: Arc<PeerVerification>,
    pub(super) error: Option<Error>,
    pub(super) is_established: bool,
    received: Vec<u8>,
    first: Vec<u8>,
}

enum Unbuffered {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

enum Step {
    Again,
    Wait,
    Established,
    Failed(Error),
}

impl Ours {
    pub(super) fn connecting(gateway: &Gateway) -> Self {
        Self::connecting_by(&gateway.connector())
    }

    pub(super) fn connecting_by(connector: &Connector) -> Self {
        Self::connecting_to(connector, &target())
    }

    pub(super) fn connecting_to(connector: &Connector, target: &Target) -> Self {
        let (connection, verification) = connector.start(target).expect("a handshake begins");
        Self::new(Unbuffered::Client(connection), verification)
    }

    pub(super) fn accepting(gateway: &Gateway) -> Self {
        Self::accepting_by(&gateway.acceptor())
    }

    pub(super) fn accepting_by(acceptor: &Acceptor) -> Self {
        let (connection, verification) = acceptor.start().expect("a handshake begins");
        Self::new(Unbuffered::Server(connection), verification)
    }

    fn new(connection: Unbuffered, verification: Arc<PeerVerification>) -> Self {
        Self {
            connection,
            verification,
            error: None,
            is_established: false,
            received: Vec::new(),
            first: Vec::new(),
        }
    }

    pub(super) fn sentence(&self) -> String {
        let error = self.error.as_ref().expect("the handshake failed");
        explain(error, &self.verification, &self.first)
    }

    pub(super) fn negotiated(&self) -> TlsInfo {
        describe(self.common()).expect("the handshake is complete")
    }

    pub(super) fn common(&self) -> &CommonState {
        match &self.connection {
            Unbuffered::Client(connection) => connection,
            Unbuffered::Server(connection) => connection,
        }
    }
}

impl End for Ours {
    fn advance(&mut self, received: &[u8]) -> Vec<u8> {
        let mut outgoing = Vec::new();
        self.first
            .extend(received.iter().take(8 - self.first.len()));
        self.received.extend(received);
        // After an error only what is queued may be fetched, which is the alert: the next look at the
        // input would meet the error again and send a second one.
        while self.error.is_none() || self.common().wants_write() {
            match self.step(&mut outgoing) {
                Step::Again => {}
                Step::Wait => break,
                Step::Established => {
                    self.is_established = true;
                    break;
                }
                Step::Failed(error) => self.error = Some(error),
            }
        }
        outgoing
    }
}

impl Ours {
    fn step(&mut self, outgoing: &mut Vec<u8>) -> Step {
        let (discard, step) = match &mut self.connection {
            Unbuffered::Client(connection) => {
                step(connection.process_tls_records(&mut self.received), outgoing)
            }
            Unbuffered::Server(connection) => {
                step(connection.process_tls_records(&mut self.received), outgoing)
            }
        };
        self.received.drain(..discard);
        step
    }
}

fn step<Data>(status: UnbufferedStatus<'_, '_, Data>, outgoing: &mut Vec<u8>) -> (usize, Step) {
    let step = match status.state {
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) else {
                panic!("a record needs room");
            };
            let start = outgoing.len();
            outgoing.resize(start + size.required_size, 0);
            data.encode(outgoing.get_mut(start..).expect("just made"))
                .expect("room enough");
            Step::Again
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Step::Again
        }
        Ok(ConnectionState::WriteTraffic(_)) => Step::Established,
        Ok(_) => Step::Wait,
        Err(error) => Step::Failed(error),
    };
    (status.discard, step)
}

/// A peer of another make: rustls with its own records and the behaviour that a test configures.
pub(super) struct Foreign {
    pub(super) connection: Connection,
    pub(super) error: Option<Error>,
}

impl Foreign {
    pub(super) fn client(config: ClientConfig) -> Self {
        let name = ServerName::try_from("target.example").expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
        Self {
            connection: connection.into(),
            error: None,
        }
    }

    pub(super) fn server(config: ServerConfig) -> Self {
        let connection = ServerConnection::new(Arc::new(config)).expect("a server");
        Self {
            connection: connection.into(),
            error: None,
        }
    }

    /// The alert that it was sent.
    pub(super) fn alert(&self) -> Option<AlertDescription> {
        match self.error {
            Some(Error::AlertReceived(alert)) => Some(alert),
            _ => None,
        }
    }
}

impl End for Foreign {
    fn advance(&mut self, received: &[u8]) -> Vec<u8> {
        let mut received = Cursor::new(received);
        while self.error.is_none() && received.position() < received.get_ref().len() as u64 {
            self.connection
                .read_tls(&mut received)
                .expect("a cursor is read");
            self.error = self.connection.process_new_packets().err();
        }
        let mut outgoing = Vec::new();
        while self.connection.wants_write() {
            self.connection
                .write_tls(&mut outgoing)
                .expect("a vector is written");
        }
        outgoing
    }
}

/// What a foreign client does: `own` is its certificate, if it has one.
pub(super) fn foreign_client(
    own: Option<&Own>,
    provider: CryptoProvider,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .expect("suites for the versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAll::default()));
    match own {
        Some(own) => {
            let resolver: Arc<dyn ResolvesClientCert> =
                Arc::new(SingleCertAndKey::from(own.certified()));
            builder.with_client_cert_resolver(resolver)
        }
        None => builder.with_no_client_auth(),
    }
}

/// The settings of a foreign server, which requests a certificate as `verifier` does.
pub(super) fn foreign_server(
    own: &Own,
    verifier: AcceptAll,
    provider: CryptoProvider,
    versions: &[&'static SupportedProtocolVersion],
) -> ServerConfig {
    ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .expect("suites for the versions")
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(own.certified())))
}

/// Everything that ring can do.
pub(super) fn everything() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}
