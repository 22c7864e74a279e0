//! Programs in place of the other gateway or of an application, one thread for each listener.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use wardgate_tests::pki::Leaf;
use wardgate_tests::tls::{TLS12, TLS13, server_config};

/// What a server does with each connection.
pub(super) enum ServerKind {
    /// Reads, and never sends.
    Silent,
    /// Sends these bytes when something has come.
    Answers(&'static [u8]),
    /// TLS 1.3, mutual.
    Tls(Leaf),
    /// TLS 1.3 without a request for the client's certificate.
    TlsOneSided(Leaf),
    /// TLS 1.2 with AES-128-GCM alone.
    TlsAes128(Leaf),
    /// Acknowledges every HL7 message.
    Acknowledges,
}

/// Longer than a report may take.
const PATIENCE: Duration = Duration::from_secs(30);

const ACKNOWLEDGEMENT: &[u8] =
    b"\x0bMSH|^~\\&|ENGINE||WARDGATE||20261123||ACK|7|T|2.3\rMSA|AA|WARDGATE1\r\x1c\r";

/// Starts a server on a free port of loopback.
pub(super) fn start(kind: ServerKind) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    serve(listener, kind);
    address
}

/// Serves connections of a listener until the test ends.
pub(super) fn serve(listener: TcpListener, kind: ServerKind) {
    let config = match &kind {
        ServerKind::Tls(leaf) => Some(server_config(leaf, TLS13)),
        ServerKind::TlsOneSided(leaf) => Some(one_sided(leaf)),
        ServerKind::TlsAes128(leaf) => Some(aes128(leaf)),
        ServerKind::Silent | ServerKind::Answers(_) | ServerKind::Acknowledges => None,
    };
    let (config, kind) = (config.map(Arc::new), Arc::new(kind));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = stream.set_read_timeout(Some(PATIENCE));
            let (config, kind) = (config.clone(), Arc::clone(&kind));
            std::thread::spawn(move || match config {
                Some(config) => {
                    let tls = ServerConnection::new(config).expect("the settings are whole");
                    drain(StreamOwned::new(tls, stream));
                }
                None => talk(stream, &kind),
            });
        }
    });
}

fn talk(mut stream: TcpStream, kind: &ServerKind) {
    let mut room = [0; 4096];
    while stream.read(&mut room).is_ok_and(|count| count > 0) {
        let answer = match kind {
            ServerKind::Answers(bytes) => *bytes,
            ServerKind::Acknowledges => ACKNOWLEDGEMENT,
            _ => b"",
        };
        if stream.write_all(answer).is_err() {
            return;
        }
    }
}

fn drain(mut stream: impl Read) {
    let mut room = [0; 4096];
    while stream.read(&mut room).is_ok_and(|count| count > 0) {}
}

fn one_sided(leaf: &Leaf) -> ServerConfig {
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[TLS13])
        .expect("ring speaks it")
        .with_no_client_auth()
        .with_single_cert(chain(leaf), key(leaf))
        .expect("the certificate and its key belong together")
}

fn aes128(leaf: &Leaf) -> ServerConfig {
    let mut provider = ring::default_provider();
    provider.cipher_suites = vec![ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256];
    let provider = Arc::new(provider);
    let mut roots = RootCertStore::empty();
    let trust = CertificateDer::from_pem_file(&leaf.trust).expect("the harness wrote it");
    roots.add(trust).expect("the authority is sound");
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .expect("there are roots");
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[TLS12])
        .expect("ring speaks it")
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain(leaf), key(leaf))
        .expect("the certificate and its key belong together")
}

fn chain(leaf: &Leaf) -> Vec<CertificateDer<'static>> {
    let found = CertificateDer::pem_file_iter(&leaf.certificate).expect("the harness wrote it");
    found
        .map(|one| one.expect("the harness wrote it"))
        .collect()
}

fn key(leaf: &Leaf) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(&leaf.key).expect("the harness wrote it")
}
