//! Handshakes with servers of the test.

use std::fs;
use std::io::Write as _;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{ServerConfig, ServerConnection};
use tempfile::TempDir;

use super::*;
use crate::server::Server;

/// A certificate authority, and the files of one holder of a certificate.
struct Site {
    folder: TempDir,
}

impl Site {
    fn new(name: &str) -> Self {
        let folder = TempDir::new().expect("a folder for certificates");
        let authority_key = KeyPair::generate().expect("a key");
        let mut authority = CertificateParams::new(Vec::new()).expect("no names");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let trust = authority.self_signed(&authority_key).expect("signed");
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate().expect("a key");
        let own = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let own = own.signed_by(&key, &issuer).expect("signed");
        let site = Self { folder };
        for (file, text) in [
            ("trust", trust.pem()),
            ("certificate", own.pem()),
            ("key", key.serialize_pem()),
        ] {
            fs::write(site.path(file), text).expect("the folder is ours");
        }
        site
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn options(&self, group: Group, count: u32) -> Options {
        Options {
            between: Between::on_loopback(2),
            count,
            certificate: self.path("certificate"),
            key: self.path("key"),
            trust: self.path("trust"),
            name: "localhost".to_owned(),
            group,
            bare_end: false,
        }
    }

    /// A server of this site that accepts clients of another; without another site, it requests no
    /// certificate.
    fn serve(&self, clients: Option<&Self>) -> Server<()> {
        self.serve_until(clients, End::Told)
    }

    fn serve_until(&self, clients: Option<&Self>, end: End) -> Server<()> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3 is there");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(site) => {
                let mut roots = RootCertStore::empty();
                let anchors = certificates(&site.path("trust")).expect("as written");
                roots.add_parsable_certificates(anchors);
                let roots = Arc::new(roots);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                builder.with_client_cert_verifier(verifier.build().expect("one anchor"))
            }
        };
        let chain = certificates(&self.path("certificate")).expect("as written");
        let key = PrivateKeyDer::from_pem_file(self.path("key")).expect("as written");
        let config = builder.with_single_cert(chain, key).expect("they match");
        let config = Arc::new(config);
        Server::start(&Between::on_loopback(1), move |stream| {
            answer(stream, ServerConnection::new(Arc::clone(&config)), end)
        })
        .expect("it listens")
    }
}

/// How the server ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// With a close_notify.
    Told,
    /// Without close_notify.
    Cut,
}

/// Completes the handshake and ends like the client.
fn answer(
    mut stream: TcpStream,
    connection: Result<ServerConnection, rustls::Error>,
    end: End,
) -> io::Result<()> {
    let mut tls = connection.map_err(io::Error::other)?;
    loop {
        while tls.wants_write() {
            tls.write_tls(&mut stream)?;
        }
        let n = tls.read_tls(&mut stream)?;
        let state = tls.process_new_packets();
        let ended = match &state {
            Ok(state) => state.peer_has_closed() || n == 0,
            Err(_) => true,
        };
        if ended && end == End::Cut {
            return Ok(());
        }
        if ended {
            tls.send_close_notify();
            let mut last = Vec::new();
            while tls.wants_write() {
                tls.write_tls(&mut last)?;
            }
            stream.write_all(&last)?;
            return state.map(|_| ()).map_err(io::Error::other);
        }
    }
}

fn against(server: &Server<()>, options: &Options) -> anyhow::Result<Report> {
    measure(options, &Client::new(options)?, server.address())
}

#[test]
fn every_handshake_is_full_and_mutual_and_timed() {
    let site = Site::new("localhost");
    for group in [Group::X25519, Group::X25519mlkem768] {
        let mut options = site.options(group, 25);
        options.between.pids.push(std::process::id());
        let server = site.serve(Some(&site));
        let report = against(&server, &options).expect("all are accepted");
        assert_eq!(report.number("handshakes"), Some(25.0));
        assert!(report.number("handshakes_per_second") > Some(0.0));
        assert!(report.number("process_1_cpu_ms_per_handshake").is_some());
    }
}

#[test]
fn a_client_that_is_refused_after_its_handshake_is_a_failure() {
    let (site, other) = (Site::new("localhost"), Site::new("localhost"));
    let server = site.serve(Some(&other));
    let options = site.options(Group::X25519, 3);
    assert!(against(&server, &options).is_err());
    let client = Client::new(&options).expect("the files are there");
    let tally = shake_all(&options, &client, server.address()).expect("nobody panics");
    assert_eq!((tally.failed, tally.times.len()), (3, 0));
}

#[test]
fn a_server_that_asks_for_no_certificate_is_not_mutual() {
    let site = Site::new("localhost");
    let server = site.serve(None);
    let error = against(&server, &site.options(Group::X25519, 3)).expect_err("not mutual");
    assert!(error.to_string().contains("not mutual"), "{error}");
}

#[test]
fn a_server_of_another_name_or_authority_is_refused() {
    let (site, other) = (Site::new("localhost"), Site::new("localhost"));
    let server = site.serve(Some(&site));
    let mut options = site.options(Group::X25519, 3);
    options.name = "elsewhere.example".to_owned();
    assert!(against(&server, &options).is_err());
    assert!(against(&server, &other.options(Group::X25519, 3)).is_err());
}

#[test]
fn an_end_without_close_notify_is_a_failure() {
    let site = Site::new("localhost");
    let options = site.options(Group::X25519, 1);
    let server = site.serve_until(Some(&site), End::Cut);
    let client = Client::new(&options).expect("the files are there");
    let error = client.shake(server.address(), &options.between);
    let error = error.expect_err("it was cut");
    assert!(
        error.to_string().contains("without a close_notify"),
        "{error}"
    );
}

#[test]
fn where_a_bare_end_is_taken_a_refusal_still_is_a_failure() {
    let (site, other) = (Site::new("localhost"), Site::new("localhost"));
    let mut options = site.options(Group::X25519, 1);
    options.bare_end = true;
    let client = Client::new(&options).expect("the files are there");
    let cut = site.serve_until(Some(&site), End::Cut);
    assert!(client.shake(cut.address(), &options.between).is_ok());
    let refusing = site.serve(Some(&other));
    assert!(client.shake(refusing.address(), &options.between).is_err());
}

#[test]
fn a_silent_server_stalls_the_run_no_longer_than_requested() {
    let site = Site::new("localhost");
    let mut options = site.options(Group::X25519, 1);
    options.between.stall = 1;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let client = Client::new(&options).expect("the files are there");
    let address = listener.local_addr().expect("it listens");
    assert!(client.shake(address, &options.between).is_err());
}
