//! A TLS peer on a blocking socket, for tests that decide what is sent when.
//!
//! The peer uses rustls with its usual, buffered interface; the gateway uses another. The interop tier uses
//! foreign TLS programs.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};

use crate::pki::Leaf;

/// TLS 1.3 alone.
pub const TLS13: &SupportedProtocolVersion = &rustls::version::TLS13;
/// TLS 1.2 alone.
pub const TLS12: &SupportedProtocolVersion = &rustls::version::TLS12;

/// A TLS connection of the test's own.
pub struct TlsPeer {
    tls: Connection,
    /// The socket, for bytes outside TLS.
    pub socket: TcpStream,
}

impl TlsPeer {
    /// A client that expects a server of this DNS name. Nothing is sent yet.
    pub fn client(
        identity: &Leaf,
        server: &'static str,
        version: &'static SupportedProtocolVersion,
        socket: TcpStream,
    ) -> Self {
        let config = client_config(identity, version);
        let name = ServerName::try_from(server).expect("tests use DNS names");
        let tls = ClientConnection::new(Arc::new(config), name).expect("the settings are whole");
        Self {
            tls: tls.into(),
            socket,
        }
    }

    /// The same, with the offer of an application protocol (ALPN).
    pub fn client_offering(
        identity: &Leaf,
        server: &'static str,
        version: &'static SupportedProtocolVersion,
        socket: TcpStream,
        protocol: &[u8],
    ) -> Self {
        let mut config = client_config(identity, version);
        config.alpn_protocols = vec![protocol.to_vec()];
        let name = ServerName::try_from(server).expect("tests use DNS names");
        let tls = ClientConnection::new(Arc::new(config), name).expect("the settings are whole");
        Self {
            tls: tls.into(),
            socket,
        }
    }

    /// A server that demands a client certificate. Nothing is read yet.
    pub fn server(
        identity: &Leaf,
        version: &'static SupportedProtocolVersion,
        socket: TcpStream,
    ) -> Self {
        let config = server_config(identity, version);
        let tls = ServerConnection::new(Arc::new(config)).expect("the settings are whole");
        Self {
            tls: tls.into(),
            socket,
        }
    }

    /// The first bytes: a client's ClientHello, which is not sent.
    pub fn first_flight(&mut self) -> Vec<u8> {
        self.records().expect("memory takes all")
    }

    /// Completes the handshake.
    ///
    /// # Errors
    ///
    /// The error of the socket or of rustls; the peer's alert is `InvalidData`.
    pub fn handshake(&mut self) -> io::Result<()> {
        let last = self.handshake_but_last()?;
        self.socket.write_all(&last)
    }

    /// Completes the handshake, and returns the last flight of this side instead of sending it.
    ///
    /// # Errors
    ///
    /// As for `handshake`.
    pub fn handshake_but_last(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let flight = self.records()?;
            if !self.tls.is_handshaking() {
                return Ok(flight);
            }
            self.socket.write_all(&flight)?;
            if self.receive()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Whether the peer presented the first certificate of this PEM file. Only after the handshake.
    pub fn has_presented(&self, certificate: &std::path::Path) -> bool {
        let presented = self.tls.peer_certificates();
        let presented = presented.and_then(|chain| chain.first());
        presented == certificates(certificate).first()
    }

    /// Seals payload into records that are not sent.
    pub fn seal(&mut self, payload: &[u8]) -> Vec<u8> {
        let taken = self.tls.writer().write(payload);
        assert_eq!(taken.ok(), Some(payload.len()), "rustls holds 64 KiB");
        self.records().expect("memory takes all")
    }

    /// Updates the key of this side and requests a key update of the peer (RFC 8446 section 4.6.3).
    ///
    /// # Errors
    ///
    /// The error of the socket or of rustls; TLS 1.2 has no key updates.
    pub fn refresh_keys(&mut self) -> io::Result<()> {
        let refreshed = self.tls.refresh_traffic_keys();
        refreshed.map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))?;
        self.flush()
    }

    /// Seals close_notify into a record that is not sent.
    pub fn close_notify(&mut self) -> Vec<u8> {
        self.tls.send_close_notify();
        self.records().expect("memory takes all")
    }

    /// Ends this direction cleanly: close_notify, then FIN.
    ///
    /// # Errors
    ///
    /// The error of the socket.
    pub fn finish(&mut self) -> io::Result<()> {
        let records = self.close_notify();
        self.socket.write_all(&records)?;
        self.socket.shutdown(Shutdown::Write)
    }

    /// Keying material of the exporter (RFC 5705) with this label and no context, in hexadecimal. Only after
    /// the handshake.
    pub fn exported(&self, label: &str, bytes: usize) -> String {
        let room = vec![0_u8; bytes];
        let exported = self
            .tls
            .export_keying_material(room, label.as_bytes(), None);
        let exported = exported.expect("the handshake is complete");
        exported.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn records(&mut self) -> io::Result<Vec<u8>> {
        let mut records = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut records)?;
        }
        Ok(records)
    }

    // 0 is the socket's end; the reader of rustls knows whether it was clean.
    fn receive(&mut self) -> io::Result<usize> {
        let count = self.tls.read_tls(&mut self.socket)?;
        let processed = self.tls.process_new_packets();
        // An alert of this side is still sent before the failure, as far as the socket accepts it.
        let answer = self.records()?;
        let sent = self.socket.write_all(&answer);
        processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        sent.map(|()| count)
    }
}

impl Read for TlsPeer {
    /// 0 is the peer's close_notify; `UnexpectedEof` is an end without it.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(into) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.receive()?;
                }
                outcome => return outcome,
            }
        }
    }
}

impl Write for TlsPeer {
    fn write(&mut self, payload: &[u8]) -> io::Result<usize> {
        let taken = self.tls.writer().write(payload)?;
        self.flush()?;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        let records = self.records()?;
        self.socket.write_all(&records)
    }
}

/// A client with this certificate, which trusts these CAs.
pub fn client_config(identity: &Leaf, version: &'static SupportedProtocolVersion) -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .expect("ring speaks both versions")
        .with_root_certificates(roots(identity))
        .with_client_auth_cert(chain(identity), key(identity))
        .expect("the certificate and its key belong together")
}

/// A server with this certificate, which requires a certificate of these CAs.
pub fn server_config(identity: &Leaf, version: &'static SupportedProtocolVersion) -> ServerConfig {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(identity), provider())
        .build()
        .expect("there are roots");
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .expect("ring speaks both versions")
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain(identity), key(identity))
        .expect("the certificate and its key belong together")
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn roots(identity: &Leaf) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for root in certificates(&identity.trust) {
        roots.add(root).expect("the authority is sound");
    }
    Arc::new(roots)
}

fn chain(identity: &Leaf) -> Vec<CertificateDer<'static>> {
    certificates(&identity.certificate)
}

fn certificates(file: &std::path::Path) -> Vec<CertificateDer<'static>> {
    let found = CertificateDer::pem_file_iter(file).expect("the harness wrote it");
    found
        .map(|one| one.expect("the harness wrote it"))
        .collect()
}

fn key(identity: &Leaf) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(&identity.key).expect("the harness wrote it")
}
